"""The box table, the one form that every data set takes before anything else is done with it.

A box table is a pandas DataFrame with one row a box, and one row for an image that has no box at
all, so no image is lost. Its columns, in order (`COLUMNS` holds the dtypes):

==========  ========  ==============================================================================
column      dtype     meaning
==========  ========  ==============================================================================
image       str       name of the image, unique in the table, as split lists write it
path        str       image file, relative to the root that was read, with forward slashes
width       int32     width of the image in pixels as stored ("native" pixels)
height      int32     height of the image in native pixels; both 0 if the file is no image
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

MAX_EDGE: Final = 1e9
"""No edge of a box lies so far from its image, in pixels."""

SPLITS: Final = ("train", "valid", "test")
"""Names of the three parts; a list file is called `train.txt`, `valid.txt` or `test.txt`."""

HOOD_MIN_IMAGES: Final = 10
"""Shortest sequence, in images, in which standing still says something."""
HOOD_MIN_SHARE: Final = 0.1
"""Share of a sequence's images in which a hood stands at its place: the camera may change views."""
HOOD_BREAK: Final = 10
"""Longest time, in images, for which a hood may lack its box."""
HOOD_TOLERANCE: Final = 0.05
"""Distance of an edge from its median place, over the image's width or height, that is still."""
HOOD_BOTTOM: Final = 0.98
"""Height, over the image's, that a box must reach down to, to touch the lower edge."""
HOOD_TOP: Final = 0.4
"""Height, over the image's, that a hood stays below: the driver looks over it to the horizon."""
HOOD_MOVED: Final = 0.25
"""Share of the comparisons in which the rest of the scene must have changed around a hood."""


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
    edges = boxes[EDGES].to_numpy(np.float32)
    rows = boxes["row"].to_numpy(np.int64)
    wrong = np.flatnonzero(~(np.abs(edges) < MAX_EDGE).all(axis=1))
    if wrong.size:
        path = images["path"].iloc[rows[wrong[0]]]
        raise ValueError(f"{path}: {edges[wrong[0]].tolist()} are not the edges of a box in pixels")

    if not images["image"].is_monotonic_increasing:
        by_name = np.argsort(images["image"].to_numpy(object), kind="stable")
        images = images.iloc[by_name]
        place = np.empty(len(images), np.int64)
        place[by_name] = np.arange(len(images))
        rows = place[rows]
    has_box = np.zeros(len(images), bool)
    has_box[rows] = True
    without = np.flatnonzero(~has_box)
    rows = np.concatenate([rows, without])
    order = np.argsort(rows, kind="stable")
    of_image = rows[order]
    of_box = np.where(order < len(boxes), order, -1)

    table = images[["image", "path", "width", "height", "group"]].iloc[of_image]
    table = table.astype({"width": np.int32, "height": np.int32}).reset_index(drop=True)
    for name in ("weather", "scene", "timeofday"):
        known = pd.Categorical(images[name] if name in images else [""] * len(images))
        table[name] = pd.Categorical.from_codes(known.codes[of_image], dtype=known.dtype)
    category = pd.Categorical(boxes["category"])
    index = np.array([_index(labels, name) for name in category.categories] + [-1], np.int8)
    codes = np.append(category.codes, category.codes.dtype.type(-1))[of_box]
    table["category"] = pd.Categorical.from_codes(codes, dtype=category.dtype)
    table["label"] = index[codes]
    table["instance"] = np.append(boxes["instance"].to_numpy(np.int64), -1)[of_box]
    edges = np.append(edges, np.full((1, 4), np.nan, np.float32), axis=0)[of_box]
    table[EDGES] = edges
    covers = (np.minimum(edges[:, 2], table["width"]) > np.maximum(edges[:, 0], 0)) & (
        np.minimum(edges[:, 3], table["height"]) > np.maximum(edges[:, 1], 0)
    )
    dropped = np.select(
        [of_box < 0, table["label"].to_numpy() < 0, ~covers],
        [np.int8(REASONS.index(reason)) for reason in ("no box", "label", "degenerate")],
        np.int8(0),
    )
    table["dropped"] = pd.Categorical.from_codes(dropped, categories=pd.Index(REASONS))
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
    ours uses that the camera is fixed to the vehicle: **the hood stays while all else goes by**.

    A vehicle's box is a candidate if it touches the lower edge of the image (y2 ≥ 0.98 H), holds its
    middle column (x1 < W/2 < x2) and lies below the horizon (y1 > 0.4 H). Candidates of a sequence
    (`group`) of at least 10 images are at one place if their other three edges are within 5 % of the
    image's width or height of the median, whatever instance they are said to be: numbers change. A
    time in which a place is taken, without a break of more than 10 images, in at least 10 images and
    10 % of the sequence's, is a hood's if the rest of the scene changes meanwhile: of all other boxes
    (of any kind, at least 2 % of H high, that do not touch the lower edge), fewer than a fifth have a
    box at their place (IoU ≥ 0.7) half of that time later, in at least a quarter of up to 24 such
    comparisons. So a car that is near and cut by the lower edge stays, however long it stands before
    the camera, since parked cars and signs stand as long; and a sequence may change between driving,
    riding and walking.

    Where there is nothing to compare with, and in a shorter sequence, a candidate is marked that is a
    hood by its shape: y2 > 0.9 H, wider than 0.8 W, and lower than half of the image. What cannot be
    told from boxes: the hood of a vehicle that stands still almost all of the time is left in, and a car
    near a standing camera that sees nothing else but moving things is marked.
    """
    size = table[["width", "height"]].to_numpy(np.float32)
    edges = table[EDGES].to_numpy() / np.hstack([size, size])
    vehicle = (table["dropped"] == "") & (table["label"] != CLASSES.index("person"))
    images, groups = (pd.factorize(table[name])[0] for name in ("image", "group"))
    hood = np.zeros(len(table), bool)
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        hood[rows] = _hoods(images[rows], edges[rows], vehicle.to_numpy()[rows])
    return _mark(table, hood, "hood")


def _hoods(images: np.ndarray, edges: np.ndarray, vehicle: np.ndarray) -> np.ndarray:
    """Tell which boxes of one sequence are a hood, bool [boxes].

    Args:
        images: Number of the image of each box, ascending.
        edges: x1, y1, x2, y2 over the image's width and height, float32 [boxes, 4].
        vehicle: Which boxes could be one.
    """
    x1, y1, x2, y2 = edges.T
    shaped = vehicle & (y2 > 0.9) & (y1 > 0.5) & (x2 - x1 > 0.8)
    length = np.count_nonzero(np.diff(images)) + 1
    if length < HOOD_MIN_IMAGES:
        return np.asarray(shaped)
    hood = np.zeros(len(images), bool)
    others = (y2 < HOOD_BOTTOM) & (y2 - y1 > 0.02)
    central = (x1 < 0.5) & (x2 > 0.5)
    left = np.flatnonzero(vehicle & (y2 >= HOOD_BOTTOM) & (y1 > HOOD_TOP) & central)
    enough = max(HOOD_MIN_IMAGES, HOOD_MIN_SHARE * length)
    while len(left) >= enough:
        distance = _from_commonest_place(edges[left, :3])
        still = distance <= HOOD_TOLERANCE
        exactly = images[left[distance <= HOOD_TOLERANCE / 4]]
        there = left[still]
        for run in np.split(there, np.flatnonzero(np.diff(images[there]) > HOOD_BREAK) + 1):
            first, last = images[run[[0, -1]]]
            if len(np.unique(images[run])) >= enough:
                at = np.unique(exactly[(first <= exactly) & (exactly <= last)])
                moved = _moved(at, images[others], edges[others])
                hood[run] = shaped[run] if moved is None else moved >= HOOD_MOVED
        left = left[~still]
    return hood


def _from_commonest_place(edges: np.ndarray) -> np.ndarray:
    """Return how far each of some boxes is from where most of them are [boxes]."""
    samples = edges[np.linspace(0, len(edges) - 1, min(32, len(edges))).astype(int)]
    near = np.abs(edges[:, None] - samples).max(axis=2) <= HOOD_TOLERANCE
    place = np.median(edges[near[:, near.sum(axis=0).argmax()]], axis=0)
    return np.asarray(np.abs(edges - place).max(axis=1))


def _moved(at: np.ndarray, images: np.ndarray, edges: np.ndarray) -> float | None:
    """Return in which share of comparisons between images the boxes have changed places.

    Args:
        at: Numbers of the images to compare, each with the one half of the list later, ascending.
        images: Number of the image of each box, ascending.
        edges: Of each box, [boxes, 4].

    Returns:
        The share; None if fewer than three of the comparisons have three boxes to compare.
    """
    half = len(at) // 2
    pairs = np.unique(np.linspace(0, len(at) - half - 1, 24 if half else 0).astype(int))
    moved = []
    for pair in pairs:
        first, second = (
            edges[slice(*np.searchsorted(images, (image, image + 1)))]
            for image in (at[pair], at[pair + half])
        )
        if len(first) >= 3:
            stay = np.count_nonzero((_iou(first, second) >= 0.7).any(axis=1))
            moved.append(stay < 0.2 * len(first))
    return float(np.mean(moved)) if len(moved) >= 3 else None


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each two boxes [n, m]."""
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    common = (high - low).clip(0).prod(axis=2)
    area, other = ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second))
    return np.asarray(common / (area[:, None] + other - common))


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


def dropped_by_group(table: pd.DataFrame) -> pd.DataFrame:
    """Count what became of the rows of each group: a sequence of GTAV, a ride of BDD100K.

    Returns:
        One row a group, sorted by name (the index, called `group`); int64 columns `images`, "kept"
        and every reason of `REASONS`, in that order. They count boxes, except `images` and "no
        box", which counts images. Summed over the groups they are `count_dropped`'s numbers.
    """
    counts = pd.crosstab(table["group"], table["dropped"].astype(str))
    counts = counts.reindex(columns=list(REASONS), fill_value=0).rename(columns={"": "kept"})
    counts.insert(0, "images", table.groupby("group")["image"].nunique())
    return counts.rename_axis(columns=None).astype("int64")


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


def image_size_if_known(path: Path) -> tuple[int, int]:
    """Read an image's size as `image_size` does; (0, 0) if the file is not an image.

    So a table can hold the image; whether it is skipped or ends the run is the data module's choice.
    """
    try:
        return image_size(path)
    except ValueError:
        return 0, 0


def check_name(name: str, where: str) -> None:
    """Refuse an image name that is not the plain name of a file.

    Args:
        name: What stands in a label file or a split list.
        where: File and position, for the message.

    Raises:
        ValueError: If the name is empty, has a folder in it, or leads out of its folder.
    """
    if name in ("", ".", "..") or re.search(r"[/\\\x00]|^[A-Za-z]:", name):
        raise ValueError(f"{where}: {name[:80]!r} is not the plain name of an image file")


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
