"""Average precision of two lists on the same images, and how sure their difference is.

mAP is no mean over images, so no formula gives its standard error. The jackknife does: one group of
images after the other is left out (a sequence; an image that belongs to none is a group), of both lists,
and the areas under both lists' curves of precision are computed again from all that remains. (The area and
not the 101 points: at each of those a curve that ends early jumps by a hundredth of its precision, which
the jackknife would multiply.) More than `BLOCKS` groups are left out in so many blocks, drawn once. The
interval is the difference +- t x the jackknife's standard error, t from Student's distribution. A
bootstrap of the groups says too little where they are few. `benchmarks/difference.py` measures how often
the intervals hold the true difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from yolo_synth.difference.precision import Matches, Ranking, Weights, matches, rankings
from yolo_synth.difference.results import Results
from yolo_synth.difference.truth import CONDITIONS, SIZES, Truth, told
from yolo_synth.matching import THRESHOLDS, Floats, Integers

BLOCKS: Final = 40
"""How many times something is left out, at most."""
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


def score_table(first: Results, second: Results, truth: Truth) -> pd.DataFrame:
    """Return mAP of both lists and the difference B - A with its 95 % interval.

    Args:
        first: List A.
        second: List B.
        truth: What is really there.

    Returns:
        A row for mAP (over IoU 0.5 to 0.95) and mAP@0.5 of everything, and one for mAP@0.5 of each
        class, size and condition that has true boxes, but for a condition that all images meet;
        columns `COLUMNS`. `low` and `high` are missing
        where there are fewer than five groups, or one has all boxes of a class.
    """
    lists = (first, second)
    whole = [matches(each, truth) for each in lists]
    rows = []
    for part in _parts(truth):
        found = whole if part.size is None else [matches(x, truth, SIZES[part.size]) for x in lists]
        rows += _rows(lists, found, truth, part)
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
    without = areas(ranked, leavings(len(names))) if enough else None
    about = (len(part.images), len(names))

    def row(
        measure: str, kind: str, of: str, labels: Integers, thresholds: int
    ) -> tuple[object, ...]:
        a, b = np.nanmean(here[:, labels, :thresholds], axis=(1, 2))
        low = high = np.nan
        if without is not None:
            differences = _differences(without[:, :, labels, :thresholds])
            low, high = interval(b - a, differences)
        return measure, kind, of, *about, objects[labels].sum(), a, b, b - a, low, high

    there = np.flatnonzero(objects)
    rows = [row("mAP@0.5", part.part, part.of, there, 1)]
    if part.part == "all":
        rows.append(row("mAP", "all", "", there, thresholds))
        rows += [
            row("mAP@0.5", "class", truth.classes[label], np.array([label]), 1) for label in there
        ]
    return rows


def leavings(groups: int) -> Weights:
    """Return which groups remain where one block after the other is left out, [blocks, groups]."""
    size = -(-groups // BLOCKS)
    block = np.random.default_rng(0).permutation(groups) // size
    remains: Weights = (block != np.arange(block.max() + 1)[:, None]).astype(np.int32)
    return remains


def precisions(ranked: list[list[Ranking]], weights: Weights) -> Floats:
    """Return average precisions, [draws, lists, classes, thresholds].

    Args:
        ranked: The rankings of each list and class.
        weights: [draws, groups], how often each group counts.
    """
    return _of_draws(Ranking.average_precision, ranked, weights)


def areas(ranked: list[list[Ranking]], weights: Weights) -> Floats:
    """Return areas under the curves of precision; takes and returns what `precisions` does."""
    return _of_draws(Ranking.area, ranked, weights)


def _of_draws(
    measure: Callable[[Ranking, Weights], Floats], ranked: list[list[Ranking]], weights: Weights
) -> Floats:
    def one(of_draw: Weights) -> Floats:
        return np.array([[measure(x, of_draw) for x in of_list] for of_list in ranked])

    with ThreadPoolExecutor(2) as pool:  # numpy lets go of the interpreter in long loops
        return np.array(list(pool.map(one, weights)))


def _differences(without: Floats) -> Floats:
    """Return the differences of mean average precisions; a class without a box is out of the mean.

    Args:
        without: [blocks, lists, classes, thresholds].

    Returns:
        [blocks], NaN where no class has a box.
    """
    there = ~np.isnan(without)
    total = np.where(there, without, 0).sum((2, 3))
    count = there.sum((2, 3))
    means = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return np.asarray(means[:, 1] - means[:, 0])


def interval(difference: float, without: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a difference, from what it is without each of the blocks."""
    blocks = len(without)
    error = np.sqrt((blocks - 1) * without.var())
    half = stats.t.ppf((1 + level) / 2, blocks - 1) * error
    return float(difference - half), float(difference + half)
