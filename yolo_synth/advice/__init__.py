"""What to train of a network when there are a few labelled real pictures, found by cross-validation."""
