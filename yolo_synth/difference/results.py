"""What a detector found: COCO's result format, checked against the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from yolo_synth.difference.truth import Key, Truth, decode, to_corners
from yolo_synth.matching import MOST, Boxes, Floats, rank

Found = str | Path | Sequence[Mapping[str, Any]]
"""A result file, or what it would hold: `image_id`, `category_id`, `bbox` and `score` of each box."""


class _Row(msgspec.Struct, gc=False):
    image_id: Key
    category_id: Key
    bbox: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Results:
    """The detections of one detector that count.

    Attributes:
        name: What it is called.
        boxes: In pixels of the pictures, those of an image together, the surest of them first.
        scores: [boxes].
        notes: What was left out or is remarkable, a sentence each.
    """

    name: str
    boxes: Boxes
    scores: Floats
    notes: list[str]


def read_results(found: Found, truth: Truth, name: str) -> Results:
    """Read the detections in the images of a truth.

    Of an image and class the 100 surest count, as in COCO's evaluation. Detections in images or of
    categories that the truth has not are left out; what was, and how much, is in `notes`.

    Args:
        found: A result file, or the list that one would hold.
        truth: What is really there.
        name: What to call it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is malformed, has a score or box that is no number, holds nothing, or belongs
            to another truth: more than half of the detections are in images that this one has not.
    """
    rows = _rows(found, name)
    where = str(found) if isinstance(found, str | Path) else name
    if not rows:
        raise ValueError(f"{where}: holds no detection; there is nothing to judge")
    by_name = truth.rows_by_name()
    image = np.array([by_name.get(row.image_id, -1) for row in rows], np.int64)
    label = np.array([truth.categories.get(row.category_id, -1) for row in rows], np.int64)
    corners = to_corners([row.bbox for row in rows])
    scores = np.array([row.score for row in rows], np.float64)
    _refuse_what_is_no_number(where, corners, scores)
    strange, unknown = image < 0, label < 0
    if strange.mean() > 0.5:
        first = rows[int(np.argmax(strange))].image_id
        raise ValueError(
            f"{where}: {strange.sum():,} of {len(rows):,} detections are in images that {truth.name} has "
            f"not, such as {first!r}: it belongs to another truth; name that one"
        )
    if unknown.all():
        raise ValueError(
            f"{where}: no detection is of a category of {truth.name}, which has "
            f"{', '.join(map(repr, truth.categories))}; one is of {rows[0].category_id!r}"
        )
    notes = [
        f"{name}: {count:,} of {len(rows):,} detections {what}"
        for count, what in (
            (strange.sum(), "are in images that the truth has not, and are left out"),
            (
                (unknown & ~strange).sum(),
                "are of categories that the truth has not, and are left out",
            ),
        )
        if count
    ]
    use = np.flatnonzero(~strange & ~unknown)
    boxes, scores = Boxes(corners[use], label[use], image[use]), scores[use]
    order = np.lexsort([-scores, boxes.image])
    order = order[rank(boxes.take(order).kind) < MOST]
    if len(order) < len(use):
        notes.append(
            f"{name}: {len(use) - len(order):,} detections are beyond the {MOST} surest of their image and "
            "class, and are left out, as COCO does"
        )
    boxes, scores = boxes.take(order), scores[order]
    notes += _remarks(name, boxes, truth)
    return Results(name, boxes, scores, notes)


def _rows(found: Found, name: str) -> list[_Row]:
    if isinstance(found, str | Path):
        path = Path(found)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; name a COCO result file")
        rows: list[_Row] = decode(path.read_bytes(), list[_Row], str(path), "a COCO result file")
        return rows
    rows = []
    for number, row in enumerate(found):
        try:
            left, top, width, height = map(float, row["bbox"])
            score, box = float(row["score"]), (left, top, width, height)
            rows.append(_Row(row["image_id"], row["category_id"], box, score))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{name}: detection {number} is no COCO result ({error!r}): image_id, category_id, bbox "
                "(left, top, width, height) and score are needed; mend it"
            ) from error
    return rows


def _refuse_what_is_no_number(where: str, corners: Floats, scores: Floats) -> None:
    wrong = np.flatnonzero(~np.isfinite(scores))
    if wrong.size:
        raise ValueError(
            f"{where}: the score of detection {wrong[0]} is {scores[wrong[0]]}, which nobody can rank "
            f"({wrong.size:,} are like it); mend it"
        )
    is_box = np.isfinite(corners).all(1) & (corners[:, 2:] >= corners[:, :2]).all(1)
    if not is_box.all():
        first = int(np.argmin(is_box))
        raise ValueError(
            f"{where}: the box of detection {first} has the edges {corners[first].tolist()} "
            f"({(~is_box).sum():,} are like it); a bbox is left, top, width and height in pixels"
        )


def _remarks(name: str, boxes: Boxes, truth: Truth) -> list[str]:
    """Say of how many boxes lie outside their pictures, and how many images have no detection."""
    size = truth.images[["width", "height"]].to_numpy(np.float64)[boxes.image]
    known = (size > 0).all(1)
    over = ((boxes.corners[:, :2] < -1) | (boxes.corners[:, 2:] > size + 1)).any(1) & known
    notes = []
    if over.any():
        outside = (boxes.corners[:, 2:] <= 0) | (boxes.corners[:, :2] >= size)
        notes.append(
            f"{name}: {over.sum():,} boxes reach out of their pictures by more than a pixel, "
            f"{(outside.any(1) & known).sum():,} of them lie outside; they stay as they are, as in COCO"
        )
    empty = len(truth.images) - len(np.unique(boxes.image))
    if empty:
        notes.append(f"{name}: {empty:,} of {len(truth.images):,} images have no detection")
    return notes
