"""A network and images → Gram matrices and output statistics."""
