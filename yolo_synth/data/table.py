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
label       int16     index in the data set's classes, -1 for a kind of none of them and without box
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

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

REASONS: Final = ("", "no box", "label", "degenerate", "area", "hood", "crowd")
"""Values of `dropped`: used, image without box, kind of no class, box that covers nothing of
its image, fewer square pixels than the area filter wants, hood of the recording vehicle, region of many
objects, which evaluation sets aside as COCO's own does."""

COLUMNS: Final[Mapping[str, str]] = {
    "image": "str",
    "path": "str",
    "width": "int32",
    "height": "int32",
    "group": "str",
    "instance": "int64",
    "category": "category",
    "label": "int16",
    "x1": "float32",
    "y1": "float32",
    "x2": "float32",
    "y2": "float32",
    "dropped": "category",
    "weather": "category",
    "scene": "category",
    "timeofday": "category",
}

WITH_SPLIT: Final[Mapping[str, str]] = {**COLUMNS, "split": "category"}
"""Of a data set that says itself which split an image is of."""

CROWD: Final = " (crowd)"
"""What stands behind the category of a region of many objects that nobody boxed one by one."""

EDGES: Final = ["x1", "y1", "x2", "y2"]

MAX_EDGE: Final = 1e9
"""No edge of a box lies so far from its image, in pixels."""


def box_frame(
    edges: ArrayLike, rows: ArrayLike, categories: Sequence[str] | pd.Categorical[Any]
) -> pd.DataFrame:
    """Return boxes as `box_table` takes them, without instance numbers.

    Args:
        edges: x1, y1, x2, y2 of each [n, 4].
        rows: Position of its image in `images` [n].
        categories: The data set's name of its kind [n].
    """
    boxes = pd.DataFrame(np.asarray(edges).reshape(-1, 4), columns=EDGES)
    boxes["row"] = np.asarray(rows, np.int64)
    named = isinstance(categories, pd.Categorical)
    boxes["category"] = categories if named else pd.Series(categories, dtype="str")
    return boxes.assign(instance=-1)


def box_table(
    images: pd.DataFrame, boxes: pd.DataFrame, labels: Mapping[str, int | None]
) -> pd.DataFrame:
    """Build a box table from one row an image and one row a box.

    Marks boxes of no class ("label"), those that cover nothing of their image, because an edge is not
    before its opposite or because they lie outside ("degenerate"), and regions of many objects ("crowd").

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
    index = np.array([_index(labels, name) for name in category.categories] + [-1], np.int16)
    crowds = np.array([str(name).endswith(CROWD) for name in category.categories] + [False])
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
        [of_box < 0, table["label"].to_numpy() < 0, ~covers, crowds[codes]],
        [np.int8(REASONS.index(reason)) for reason in ("no box", "label", "degenerate", "crowd")],
        np.int8(0),
    )
    table["dropped"] = pd.Categorical.from_codes(dropped, categories=pd.Index(REASONS))
    return table[list(COLUMNS)].astype(dict(COLUMNS))


def _index(labels: Mapping[str, int | None], category: str) -> int:
    index = labels[category]
    return -1 if index is None else index


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
