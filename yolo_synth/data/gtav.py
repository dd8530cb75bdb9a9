"""GTAV's images and box files → box table.

"GTAV" is the data set of Richter, Hayder and Koltun, "Playing for Benchmarks", ICCV 2017 (VIPER):
video from the game GTA V at 1920x1080, one box file a frame. A box file is a CSV without header,
one object a line, 28 columns: class and instance number, the left, top, right and lower edge in
pixels (right and lower exclusive), then 6 columns of a 3D box and 16 of its matrix, which are not
read. The data set's README and a program that reads it disagree on whether the class or the
instance number comes first, so the order is an option.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from yolo_synth.data.annotations import EDGES, MAX_EDGE, box_table, image_size_if_known
from yolo_synth.data.files import (
    DEPTH,
    IMAGES,
    MANY,
    Listing,
    in_parallel,
    list_folders,
    look_for,
    read_file,
    seen_in,
)
from yolo_synth.data.index import Content, indexed
from yolo_synth.labels import GTAV_CLASSES, GTAV_LABELS

Columns = Literal["auto", "class,instance", "instance,class"]

_NUM_COLUMNS: Final = 28
_NUM_READ: Final = 6
_MAX_NUMBER: Final = 2.0**53
"""Whole numbers below this one are exact."""
_LIMITS: Final = np.array([_MAX_NUMBER] * 2 + [MAX_EDGE] * 4)
_FIRST_THING: Final = GTAV_CLASSES.index("billboard")
"""Classes before this one are sky, ground, plants and buildings: no objects that are counted."""

_IMAGE_PLACES: Final = ("train/img", "img")
_BOX_PLACES: Final = ("train/bb", "bb")

_READ: Final = csv.ReadOptions(
    column_names=[str(column) for column in range(_NUM_COLUMNS)], use_threads=False
)
_PARSE: Final = csv.ParseOptions(quote_char=False, double_quote=False)
_CONVERT: Final = csv.ConvertOptions(
    include_columns=[str(column) for column in range(_NUM_READ)],
    column_types={str(column): pa.float64() for column in range(_NUM_READ)},
    null_values=[],
)


def read_gtav(
    root: str | Path, columns: Columns = "auto", label_root: str | Path | None = None
) -> pd.DataFrame:
    """Read the images and boxes of GTAV's training sequences into one box table.

    Images are `train/img/SEQ/SEQ_FRAME.jpg` (or `.png`) and boxes `train/bb/SEQ/SEQ_FRAME.csv`.
    `root` holds `train/` or is that folder, or holds up to three folders above it, as where each
    archive was unpacked into a folder of its own: the sequences of all are put together. A PNG is
    called `.jpg` in the column `image` as well, since that is how split lists name the frame. The
    frames of a sequence are one video, so their size is read from the first one alone. A frame whose
    box file is empty or missing has no box, and a box file without frame is left out; they are
    counted in the log.

    With `columns="auto"` the first two columns' order is found from all files together: a class is
    a number from 0 to 31; if that leaves both, it is not sky, ground, plant or building; if that
    leaves both, an instance number does not come twice in a frame.

    The table comes from the index (see `index`) if nothing has changed since it was last read.

    Args:
        root: Folder of the data set.
        columns: Order of the first two columns: `class,instance`, `instance,class`, or `auto`.
        label_root: Folder in which to look for `train/bb`; None looks in `root`.

    Returns:
        The box table (see `annotations`), paths relative to `root`; `group` is the sequence.

    Raises:
        FileNotFoundError: If there are no images or no box files; says where they were looked for.
        ValueError: If a box file is malformed (says file and line), the order cannot be told, or a
            link leads out of `root`.
    """
    root = Path(root)
    files = _find(root, root if label_root is None else Path(label_root))
    options = {"columns": columns, "labels": GTAV_LABELS}
    listings = [*files.images, *files.boxes]
    return indexed(root, "gtav", listings, options, partial(_read, root, files, columns))


def gtav_box_files(root: str | Path, label_root: str | Path | None = None) -> dict[str, str]:
    """Return the image that each box file is of, as the box table calls it → the file."""
    root = Path(root)
    files = _find(root, root if label_root is None else Path(label_root))
    return {
        f"{name[:-4]}.jpg": str(listing.folder / name)
        for listing in files.boxes
        for name in listing.names
    }


class _Files(NamedTuple):
    """The image folders and the box folders of all sequences, each sorted by the sequence."""

    images: tuple[Listing, ...]
    boxes: tuple[Listing, ...]


def _find(root: Path, labels: Path) -> _Files:
    """Find and list the folders of all sequences."""
    where = f"and in folders up to {DEPTH} levels below"
    images = look_for(root, _IMAGE_PLACES, Path.is_dir)
    if not images:
        raise FileNotFoundError(
            f"no GTAV images in {root}: looked for the folders {' and '.join(_IMAGE_PLACES)} there "
            f"{where}; {seen_in(root)}; name the folder that holds train/"
        )
    boxes = look_for(labels, _BOX_PLACES, Path.is_dir)
    if not boxes:
        raise FileNotFoundError(
            f"no boxes for the images in {images[0]}: looked for the folders "
            f"{' and '.join(_BOX_PLACES)} in {labels} {where}; {seen_in(labels)}; unpack the data "
            "set's bounding boxes there or name their folder (data.label_root)"
        )
    sequences = _sequences(images)
    if not sequences:
        raise FileNotFoundError(f"no folder of a sequence (001, 002, …) in {images[0]}")
    of_boxes = _sequences(boxes)
    known = [of_boxes[name] for name in sequences if name in of_boxes]
    if not known:
        raise FileNotFoundError(
            f"no boxes for the images in {images[0]}: none of its {len(sequences)} sequences has a "
            f"folder in {boxes[0]}"
        )
    return _Files(
        list_folders(list(sequences.values()), root, IMAGES),
        list_folders(known, labels, (".csv",)),
    )


def _sequences(folders: list[Path]) -> dict[str, Path]:
    """Return the sequences' folders by their names, sorted."""
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in folder.iterdir() if path.is_dir()):
        if path.name in found:
            raise ValueError(
                f"sequence {path.name} is in {found[path.name]} and in {path}; keep one of them"
            )
        found[path.name] = path
    return dict(sorted(found.items()))


def _read(root: Path, files: _Files, columns: Columns) -> Content:
    """Read what was found."""
    boxes_of = {listing.folder.name: listing for listing in files.boxes}
    listings = [listing for listing in files.images if listing.names]
    if not listings:
        above = files.images[0].folder.parent
        raise FileNotFoundError(f"no .jpg or .png in the folders of {above}")
    jobs = [_box_files(listing, boxes_of.get(listing.folder.name)) for listing in listings]
    paths = [path for job in jobs for path in job]
    there = np.array([bool(path) for path in paths])
    if not there.any():
        first = listings[0]
        looked = files.boxes[0].folder.parent / first.folder.name / f"{_stem(first.names[0])}.csv"
        raise FileNotFoundError(
            f"none of the {len(paths)} images has a box file; looked for {looked}"
        )
    read = in_parallel(_read_boxes, jobs, "Reading GTAV's boxes", many=len(paths) > MANY)
    counts, pairs, edges = map(np.concatenate, zip(*read, strict=True))
    images = _images(listings, root)
    rows = np.repeat(np.arange(len(paths)), counts)
    order = _find_order(pairs, rows, root) if columns == "auto" else columns
    class_column = order.split(",").index("class")
    _check_classes(pairs[:, class_column], class_column, rows, paths)
    boxes = pd.DataFrame(edges, columns=EDGES)
    boxes["row"] = rows
    boxes["category"] = pd.Categorical.from_codes(
        pairs[:, class_column].astype(np.int8), categories=pd.Index(GTAV_CLASSES)
    )
    boxes["instance"] = pairs[:, 1 - class_column]
    unused = sum(len(listing.names) for listing in files.boxes) - there.sum()
    summary = (
        f"GTAV in {root}: {len(listings)} sequences, {len(images)} images, {len(boxes)} boxes "
        f"(columns {order}); {(there & (counts == 0)).sum()} images have an empty and "
        f"{(~there).sum()} no box file and count as images without objects, {unused} box files have "
        "no image"
    )
    return Content(box_table(images, boxes, GTAV_LABELS), summary)


def _images(listings: Sequence[Listing], root: Path) -> pd.DataFrame:
    """Return one row an image, as `box_table` takes them."""
    counts = [len(listing.names) for listing in listings]
    sizes = np.repeat([_size(listing) for listing in listings], counts, axis=0)
    above = [listing.folder.relative_to(root).as_posix() for listing in listings]
    names = [listing.names for listing in listings]
    return pd.DataFrame(
        {
            "image": [f"{_stem(name)}.jpg" for inner in names for name in inner],
            "path": [
                f"{a}/{name}" for a, inner in zip(above, names, strict=True) for name in inner
            ],
            "width": sizes[:, 0],
            "height": sizes[:, 1],
            "group": np.repeat([listing.folder.name for listing in listings], counts),
        }
    )


def _size(sequence: Listing) -> tuple[int, int]:
    """Return width and height of a sequence's images, read from the first that is one."""
    sizes = (image_size_if_known(sequence.folder / name) for name in sequence.names)
    return next((size for size in sizes if size != (0, 0)), (0, 0))


def _stem(name: str) -> str:
    return name[: name.rindex(".")]


def _box_files(images: Listing, boxes: Listing | None) -> list[str]:
    """Return the box file of each image of a sequence, "" for one that has none."""
    if boxes is None:
        return [""] * len(images.names)
    there, above = set(boxes.names), f"{boxes.folder}{os.sep}"  # a Path each takes longer
    names = [f"{_stem(name)}.csv" for name in images.names]
    return [above + name if name in there else "" for name in names]


_Boxes = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
"""Number of boxes of each file [files], their first two columns [boxes, 2] and edges [boxes, 4]."""


def _read_boxes(files: Sequence[str]) -> _Boxes:
    """Read the box files of a sequence."""
    texts = [read_file(file) if file else b"" for file in files]
    counts, values = _parse(texts, files)
    return counts, values[:, :2].astype(np.int64), values[:, 2:].astype(np.float32)


def _parse(
    texts: Sequence[bytes], files: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Parse box files, all at once if nothing is odd about them.

    Args:
        texts: Contents of the files.
        files: Their paths, for messages.

    Returns:
        Number of boxes of each file, int64 [files], and the first six columns of all boxes, float64
        [boxes, 6].
    """
    texts = [text if not text or text.endswith(b"\n") else text + b"\n" for text in texts]
    joined = b"".join(texts)
    counts = np.array([text.count(b"\n") for text in texts], np.int64)
    if not joined:
        return counts, np.zeros((0, _NUM_READ))
    try:
        table = csv.read_csv(pa.BufferReader(joined), _READ, _PARSE, _CONVERT)
    except pa.ArrowInvalid:
        return _parse_slowly(texts, files)
    values = np.column_stack([column.to_numpy() for column in table.columns])
    plain = len(values) == counts.sum() and b"\r" not in joined
    if plain and (np.abs(values) < _LIMITS).all() and (values[:, :2] % 1 == 0).all():
        return counts, values
    return _parse_slowly(texts, files)


def _parse_slowly(
    texts: Sequence[bytes], files: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Parse box files line by line, past blank lines, and name the line that is wrong."""
    counts: list[int] = []
    values: list[list[float]] = []
    for text, file in zip(texts, files, strict=True):
        before = len(values)
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                values.append(_parse_line(line, f"{file} line {number}"))
        counts.append(len(values) - before)
    return np.array(counts, np.int64), np.array(values).reshape(-1, _NUM_READ)


def _parse_line(line: bytes, where: str) -> list[float]:
    fields = line.split(b",")
    if len(fields) != _NUM_COLUMNS:
        raise ValueError(
            f"{where}: {len(fields)} columns instead of {_NUM_COLUMNS}; is this a box file (bb)?"
        )
    try:
        numbers = [float(field) for field in fields[:_NUM_READ]]
    except ValueError:
        numbers = []
    in_range = numbers and (np.abs(numbers) < _LIMITS).all()
    if not in_range or not all(number.is_integer() for number in numbers[:2]):
        first = b",".join(fields[:_NUM_READ]).decode("utf-8", "replace")
        raise ValueError(
            f"{where}: {first[:80]!r} is not class, instance (whole numbers), left, top, right, bottom"
        )
    return numbers


def _find_order(pairs: np.ndarray, rows: np.ndarray, root: Path) -> Columns:
    """Tell the class column from the instance column.

    Args:
        pairs: First two columns, float64 [boxes, 2].
        rows: Which image each box is of, [boxes].
        root: Folder of the data set, for the message.
    """
    if len(pairs) == 0:
        return "class,instance"
    orders: tuple[Columns, Columns] = ("class,instance", "instance,class")
    for could_be_class in _evidence(pairs, rows):
        if could_be_class.sum() == 1:
            return orders[int(could_be_class.argmax())]
    low, high = pairs.min(axis=0), pairs.max(axis=0)
    is_class = (low >= 0) & (high < len(GTAV_CLASSES))
    if not is_class.any():
        raise ValueError(
            f"neither of the first two columns of the box files in {root} is a class: they hold "
            f"{low[0]:g} to {high[0]:g} and {low[1]:g} to {high[1]:g}, and a class is 0 to 31"
        )
    raise ValueError(
        f"the box files in {root} do not tell whether class or instance comes first: both of their "
        f"first columns could be a class; say columns='class,instance' or columns='instance,class'"
    )


def _evidence(pairs: np.ndarray, rows: np.ndarray) -> Iterator[NDArray[np.bool_]]:
    """Tell of either column, bool [2], whether it could be the class, by what is surest first."""
    low, high = pairs.min(axis=0), pairs.max(axis=0)
    is_class = (low >= 0) & (high < len(GTAV_CLASSES))
    yield is_class
    yield is_class & (low >= _FIRST_THING)
    yield is_class & ~_repeats(pairs, rows)[::-1]


def _repeats(pairs: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Tell of either column, bool [2], whether a number comes twice in an image."""
    found = []
    for column in pairs.T:
        order = np.lexsort((column, rows))
        same = (np.diff(column[order]) == 0) & (np.diff(rows[order]) == 0)
        found.append(bool(same.any()))
    return np.array(found)


def _check_classes(classes: np.ndarray, column: int, rows: np.ndarray, files: list[str]) -> None:
    """Refuse a class that GTAV has not, naming its file and line."""
    wrong = np.flatnonzero((classes < 0) | (classes >= len(GTAV_CLASSES)))
    if wrong.size == 0:
        return
    file, value = files[rows[wrong[0]]], classes[wrong[0]]
    lines = Path(file).read_bytes().splitlines()
    numbers = [n for n, line in enumerate(lines, 1) if line.strip()]
    line_number = numbers[wrong[0] - int(np.searchsorted(rows, rows[wrong[0]]))]
    raise ValueError(
        f"{file} line {line_number}: class {value:g} in column {column} is not one of GTAV's, 0 "
        f"({GTAV_CLASSES[0]}) to {len(GTAV_CLASSES) - 1} ({GTAV_CLASSES[-1]})"
    )
