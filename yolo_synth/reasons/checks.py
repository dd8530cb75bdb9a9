"""Checks before explanations: how far two sets of pictures differ, beside two halves of the real ones.

A difference is no mistake: synthetic pictures are others than real ones. A check for a mistake (labels
that lie beside their objects, another order of classes or of colours, a border) therefore looks for its
own trace, and names it only where that is beyond what halves of a set differ by.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

HALVES: Final = 200
"""Random divisions of a set's pictures."""


class Check(NamedTuple):
    """What was looked at.

    Attributes:
        about: `labels`, `pixels` or `network`.
        what: What was looked at, as `class shares`.
        value: How far the sets differ, or how much a remedy helps.
        floor: What halves of one set reach; NaN if there are too few pictures.
        least: Least value that matters, whatever the floor.
        mistake: What is wrong if it is named; "" if a difference is no mistake.
    """

    about: str
    what: str
    value: float
    floor: float
    least: float = 0.0
    mistake: str = ""

    @property
    def excess(self) -> float:
        """The value as a multiple of the floor."""
        floor = max(self.floor, self.least)
        return self.value / floor if floor > 0 else np.nan

    @property
    def is_named(self) -> bool:
        """Whether this is said to be a mistake."""
        return bool(self.mistake) and self.excess > 1


def check_table(checks: Sequence[Check]) -> pd.DataFrame:
    """Return a row a check, mistakes that are named first and then by excess."""
    rows = [
        {
            "about": check.about,
            "check": check.what,
            "value": check.value,
            "floor": max(check.floor, check.least),
            "times the floor": check.excess,
            "named": "yes" if check.is_named else "no" if check.mistake else "",
        }
        for check in in_order(checks)
    ]
    return pd.DataFrame(rows).set_index(["about", "check"])


def in_order(checks: Sequence[Check]) -> list[Check]:
    """Return the checks, mistakes that are named first and then by excess."""

    def place(check: Check) -> tuple[bool, float]:
        return not check.is_named, -check.excess if np.isfinite(check.excess) else np.inf

    return sorted(checks, key=place)


def half_floor(
    difference: Callable[[Rows, Rows], float], groups: Sequence[Hashable], share: float = 0.95
) -> float:
    """Return what a difference between random halves of a set stays below, whole groups together.

    Args:
        difference: Of the pictures in one and in the other half, by their numbers.
        groups: What each picture belongs to.
        share: Of the halves that stay below.
    """
    known = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    if len(known) < 4:
        return np.nan
    of_picture = np.array([known[group] for group in groups])
    generator = np.random.default_rng(0)
    values = []
    for _ in range(HALVES):
        first = generator.permutation(len(known)) < len(known) // 2
        inside = first[of_picture]
        values.append(difference(np.flatnonzero(inside), np.flatnonzero(~inside)))
    return float(np.nanquantile(values, share))


def whole_floor(difference: Callable[[Rows, Rows], float], groups: Sequence[Hashable]) -> float:
    """Return how far a mean over a whole set is from another such by luck, in one of a hundred.

    Halves scatter by twice as much about each other as the whole does about the truth.
    """
    return half_floor(difference, groups, 0.99) / 2


def apart(first: Floats, second: Floats) -> float:
    """Return the largest distance of two distribution functions (Kolmogorov and Smirnov's)."""
    if not len(first) or not len(second):
        return np.nan
    at = np.sort(np.concatenate([first, second]))
    below = [np.searchsorted(np.sort(one), at, "right") / len(one) for one in (first, second)]
    return float(np.abs(below[0] - below[1]).max())
