"""What the misses are: true boxes of the real pictures that a network does not find, and an oracle does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from yolo_synth.boxes import Detection
from yolo_synth.difference.errors import errors
from yolo_synth.difference.precision import matches
from yolo_synth.difference.results import Results
from yolo_synth.difference.scores import FEWEST_GROUPS, interval, leavings
from yolo_synth.difference.truth import Truth
from yolo_synth.matching import MOST, Boxes, rank
from yolo_synth.reasons.pictures import Estimate, Pictures

SMALL: Final = 32
"""Side in pixels of the picture below which a box is small, as COCO's."""

Flags = NDArray[np.bool_]


class Part(NamedTuple):
    """Some of the true boxes.

    Attributes:
        name: Which, as `below 32 px`.
        boxes: How many.
        missed: How many of them the network does not find.
        oracle: How many of these the oracle finds; None without one.
        more: How much more often they are missed than the other boxes.
    """

    name: str
    boxes: int
    missed: int
    oracle: int | None
    more: Estimate


def misses(
    pictures: Pictures, found: Sequence[Detection], oracle: Sequence[Detection] | None = None
) -> list[Part]:
    """Return all true boxes first, then those below 32 px, of each class and of each time of day.

    A box is found if a detection of its class overlaps it by half, from the confidence on at which F1 is
    best.

    Args:
        pictures: The real pictures.
        found: What the network finds there.
        oracle: What the oracle finds in the same pictures.
    """
    truth = _truth(pictures)
    missed = ~_is_found(truth, found)
    by_oracle = None if oracle is None else _is_found(truth, oracle)
    label, image = truth.boxes.label, truth.boxes.image
    parts = {"all": np.ones(len(label), bool), f"below {SMALL} px": truth.area < SMALL**2}
    parts |= {name: label == number for number, name in enumerate(pictures.classes)}
    times = np.array(pictures.timeofday)
    for time in sorted(set(pictures.timeofday) - {"", "undefined", "nan"}):
        parts[time] = (times == time)[image]
    group = np.unique(np.array(pictures.groups), return_inverse=True)[1][image]
    return [
        Part(
            name,
            int(inside.sum()),
            int((missed & inside).sum()),
            None if by_oracle is None else int((missed & by_oracle & inside).sum()),
            _more(missed, inside, group),
        )
        for name, inside in parts.items()
        if inside.any()
    ]


def miss_table(parts: Sequence[Part]) -> pd.DataFrame:
    """Return a row a part."""
    rows = []
    for part in parts:
        row = {"true boxes": part.boxes, "missed": part.missed, "share": part.missed / part.boxes}
        if part.oracle is not None:
            row["of these the oracle finds"] = part.oracle
        row |= {"difference to others": part.more.value}
        row |= {"low": part.more.low, "high": part.more.high}
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index([part.name for part in parts], name="boxes"))


def _more(missed: Flags, inside: Flags, group: NDArray[np.int64]) -> Estimate:
    """Return the share missed inside less that outside, with its interval over groups (jackknife)."""
    groups = int(group.max(initial=-1)) + 1
    counts = [
        np.bincount(group, (inside == side) & (missed | (what == "all")), groups)
        for side in (True, False)
        for what in ("missed", "all")
    ]

    def apart(weights: NDArray[np.int32]) -> float:
        inner, all_inner, outer, all_outer = (float(weights @ count) for count in counts)
        return inner / all_inner - outer / all_outer if all_inner and all_outer else np.nan

    value = apart(np.ones(groups, np.int32))
    if groups < FEWEST_GROUPS or np.isnan(value):
        return Estimate(value, np.nan, np.nan)
    without = np.array([apart(rest) for rest in leavings(groups)])
    return Estimate(value, *interval(value, without))


def _is_found(truth: Truth, found: Sequence[Detection]) -> Flags:
    results = _results(found)
    return np.asarray(errors(results, truth, matches(results, truth)).finder >= 0)


def _truth(pictures: Pictures) -> Truth:
    """Return the true boxes in pixels of the network's input; areas are in those of the pictures."""
    targets = pictures.targets
    corners = np.concatenate([t["boxes"].numpy().astype(np.float64) for t in targets])
    label = np.concatenate([t["labels"].numpy() for t in targets])
    image = np.repeat(np.arange(len(targets)), [len(t["labels"]) for t in targets])
    scale = np.array([place.scale_x * place.scale_y for place in pictures.places])
    area = (corners[:, 2:] - corners[:, :2]).prod(1) / scale[image]
    frame = pd.DataFrame({"id": range(len(targets))})
    classes = list(pictures.classes)
    boxes = Boxes(corners, label, image)
    nowhere = np.zeros(len(label), bool)
    return Truth(pictures.domain, classes, {}, frame, boxes, range(len(label)), area, nowhere, None)


def _results(found: Sequence[Detection]) -> Results:
    corners = np.concatenate([f["boxes"].numpy().astype(np.float64) for f in found])
    label = np.concatenate([f["labels"].numpy() for f in found])
    scores = np.concatenate([f["scores"].numpy().astype(np.float64) for f in found])
    image = np.repeat(np.arange(len(found)), [len(f["labels"]) for f in found])
    order = np.lexsort([-scores, image])
    boxes = Boxes(corners, label, image).take(order)
    few = rank(boxes.kind) < MOST
    return Results("found", boxes.take(np.flatnonzero(few)), scores[order][few], [])
