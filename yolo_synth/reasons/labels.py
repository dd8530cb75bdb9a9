"""Labels: do two sets' boxes differ, and do boxes lie where a network finds the objects?

What is wrong with labels shows where a remedy helps: boxes that are moved, made larger or called otherwise
fit to more of what the network finds. The remedy is chosen on one half of the pictures and tried on the
other, so that no luck is taken for a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from yolo_synth.boxes import Detection, iou
from yolo_synth.reasons.checks import Check, Floats, Rows, apart, half_floor, whole_floor
from yolo_synth.reasons.pictures import Pictures

NEAR: Final = 0.5
"""Overlap from which on a box is found."""

STEPS: Final = np.arange(-8, 9) / 100
"""Shifts that are tried, as shares of the picture's side."""

FACTORS: Final = 2.0 ** (np.arange(-4, 5) / 4)
"""Changes of size that are tried."""

LEAST: Final = 0.03
"""Overlap that a remedy has to gain on average, to be worth a word."""

LEAST_NAMED: Final = 0.1
"""Share of the boxes found that have to be called otherwise."""


class _Boxes(NamedTuple):
    """The true boxes of a set: corners as shares of the side [b, 4], classes [b], pictures [b]."""

    corners: Floats
    label: Rows
    picture: Rows


def _boxes(pictures: Pictures) -> _Boxes:
    side = pictures.images.shape[-1]
    targets = pictures.targets
    counts = [len(target["labels"]) for target in targets]
    return _Boxes(
        np.concatenate([target["boxes"].numpy().astype(np.float64) for target in targets]) / side,
        np.concatenate([target["labels"].numpy() for target in targets]),
        np.repeat(np.arange(len(targets)), counts),
    )


def differences(real: Pictures, synthetic: Pictures) -> Iterator[Check]:
    """Yield how far the labels of both sets differ, each beside two halves of the real ones."""
    first, second = _boxes(real), _boxes(synthetic)
    of_boxes: dict[str, Callable[[_Boxes], Floats]] = {
        "box sizes": lambda boxes: np.log(_sides(boxes).prod(1)),
        "aspect of boxes": lambda boxes: np.log(_sides(boxes)[:, 0] / _sides(boxes)[:, 1]),
        "places of boxes across": lambda boxes: boxes.corners[:, [0, 2]].mean(1),
        "places of boxes down": lambda boxes: boxes.corners[:, [1, 3]].mean(1),
    }
    for what, measure in of_boxes.items():
        a, b = measure(first), measure(second)

        def between(one: Rows, other: Rows, a: Floats = a) -> float:
            return apart(a[np.isin(first.picture, one)], a[np.isin(first.picture, other)])

        yield Check("labels", what, apart(a, b), half_floor(between, real.groups))
    counts = [
        np.bincount(boxes.picture, minlength=len(pictures)).astype(float)
        for boxes, pictures in ((first, real), (second, synthetic))
    ]
    yield Check(
        *("labels", "boxes an image", apart(*counts)),
        half_floor(lambda one, other: apart(counts[0][one], counts[0][other]), real.groups),
    )
    classes = len(real.classes)

    def shares(boxes: _Boxes, rows: Rows | None = None) -> Floats:
        own = boxes.label if rows is None else boxes.label[np.isin(boxes.picture, rows)]
        return np.bincount(own, minlength=classes) / max(1, len(own))

    def share_gap(one: Floats, other: Floats) -> float:
        return float(np.abs(one - other).sum() / 2)

    yield Check(
        *("labels", "class shares", share_gap(shares(first), shares(second))),
        half_floor(
            lambda one, other: share_gap(shares(first, one), shares(first, other)), real.groups
        ),
    )


def _sides(boxes: _Boxes) -> Floats:
    return np.maximum(boxes.corners[:, 2:] - boxes.corners[:, :2], 1e-6)


class _Pairs(NamedTuple):
    """Each true box with each of the surest detections in its picture.

    Attributes:
        boxes: All true boxes of the set.
        true: [p], which true box.
        found: [p, 4], the detection's corners as shares of the side.
        label: [p], its class.
    """

    boxes: _Boxes
    true: Rows
    found: Floats
    label: Rows

    def overlap(self, corners: Floats) -> Floats:
        """Return how far each true box overlaps what is found [b], if they had these corners."""
        best = np.zeros(len(corners))
        np.maximum.at(best, self.true, iou(corners[self.true], self.found))
        return best


def _pairs(pictures: Pictures, found: Sequence[Detection]) -> _Pairs:
    """Pair true boxes with the surest detections, twice as many in all as there are true boxes."""
    boxes = _boxes(pictures)
    scores = np.concatenate([one["scores"].numpy() for one in found])
    surest = np.sort(scores)[::-1][: 2 * len(boxes.label)]
    least = surest[-1] if len(surest) else 1.0
    side = pictures.images.shape[-1]
    true, corners, labels = [], [], []
    for picture, one in enumerate(found):
        sure = one["scores"].numpy() >= least
        own = np.flatnonzero(boxes.picture == picture)
        true.append(np.repeat(own, sure.sum()))
        corners.append(np.tile(one["boxes"].numpy()[sure] / side, (len(own), 1)))
        labels.append(np.tile(one["labels"].numpy()[sure], len(own)))
    return _Pairs(
        boxes,
        np.concatenate(true),
        np.concatenate(corners).astype(np.float64),
        np.concatenate(labels),
    )


def mistakes(pictures: Pictures, found: Sequence[Detection]) -> Iterator[Check]:
    """Yield what would be wrong with the labels of a set, by what a network finds there."""
    pairs = _pairs(pictures, found)
    corners = pairs.boxes.corners
    shifts = [np.array([x, y, x, y]) for x, y in product(STEPS, STEPS)]
    shifts.sort(key=lambda shift: float(np.abs(shift).sum()))  # of equal ones the smallest
    moved = np.array([pairs.overlap(corners + shift) for shift in shifts])
    best, gain, floor = _helps(moved, pairs.boxes.picture, pictures.groups)
    scales = [(place.scale_x, place.scale_y) for place in pictures.places]
    x, y = (shifts[best][:2] * pictures.images.shape[-1] / np.mean(scales, 0)).round().astype(int)
    yield Check(
        *("labels", f"boxes of {pictures.domain} moved", gain, floor, LEAST),
        mistake=(
            f"the boxes of {pictures.domain} lie beside their objects, by about {-x:+d} pixels across and "
            f"{-y:+d} down"
        ),
    )
    factors = sorted(FACTORS, key=lambda factor: abs(float(np.log(factor))))
    middle = (corners[:, :2] + corners[:, 2:]) / 2
    half = (corners[:, 2:] - corners[:, :2]) / 2
    scaled = np.array(
        [pairs.overlap(np.hstack([middle - f * half, middle + f * half])) for f in factors]
    )
    best, gain, floor = _helps(scaled, pairs.boxes.picture, pictures.groups)
    yield Check(
        *("network", f"size of what is found in {pictures.domain}", gain, floor, LEAST),
        mistake=(
            f"what the network finds in {pictures.domain} is {factors[best]:.2g} times as large as the "
            "true boxes: another scale of anchors, input or labels"
        ),
    )
    yield _class_order(pairs, pictures)


def _helps(overlap: Floats, picture: Rows, groups: Sequence[str]) -> tuple[int, float, float]:
    """Return which remedy is best, the mean overlap that it gains, and what halves differ by.

    Args:
        overlap: Of each true box with what is found, by remedy; the first is none [r, b].
        picture: [b], the picture of each true box.
        groups: Of the pictures.
    """
    count = len(groups)
    by_picture = np.array([np.bincount(picture, row, count) for row in overlap])
    objects = np.bincount(picture, minlength=count)
    gains = np.zeros(count)
    for own, other in _folds(groups):
        chosen = int(by_picture[:, other].sum(1).argmax())
        gains[own] = by_picture[chosen, own] - by_picture[0, own]
    best = int(by_picture.sum(1).argmax())
    return best, float(gains.sum() / max(1, objects.sum())), _gain_floor(gains, objects, groups)


def _gain_floor(gains: Floats, objects: Rows, groups: Sequence[str]) -> float:
    def share(rows: Rows) -> float:
        return float(gains[rows].sum() / max(1, objects[rows].sum()))

    return whole_floor(lambda one, other: abs(share(one) - share(other)), groups)


def _folds(groups: Sequence[str]) -> Iterator[tuple[Rows, Rows]]:
    """Yield each half of the pictures and the other one, whole groups together."""
    names = list(dict.fromkeys(groups))
    even = {name for number, name in enumerate(names) if number % 2}
    inside = np.array([group in even for group in groups])
    yield np.flatnonzero(inside), np.flatnonzero(~inside)
    yield np.flatnonzero(~inside), np.flatnonzero(inside)


def _class_order(pairs: _Pairs, pictures: Pictures) -> Check:
    """Look whether other names of the classes fit better to what is found."""
    classes, count = len(pictures.classes), len(pictures)
    near = iou(pairs.boxes.corners[pairs.true], pairs.found) >= NEAR
    kept = np.flatnonzero(near)
    _, first = np.unique(pairs.true[kept], return_index=True)  # the surest of each true box
    kept = kept[first]
    table = np.zeros((count, classes, classes))
    true = pairs.true[kept]
    np.add.at(table, (pairs.boxes.picture[true], pairs.boxes.label[true], pairs.label[kept]), 1)
    gains, orders = np.zeros(count), []
    for own, other in _folds(pictures.groups):
        order = linear_sum_assignment(table[other].sum(0), maximize=True)[1]
        orders.append(order)
        rows = np.arange(classes)
        gains[own] = (table[own][:, rows, order] - table[own][:, rows, rows]).sum(1)
    objects = table.sum((1, 2)).astype(np.int64)
    order = linear_sum_assignment(table.sum(0), maximize=True)[1]
    names = [
        f"{pictures.classes[own]} is {pictures.classes[other]}"
        for own, other in enumerate(order)
        if own != other
    ]
    return Check(
        *("labels", f"order of classes in {pictures.domain}"),
        float(gains.sum() / max(1, objects.sum())),
        _gain_floor(gains, objects, pictures.groups),
        LEAST_NAMED,
        f"the classes of {pictures.domain} have another order: {', '.join(names)}",
    )
