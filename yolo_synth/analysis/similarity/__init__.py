"""Gram matrices → similarity of layers, with intervals, chance and p-values."""
