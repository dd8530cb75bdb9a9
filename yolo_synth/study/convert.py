"""Convert: any data set that can be trained on, in COCO's or YOLO's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolo_synth.data.convert import Format, write_converted
from yolo_synth.runs import data_module, read_data


def convert(data: str, to: Format = "coco", out: str = "converted", copy: bool = False) -> None:
    """Write a data set as COCO JSON or YOLO text files, as it is trained on.

    The same splits, classes, filters and conditions: boxes that are left out in training are not
    written. Images are links to where they are now, so nothing takes space twice.

    Args:
        data: File that names the data set, as experiments/data/bdd100k.yaml.
        to: coco or yolo.
        out: Folder to make.
        copy: Copy the images, so that the folder can be moved elsewhere.
    """
    module: Any = data_module(read_data(data))
    boxes = write_converted(module, to, Path(out), copy)
    counts = ", ".join(
        f"{len(module.names(split))} {split}" for split in ("train", "valid", "test")
    )
    print(f"{out}: {counts} images with {boxes} boxes")  # noqa: T201
