"""The data set that a data file names, and its images by split."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pandas as pd
from jsonargparse import ArgumentParser

from yolo_synth.data.annotations import SPLITS
from yolo_synth.data.datamodule import DetectionData
from yolo_synth.runs import read_data

UNUSED: Final = "unused"
"""What images are called here that stand in no list."""


def open_data(file: str | Path) -> DetectionData:
    """Build the data module of a data file, `class_path` and `init_args`, as `fit --data` would.

    Raises:
        FileNotFoundError: If there is no such file, or no folder at its `root`.
        ValueError: If it names no data module, or an option that this one has not.
    """
    config = read_data(file)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(DetectionData, "data", required=True)
    try:
        data = parser.instantiate_classes(parser.parse_object({"data": config})).data
    except Exception as error:  # a wrong class or option has no common class of errors
        raise ValueError(f"{file}: {error}") from error
    module: DetectionData = data
    for folder in module.folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"{file}: there is no folder {folder}; correct its root")
    return module


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
