"""What a detector found: as a table, in COCO's format, and in the pictures of a truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from yolo_synth.data.shots import Shot, open_shots
from yolo_synth.detecting import Detector, Found
from yolo_synth.difference.truth import Truth
from yolo_synth.scoring import shared_classes

COLUMNS: Final = {
    **dict.fromkeys(("image", "class"), "str"),
    **dict.fromkeys(("score", "x1", "y1", "x2", "y2"), "float64"),
}
"""Of a table of boxes, and their types."""


def detect_objects(detector: Detector, source: str | Path, *, trust: bool = False) -> pd.DataFrame:
    """Find the objects in a picture, a folder of pictures, a video or a data file's test images.

    Args:
        detector: Of `read_detector`.
        source: Where the pictures are.
        trust: Whether classes from elsewhere that a data file names are imported and run.

    Returns:
        A row a box: image, class, score, and x1, y1, x2, y2 in pixels of the picture.

    Raises:
        FileNotFoundError: If there is no such picture.
        ValueError: If one cannot be read.
    """
    shots = open_shots(source, trust=trust)
    found = []
    for one in detector.find(shots.each, shots.total):
        if one.problem:
            raise ValueError(one.problem)
        found.append(one)
    return box_table(found, detector.reference.classes)


def box_table(found: Iterable[Found], classes: tuple[str, ...]) -> pd.DataFrame:
    """Return all boxes as a table of `COLUMNS`, a row a box."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for one in found:
        columns["image"] += [one.shot.name] * len(one.labels)
        columns["class"] += [_named(classes, label) for label in one.labels.tolist()]
        columns["score"] += one.scores.tolist()
        for name, values in zip(("x1", "y1", "x2", "y2"), one.boxes.T.tolist(), strict=True):
            columns[name] += values
    return pd.DataFrame(columns).astype(COLUMNS)


def result_rows(found: Iterable[Found], classes: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield all boxes in COCO's result format, images and classes called by their names."""
    for one in found:
        for (left, top, right, low), label, score in zip(
            one.boxes.round(3).tolist(), one.labels.tolist(), one.scores.tolist(), strict=True
        ):
            yield {
                "image_id": one.shot.name,
                "category_id": _named(classes, label),
                "bbox": [left, top, round(right - left, 3), round(low - top, 3)],
                "score": score,
            }


def _named(classes: tuple[str, ...], label: int) -> str:
    return classes[label] if label < len(classes) else str(label)


def found_in_truth(
    detector: Detector, truth: Truth, names: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return what a detector finds in the pictures of a truth, in COCO's result format.

    Classes are matched by name, whatever the case; boxes of those that the truth has not are left out,
    and that is said.

    Args:
        detector: The detector.
        truth: What is really there.
        names: What the truth calls classes of the detector; several may be called alike.

    Raises:
        FileNotFoundError: If the pictures are not there.
        ValueError: If one cannot be read, or no class is shared.
    """
    own, shared = shared_classes(detector.reference, truth.classes, truth.name, names)
    rows: list[dict[str, Any]] = []
    keys = truth.images["id"]
    for key, one in zip(keys, detector.find(_shots(truth), len(keys)), strict=True):
        if one.problem:
            raise ValueError(
                f"{one.problem}: without it the two would not be judged by the same pictures; mend it, "
                "or take it out of the truth"
            )
        known = np.isin(np.array(own, object)[one.labels], shared)
        some = one._replace(
            boxes=one.boxes[known], scores=one.scores[known], labels=one.labels[known]
        )
        rows += [{**row, "image_id": key} for row in result_rows([some], tuple(own))]
    return rows


def _shots(truth: Truth) -> list[Shot]:
    """Return the pictures of a truth.

    Raises:
        FileNotFoundError: If one is not there.
    """
    if truth.root is None:
        raise FileNotFoundError(
            f"{truth.name}: its pictures were not found beside it; name their folder by --pictures"
        )
    shots = []
    columns = (truth.images[name] for name in ("id", "path", "width", "height"))
    for row, (key, name, width, height) in enumerate(zip(*columns, strict=True)):
        path = truth.picture(row)
        if path is None:
            raise FileNotFoundError(
                f"{truth.name}: its picture {name} is not below {truth.root}; name the folder of all its "
                "pictures by --pictures"
            )
        size = (int(width), int(height)) if width and height else None
        shots.append(Shot(str(key), path, size))
    return shots
