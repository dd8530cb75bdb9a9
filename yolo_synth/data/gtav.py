"""GTAV's images and box files → box table.

"GTAV" is the data set of Richter, Hayder and Koltun, "Playing for Benchmarks", ICCV 2017 (VIPER):
video from the game GTA V at 1920x1080, one box file a frame. A box file is a CSV without header,
one object a line, 28 columns: class and instance number, the left, top, right and lower edge in
pixels (right and lower exclusive), then 6 columns of a 3D box and 16 of its matrix, which are not
read. The data set's README and a program that reads it disagree on whether the class or the
instance number comes first, so the order is an option.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from yolo_synth.data.annotations import EDGES, box_table, image_size
from yolo_synth.labels import GTAV_CLASSES, GTAV_LABELS

log = logging.getLogger(__name__)

Columns = Literal["auto", "class,instance", "instance,class"]

_NUM_COLUMNS: Final = 28
_NUM_READ: Final = 6
_MAX_NUMBER: Final = 2.0**53
"""Whole numbers below this one are exact."""
_FIRST_THING: Final = GTAV_CLASSES.index("billboard")
"""Classes before this one are sky, ground, plants and buildings: no objects that are counted."""

_READ: Final = csv.ReadOptions(column_names=[str(column) for column in range(_NUM_COLUMNS)])
_PARSE: Final = csv.ParseOptions(quote_char=False, double_quote=False)
_CONVERT: Final = csv.ConvertOptions(
    include_columns=[str(column) for column in range(_NUM_READ)],
    column_types={str(column): pa.float64() for column in range(_NUM_READ)},
    null_values=[],
)


def read_gtav(root: str | Path, columns: Columns = "auto") -> pd.DataFrame:
    """Read the images and boxes of GTAV's training sequences into one box table.

    Images are `train/img/SEQ/SEQ_FRAME.jpg` (or `.png`) and boxes `train/bb/SEQ/SEQ_FRAME.csv`;
    `root` holds `train/` or is that folder. A PNG is called `.jpg` in the column `image` as well,
    since that is how split lists name the frame. The frames of a sequence are one video, so their
    size is read from the first one alone. A frame whose box file is empty or missing has no box,
    and a box file without frame is left out; they are counted in the log.

    With `columns="auto"` the first two columns' order is found from all files together: a class is
    a number from 0 to 31; if that leaves both, it is not sky, ground, plant or building; if that
    leaves both, an instance number does not come twice in a frame.

    Args:
        root: Folder of the data set.
        columns: Order of the first two columns: `class,instance`, `instance,class`, or `auto`.

    Returns:
        The box table (see `annotations`), paths relative to `root`; `group` is the sequence.

    Raises:
        FileNotFoundError: If there are no images or no box files; says where they were looked for.
        ValueError: If a box file is malformed (says file and line) or the order cannot be told.
    """
    root = Path(root)
    base = _find(root)
    folders = sorted(path for path in (base / "img").iterdir() if path.is_dir())
    sequences = [_read_sequence(folder, base, root) for folder in folders]
    images = pd.concat([sequence.images for sequence in sequences], ignore_index=True)
    if images.empty:
        raise FileNotFoundError(f"no .jpg or .png in the folders of {base / 'img'}")
    files = [file for sequence in sequences for file in sequence.files]
    empty, missing, unused = np.sum([s.without for s in sequences], axis=0)
    if missing == len(files):
        raise FileNotFoundError(
            f"none of the {len(files)} images has a box file; looked for {files[0]}"
        )
    rows = np.repeat(np.arange(len(files)), np.concatenate([s.counts for s in sequences]))
    values = np.concatenate([sequence.values for sequence in sequences])
    order = _find_order(values[:, :2], rows, root) if columns == "auto" else columns
    class_column = order.split(",").index("class")
    _check_classes(values[:, class_column], class_column, rows, files)
    boxes = pd.DataFrame(values[:, 2:], columns=EDGES)
    boxes["row"] = rows
    boxes["category"] = pd.Categorical.from_codes(
        values[:, class_column].astype(np.int8), categories=pd.Index(GTAV_CLASSES)
    )
    boxes["instance"] = values[:, 1 - class_column].astype(np.int64)
    log.info(
        "GTAV in %s: %d sequences, %d images, %d boxes (columns %s); %d images have an empty and "
        "%d no box file and count as images without objects, %d box files have no image",
        *(root, images["group"].nunique(), len(files), len(boxes), order, empty, missing, unused),
    )
    return box_table(images, boxes, GTAV_LABELS)


def gtav_box_files(root: str | Path) -> dict[str, str]:
    """Return the image that each box file is of, as the box table calls it → the file."""
    files = (_find(Path(root)) / "bb").glob("*/*.csv")
    return {f"{file.stem}.jpg": str(file) for file in files}


class _Sequence(NamedTuple):
    """What a sequence's folders hold.

    Attributes:
        images: One row an image, as `box_table` takes them.
        files: Box file of each image, whether it is there or not.
        counts: Number of boxes of each image, int64 [images].
        values: First six columns of all boxes, float64 [boxes, 6].
        without: Number of images with an empty and with no box file, and of files without image.
    """

    images: pd.DataFrame
    files: list[str]
    counts: NDArray[np.int64]
    values: NDArray[np.float64]
    without: tuple[int, int, int]


def _read_sequence(folder: Path, base: Path, root: Path) -> _Sequence:
    """Read one folder of `img` and its namesake of `bb`."""
    frames = _frames(folder)
    box_folder = base / "bb" / folder.name
    texts = _read_files(box_folder)
    of_frames = [texts.get(stem) for stem, _ in frames]
    files = [f"{box_folder}{os.sep}{stem}.csv" for stem, _ in frames]  # a Path each takes longer
    width, height = image_size(folder / "".join(frames[0])) if frames else (0, 0)
    above = folder.relative_to(root).as_posix()
    images = pd.DataFrame(
        {
            "image": [f"{stem}.jpg" for stem, _ in frames],
            "path": [f"{above}/{stem}{suffix}" for stem, suffix in frames],
            "width": width,
            "height": height,
            "group": folder.name,
        }
    )
    counts, values = _parse([text or b"" for text in of_frames], files)
    without = (
        sum(text is not None and not text.strip() for text in of_frames),
        sum(text is None for text in of_frames),
        len(texts.keys() - {stem for stem, _ in frames}),
    )
    return _Sequence(images, files, counts, values, without)


def _find(root: Path) -> Path:
    """Return the folder that holds `img` and `bb`."""
    for base in (root / "train", root):
        if (base / "img").is_dir():
            if not (base / "bb").is_dir():
                raise FileNotFoundError(
                    f"no boxes for the images in {base / 'img'}: there is no folder {base / 'bb'}; "
                    "unpack the data set's bounding boxes there"
                )
            if not any(path.is_dir() for path in (base / "img").iterdir()):
                raise FileNotFoundError(f"no folder of a sequence (001, 002, …) in {base / 'img'}")
            return base
    raise FileNotFoundError(
        f"no GTAV images in {root}: looked for the folders train/img and img; name the folder that "
        "holds train/"
    )


def _frames(folder: Path) -> list[tuple[str, str]]:
    """List a sequence's frames as (stem, suffix), in order."""
    with os.scandir(folder) as entries:
        names = [os.path.splitext(entry.name) for entry in entries]  # noqa: PTH122 many files
    wanted = (".jpg", ".png")
    return sorted(name for name in names if name[1].lower() in wanted and name[0][0] != ".")


def _read_files(folder: Path) -> dict[str, bytes]:
    """Read all box files of a sequence; a folder that is not there has none."""
    if not folder.is_dir():
        return {}
    texts = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".csv"):
                with open(entry.path, "rb", buffering=0) as stream:  # noqa: PTH123 many files
                    texts[entry.name[:-4]] = stream.read()
    return texts


def _parse(texts: list[bytes], files: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Parse the box files of a sequence at once.

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
    if plain and (np.abs(values) < _MAX_NUMBER).all() and (values[:, :2] % 1 == 0).all():
        return counts, values
    return _parse_slowly(texts, files)


def _parse_slowly(
    texts: list[bytes], files: list[str]
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
    in_range = numbers and all(abs(number) < _MAX_NUMBER for number in numbers)
    if not in_range or not all(number.is_integer() for number in numbers[:2]):
        first = b",".join(fields[:_NUM_READ]).decode("utf-8", "replace")
        raise ValueError(
            f"{where}: {first!r} is not class, instance (whole numbers), left, top, right, bottom"
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
