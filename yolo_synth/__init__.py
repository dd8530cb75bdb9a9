"""Train YOLOv3 on real and synthetic street images and show layer by layer where networks differ.

What is named here is stable. It is imported when it is first used, so `import yolo_synth` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from yolo_synth.data import SETS

if TYPE_CHECKING:
    from yolo_synth.analysis.activations.blocks import choose_layers
    from yolo_synth.analysis.activations.pooled import pooled_gram_matrices
    from yolo_synth.analysis.activations.run import gram_matrices, layer_names
    from yolo_synth.analysis.activations.structure import Structure, structure_of
    from yolo_synth.analysis.figures.similarity import similarity_curves, similarity_heatmap
    from yolo_synth.analysis.similarity.cka import cka
    from yolo_synth.analysis.similarity.jackknife import jackknife
    from yolo_synth.analysis.similarity.permutation import permutation_test
    from yolo_synth.analysis.similarity.series import LayerSeries
    from yolo_synth.cli import main
    from yolo_synth.data.bdd100k import BDD100K, read_bdd100k
    from yolo_synth.data.coco import COCO, read_coco
    from yolo_synth.data.gtav import GTAV, read_gtav
    from yolo_synth.data.mixed import Mixed
    from yolo_synth.data.yolo import YOLO, read_yolo
    from yolo_synth.detecting import read_detector
    from yolo_synth.detector import Detector
    from yolo_synth.difference.compare import compare_detections
    from yolo_synth.found import detect_objects
    from yolo_synth.networks.contract import Network
    from yolo_synth.networks.pretrained import PretrainedDetector
    from yolo_synth.networks.yolov3 import (
        YOLOv3,
        detection_loss,
        detections,
        load_darknet_weights,
        save_darknet_weights,
    )
    from yolo_synth.runs import read_run
    from yolo_synth.scenes.formats import write_tiny

__version__ = "0.1.0"

__all__ = [
    "BDD100K",
    "COCO",
    "GTAV",
    "YOLO",
    "Detector",
    "LayerSeries",
    "Mixed",
    "Network",
    "PretrainedDetector",
    "Structure",
    "YOLOv3",
    "choose_layers",
    "cka",
    "compare_detections",
    "detect_objects",
    "detection_loss",
    "detections",
    "gram_matrices",
    "jackknife",
    "layer_names",
    "load_darknet_weights",
    "main",
    "permutation_test",
    "pooled_gram_matrices",
    "read_bdd100k",
    "read_coco",
    "read_detector",
    "read_gtav",
    "read_run",
    "read_yolo",
    "save_darknet_weights",
    "similarity_curves",
    "similarity_heatmap",
    "structure_of",
    "write_tiny",
]

_HOME = {
    **{name: f"data.{file}" for name, file in SETS.items()},
    "Detector": "detector",
    "LayerSeries": "analysis.similarity.series",
    "Network": "networks.contract",
    "PretrainedDetector": "networks.pretrained",
    "Structure": "analysis.activations.structure",
    "choose_layers": "analysis.activations.blocks",
    "cka": "analysis.similarity.cka",
    "compare_detections": "difference.compare",
    "detect_objects": "found",
    "gram_matrices": "analysis.activations.run",
    "jackknife": "analysis.similarity.jackknife",
    "layer_names": "analysis.activations.run",
    "main": "cli",
    "permutation_test": "analysis.similarity.permutation",
    "pooled_gram_matrices": "analysis.activations.pooled",
    "read_bdd100k": "data.bdd100k",
    "read_coco": "data.coco",
    "read_gtav": "data.gtav",
    "read_detector": "detecting",
    "read_run": "runs",
    "read_yolo": "data.yolo",
    "similarity_curves": "analysis.figures.similarity",
    "similarity_heatmap": "analysis.figures.similarity",
    "structure_of": "analysis.activations.structure",
    "write_tiny": "scenes.formats",
}


def __getattr__(name: str) -> object:
    if name not in {*__all__, *SETS}:
        known = f"its data sets are {', '.join(SETS)}"
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; {known}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'networks.yolov3')}"), name)
