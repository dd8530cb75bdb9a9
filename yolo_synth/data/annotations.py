"""The box table, the one form that every data set takes before anything else is done with it.

A box table is a pandas DataFrame with one row a box, and one row for an image that has no box at
all, so no image is lost. Its columns, in order (`COLUMNS` holds the dtypes):

==========  ========  ==============================================================================
column      dtype     meaning
==========  ========  ==============================================================================
image       str       name of the image, unique in the table, as split lists write it
path        str       image file, relative to the root that was read, with forward slashes
width       int32     width of the image in pixels as stored ("native" pixels)
height      int32     height of the image in native pixels
group       str       images that belong together: GTAV's sequence, BDD100K's ride
instance    int64     number of the object within its group, -1 where the data set has none
category    category  the data set's own name of the object's kind, missing in a row without box
label       int8      index in `labels.CLASSES`, -1 for a kind of none of them and without box
x1, y1      float32   left and upper edge of the box, in native pixels; NaN in a row without box
x2, y2      float32   right and lower edge, exclusive: the box is `x2 - x1` wide; NaN without box
dropped     category  why the box is left out, one of `REASONS`; "" for a box that is used
weather     category  BDD100K's attribute; "" where the data set does not say
scene       category  as weather
timeofday   category  as weather
==========  ========  ==============================================================================

Rows are sorted by image, and within an image they stand as in the file. A filter never takes rows
away, it marks them in `dropped`, and the first mark stays: so what was left out can be counted and
looked at. `kept` gives the boxes that training and evaluation use.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from PIL import Image

from yolo_synth.labels import CLASSES

REASONS: Final = ("", "no box", "label", "degenerate", "area", "hood")
"""Values of `dropped`: used, image without box, kind of no common class, box that covers nothing of
its image, fewer square pixels than the area filter wants, hood of the recording vehicle."""

COLUMNS: Final[Mapping[str, str]] = {
    "image": "str",
    "path": "str",
    "width": "int32",
    "height": "int32",
    "group": "str",
    "instance": "int64",
    "category": "category",
    "label": "int8",
    "x1": "float32",
    "y1": "float32",
    "x2": "float32",
    "y2": "float32",
    "dropped": "category",
    "weather": "category",
    "scene": "category",
    "timeofday": "category",
}

EDGES: Final = ["x1", "y1", "x2", "y2"]

SPLITS: Final = ("train", "valid", "test")
"""Names of the three parts; a list file is called `train.txt`, `valid.txt` or `test.txt`."""

HOOD_MIN_IMAGES: Final = 10
"""Shortest sequence, in images, in which standing still says something."""
HOOD_MIN_SHARE: Final = 0.5
"""Share of a sequence's images in which a hood stands at its place."""
HOOD_TOLERANCE: Final = 0.05
"""Distance of an edge from its median place, over the image's width or height, that is still."""
HOOD_BOTTOM: Final = 0.98
"""Height, over the image's, that a box must reach down to, to touch the lower edge."""


def box_table(
    images: pd.DataFrame, boxes: pd.DataFrame, labels: Mapping[str, int | None]
) -> pd.DataFrame:
    """Build a box table from one row an image and one row a box.

    Marks boxes of no common class ("label"), and those that cover nothing of their image, because
    an edge is not before its opposite or because they lie outside ("degenerate").

    Args:
        images: Columns image, path, width, height, group, and weather, scene, timeofday if known.
        boxes: Columns `row` (position of the image in `images`), instance, category, x1, y1, x2,
            y2. May have no rows.
        labels: Category → class index, or None for one that is left out; has every category.

    Raises:
        ValueError: If two images have the same name, or an edge is not a finite number.
    """
    twice = images["image"].duplicated(keep=False)
    if twice.any():
        first = images.loc[twice].sort_values(["image", "path"])
        raise ValueError(
            f"two images are called {first['image'].iloc[0]}: {first['path'].iloc[0]} and "
            f"{first['path'].iloc[1]}; keep one of them"
        )
    edges = boxes[EDGES].to_numpy(np.float64)
    rows = boxes["row"].to_numpy(np.int64)
    wrong = np.flatnonzero(~(np.abs(edges) < 1e9).all(axis=1))
    if wrong.size:
        path = images["path"].iloc[rows[wrong[0]]]
        raise ValueError(f"{path}: {edges[wrong[0]].tolist()} are not the edges of a box in pixels")

    by_name = np.argsort(images["image"].to_numpy(object), kind="stable")
    place = np.empty(len(images), np.int64)
    place[by_name] = np.arange(len(images))
    without = np.setdiff1d(np.arange(len(images)), rows)
    order = np.argsort(np.concatenate([place[rows], place[without]]), kind="stable")
    of_image = np.concatenate([rows, without])[order]
    of_box = np.concatenate([np.arange(len(boxes)), np.full(len(without), -1)])[order]

    table = images[["image", "path", "width", "height", "group"]].iloc[of_image]
    table = table.reset_index(drop=True)
    for name in ("weather", "scene", "timeofday"):
        values = images[name].to_numpy()[of_image] if name in images else ""
        table[name] = pd.Series(values, table.index, dtype="category")
    category = pd.Categorical(boxes["category"])
    index = np.array([_index(labels, name) for name in category.categories] + [-1], np.int8)
    codes = np.append(category.codes, -1)[of_box]
    table["category"] = pd.Categorical.from_codes(codes, dtype=category.dtype)
    table["label"] = index[codes]
    table["instance"] = np.append(boxes["instance"].to_numpy(np.int64), -1)[of_box]
    table[EDGES] = np.append(edges, [[np.nan] * 4], axis=0)[of_box].astype(np.float32)
    table["dropped"] = pd.Categorical.from_codes(
        np.zeros(len(table), np.int8), categories=pd.Index(REASONS)
    )
    inside = table[EDGES].to_numpy()
    right, lower = table["width"].to_numpy(), table["height"].to_numpy()
    empty = (np.minimum(inside[:, 2], right) <= np.maximum(inside[:, 0], 0)) | (
        np.minimum(inside[:, 3], lower) <= np.maximum(inside[:, 1], 0)
    )
    for reason, rows_of_it in (
        ("no box", of_box < 0),
        ("label", table["label"].to_numpy() < 0),
        ("degenerate", empty),
    ):
        table = _mark(table, rows_of_it, reason)
    return table[list(COLUMNS)].astype(dict(COLUMNS))


def _index(labels: Mapping[str, int | None], category: str) -> int:
    index = labels[category]
    return -1 if index is None else index


def _mark(table: pd.DataFrame, rows: np.ndarray, reason: str) -> pd.DataFrame:
    """Return the table with a reason in those of the rows that have none yet."""
    codes = table["dropped"].cat.codes.to_numpy().copy()
    codes[rows & (codes == REASONS.index(""))] = REASONS.index(reason)
    return table.assign(dropped=pd.Categorical.from_codes(codes, categories=pd.Index(REASONS)))


def drop_small(table: pd.DataFrame, min_area: float = 100.0) -> pd.DataFrame:
    """Mark boxes of less than `min_area` square native pixels ("area"); one of just that stays.

    The area is that of the box as annotated, before anything is cut off at the image's border.
    """
    area = (table["x2"] - table["x1"]) * (table["y2"] - table["y1"])
    return _mark(table, (area < min_area).to_numpy(), "area")


def drop_hood(table: pd.DataFrame) -> pd.DataFrame:
    """Mark the hood, or handlebar, of the vehicle that carried the camera ("hood").

    GTAV annotates it as an ordinary vehicle. The paper filters it by a rule that it does not tell;
    ours uses that the camera is fixed to the vehicle. A vehicle's box is a candidate if it touches
    the lower edge of the image (y2 ≥ 0.98 H) and holds its middle column (x1 < W/2 < x2). In a
    sequence (`group`) of at least 10 images, all candidates of one instance are marked if in at
    least half of the sequence's images the instance is a candidate with its other three edges
    within 5 % of the image's width or height of their median. So a car that is near and cut by the
    lower edge stays, unless it stands right before the camera for half of a sequence.

    A shorter sequence cannot show what stands still: there every vehicle with y2 > 0.9 H that is
    wider than 0.8 W is marked.
    """
    vehicle = (table["dropped"] == "") & (table["label"] != CLASSES.index("person"))
    images_of = table.loc[~table["image"].duplicated(), "group"].value_counts()
    length = table["group"].map(images_of)
    is_long = length >= HOOD_MIN_IMAGES

    wide = table["x2"] - table["x1"] > 0.8 * table["width"]
    low = table["y2"] > 0.9 * table["height"]

    touches = table["y2"] >= HOOD_BOTTOM * table["height"]
    middle = table["width"] / 2
    central = (table["x1"] < middle) & (middle < table["x2"])
    candidates = table[vehicle & is_long & touches & central]
    who = [candidates["group"], candidates["category"], candidates["instance"]]
    still = candidates["instance"] >= 0
    for edge, side in (("x1", "width"), ("x2", "width"), ("y1", "height")):
        median = candidates.groupby(who, observed=True)[edge].transform("median")
        still &= (candidates[edge] - median).abs() <= HOOD_TOLERANCE * candidates[side]
    # An image counts once, even if numbers were given twice in it.
    still_images = candidates["image"].where(still).groupby(who, observed=True).transform("nunique")
    stands = still_images >= HOOD_MIN_SHARE * length[candidates.index]

    hood = vehicle & ~is_long & low & wide
    hood.loc[candidates.index[stands]] = True
    return _mark(table, hood.to_numpy(), "hood")


def kept(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are used: boxes with a label that no filter marked."""
    return table[table["dropped"] == ""]


def count_dropped(table: pd.DataFrame) -> pd.Series[int]:
    """Count the table's rows by what became of them.

    Returns:
        One number each for "kept" and for every reason of `REASONS`, in that order. "no box" counts
        images, the others boxes.
    """
    counts = table["dropped"].value_counts().reindex(list(REASONS), fill_value=0)
    return counts.rename(index={"": "kept"}).astype("int64")


def read_split(folder: str | Path, images: Collection[str] | None = None) -> dict[str, list[str]]:
    """Read the lists `train.txt`, `valid.txt` and `test.txt`, one image name a line.

    Blank lines are skipped; the last line needs no newline.

    Args:
        folder: Where the three files are.
        images: Names of all images there are; None leaves unchecked whether a name exists.

    Returns:
        The names of each part of `SPLITS`, in the file's order.

    Raises:
        FileNotFoundError: If a list is missing.
        ValueError: If a name is not a plain file name, occurs twice, in one list or two, or is not
            among `images`, or if a list is empty.
    """
    folder = Path(folder)
    missing = [name for name in SPLITS if not (folder / f"{name}.txt").is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no {missing[0]}.txt: a split is three lists of image names, train.txt, "
            "valid.txt and test.txt"
        )
    known = None if images is None else frozenset(images)
    seen: dict[str, str] = {}
    return {name: _read_list(folder / f"{name}.txt", known, seen) for name in SPLITS}


def _read_list(path: Path, known: frozenset[str] | None, seen: dict[str, str]) -> list[str]:
    """Read one list; `seen` has where each name of the lists before it stands, and gets its own."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file with one image name a line") from None
    names = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not names:
        raise ValueError(f"{path} names no image")
    for number, name in names:
        if known is None or name not in known:  # what the table has is a name, with folders or not
            check_name(name, f"{path} line {number}")
        if name in seen:
            raise ValueError(f"{path} line {number}: {name} stands in {seen[name]} already")
        seen[name] = f"{path} line {number}"
    unknown = [] if known is None else [row for row in names if row[1] not in known]
    if unknown:
        number, name = unknown[0]
        raise ValueError(
            f"{path} line {number}: there is no image {name} ({len(unknown)} of the list's "
            f"{len(names)} names have no image); is this the split of another data set, or is a "
            "part of the images missing?"
        )
    return [name for _, name in names]


def random_split(images: Iterable[str], seed: int = 0) -> dict[str, list[str]]:
    """Split images at random into 60 % train, 20 % valid and 20 % test, as the paper did.

    An image's place is its rank by the SHA-256 of "seed/name", so the split depends on the seed and
    on which images there are, never on their order, the machine or a library's version. Train and
    valid have `round(0.6 n)` and `round(0.2 n)` images. Frames of one video may come into
    different parts, as in the paper.

    Args:
        images: Names of the images.
        seed: Another seed gives another split.

    Returns:
        The names of each part of `SPLITS`, shuffled.

    Raises:
        ValueError: If there are fewer than 4 images, so that a part would be empty.
    """
    names = sorted(set(images), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    if len(names) < 4:
        raise ValueError(
            f"{len(names)} images cannot be split into train, valid and test: it takes 4"
        )
    train, valid = round(0.6 * len(names)), round(0.2 * len(names))
    return {
        "train": names[:train],
        "valid": names[train : train + valid],
        "test": names[train + valid :],
    }


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's width and height in pixels from its header, without decoding it.

    Raises:
        ValueError: If the file is not an image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(f"{path} is not an image that can be read; fetch it anew") from error


def check_name(name: str, where: str) -> None:
    """Refuse an image name that is not the plain name of a file.

    Args:
        name: What stands in a label file or a split list.
        where: File and position, for the message.

    Raises:
        ValueError: If the name is empty, has a folder in it, or leads out of its folder.
    """
    if name in ("", ".", "..") or re.search(r"[/\\\x00]|^[A-Za-z]:", name):
        raise ValueError(f"{where}: {name!r} is not the plain name of an image file")


def check_path(path: str, where: str) -> None:
    """Refuse a path that is not one below the data set's root.

    Args:
        path: What stands in a label file; it may have folders, divided by forward slashes.
        where: File and position, for the message.

    Raises:
        ValueError: If the path is empty or absolute, or leads out of its folder.
    """
    parts = path.split("/")
    if re.search(r"[\\\x00]|^[A-Za-z]:", path) or not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError(f"{where}: {path!r} is not the path of an image file below the root")
