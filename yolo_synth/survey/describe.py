"""Describe: what a data set holds, printed, as tables and as figures."""

from __future__ import annotations


def describe(data: str, out: str | None = None, *, trust: bool = False) -> None:
    """Print and draw what a data set holds: images, boxes, sizes, what was left out, and why.

    Of each split: boxes of each class, their sizes at network scale, boxes an image, images without
    boxes, what each filter left out, weather, scene and time of day where they are known, and how
    many boxes YOLOv3's anchors can answer for; of each sequence or ride what was left out.

    Args:
        data: File that names the data set, as experiments/data/bdd100k.yaml.
        out: Folder to write to, tables as CSV and figures as PNG; by default description/ and the
            name of the data file.
        trust: Whether classes from elsewhere that the file names are imported and run.
    """
    from yolo_synth.survey.description import write_description  # brings PyTorch

    write_description(data, out, trust)
