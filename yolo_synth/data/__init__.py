"""Images and boxes: from files on disk to batches for the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SETS: Final[Mapping[str, str]] = {
    "BDD100K": "bdd100k",
    "GTAV": "gtav",
    "COCO": "coco",
    "YOLO": "yolo",
    "KITTI": "kitti",
    "VOC": "voc",
    "SOLO": "solo",
    "Scalabel": "scalabel",
    "VirtualKITTI2": "vkitti2",
    "Pictures": "pictures",
    "Mixed": "mixed",
}
"""Each data set's class, which can be had from `yolo_synth`, and its file in this room."""
