"""The training loss: box, objectness and class.

The formulas and gains of the paper's code base (ultralytics/yolov3, early 2020), written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from yolo_synth.boxes import NO_BOX, Target
from yolo_synth.networks.yolov3.architecture import ANCHORS, STRIDES, Anchors
from yolo_synth.networks.yolov3.detections import decode
from yolo_synth.networks.yolov3.targets import area, assign, level_anchors

GAINS: Final = {"box": 3.54, "objectness": 64.3, "class": 37.4}
"""Factor on each term."""


def detection_loss(
    raw: Sequence[Tensor], targets: Sequence[Target], anchors: Anchors = ANCHORS
) -> dict[str, Tensor]:
    """Return the three terms of the loss, each with its gain; their sum is what to minimise.

    Each term is summed over the three levels:

    - `box`: the mean of 1 - GIoU (Rezatofighi et al., 2019) over the anchors that answer for a box;
    - `objectness`: the mean binary cross-entropy over all anchors of all cells; the target is the
      GIoU of the anchor that answers (not below 0, and without gradient) and 0 for all others;
    - `class`: the mean binary cross-entropy over classes and answering anchors, one-hot.

    Where two boxes of an image share an anchor and cell, both are in `box` and `class`, and the
    objectness target is the larger GIoU, whatever their order. Means make the terms independent of
    the batch size; the code base multiplied their sum by batch / 64 before the backward pass, which
    is the caller's to do. On a level without answering anchors `box` and `class` are 0, with a zero
    gradient. All of it is computed in float32.

    Args:
        raw: The network's three raw maps, [B, 3, h, w, 5 + C] at strides 32, 16 and 8.
        targets: B targets, boxes in pixels of the network input, on the device of `raw`.
        anchors: The network's, of `checked_anchors`.

    Returns:
        `box`, `objectness` and `class`, each a float32 scalar.

    Raises:
        ValueError: If there is not one target an image.
    """
    if len(targets) != len(raw[0]):
        raise ValueError(f"one target an image is wanted: {len(raw[0])}, not {len(targets)}")
    levels = zip(raw, level_anchors(raw[0].device, anchors), STRIDES, strict=True)
    terms = [_level_loss(level.float(), targets, sizes, s) for level, sizes, s in levels]
    box, objectness, classes = (torch.stack(term).sum() for term in zip(*terms, strict=True))
    return {
        "box": GAINS["box"] * box,
        "objectness": GAINS["objectness"] * objectness,
        "class": GAINS["class"] * classes,
    }


def _level_loss(
    raw: Tensor, targets: Sequence[Target], anchors: Tensor, stride: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return box, objectness and class term of one level, without gains."""
    height, width, entries = raw.shape[2:]
    match = assign(targets, anchors, stride, (height, width))
    anchor = torch.arange(len(anchors), device=raw.device)[:, None]
    candidates = raw[match.image, anchor, match.row, match.column]  # [3, n, 5 + C]
    answering = match.answers.sum().clamp(min=1)

    boxes = decode(candidates[..., :4], anchors[:, None] / stride)
    giou = generalized_iou(boxes, match.boxes)
    silent = ~match.answers
    box = (1 - giou).masked_fill(silent, 0).sum() / answering

    one_hot = (
        F.one_hot(match.labels.clamp(min=NO_BOX + 1), entries - 5)
        .float()
        .expand(len(anchors), -1, -1)
    )
    errors = F.binary_cross_entropy_with_logits(candidates[..., 5:], one_hot, reduction="none")
    classes = errors.mean(-1).masked_fill(silent, 0).sum() / answering

    # One value a cell and anchor; the maximum does not depend on the order of the boxes.
    cell = ((match.image * len(anchors) + anchor) * height + match.row) * width + match.column
    quality = giou.detach().clamp(min=0).masked_fill(silent, 0)
    truth = torch.zeros_like(raw[..., 4]).flatten()
    truth = truth.scatter_reduce(0, cell.flatten(), quality.flatten(), "amax")
    objectness = F.binary_cross_entropy_with_logits(raw[..., 4], truth.view(raw.shape[:-1]))
    return box, objectness, classes


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the generalised IoU of boxes pairwise (Rezatofighi et al., 2019), in -1..1.

    Args:
        a: [..., 4], x and y of the centre, width and height.
        b: Boxes of a shape that broadcasts with `a`, in the same unit.
    """
    a_low, a_high = a[..., :2] - a[..., 2:] / 2, a[..., :2] + a[..., 2:] / 2
    b_low, b_high = b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2
    overlap = area((torch.minimum(a_high, b_high) - torch.maximum(a_low, b_low)).clamp(min=0))
    hull = area(torch.maximum(a_high, b_high) - torch.minimum(a_low, b_low))
    union = area(a[..., 2:]) + area(b[..., 2:]) - overlap
    tiny = torch.finfo(union.dtype).tiny  # two boxes without area
    return overlap / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)
