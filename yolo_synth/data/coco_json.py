"""COCO's JSON files: how they are decoded, and what they say of the images that are there.

What is not used cannot refuse a file, and all mistakes of a file are told together.
"""

from __future__ import annotations

import json
import logging
import mmap
from array import array
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
import pandas as pd

from yolo_synth.data.conditions import ATTRIBUTES
from yolo_synth.data.listing import IMAGES, check_path
from yolo_synth.data.splits import PARTS
from yolo_synth.data.table import CROWD, box_frame

_MAX_EDGE: Final = 1e9
_MAX_SIDE: Final = 1 << 20

_Key = int | str | float | None

log = logging.getLogger(__name__)


# What is not named in these types, segmentations above all, is never built.
class CocoImage(msgspec.Struct, gc=False):
    """An entry of `images`."""

    id: _Key
    file_name: str
    width: Any = None
    height: Any = None
    group: Any = ""
    weather: Any = ""
    scene: Any = ""
    timeofday: Any = ""


class _Annotation(msgspec.Struct, gc=False):
    image_id: _Key
    category_id: _Key
    bbox: tuple[float, float, float, float]
    iscrowd: int | float | bool | None = 0


class _Category(msgspec.Struct, gc=False):
    id: _Key
    name: str


class CocoImages(msgspec.Struct):
    """A file of which only the images are looked at; an entry that is malformed is None."""

    images: list[CocoImage | None]


class CocoFile(CocoImages):
    """A whole file."""

    annotations: list[_Annotation | None]
    categories: list[_Category | None]


_T = TypeVar("_T", bound=CocoImages)
_KINDS: Final = {"images": CocoImage, "annotations": _Annotation, "categories": _Category}
_ONE: Final = {"images": "image", "annotations": "annotation", "categories": "category"}


class Found(NamedTuple):
    """What a file holds: images and boxes as `box_table` takes them, and what they are of.

    Attributes:
        images: One row an image whose file is there.
        boxes: One row a box of these images.
        absent: Number of images whose file is missing.
        categories: Names of all categories that are declared.
        mistakes: What is wrong with the file, a line each.
    """

    images: pd.DataFrame
    boxes: pd.DataFrame
    absent: int
    categories: list[str]
    mistakes: list[str]


def decode_coco(file: Path, kind: type[_T]) -> tuple[_T, list[str]]:
    """Decode a file into one of the types above; return it, and what is wrong with its entries.

    Raises:
        ValueError: If it is not a COCO file at all.
    """
    with file.open("rb") as stream:
        if file.stat().st_size == 0:
            raise ValueError(f"{file} is empty")
        text = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    mistakes: list[str] = []
    try:
        content = msgspec.json.decode(text, type=kind)
        if any(None in getattr(content, field) for field in kind.__struct_fields__):
            content, mistakes = _decode_each(file, text, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        try:
            content, mistakes = _decode_each(file, text, kind)
        except (ValueError, RecursionError):
            raise ValueError(f"{file}: {error}; is this a COCO file?") from error
    for entry in content.images:
        while entry is not None and entry.file_name.startswith("./"):
            entry.file_name = entry.file_name[2:]
    return content, mistakes


def _decode_each(file: Path, text: mmap.mmap, kind: type[_T]) -> tuple[_T, list[str]]:
    """Decode a file entry by entry, to name those that are malformed."""
    try:
        whole = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        whole = json.loads(text[:])  # which takes NaN and Infinity, as Python's programs write them
        if kind is CocoFile:
            log.warning("%s is read although it holds NaN or Infinity: %s", file, error)
    if not isinstance(whole, dict):
        raise ValueError(f"{file}: no COCO file")
    lists: dict[str, list[Any]] = {}
    mistakes = []
    for field in kind.__struct_fields__:
        if not isinstance(whole.get(field), list):
            raise ValueError(f"{file}: has no {field}")
        lists[field] = []
        for number, entry in enumerate(whole[field]):
            try:
                lists[field].append(msgspec.convert(entry, _KINDS[field]))
            except msgspec.ValidationError as error:
                lists[field].append(None)
                what, _, where = str(error).partition(" - at `$.")
                at = f"{where.rstrip('`')}: " if where else ""
                mistakes.append(f"{file} {_ONE[field]} {number}: {at}{what}")
    return kind(**lists), mistakes


def collect_coco(
    decoded: tuple[CocoFile, list[str]], file: Path, part: str, above: str, there: Collection[str]
) -> Found:
    """Gather what a decoded file says of the images that are there."""
    content, mistakes = decoded
    mistakes = list(mistakes)
    rows: dict[_Key, int | None] = {}
    entries: list[tuple[str | int, ...]] = []
    for number, entry in enumerate(content.images):
        if entry is None:
            continue
        wrong = _what_is_wrong(entry)
        key = _plain(entry.id)
        if key in rows:
            wrong = f"another one has the id {entry.id!r} already"
        if wrong:
            mistakes.append(f"{file} image {number}: {wrong}")
        path = f"{above}{entry.file_name}"
        is_there = path in there and not wrong
        rows[key] = len(entries) if is_there else None
        if is_there:
            entries.append(_row(entry, path, PARTS.get(part, "")))
    names = {_plain(one.id): one.name for one in content.categories if one is not None}
    of_row, edges, kinds = array("q"), array("d"), []
    for number, box in enumerate(content.annotations):
        if box is None:
            continue
        left, top, width, height = box.bbox
        image, category = _plain(box.image_id), _plain(box.category_id)
        wrong = ""
        if image not in rows:
            wrong = f"no image has the id {box.image_id!r}"
        elif category not in names:
            wrong = f"no category has the id {box.category_id!r}"
        elif not abs(left) + abs(top) + abs(width) + abs(height) < _MAX_EDGE:
            wrong = f"{box.bbox} are no box in pixels"
        if wrong:
            mistakes.append(f"{file} annotation {number}: {wrong}")
            continue
        row = rows[image]
        if row is not None:
            of_row.append(row)
            edges.extend((left, top, left + width, top + height))
            kinds.append(names[category] + (CROWD if box.iscrowd else ""))
    boxes = box_frame(np.frombuffer(edges), np.frombuffer(of_row, np.int64), kinds)
    columns = ["image", "path", "width", "height", *ATTRIBUTES, "split"]
    absent = len(rows) - len(entries)
    table = pd.DataFrame(entries, columns=columns)
    return Found(table, boxes, absent, list(names.values()), mistakes)


def _plain(key: _Key) -> _Key:
    """Return a key as it is compared: 1, 1.0 and "1" are one."""
    if isinstance(key, str):
        return int(key) if key.isdecimal() and key.isascii() and len(key) < 20 else key
    return int(key) if isinstance(key, float) and key.is_integer() else key


def _what_is_wrong(entry: CocoImage) -> str:
    """Say what is wrong with an entry of `images`, "" if nothing is."""
    try:
        check_path(entry.file_name, "file_name")
        _side(entry.width)
        _side(entry.height)
    except ValueError as error:
        return str(error)
    if not entry.file_name.lower().endswith(IMAGES):
        return (
            f"{entry.file_name!r} does not end in {', '.join(IMAGES)}; convert the image, or take it "
            "out of the file"
        )
    return ""


def _side(value: object) -> int:
    """Return a side in pixels, 0 where none is said; it is read from the image then."""
    if value is None or value == 0:
        return 0
    whole = isinstance(value, int | float) and value == value and 0 < value < _MAX_SIDE
    if not whole or not float(value).is_integer():  # type: ignore[arg-type]  # it is a number
        raise ValueError(f"{value!r} is no width or height in pixels")
    return int(value)  # type: ignore[call-overload,no-any-return]  # it is a number


def _row(entry: CocoImage, path: str, split: str) -> tuple[str | int, ...]:
    size = (_side(entry.width), _side(entry.height))
    conditions = (_text(entry.weather), _text(entry.scene), _text(entry.timeofday))
    return (path, path, *size, *conditions, _text(entry.group) or path, split)


def _text(value: object) -> str:
    """Return an attribute; what other programs keep under its name counts if it is text or a number."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
