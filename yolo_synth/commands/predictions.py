"""Predictions: what a network found, a row a box, in pixels of the original images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from yolo_synth.boxes import Detection, place
from yolo_synth.data.module import DetectionData
from yolo_synth.escaping import csv_text
from yolo_synth.files import write_whole


def write_predictions(
    found: Iterable[Detection], data: DetectionData, classes: Sequence[str], path: Path
) -> int:
    """Write the detections in a data module's test images as CSV and return how many there are.

    The columns are image, label (its name), score, x1, y1, x2 and y2, the box in native pixels,
    cut off at the image's border.

    Args:
        found: The detections of each image, in the order of `data.names("test")`, boxes in pixels of
            the network input.
        data: The data module that served the images.
        classes: Names of the network's classes.
        path: The file; its folder is made.
    """
    sizes = data.table.drop_duplicates("image").set_index("image")[["width", "height"]]
    tables = []
    for image, detection in zip(data.names("test"), found, strict=True):
        width, height = sizes.loc[image].to_numpy(dtype=int)
        placement = place(int(width), int(height), data.image_size, data.resize)
        boxes = placement.to_image(detection["boxes"].float().cpu())
        boxes = boxes.clamp(boxes.new_zeros(4), boxes.new_tensor([width, height] * 2))
        table = pd.DataFrame(boxes.numpy(), columns=["x1", "y1", "x2", "y2"])
        table.insert(0, "score", detection["scores"].float().cpu().numpy())
        table.insert(0, "label", [classes[label] for label in detection["labels"].tolist()])
        table.insert(0, "image", image)
        tables.append(table)
    rows = pd.concat(tables, ignore_index=True)
    write_whole(path, csv_text(rows, index=False))
    return len(rows)
