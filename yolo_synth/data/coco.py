"""COCO's JSON files → box table.

The format of Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, to which most other
data sets are converted: a file with `images`, `annotations` and `categories`, a box as its left and
upper edge, width and height in pixels.
"""

from __future__ import annotations

import logging
import mmap
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
import pandas as pd

from yolo_synth.data.annotations import EDGES, box_table, check_path, image_size_if_known
from yolo_synth.data.splits import ATTRIBUTES, PARTS
from yolo_synth.labels import label_map

log = logging.getLogger(__name__)

PART: Final = "{part}"
"""Stands for train, val, valid and test in the names of files and folders."""

_FILES: Final = (
    "annotations/instances_{part}.json",
    "annotations/instances_{part}2017.json",
    "annotations/{part}.json",
    "{part}/_annotations.coco.json",
    "{part}.json",
)
_FOLDERS: Final = (".", "images", "{part}", "images/{part}", "{part}2017", "images/{part}2017")

_MAX_EDGE: Final = 1e9
_CROWD: Final = " (crowd)"

_Side = Annotated[int, msgspec.Meta(gt=0, lt=1 << 20)]
_Key = int | str


# What is not named in these types, segmentations above all, is never built.
class _Image(msgspec.Struct, gc=False):
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


class _Images(msgspec.Struct):
    images: list[_Image]


class _Annotations(_Images):
    annotations: list[_Annotation]
    categories: list[_Category]


_T = TypeVar("_T", bound=_Images)


class _Found(NamedTuple):
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


def read_coco(
    root: str | Path,
    annotations: str | None = None,
    images: str | None = None,
    labels: Mapping[str, str | None] | None = None,
) -> pd.DataFrame:
    """Read images and boxes of a data set in COCO's format into one box table.

    A box marked as a crowd (`iscrowd`) is of no common class: its category is called `car (crowd)`,
    and it is counted with the boxes of other kinds. An image without annotations has no box. An image
    whose file is missing is left out; how many is in the log.

    Args:
        root: Folder of the data set.
        annotations: JSON file below the root; `{part}` in it stands for train, val, valid and test.
            None looks for `annotations/instances_{part}.json` and other usual names.
        images: Folder below the root that the images' `file_name` starts from; it may have `{part}` as
            well. None looks in the root, `images`, `{part}`, `images/{part}` and the file's own folder.
        labels: Category → one of `labels.CLASSES`, or None to leave it out (see `labels.label_map`).

    Returns:
        The box table (see `annotations`). An image is called by its path below the root. What an
        image's entry says under group, weather, scene and timeofday is taken over; one that names no
        group is a group of its own.

    Raises:
        FileNotFoundError: If files or images are not found; says what was looked for, and where.
        ValueError: If a file is malformed, or a category is neither a common one nor in `labels`.
    """
    root = Path(root)
    found: list[_Found] = []
    for part, file in find_files(root, annotations):
        content = _decode(file, _Annotations)
        folder = _folder(root, images, part, content.images, file)
        found.append(_read(content, file, folder, root))
    starts = np.cumsum([0, *(len(part.images) for part in found)])
    for start, one in zip(starts, found, strict=False):
        one.boxes["row"] += start
    entries = pd.concat([part.images for part in found], ignore_index=True)
    boxes = pd.concat([part.boxes for part in found], ignore_index=True)
    log.info(
        "COCO files in %s: %d images, %d boxes; %d entries have no image and are left out",
        *(root, len(entries), len(boxes), sum(part.absent for part in found)),
    )
    declared = list(dict.fromkeys(name for part in found for name in part.categories))
    used = [name for name in boxes["category"].unique() if not name.endswith(_CROWD)]
    common = label_map(labels or {}, declared, used, f"the COCO data in {root}")
    crowds = dict.fromkeys(f"{name}{_CROWD}" for name in declared)
    return box_table(entries, boxes, {**common, **crowds})


def split_of_images(
    root: str | Path, annotations: str | None = None, images: str | None = None
) -> dict[str, str]:
    """Return for each image, by its path below the root, the split that its file is of.

    The arguments are those of `read_coco`. With one file for all there is nothing to tell.
    """
    root = Path(root)
    splits: dict[str, str] = {}
    for part, file in find_files(root, annotations):
        entries = _decode(file, _Images).images
        folder = _folder(root, images, part, entries, file).relative_to(root)
        splits |= {(folder / e.file_name).as_posix(): PARTS[part] for e in entries if part}
    return splits


def find_files(root: Path, annotations: str | None) -> list[tuple[str, Path]]:
    """Return part ("" for one file of all) and path of the JSON files of a data set.

    Raises:
        FileNotFoundError: If there is none; says what was looked for.
    """
    patterns = _FILES if annotations is None else (annotations,)
    for pattern in patterns:
        check_path(pattern, "data.annotations")
        parts = PARTS if PART in pattern else [""]
        files = [(part, root / pattern.replace(PART, part)) for part in parts]
        there = [(part, file) for part, file in files if file.is_file()]
        if there:
            return there
    raise FileNotFoundError(
        f"no COCO file in {root}: looked for {', '.join(patterns)}, {PART} being "
        f"{', '.join(PARTS)}; name it by data.annotations"
    )


def _folder(root: Path, images: str | None, part: str, entries: list[_Image], file: Path) -> Path:
    """Return the folder that the file names start from: the first that holds an image of the file."""
    if images is None:
        patterns = [pattern for pattern in _FOLDERS if part or PART not in pattern]
        patterns.append(file.parent.relative_to(root).as_posix())
    else:
        patterns = [images]
    names = [pattern.replace(PART, part) for pattern in patterns]
    for name in names:
        if name != ".":
            check_path(name, "data.images")
    for entry in entries[:100]:  # of a sample of the data set the first ones may be missing
        check_path(entry.file_name, str(file))
        for name in names:
            if (root / name / entry.file_name).is_file():
                return root / name
    sample = entries[0].file_name if entries else "any, since it lists none"
    raise FileNotFoundError(
        f"no image of {file} found, such as {sample}: looked in {', '.join(names)} below {root}; name "
        "the folder by data.images"
    )


def _decode(file: Path, kind: type[_T]) -> _T:
    """Decode a file into one of the types above."""
    with file.open("rb") as stream:
        if file.stat().st_size == 0:
            raise ValueError(f"{file} is empty")
        text = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file}: {error}; is this a COCO file?") from error


def _read(content: _Annotations, file: Path, folder: Path, root: Path) -> _Found:
    """Gather what a decoded file says of the images that are there."""
    rows: dict[_Key, int | None] = {}
    entries: list[tuple[str | int, ...]] = []
    for number, entry in enumerate(content.images):
        check_path(entry.file_name, f"{file} image {number}")
        if entry.id in rows:
            raise ValueError(f"{file} image {number}: another one has the id {entry.id!r} already")
        path = folder / entry.file_name
        is_there = path.is_file()
        rows[entry.id] = len(entries) if is_there else None
        if is_there:
            entries.append(_row(entry, path, path.relative_to(root).as_posix()))
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
            kinds.append(names[box.category_id] + (_CROWD if box.iscrowd else ""))
    boxes = pd.DataFrame(np.frombuffer(edges).reshape(-1, 4), columns=EDGES)
    boxes["row"] = np.frombuffer(of_row, np.int64)
    boxes["category"] = pd.Series(kinds, dtype="str")
    boxes["instance"] = -1
    columns = ["image", "path", "width", "height", *ATTRIBUTES]
    absent = len(rows) - len(entries)
    return _Found(pd.DataFrame(entries, columns=columns), boxes, absent, list(names.values()))


def _row(entry: _Image, path: Path, name: str) -> tuple[str | int, ...]:
    width, height = entry.width, entry.height
    if width is None or height is None:
        width, height = image_size_if_known(path)
    conditions = (entry.weather, entry.scene, entry.timeofday)
    return (name, name, width, height, *conditions, entry.group or name)
