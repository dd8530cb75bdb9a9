"""The images of a data set by split."""

from __future__ import annotations

from typing import Final

import pandas as pd

from yolo_synth.data.module import DetectionData
from yolo_synth.data.splits import SPLITS

UNUSED: Final = "unused"
"""What images are called here that stand in no list."""


def split_of_images(data: DetectionData) -> pd.Series[str]:
    """Return the split of every image, by the image's name; `UNUSED` for one that no list has."""
    images = pd.Index(data.table["image"].unique(), name="image")
    splits = pd.Series(UNUSED, index=images, name="split", dtype="str")
    for split in SPLITS:
        splits[data.names(split)] = split
    return splits


def splits_in_order(splits: pd.Series[str]) -> list[str]:
    """Return the splits that have images, in the usual order."""
    there = set(splits.unique())
    return [split for split in (*SPLITS, UNUSED) if split in there]
