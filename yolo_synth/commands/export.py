"""Export: a run's best weights as a Darknet file."""

from __future__ import annotations

from yolo_synth.networks.yolov3 import YOLOv3, save_darknet_weights
from yolo_synth.runs import read_run


def export(run: str, file: str, last_layer: int | None = None) -> None:
    """Write a run's best weights as a Darknet .weights file.

    Darknet, OpenCV and `model.weights` read it. Up to layer 74 it is a backbone, as
    `darknet53.conv.74` is, that other trainings can start from.

    Args:
        run: Run folder.
        file: File to write; its folder is made.
        last_layer: Last layer to write; all 107 by default.
    """
    network = read_run(run).network()
    if not isinstance(network, YOLOv3):
        raise ValueError(
            f"{run}: Darknet's format is for YOLOv3, and this is {network.description}: other programs "
            "read its best.ckpt with torch.load"
        )
    save_darknet_weights(network, file, last_layer)
