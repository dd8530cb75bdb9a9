"""What can be wrong with a data set, and what its labels alone show of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.data.listing import IMAGES
from yolo_synth.data.splits import SPLITS
from yolo_synth.data.table import EDGES
from yolo_synth.data.unused import PICTURES

KINDS: Final[Mapping[str, str]] = {
    "refused": "the data set or its split lists cannot be read, so nothing can be trained on them",
    "duplicate-name": "two images have one name",
    "missing-image": "an image file is not there",
    "damaged-image": "an image file is cut off, or is no image",
    "wrong-size": "an image has another size than its labels are made for",
    "box-outside": "a box reaches out of its image",
    "degenerate-box": "a box covers nothing of its image",
    "tiny-box": "a box that is used is less than a pixel wide or high",
    "double-box": "a box of a class stands twice in an image",
    "split-without-box": "a split has no box of any class",
    "unread-image": "an image in a form that is not read",
    "image-without-label": "an image that no label file speaks of",
    "label-without-image": "labels of an image that there is not",
}
"""Kinds of faults, and what each means."""

TOLERANCE: Final = 1.0
"""Pixels that a box may reach over the edge: in some data sets x2 and y2 lie inside a box."""

_NO_PICTURES: Final = ("cls", "inst")  # GTAV's other labels are images as well


class Fault(NamedTuple):
    """One thing that is wrong.

    Attributes:
        kind: One of `KINDS`.
        where: The file or the image.
        what: What is wrong with it, and the value.
    """

    kind: str
    where: str
    what: str


def box_faults(table: pd.DataFrame) -> list[Fault]:
    """Return the boxes that cover nothing of their image, and those that reach out of it.

    A box that a filter left out for another reason, as one of another kind, is not looked at, nor is
    one in an image that cannot be read.
    """
    table = table[table["width"] > 0]
    degenerate = table["dropped"] == "degenerate"
    beyond = np.maximum.reduce(
        [
            -table["x1"].to_numpy(np.float64),
            -table["y1"].to_numpy(np.float64),
            (table["x2"] - table["width"]).to_numpy(np.float64),
            (table["y2"] - table["height"]).to_numpy(np.float64),
        ]
    )
    outside = (table["dropped"] == "").to_numpy() & (beyond > TOLERANCE)
    faults = []
    for kind, rows in (("degenerate-box", degenerate.to_numpy()), ("box-outside", outside)):
        for row in table[rows].to_dict("records"):
            edges = " ".join(f"{row[edge]:g}" for edge in EDGES)
            what = f"{row['category']} {edges} in {row['width']}x{row['height']}"
            faults.append(Fault(kind, str(row["path"]), what))
    return faults


def senseless_boxes(table: pd.DataFrame) -> list[Fault]:
    """Return boxes that are used and teach nothing: those below a pixel, and those that stand twice."""
    used = table[(table["dropped"] == "") & (table["width"] > 0)]
    sides = np.stack([used["x2"] - used["x1"], used["y2"] - used["y1"]], axis=1)
    twice = used.duplicated(["image", "label", *EDGES]).to_numpy()
    faults = []
    for kind, rows in (("tiny-box", (sides < 1).any(axis=1)), ("double-box", twice)):
        for row in used.iloc[np.flatnonzero(rows)].to_dict("records"):
            edges = " ".join(f"{row[edge]:g}" for edge in EDGES)
            faults.append(Fault(kind, str(row["path"]), f"{row['category']} {edges}"))
    return faults


def empty_splits(table: pd.DataFrame, splits: pd.Series[str]) -> list[Fault]:
    """Return the splits without a box, of `splits`, which has that of each image by its name."""
    used = set(splits[table.loc[table["dropped"] == "", "image"].unique()])
    return [
        Fault("split-without-box", split, f"none of its {number:,} images has one")
        for split, number in splits.value_counts().items()
        if split in SPLITS and split not in used
    ]


def unread_images(unused: Iterable[Path]) -> list[Fault]:
    """Return the images among unused files."""
    return [
        Fault("unread-image", str(file), f"{file.suffix} is not read; convert it")
        for file in unused
        if file.suffix.lower() in PICTURES
    ]


def label_faults(
    table: pd.DataFrame, labelled: Mapping[str, str], unlisted: Iterable[str] = ()
) -> list[Fault]:
    """Return images that no label file speaks of, and labels of images that there are not.

    Args:
        table: A box table.
        labelled: Each image that the labels speak of → the file where they do.
        unlisted: Paths of further images that the table lacks since no label file speaks of them.
    """
    images = table.drop_duplicates("image")
    bare = images[~images["image"].isin(list(labelled))]
    without = [*bare["path"], *unlisted]
    faults = [Fault("image-without-label", path, "no label") for path in without]
    absent = sorted(labelled.keys() - set(images["image"]))
    return faults + [Fault("label-without-image", labelled[name], name) for name in absent]


def listed_images(root: Path) -> list[str]:
    """Return all image files below a folder: what can be looked at where the labels are refused."""
    return [
        path.as_posix()
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in IMAGES
        and not path.name.startswith(".")
        and not set(path.parent.relative_to(root).parts) & set(_NO_PICTURES)
    ]


def name_faults(paths: Iterable[str]) -> list[Fault]:
    """Return the images that share a name, whatever their folder and suffix."""
    by_name = defaultdict(list)
    for path in paths:
        by_name[Path(path).stem].append(path)
    return [
        Fault("duplicate-name", same[0], f"and {', '.join(same[1:])}")
        for same in by_name.values()
        if len(same) > 1
    ]


def totals(faults: Iterable[Fault]) -> dict[str, int]:
    """Return how many faults there are of each kind, in the order of `KINDS`."""
    counts = Counter(fault.kind for fault in faults)
    return {kind: counts[kind] for kind in KINDS if kind in counts}
