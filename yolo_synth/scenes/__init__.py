"""Drawn street scenes, in the true formats of both data sets."""
