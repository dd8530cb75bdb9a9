"""Tensors in, tables and figures out: what a network has learnt, layer by layer."""
