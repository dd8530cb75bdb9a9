"""GTAV's box files: what the classes become, how the CSV is parsed, which of two columns is the class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from yolo_synth.data.mistakes import refuse
from yolo_synth.data.table import MAX_EDGE
from yolo_synth.labels import CLASSES

Columns = Literal["auto", "class,instance", "instance,class"]

GTAV_CLASSES: Final = (
    "unlabeled",
    "ambiguous",
    "sky",
    "road",
    "sidewalk",
    "railtrack",
    "terrain",
    "tree",
    "vegetation",
    "building",
    "infrastructure",
    "fence",
    "billboard",
    "trafficlight",
    "trafficsign",
    "mobilebarrier",
    "firehydrant",
    "chair",
    "trash",
    "trashcan",
    "person",
    "animal",
    "bicycle",
    "motorcycle",
    "car",
    "van",
    "bus",
    "truck",
    "trailer",
    "train",
    "plane",
    "boat",
)
"""The 32 classes of Playing for Benchmarks; a box file's class number is the position here."""

_COMMON: Final = {
    "person": "person",
    "bicycle": "cycle",
    "motorcycle": "cycle",
    "car": "car",
    "van": "car",
    "bus": "bus",
    "truck": "truck",
    "trailer": "truck",
}
"""GTAV's class → the common one (Table 1 of the paper)."""

GTAV_LABELS: Final[Mapping[str, int | None]] = {
    name: CLASSES.index(_COMMON[name]) if name in _COMMON else None for name in GTAV_CLASSES
}
"""GTAV class name → class index, or None where the class is left out."""

_NUM_COLUMNS: Final = 28
_NUM_READ: Final = 6
_MAX_NUMBER: Final = 2.0**53
"""Whole numbers below this one are exact."""
_LIMITS: Final = np.array([_MAX_NUMBER] * 2 + [MAX_EDGE] * 4)
_FIRST_THING: Final = GTAV_CLASSES.index("billboard")
"""Classes before this one are sky, ground, plants and buildings: no objects that are counted."""

_READ: Final = csv.ReadOptions(
    column_names=[str(column) for column in range(_NUM_COLUMNS)], use_threads=False
)
_PARSE: Final = csv.ParseOptions(quote_char=False, double_quote=False)
_CONVERT: Final = csv.ConvertOptions(
    include_columns=[str(column) for column in range(_NUM_READ)],
    column_types={str(column): pa.float64() for column in range(_NUM_READ)},
    null_values=[],
)


def parse_boxes(
    texts: Sequence[bytes], files: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Parse box files, all at once if nothing is odd about them.

    Args:
        texts: Contents of the files.
        files: Their paths, for messages.

    Returns:
        Number of boxes of each file, int64 [files], and the first six columns of all boxes, float64
        [boxes, 6].

    Raises:
        Mistakes: If lines are no boxes; each is named.
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
    """Parse box files line by line, past blank lines, and name the lines that are wrong."""
    counts: list[int] = []
    values: list[list[float]] = []
    mistakes: list[str] = []
    for text, file in zip(texts, files, strict=True):
        before = len(values)
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    values.append(_parse_line(line, f"{file} line {number}"))
                except ValueError as error:
                    mistakes.append(str(error))
        counts.append(len(values) - before)
    refuse(mistakes)
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


def find_order(pairs: np.ndarray, rows: np.ndarray, root: Path) -> Columns:
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


def check_classes(classes: np.ndarray, column: int, rows: np.ndarray, files: list[str]) -> None:
    """Refuse classes that GTAV has not, naming their files and lines."""
    mistakes = []
    numbers: dict[int, list[int]] = {}
    for box in np.flatnonzero((classes < 0) | (classes >= len(GTAV_CLASSES))).tolist():
        row = int(rows[box])
        if row not in numbers:
            lines = Path(files[row]).read_bytes().splitlines()
            numbers[row] = [number for number, line in enumerate(lines, 1) if line.strip()]
        line_number = numbers[row][box - int(np.searchsorted(rows, row))]
        mistakes.append(
            f"{files[row]} line {line_number}: class {classes[box]:g} in column {column} is not one of "
            f"GTAV's, 0 ({GTAV_CLASSES[0]}) to {len(GTAV_CLASSES) - 1} ({GTAV_CLASSES[-1]})"
        )
    refuse(mistakes)
