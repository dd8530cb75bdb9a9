"""The detectors, each in a room of its own."""
