"""Export: a run's best weights as a Darknet file."""

from __future__ import annotations

from yolo_synth.runs import read_run
from yolo_synth.yolov3 import save_darknet_weights


def export(run: str, file: str, last_layer: int | None = None) -> None:
    """Write a run's best weights as a Darknet .weights file.

    Darknet, OpenCV and `model.weights` read it. Up to layer 74 it is a backbone, as
    `darknet53.conv.74` is, that other trainings can start from.

    Args:
        run: Run folder.
        file: File to write.
        last_layer: Last layer to write; all 107 by default.
    """
    save_darknet_weights(read_run(run).network(), file, last_layer)
