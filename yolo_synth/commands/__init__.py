"""The command line's own verbs, one a file."""
