"""Gram matrices → similarity of layers, with intervals, chance and p-values."""

from __future__ import annotations

from typing import Final

MARGIN: Final = 0.1
"""By which fraction two models may be less or more alike than two seeds and count as alike as those."""

OPINIONS: Final = ("angle", "neighbours")
"""Measures beside CKA that a report asks for, as `measures.MEASURES` calls them."""
