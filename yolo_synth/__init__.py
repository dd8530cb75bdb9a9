"""Train YOLOv3 on real and synthetic street images and show layer by layer where networks differ.

What is named here is stable. It is imported when it is first used, so `import yolo_synth` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yolo_synth.analysis.activations import gram_matrices
    from yolo_synth.analysis.similarity import cka
    from yolo_synth.data.bdd100k import read_bdd100k
    from yolo_synth.data.datamodule import BDD100K, GTAV
    from yolo_synth.data.gtav import read_gtav
    from yolo_synth.detector import Detector
    from yolo_synth.yolov3 import (
        YOLOv3,
        detection_loss,
        detections,
        load_darknet_weights,
        save_darknet_weights,
    )

__version__ = "0.1.0"

__all__ = [
    "BDD100K",
    "GTAV",
    "Detector",
    "YOLOv3",
    "cka",
    "detection_loss",
    "detections",
    "gram_matrices",
    "load_darknet_weights",
    "read_bdd100k",
    "read_gtav",
    "save_darknet_weights",
]

_HOME = {
    "BDD100K": "data.datamodule",
    "GTAV": "data.datamodule",
    "Detector": "detector",
    "cka": "analysis.similarity",
    "gram_matrices": "analysis.activations",
    "read_bdd100k": "data.bdd100k",
    "read_gtav": "data.gtav",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'yolov3')}"), name)
