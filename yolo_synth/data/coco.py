"""COCO's JSON files → box table.

The format of Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, to which most other
data sets are converted: a file with `images`, `annotations` and `categories`, a box as its left and
upper edge, width and height in pixels.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
import pandas as pd

from yolo_synth.data.annotations import EDGES, box_table, check_path, image_size_if_known
from yolo_synth.data.files import (
    IMAGES,
    MANY,
    Listing,
    in_parallel,
    list_below,
    list_file,
    paths_below,
)
from yolo_synth.data.index import Content, indexed
from yolo_synth.data.splits import ATTRIBUTES, PARTS
from yolo_synth.labels import label_map

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

_ENDS: Final = (*IMAGES, ".bmp", ".tif", ".tiff", ".webp")
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


class _Files(NamedTuple):
    """What was found: part and path of the JSON files, and the images in all folders."""

    parts: list[tuple[str, Path]]
    images: tuple[Listing, ...]


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

    The table comes from the index (see `index`) if nothing has changed since it was last read.

    Args:
        root: Folder of the data set.
        annotations: JSON file below the root; `{part}` in it stands for train, val, valid and test.
            None looks for `annotations/instances_{part}.json` and other usual names.
        images: Folder below the root that the images' `file_name` starts from; it may have `{part}` as
            well. None looks in the root, `images`, `{part}`, `images/{part}` and the file's own folder;
            for that all folders below the root are listed at every start.
        labels: Category → one of `labels.CLASSES`, or None to leave it out (see `labels.label_map`).

    Returns:
        The box table (see `annotations`). An image is called by its path below the root. What an
        image's entry says under group, weather, scene and timeofday is taken over; one that names no
        group is a group of its own.

    Raises:
        FileNotFoundError: If files or images are not found; says what was looked for, and where.
        ValueError: If a file is malformed, a category is neither a common one nor in `labels`, or a
            link leads out of `root`.
    """
    return read_with_splits(root, annotations, images, labels).drop(columns="split")


def read_with_splits(
    root: str | Path,
    annotations: str | None = None,
    images: str | None = None,
    labels: Mapping[str, str | None] | None = None,
) -> pd.DataFrame:
    """Read what `read_coco` does, and in a column `split` which split each image's file is of.

    With one file for all it is "".
    """
    root, labels = Path(root), dict(labels or {})
    files = _find(root, annotations, images)
    listings = [*(list_file(file, root) for _, file in files.parts), *files.images]
    options = {"annotations": annotations, "images": images, "labels": labels}
    return indexed(root, "coco", listings, options, partial(_read, root, files, images, labels))


def coco_entries(
    root: str | Path, annotations: str | None = None, images: str | None = None
) -> dict[str, str]:
    """Return each image that a JSON file lists, as the box table calls it → file and entry.

    The arguments are those of `read_coco`.
    """
    root = Path(root)
    files = _find(root, annotations, images)
    there = frozenset(paths_below(root, files.images))
    found: dict[str, str] = {}
    for part, file in files.parts:
        entries = _decode(file, _Images).images
        above = _above(root, images, part, entries, file, there)
        for number, entry in enumerate(entries):
            found[f"{above}{entry.file_name}"] = f"{file} image {number}"
    return found


def unlisted_images(
    root: str | Path, annotations: str | None = None, images: str | None = None
) -> list[str]:
    """Return the images that no JSON file lists, though it lists others of the same folder.

    The arguments are those of `read_coco`. Images are named as in the box table.
    """
    root = Path(root)
    listed = coco_entries(root, annotations, images)
    folders = {path.rpartition("/")[0] for path in listed}
    there = paths_below(root, _find(root, annotations, images).images)
    return sorted(
        path for path in there if path not in listed and path.rpartition("/")[0] in folders
    )


def _find(root: Path, annotations: str | None, images: str | None) -> _Files:
    """Find the JSON files, and list the folders that images may lie in."""
    parts = _find_files(root, annotations)
    names = {"." if images is None else images.replace(PART, part): None for part, _ in parts}
    for name in names:
        _check_folder(name)
    folders = [root / name for name in names if (root / name).is_dir()]
    return _Files(parts, tuple(x for folder in folders for x in list_below(folder, root, _ENDS)))


def _read(root: Path, files: _Files, images: str | None, labels: dict[str, str | None]) -> Content:
    """Read what was found."""
    there = frozenset(paths_below(root, files.images))
    found: list[_Found] = []
    for part, file in files.parts:
        content = _decode(file, _Annotations)
        above = _above(root, images, part, content.images, file, there)
        found.append(_collect(content, file, part, above, there))
    starts = np.cumsum([0, *(len(one.images) for one in found)])
    for start, one in zip(starts, found, strict=False):
        one.boxes["row"] += start
    entries = _with_sizes(root, pd.concat([one.images for one in found], ignore_index=True))
    boxes = pd.concat([one.boxes for one in found], ignore_index=True)
    declared = list(dict.fromkeys(name for one in found for name in one.categories))
    used = [name for name in boxes["category"].unique() if not name.endswith(_CROWD)]
    common = label_map(labels, declared, used, f"the COCO data in {root}")
    crowds = dict.fromkeys(f"{name}{_CROWD}" for name in declared)
    table = box_table(entries, boxes, {**common, **crowds})
    splits = dict(zip(entries["image"], entries["split"], strict=True))
    table["split"] = table["image"].map(splits).astype("category")
    summary = (
        f"COCO files in {root}: {len(entries)} images, {len(boxes)} boxes; "
        f"{sum(one.absent for one in found)} entries have no image and are left out"
    )
    return Content(table, summary)


def _with_sizes(root: Path, images: pd.DataFrame) -> pd.DataFrame:
    """Fill in the sizes that the files do not tell, from the images."""
    unknown = (images["width"] == 0) | (images["height"] == 0)
    paths = [root / path for path in images.loc[unknown, "path"]]
    title = "Reading the sizes of images"
    sizes = list(in_parallel(image_size_if_known, paths, title, many=len(paths) > MANY))
    images.loc[unknown, ["width", "height"]] = np.array(sizes, np.int64).reshape(-1, 2)
    return images


def _find_files(root: Path, annotations: str | None) -> list[tuple[str, Path]]:
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


def _check_folder(name: str) -> None:
    if name != ".":
        check_path(name, "data.images")


def _above(
    root: Path,
    images: str | None,
    part: str,
    entries: list[_Image],
    file: Path,
    there: Collection[str],
) -> str:
    """Return what the file names of a JSON file follow: the folder below the root and a slash, or "".

    It is the first that holds an image of the file. Images that are there are given by their paths.
    """
    if images is None:
        patterns = [pattern for pattern in _FOLDERS if part or PART not in pattern]
        patterns.append(file.parent.relative_to(root).as_posix())
    else:
        patterns = [images]
    names = [pattern.replace(PART, part) for pattern in patterns]
    above = ["" if name == "." else f"{name}/" for name in names]
    for entry in entries[:100]:  # of a sample of the data set the first ones may be missing
        check_path(entry.file_name, str(file))
        for folder in above:
            if f"{folder}{entry.file_name}" in there:
                return folder
    sample = entries[0].file_name if entries else "any, since it lists none"
    raise FileNotFoundError(
        f"no image of {file} found, such as {sample}: looked in {', '.join(names)} below {root} for "
        f"files that end in {', '.join(_ENDS)}; name the folder by data.images"
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


def _collect(
    content: _Annotations, file: Path, part: str, above: str, there: Collection[str]
) -> _Found:
    """Gather what a decoded file says of the images that are there."""
    rows: dict[_Key, int | None] = {}
    entries: list[tuple[str | int, ...]] = []
    for number, entry in enumerate(content.images):
        check_path(entry.file_name, f"{file} image {number}")
        if entry.id in rows:
            raise ValueError(f"{file} image {number}: another one has the id {entry.id!r} already")
        if not entry.file_name.lower().endswith(_ENDS):
            raise ValueError(
                f"{file} image {number}: {entry.file_name!r} does not end in {', '.join(_ENDS)}; "
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
            kinds.append(names[box.category_id] + (_CROWD if box.iscrowd else ""))
    boxes = pd.DataFrame(np.frombuffer(edges).reshape(-1, 4), columns=EDGES)
    boxes["row"] = np.frombuffer(of_row, np.int64)
    boxes["category"] = pd.Series(kinds, dtype="str")
    boxes["instance"] = -1
    columns = ["image", "path", "width", "height", *ATTRIBUTES, "split"]
    absent = len(rows) - len(entries)
    return _Found(pd.DataFrame(entries, columns=columns), boxes, absent, list(names.values()))


def _row(entry: _Image, path: str, split: str) -> tuple[str | int, ...]:
    size = (entry.width or 0, entry.height or 0)
    conditions = (entry.weather, entry.scene, entry.timeofday)
    return (path, path, *size, *conditions, entry.group or path, split)
