"""The paper as a whole, over run folders: the sweep, the evaluation, the tables."""
