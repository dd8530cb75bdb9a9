"""Boxes matched with true boxes by COCO's rules, and the average precision that comes of it.

The surest detection of an image chooses first; it takes, of the true boxes of its class that are still
free, the one it overlaps most, if their IoU reaches the threshold. A true box may be set aside, as COCO
sets aside crowds and boxes of another size: it is taken only where no other can be, and what takes it is
neither right nor wrong.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_synth.boxes import iou

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)
"""Least IoU of a hit: 0.5, 0.55, ..., 0.95."""

RECALLS: Final = np.linspace(0, 1, 101)
"""Recalls at which the precision is averaged."""

MOST: Final = 100
"""How many detections of an image and class count, the surest ones."""


class Boxes(NamedTuple):
    """The n boxes of some images, those of an image one after the other.

    Attributes:
        corners: [n, 4], `x1, y1, x2, y2`.
        label: [n], class indices.
        image: [n], image indices.
    """

    corners: Floats
    label: Integers
    image: Integers

    @property
    def kind(self) -> Integers:
        """[n]: the same number for boxes of the same image and class."""
        return self.image << 32 | self.label

    def take(self, index: Integers) -> Boxes:
        """Return some of the boxes."""
        return Boxes(self.corners[index], self.label[index], self.image[index])


def partners(
    found: Boxes, truth: Boxes, aside: Flags | None = None, crowd: Flags | None = None
) -> Integers:
    """Return the index of the true box that each detection takes, -1 for none.

    Args:
        found: The detections, the surest of an image first.
        truth: The true boxes.
        aside: [true boxes], those that are set aside.
        crowd: [true boxes], those of them that any number of detections may take, by the share of the
            detection that lies inside.

    Returns:
        [detections, thresholds].
    """
    aside = np.zeros(len(truth.label), bool) if aside is None else aside
    crowd = np.zeros(len(truth.label), bool) if crowd is None else crowd
    taken = np.full((len(found.label), len(THRESHOLDS)), -1)
    free = np.ones((len(truth.label), len(THRESHOLDS)), bool)
    left, right = pairs(found.kind, truth.kind)
    overlap = iou(found.corners[left], truth.corners[right], crowd[right])
    near = overlap >= THRESHOLDS[0]
    left, right, overlap = left[near], right[near], overlap[near]
    # Detections of one image and class choose one after the other, all others at the same time.
    choosing, pair = np.unique(left, return_inverse=True)
    turn = rank(found.kind[choosing])[pair]
    # A detection's last pair is its best; of equal ones pycocotools takes the last true box.
    order = np.lexsort([right, overlap, ~aside[right], left, turn])
    left, right, overlap, turn = left[order], right[order], overlap[order], turn[order]
    turns = np.searchsorted(turn, np.arange(turn.max(initial=-1) + 2))
    for begin, end in pairwise(turns.tolist()):
        one, other = left[begin:end], right[begin:end]
        possible = free[other] & (overlap[begin:end, None] >= THRESHOLDS)
        last = np.where(possible, np.arange(end - begin)[:, None], -1)
        starts = np.flatnonzero(np.diff(one, prepend=-1))
        best = np.maximum.reduceat(last, starts)  # [detections, thresholds], -1: none
        chooser, threshold = np.nonzero(best >= 0)
        chosen = other[best[chooser, threshold]]
        taken[one[starts[chooser]], threshold] = chosen
        free[chosen, threshold] = crowd[chosen]
    return taken


def average_precision(hits: Flags, objects: int, aside: Flags | None = None) -> Floats:
    """Return the 101-point average precision at each threshold.

    Args:
        hits: [detections, thresholds], the surest detection first.
        objects: Number of true boxes, at least one.
        aside: [detections, thresholds], which are neither right nor wrong; None for none.

    Returns:
        [thresholds].
    """
    result = np.empty(hits.shape[1])
    for threshold, hit in enumerate(hits.T):
        if aside is not None:
            hit = hit[~aside[:, threshold]]
        true = np.cumsum(hit)
        precision = true / np.arange(1, len(true) + 1)
        # the best precision at this recall or a greater one; 0 where no detection gets that far
        envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        result[threshold] = envelope[np.searchsorted(true / objects, RECALLS)].mean()
    return result


def pairs(left: Integers, right: Integers) -> tuple[Integers, Integers]:
    """Return the indices of all pairs of equal values."""
    order = np.argsort(right, kind="stable")
    first = np.searchsorted(right, left, "left", sorter=order)
    count = np.searchsorted(right, left, "right", sorter=order) - first
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(np.arange(len(left)), count), order[np.repeat(first, count) + within]


def rank(kinds: Integers) -> Integers:
    """Return how many equal values stand before each."""
    order = np.argsort(kinds, kind="stable")
    result = np.empty(len(kinds), np.int64)
    result[order] = np.arange(len(kinds)) - np.searchsorted(kinds, kinds[order], sorter=order)
    return result
