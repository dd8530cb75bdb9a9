"""Looking at a data set before it is trained on: what it holds, shows, and what is broken in it."""
