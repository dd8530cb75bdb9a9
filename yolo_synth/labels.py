"""The five common classes, and what each data set calls them (Table 1 of the paper).

A class index is its position in `CLASSES`, counted from 0. Each label map names every category that
its data set is known to contain: a category of none of the five classes maps to `None` and is left
out, and one that is not in the map at all is an error, so a typing mistake cannot pass as "no object".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CLASSES: Final = ("person", "cycle", "car", "bus", "truck")

CLASS_COLOURS: Final = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7")
"""One per class, told apart by the colour-blind too (Okabe and Ito)."""

_TABLE_1: Final[tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]] = (
    # common, BDD100K (the 2018 and the 2020 names), GTAV
    ("person", ("person", "pedestrian", "rider"), ("person",)),
    ("cycle", ("bike", "bicycle", "motor", "motorcycle"), ("bicycle", "motorcycle")),
    ("car", ("car",), ("car", "van")),
    ("bus", ("bus",), ("bus",)),
    ("truck", ("truck",), ("truck", "trailer")),
)

_BDD100K_OTHERS: Final = (
    "train",
    "traffic light",
    "traffic sign",
    "other person",
    "other vehicle",
    "trailer",
    "lane",
    "drivable area",
)

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

_common_bdd100k = {name: CLASSES.index(common) for common, names, _ in _TABLE_1 for name in names}
_common_gtav = {name: CLASSES.index(common) for common, _, names in _TABLE_1 for name in names}

BDD100K_LABELS: Final[Mapping[str, int | None]] = {
    **_common_bdd100k,
    **dict.fromkeys(_BDD100K_OTHERS),
}
"""BDD100K category name → class index, or None where the category is left out."""

GTAV_LABELS: Final[Mapping[str, int | None]] = {
    name: _common_gtav.get(name) for name in GTAV_CLASSES
}
"""GTAV class name → class index, or None where the class is left out."""
