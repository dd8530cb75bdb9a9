"""Predictions: what a network found, a row a box, in pixels of the original images."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
from torch import Tensor

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
    tables = []
    for image, detection, boxes in _placed(found, data):
        table = pd.DataFrame(boxes.numpy(), columns=["x1", "y1", "x2", "y2"])
        table.insert(0, "score", detection["scores"].float().cpu().numpy())
        table.insert(0, "label", [classes[label] for label in detection["labels"].tolist()])
        table.insert(0, "image", image)
        tables.append(table)
    rows = pd.concat(tables, ignore_index=True)
    write_whole(path, csv_text(rows, index=False))
    return len(rows)


def write_results(
    found: Iterable[Detection], data: DetectionData, classes: Sequence[str], path: Path
) -> None:
    """Write the detections in a data module's test images as `diff` takes them: COCO's result format.

    The arguments are as in `write_predictions`; images and classes are called by their names.
    """
    rows = [
        {
            "image_id": image,
            "category_id": classes[label],
            "bbox": [round(left, 3), round(top, 3), round(right - left, 3), round(low - top, 3)],
            "score": score,
        }
        for image, detection, boxes in _placed(found, data)
        for (left, top, right, low), label, score in zip(
            boxes.tolist(),
            detection["labels"].tolist(),
            detection["scores"].float().tolist(),
            strict=True,
        )
    ]
    write_whole(path, json.dumps(rows))


def _placed(
    found: Iterable[Detection], data: DetectionData
) -> Iterator[tuple[str, Detection, Tensor]]:
    """Yield each image's name, its detections and their boxes in its own pixels, inside it."""
    sizes = data.table.drop_duplicates("image").set_index("image")[["width", "height"]]
    for image, detection in zip(data.names("test"), found, strict=True):
        width, height = sizes.loc[image].to_numpy(dtype=int)
        placement = place(int(width), int(height), data.image_size, data.resize)
        boxes = placement.to_image(detection["boxes"].float().cpu())
        yield (
            image,
            detection,
            boxes.clamp(boxes.new_zeros(4), boxes.new_tensor([width, height] * 2)),
        )
