"""The detectors, each in a room of its own."""

from __future__ import annotations

from typing import Final

SHOWN: Final = 0.25
"""Least score of a box that people look at."""
