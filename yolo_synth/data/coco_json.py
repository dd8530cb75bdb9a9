"""COCO's JSON files: how they are decoded, and what they say of the images that are there."""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
import pandas as pd

from yolo_synth.data.conditions import ATTRIBUTES
from yolo_synth.data.listing import IMAGES, check_path
from yolo_synth.data.splits import PARTS
from yolo_synth.data.table import EDGES

_MAX_EDGE: Final = 1e9
CROWD: Final = " (crowd)"
_Side = Annotated[int, msgspec.Meta(gt=0, lt=1 << 20)]
_Key = int | str


# What is not named in these types, segmentations above all, is never built.
class CocoImage(msgspec.Struct, gc=False):
    """An entry of `images`."""

    id: _Key
    file_name: str
    width: _Side | None = None
    height: _Side | None = None
    group: str = ""
    weather: str = ""
    scene: str = ""
    timeofday: str = ""


class _Annotation(msgspec.Struct, gc=False):
    image_id: _Key
    category_id: _Key
    bbox: tuple[float, float, float, float]
    iscrowd: int | bool = 0


class _Category(msgspec.Struct, gc=False):
    id: _Key
    name: str


class CocoImages(msgspec.Struct):
    """A file of which only the images are looked at."""

    images: list[CocoImage]


class CocoFile(CocoImages):
    """A whole file."""

    annotations: list[_Annotation]
    categories: list[_Category]


_T = TypeVar("_T", bound=CocoImages)


class Found(NamedTuple):
    """What a file holds: images and boxes as `box_table` takes them, and what they are of.

    Attributes:
        images: One row an image whose file is there.
        boxes: One row a box of these images.
        absent: Number of images whose file is missing.
        categories: Names of all categories that are declared.
    """

    images: pd.DataFrame
    boxes: pd.DataFrame
    absent: int
    categories: list[str]


def decode_coco(file: Path, kind: type[_T]) -> _T:
    """Decode a file into one of the types above."""
    with file.open("rb") as stream:
        if file.stat().st_size == 0:
            raise ValueError(f"{file} is empty")
        text = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file}: {error}; is this a COCO file?") from error


def collect_coco(
    content: CocoFile, file: Path, part: str, above: str, there: Collection[str]
) -> Found:
    """Gather what a decoded file says of the images that are there."""
    rows: dict[_Key, int | None] = {}
    entries: list[tuple[str | int, ...]] = []
    for number, entry in enumerate(content.images):
        check_path(entry.file_name, f"{file} image {number}")
        if entry.id in rows:
            raise ValueError(f"{file} image {number}: another one has the id {entry.id!r} already")
        if not entry.file_name.lower().endswith(IMAGES):
            raise ValueError(
                f"{file} image {number}: {entry.file_name!r} does not end in {', '.join(IMAGES)}; "
                "convert the image, or take it out of the file"
            )
        path = f"{above}{entry.file_name}"
        is_there = path in there
        rows[entry.id] = len(entries) if is_there else None
        if is_there:
            entries.append(_row(entry, path, PARTS.get(part, "")))
    names = {category.id: category.name for category in content.categories}
    of_row, edges, kinds = array("q"), array("d"), []
    for number, box in enumerate(content.annotations):
        for what, key, known in (
            ("image", box.image_id, rows),
            ("category", box.category_id, names),
        ):
            if key not in known:
                raise ValueError(f"{file} annotation {number}: no {what} has the id {key!r}")
        left, top, width, height = box.bbox
        if not abs(left) + abs(top) + abs(width) + abs(height) < _MAX_EDGE:
            raise ValueError(f"{file} annotation {number}: {box.bbox} are no box in pixels")
        row = rows[box.image_id]
        if row is not None:
            of_row.append(row)
            edges.extend((left, top, left + width, top + height))
            kinds.append(names[box.category_id] + (CROWD if box.iscrowd else ""))
    boxes = pd.DataFrame(np.frombuffer(edges).reshape(-1, 4), columns=EDGES)
    boxes["row"] = np.frombuffer(of_row, np.int64)
    boxes["category"] = pd.Series(kinds, dtype="str")
    boxes["instance"] = -1
    columns = ["image", "path", "width", "height", *ATTRIBUTES, "split"]
    absent = len(rows) - len(entries)
    return Found(pd.DataFrame(entries, columns=columns), boxes, absent, list(names.values()))


def _row(entry: CocoImage, path: str, split: str) -> tuple[str | int, ...]:
    size = (entry.width or 0, entry.height or 0)
    conditions = (entry.weather, entry.scene, entry.timeofday)
    return (path, path, *size, *conditions, entry.group or path, split)
