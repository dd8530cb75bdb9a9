"""The detector's mathematics: network, weights, targets, loss and detections."""

from yolo_synth.networks.yolov3.architecture import BACKBONE, HEAD
from yolo_synth.networks.yolov3.detections import detections
from yolo_synth.networks.yolov3.loss import detection_loss
from yolo_synth.networks.yolov3.network import YOLOv3
from yolo_synth.networks.yolov3.weights import (
    load_backbone,
    load_darknet_weights,
    save_darknet_weights,
)

__all__ = [
    "BACKBONE",
    "HEAD",
    "YOLOv3",
    "detection_loss",
    "detections",
    "load_backbone",
    "load_darknet_weights",
    "save_darknet_weights",
]
