"""What a detector is good and bad at: precision and recall over confidence, calibration, confusion, recall.

A detection is right if it takes a true box of its class at IoU 0.5 by COCO's rules (`matching`); what
lies in a crowd is neither right nor wrong. All classes are pooled, so that each box weighs the same.

Intervals are 95 % and come of a bootstrap of groups of images (a sequence; an image that belongs to none is
a group), with percentiles widened for few groups as Hesterberg (2015, section 5.3) does: a bootstrap's
own are too narrow by the square root of (n - 1) / n and of Student's factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from yolo_synth.average_precision import boxes_of, true_boxes
from yolo_synth.boxes import Detection, Target
from yolo_synth.difference.scores import FEWEST_GROUPS
from yolo_synth.difference.truth import SIZES, told
from yolo_synth.matching import MOST, Boxes, Flags, Floats, Integers, partners, rank

CONFIDENCES: Final = np.linspace(0.01, 0.99, 99)
"""Least scores at which precision and recall are taken."""

BINS: Final = 10
"""Of equal width, for the calibration."""

CALIBRATED_FROM: Final = 0.05
"""Least score of a detection that the calibration counts: below are so many that they would decide it."""

DRAWS: Final = 400
"""Of the bootstrap."""

_KNOWN: Final = 0.9
"""Share of the draws that have a value (a rare class is in few) from which on there is an interval."""

_DIGITS: Final = 6


@dataclass(frozen=True)
class Diagnosis:
    """What was found of one detector on one set of images; plain values, as JSON has them.

    Attributes:
        classes: Names of the classes.
        images: Number of images.
        groups: Number of groups of them.
        boxes: Number of true boxes.
        values: `confidence` (at which F1 is best), `f1`, `precision` and `recall` there and `error`, the
            expected calibration error, each with `_low` and `_high`; NaN is None.
        curves: `precision`, `recall` and `f1` at each of `CONFIDENCES`, each with `_low` and `_high`.
        reliability: A row a bin: mean `score`, share that is `right`, `low`, `high`, `count`.
        recalls: A row a part (class, size, condition) at the best confidence: `part`, `of`, `boxes`,
            `recall`, `low`, `high`.
        confusion: [classes + 1][classes + 1] at the best confidence, class-blind at IoU 0.5: rows are
            the true class, columns what it was called; the last row is background, the last column
            missed.
    """

    classes: list[str]
    images: int
    groups: int
    boxes: int
    values: dict[str, float | None]
    curves: dict[str, list[float | None]]
    reliability: list[dict[str, Any]]
    recalls: list[dict[str, Any]]
    confusion: list[list[int]]


@dataclass(frozen=True)
class _Draws:
    """How often each group counts: once, and then in each draw of the bootstrap [1 + draws, groups]."""

    weights: Floats
    group: Integers

    def totals(self, of_image: Integers, place: Integers, places: int, value: Floats) -> Floats:
        """Sum values by place, each as often as its image's group counts [1 + draws, places]."""
        groups = self.weights.shape[1]
        at = self.group[of_image] * places + place
        table = np.bincount(at, value, groups * places).reshape(groups, places)
        return np.asarray(self.weights @ table)

    def interval(self, values: Floats) -> tuple[Floats, Floats]:
        """Return the ends of the interval of values [1 + draws, ...]; NaN with too few groups or draws."""
        groups = self.weights.shape[1]
        if groups < FEWEST_GROUPS:
            return np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)
        known = np.isfinite(values[1:]).mean(0) >= _KNOWN
        drawn = np.where(known, values[1:], 0)
        wide = stats.norm.cdf(stats.t.ppf(0.025, groups - 1) * (groups / (groups - 1)) ** 0.5)
        low, high = (np.nanquantile(drawn, q, axis=0) for q in (wide, 1 - wide))
        return np.where(known, low, np.nan), np.where(known, high, np.nan)


def diagnose(
    found: Sequence[Detection],
    targets: Sequence[Target],
    classes: Sequence[str],
    groups: Sequence[str],
    scales: Floats | None = None,
    conditions: Mapping[str, Sequence[str]] | None = None,
) -> Diagnosis | None:
    """Diagnose a detector; None without a true box.

    Args:
        found: What was detected in each image, in any order.
        targets: What is there.
        classes: Names of the classes.
        groups: What each image belongs to.
        scales: Of each image the square pixels of the picture for one of the network's input: sizes are
            the picture's, as COCO's are.
        conditions: What the data say of each image, as weather; "" where they do not.
    """
    truth, crowd = true_boxes(targets)
    if not (~crowd).any():
        return None
    detected, scores = _by_score(found)
    taken = partners(detected, truth, crowd, crowd)[:, 0]
    hit = (taken >= 0) & ~np.append(crowd, False)[taken]
    counts = hit | (taken < 0)
    draws = _drawn(groups)
    reached = np.zeros(len(truth.label))
    reached[taken[hit]] = scores[hit]
    real = ~crowd
    totals = draws.totals(truth.image[real], np.zeros(real.sum(), int), 1, np.ones(real.sum()))
    curves = _curves(draws, detected.image, scores, hit, counts, totals)
    best = curves["f1"].argmax(1)
    # precision, recall and F1 are of one confidence, the best of all images
    values = {name: curve[:, best[0]] for name, curve in curves.items()}
    values["confidence"] = CONFIDENCES[best]
    reliability, values["error"] = _calibration(draws, detected.image, scores, hit, counts)
    confidence = float(CONFIDENCES[best[0]])
    sizes = np.ones(len(targets)) if scales is None else scales
    parts = _parts(truth, classes, sizes, conditions or {})
    return Diagnosis(
        list(classes),
        len(targets),
        draws.weights.shape[1],
        int(real.sum()),
        _ends(draws, values),
        _ends(draws, curves),
        reliability,
        list(_recalls(draws, truth, real, reached >= confidence, parts)),
        _confusion(detected, scores >= confidence, truth, crowd, len(classes)),
    )


def _by_score(found: Sequence[Detection]) -> tuple[Boxes, Floats]:
    """Return the detections that count, the surest of an image first, and their scores."""
    boxes = boxes_of(found)
    scores = np.concatenate([one["scores"].detach().cpu().numpy() for one in found])
    scores = scores.astype(np.float64)
    order = np.lexsort([-scores, boxes.image])
    order = order[rank(boxes.kind[order]) < MOST]
    return boxes.take(order), scores[order]


def _drawn(groups: Sequence[str]) -> _Draws:
    names, group = np.unique(np.array(groups, object).astype(str), return_inverse=True)
    alone = len(names)
    draws = np.random.default_rng(0).multinomial(alone, np.full(alone, 1 / alone), DRAWS)
    return _Draws(np.vstack([np.ones(alone), draws]), group)


def _curves(
    draws: _Draws, image: Integers, scores: Floats, hit: Flags, counts: Flags, boxes: Floats
) -> dict[str, Floats]:
    """Return precision, recall and F1 by draw and confidence [1 + draws, confidences]."""
    level = np.searchsorted(CONFIDENCES, scores, "right")
    places = len(CONFIDENCES) + 1

    def at_least(value: Flags) -> Floats:
        table = draws.totals(image, level, places, value.astype(float))
        return np.asarray(table[:, ::-1].cumsum(1)[:, ::-1][:, 1:])

    right, called = at_least(hit), at_least(counts)
    return {
        "precision": _share(right, called),
        "recall": _share(right, np.broadcast_to(boxes, right.shape)),
        "f1": np.nan_to_num(_share(2 * right, called + boxes)),
    }


def _share(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def _calibration(
    draws: _Draws, image: Integers, scores: Floats, hit: Flags, counts: Flags
) -> tuple[list[dict[str, Any]], Floats]:
    """Return a row a bin, and the expected calibration error by draw."""
    sure = counts & (scores >= CALIBRATED_FROM)
    place = np.minimum((scores[sure] * BINS).astype(int), BINS - 1)
    number, right, score = (
        draws.totals(image[sure], place, BINS, values[sure])
        for values in (np.ones(len(scores)), hit.astype(float), scores)
    )
    error = _share(np.abs(right - score).sum(1), number.sum(1))
    share = _share(right, number)
    low, high = draws.interval(share)
    rows = [
        {
            "score": _plain(score[0, b] / number[0, b]),
            "right": _plain(share[0, b]),
            "low": _plain(low[b]),
            "high": _plain(high[b]),
            "count": int(number[0, b]),
        }
        for b in np.flatnonzero(number[0])
    ]
    return rows, error


def _parts(
    truth: Boxes, classes: Sequence[str], scales: Floats, conditions: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, str, Flags]]:
    """Yield parts of the true boxes: everything, each class, size and value of a condition."""
    yield "all", "", np.ones(len(truth.label), bool)
    for label, name in enumerate(classes):
        yield "class", name, truth.label == label
    area = (truth.corners[:, 2:] - truth.corners[:, :2]).prod(1) * scales[truth.image]
    edges = [greatest for _, greatest in SIZES.values()][:-1]
    for number, name in enumerate(SIZES):
        yield "size", name, np.searchsorted(edges, area) == number
    for condition, values in conditions.items():
        of_image = np.array(values, object)
        for value in told(of_image):
            yield condition, value, of_image[truth.image] == value


def _recalls(
    draws: _Draws,
    truth: Boxes,
    real: Flags,
    found: Flags,
    parts: Iterator[tuple[str, str, Flags]],
) -> Iterator[dict[str, Any]]:
    for part, of, chosen in parts:
        own = chosen & real
        if not own.any():
            continue
        # the first column is missed, the second found
        both = draws.totals(truth.image[own], found[own].astype(int), 2, np.ones(own.sum()))
        recall = _share(both[:, 1], both.sum(1))
        low, high = draws.interval(recall)
        yield {
            "part": part,
            "of": of,
            "boxes": int(own.sum()),
            "recall": _plain(recall[0]),
            "low": _plain(low),
            "high": _plain(high),
        }


def _confusion(
    found: Boxes, sure: Flags, truth: Boxes, crowd: Flags, classes: int
) -> list[list[int]]:
    found = found.take(np.flatnonzero(sure))
    order = np.arange(len(found.label))
    one, other = (each._replace(label=np.zeros_like(each.label)) for each in (found, truth))
    taken = partners(one, other, crowd, crowd)[:, 0]
    matrix = np.zeros((classes + 1, classes + 1), int)
    counted = order[(taken < 0) | ~np.append(crowd, False)[taken]]
    called = np.where(taken >= 0, np.append(truth.label, 0)[taken], classes)
    np.add.at(matrix, (called[counted], found.label[counted]), 1)
    missed = np.setdiff1d(np.flatnonzero(~crowd), taken)
    np.add.at(matrix, (truth.label[missed], np.full(len(missed), classes)), 1)
    table: list[list[int]] = matrix.tolist()
    return table


def _ends(draws: _Draws, values: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return each value and the ends of its interval, as plain lists."""
    rows: dict[str, Any] = {}
    for name, of_draws in values.items():
        low, high = draws.interval(of_draws)
        rows |= {name: of_draws[0], f"{name}_low": low, f"{name}_high": high}
    return {name: _plain(row) for name, row in rows.items()}


def _plain(value: Any) -> Any:  # noqa: ANN401 - an array, or one number
    """Return rounded Python numbers; None for NaN, which JSON has not."""
    if np.ndim(value):
        return [_plain(one) for one in value]
    return round(float(value), _DIGITS) if np.isfinite(value) else None
