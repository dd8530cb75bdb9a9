"""Average precision of images that count several times or not at all, without matching anew.

What a detection hits does not depend on other images. So the average precision without some images,
or with some twice, follows from weights: in the order of the scores, every detection counts as often as its
image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolo_synth.difference.results import Results
from yolo_synth.difference.truth import Truth
from yolo_synth.matching import RECALLS, THRESHOLDS, Flags, Floats, Integers, partners

Weights = NDArray[np.int32]


@dataclass(frozen=True)
class Matches:
    """What the detections of a list hit.

    Attributes:
        hits: [detections, thresholds], right.
        counts: [detections, thresholds], right or wrong: what took a box that is set aside is neither.
        aside: [true boxes], those that are set aside.
        taken: [detections], the true box that each takes at IoU 0.5, -1 for none.
    """

    hits: Flags
    counts: Flags
    aside: Flags
    taken: Integers


def matches(results: Results, truth: Truth, area: tuple[float, float] | None = None) -> Matches:
    """Match a list with the truth, or with its boxes of some size by COCO's rules.

    Args:
        results: The detections.
        truth: What is really there.
        area: Least and greatest area; other true boxes are set aside, and so are detections of other
            areas that take nothing.
    """
    boxes = results.boxes
    aside = truth.crowd.copy()
    if area is not None:
        aside |= (truth.area < area[0]) | (truth.area > area[1])
    taken = partners(boxes, truth.boxes, aside, truth.crowd)
    there = taken >= 0
    neither = there & np.append(aside, False)[taken]
    counts = ~neither
    if area is not None:
        own = (boxes.corners[:, 2:] - boxes.corners[:, :2]).prod(1)
        counts &= there | ((own >= area[0]) & (own <= area[1]))[:, None]
    return Matches(there & ~neither, counts, aside, taken[:, 0])


@dataclass(frozen=True)
class Ranking:
    """The detections of one class, the surest first, as far as average precision needs them.

    Attributes:
        group: [detections], the group of each, whose weight it has.
        hits: For each threshold the positions of the hits.
        counts: For each threshold which detections count; None if all do at all thresholds.
        objects: [groups], how many true boxes each has.
    """

    group: Integers
    hits: list[Integers]
    counts: list[Flags] | None
    objects: Integers

    def average_precision(self, weights: Weights) -> Floats:
        """Return the 101-point average precision at each threshold; NaN without a true box.

        Args:
            weights: [groups], how often each group counts.
        """
        objects = int(weights @ self.objects)
        result = np.full(len(self.hits), np.nan)
        if not objects:
            return result
        needed = _least(objects)
        for threshold, (_, true, precision) in enumerate(self._curves(weights)):
            place = np.searchsorted(true, needed)
            place = place[place < len(true)]
            # the best precision at a recall or a greater one; 0 where no detection gets that far
            best = np.maximum.reduceat(precision, place) if len(place) else np.zeros(0)
            result[threshold] = np.maximum.accumulate(best[::-1]).sum() / len(RECALLS)
        return result

    def area(self, weights: Weights) -> Floats:
        """Return the area under the same curve, without jumps where a recall passes one of 101 points.

        Takes and returns what `average_precision` does.
        """
        objects = int(weights @ self.objects)
        if not objects:
            return np.full(len(self.hits), np.nan)
        envelopes = (
            (each, np.maximum.accumulate(precision[::-1])[::-1])
            for each, _, precision in self._curves(weights)
        )
        return np.array([(each @ best) / objects for each, best in envelopes])

    def _curves(self, weights: Weights) -> Iterator[tuple[Weights, Weights, Floats]]:
        """Yield of each threshold's hits the weights, how many true boxes are found, and precision."""
        each = weights[self.group]
        seen = np.cumsum(each, dtype=np.int32)
        for threshold, at in enumerate(self.hits):
            if self.counts:
                seen = np.cumsum(each * self.counts[threshold], dtype=np.int32)
            true = np.cumsum(each[at], dtype=np.int32)
            yield each[at], true, true / np.maximum(seen[at], 1)


def _least(objects: int) -> Integers:
    """Return the least numbers of hits that reach each of the recalls."""
    needed = np.ceil(RECALLS * objects).astype(np.int64)
    needed -= (needed - 1) / objects >= RECALLS  # as the division rounds
    needed += needed / objects < RECALLS
    return needed


def rankings(
    results: Results, truth: Truth, found: Matches, group: Integers, groups: int, thresholds: int
) -> list[Ranking]:
    """Rank the detections of each class.

    Args:
        results: The detections.
        truth: What is really there.
        found: What they hit.
        group: [images], the group that each image belongs to; -1 leaves it out.
        groups: How many groups there are.
        thresholds: How many of `THRESHOLDS` to look at, from 0.5 on.
    """
    assert thresholds <= len(THRESHOLDS)
    boxes = results.boxes
    of_box = group[boxes.image]
    order = np.lexsort([boxes.image, -results.scores])  # stable, as pycocotools sorts
    order = order[of_box[order] >= 0]
    labels = boxes.label[order]
    real = ~found.aside & (group[truth.boxes.image] >= 0)
    ranked = []
    for label in range(len(truth.classes)):
        own = order[labels == label]
        hits = found.hits[own, :thresholds]
        counts = found.counts[own, :thresholds]
        of_class = real & (truth.boxes.label == label)
        ranked.append(
            Ranking(
                of_box[own],
                [np.flatnonzero(column) for column in hits.T],
                None if counts.all() else list(counts.T),
                np.bincount(group[truth.boxes.image[of_class]], minlength=groups),
            )
        )
    return ranked
