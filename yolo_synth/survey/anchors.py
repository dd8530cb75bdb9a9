"""Anchors that fit a data set's boxes, beside those of YOLOv3."""

from __future__ import annotations


def anchors(
    data: str, count: int = 9, size: int | None = None, seed: int = 0, *, trust: bool = False
) -> None:
    """Fit anchors to a data set's training boxes and print them beside YOLOv3's, as YAML.

    With the line `anchors:` under `model:` in an experiment file, the network is trained with them.

    K-means on widths and heights with 1 - IoU for a distance, then small random steps that raise the
    mean IoU of a box with its best anchor. Recall is the share of boxes that an anchor answers for:
    its width-height IoU with the box is above 0.225. Nothing is learnt from the other boxes.

    Args:
        data: File that names the data set, as experiments/data/bdd100k.yaml.
        count: How many anchors.
        size: Side of the network input, in pixels; by default the one of the data file.
        seed: Another seed may give slightly other anchors; the same one gives the same.
        trust: Whether classes from elsewhere that the file names are imported and run.
    """
    from yolo_synth.survey.fitting import print_anchors  # brings PyTorch

    print_anchors(data, count, size, seed, trust)
