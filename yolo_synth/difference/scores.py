"""Average precision of two lists on the same images, and how sure their difference is.

mAP is no mean over images, so no formula gives its standard error: whole groups of images (sequences;
an image that belongs to no group is one) are drawn anew, with replacement, as many as there are, both
lists get the same draw, and the two mAPs are computed again from all their detections. The interval is
the difference +- t x the standard deviation of the redrawn differences, t from Student's distribution
with groups - 1 degrees of freedom and the deviation widened by sqrt(groups / (groups - 1)), since a draw
from few groups varies too little. It is symmetric on purpose: a redrawn mAP is a little too high (the
best precision to the right is the best of noisy ones), which a percentile interval would inherit.
`benchmarks/difference.py` measures how often it holds the true difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from yolo_synth.difference.precision import Matches, Ranking, Weights, matches, rankings
from yolo_synth.difference.results import Results
from yolo_synth.difference.truth import CONDITIONS, SIZES, Truth, told
from yolo_synth.matching import THRESHOLDS, Floats, Integers

RESAMPLES: Final = 1000
FEWEST_GROUPS: Final = 5
"""Of fewer groups nothing can be said about the spread."""

COLUMNS: Final = (
    *("measure", "part", "of", "images", "groups", "boxes", "A", "B"),
    *("difference", "low", "high"),
)


class Part(NamedTuple):
    """Some of the images and boxes, on which both lists are measured.

    Attributes:
        part: What decides it: all, class, size or a condition.
        of: Which: the class, the size, the value.
        images: [images], whether each belongs to it.
        size: COCO's size that the boxes have to have, or None.
    """

    part: str
    of: str
    images: Integers
    size: str | None = None


def score_table(
    first: Results, second: Results, truth: Truth, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Return mAP of both lists and the difference B - A with its 95 % interval.

    Args:
        first: List A.
        second: List B.
        truth: What is really there.
        resamples: How often the images are drawn anew.
        seed: Of the draw.

    Returns:
        A row for mAP (over IoU 0.5 to 0.95) and mAP@0.5 of everything, and one for mAP@0.5 of each
        class, size and condition that has true boxes, but for a condition that all images meet;
        columns `COLUMNS`. `low` and `high` are missing
        where there are fewer than five groups.
    """
    lists = (first, second)
    whole = [matches(each, truth) for each in lists]
    rows = []
    for part in _parts(truth):
        found = whole if part.size is None else [matches(x, truth, SIZES[part.size]) for x in lists]
        rows += _rows(lists, found, truth, part, resamples, seed)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _parts(truth: Truth) -> Iterator[Part]:
    everything = np.arange(len(truth.images))
    yield Part("all", "", everything)
    for size in SIZES:
        yield Part("size", size, everything, size)
    for condition in CONDITIONS:
        values = truth.images[condition].to_numpy(object)
        for value in told(values):
            yield Part(condition, value, np.flatnonzero(values == value))


def _rows(
    lists: tuple[Results, Results],
    found: list[Matches],
    truth: Truth,
    part: Part,
    resamples: int,
    seed: int,
) -> list[tuple[object, ...]]:
    """Return the rows of a part: of everything also mAP over all thresholds, and each class."""
    group = np.full(len(truth.images), -1)
    names, group[part.images] = np.unique(truth.group[part.images], return_inverse=True)
    thresholds = len(THRESHOLDS) if part.part == "all" else 1
    ranked = [
        rankings(each, truth, hits, group, len(names), thresholds)
        for each, hits in zip(lists, found, strict=True)
    ]
    objects = np.array([ranking.objects.sum() for ranking in ranked[0]])
    if not objects.any():
        return []
    weights = np.ones((1, len(names)), np.int32)
    here = precisions(ranked, weights)[0]
    enough = len(names) >= FEWEST_GROUPS
    again = precisions(ranked, draws(len(names), resamples, seed)) if enough else None
    about = (len(part.images), len(names))

    def row(
        measure: str, kind: str, of: str, labels: Integers, thresholds: int
    ) -> tuple[object, ...]:
        a, b = np.nanmean(here[:, labels, :thresholds], axis=(1, 2))
        low = high = np.nan
        if again is not None:
            differences = _differences(again[:, :, labels, :thresholds])
            low, high = interval(b - a, differences, len(names))
        return measure, kind, of, *about, objects[labels].sum(), a, b, b - a, low, high

    there = np.flatnonzero(objects)
    rows = [row("mAP@0.5", part.part, part.of, there, 1)]
    if part.part == "all":
        rows.append(row("mAP", "all", "", there, thresholds))
        rows += [
            row("mAP@0.5", "class", truth.classes[label], np.array([label]), 1) for label in there
        ]
    return rows


def draws(groups: int, resamples: int, seed: int) -> Weights:
    """Return how often each group is drawn, [resamples, groups]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1 / groups), resamples).astype(np.int32)


def precisions(ranked: list[list[Ranking]], weights: Weights) -> Floats:
    """Return average precisions, [resamples, lists, classes, thresholds]."""
    one = partial(_one, ranked)
    with ThreadPoolExecutor(2) as pool:  # numpy lets go of the interpreter in long loops
        return np.array(list(pool.map(one, weights)))


def _one(ranked: list[list[Ranking]], weights: Weights) -> Floats:
    return np.array(
        [[ranking.average_precision(weights) for ranking in of_list] for of_list in ranked]
    )


def _differences(again: Floats) -> Floats:
    """Return the differences of mean average precisions; a class without a box is out of the mean.

    Args:
        again: [resamples, lists, classes, thresholds].
    """
    there = ~np.isnan(again).all(axis=(1, 2, 3))
    means = np.nanmean(again[there], axis=(2, 3))
    return np.asarray(means[:, 1] - means[:, 0])


def interval(difference: float, again: Floats, groups: int) -> tuple[float, float]:
    """Return the 95 % interval of a difference, from differences of redrawn groups."""
    wider = np.sqrt(groups / (groups - 1))
    half = stats.t.ppf(0.975, groups - 1) * again.std(ddof=1) * wider if len(again) > 1 else np.nan
    return float(difference - half), float(difference + half)
