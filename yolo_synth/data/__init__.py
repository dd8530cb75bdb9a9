"""Images and boxes: from files on disk to batches for the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

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

Format = Literal["coco", "yolo"]
"""What data sets are converted to."""

Placing = Literal["link", "copy", "symlink"]
"""How images come into the new folder: as hard links where the file system has them, else as copies; as
copies; or as links to where they are, which no reader of ours follows."""
