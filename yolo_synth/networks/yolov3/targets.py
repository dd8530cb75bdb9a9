"""Which anchors answer for which true box.

The rule of the paper's code base (ultralytics/yolov3, early 2020): at every level each of its
three anchors whose width-height IoU with a box exceeds 0.225 answers for it, in the cell that holds
the box's centre. A box may so have none to nine anchors. Nothing is ignored: every other anchor of
every cell is background.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from yolo_synth.boxes import NO_BOX, Target
from yolo_synth.networks.yolov3.architecture import ANCHORS, MASKS, Anchors

MATCH_IOU: Final = 0.225
"""An anchor answers for a box if the IoU of their widths and heights is above this."""


class Assignment(NamedTuple):
    """Every pairing of a level's three anchors with the batch's n boxes, and which of them count.

    All shapes follow from the number of boxes alone, so nothing has to wait for the device. A batch
    without boxes has n = 0.

    Attributes:
        image: int64 [n], the image of each box.
        row: int64 [n], the cell row of each box's centre.
        column: int64 [n], the cell column of each box's centre.
        labels: int64 [n], the class of each box.
        boxes: float32 [n, 4], x and y of the centre within its cell, width and height, in cells.
        answers: bool [3, n], whether the anchor answers for the box.
    """

    image: Tensor
    row: Tensor
    column: Tensor
    labels: Tensor
    boxes: Tensor
    answers: Tensor


def checked_anchors(anchors: Sequence[Sequence[float]]) -> Anchors:
    """Return nine anchors, the smallest area first: the three largest predict at stride 32.

    Raises:
        ValueError: If they are not nine widths and heights above 0.
    """
    if len(anchors) != len(ANCHORS) or any(len(a) != 2 or min(a) <= 0 for a in anchors):
        raise ValueError(
            f"anchors are {len(ANCHORS)} widths and heights above 0, as `data anchors` prints, not "
            f"{[list(anchor) for anchor in anchors]}"
        )
    pairs = ((float(width), float(height)) for width, height in anchors)
    return tuple(sorted(pairs, key=math.prod))


@functools.cache
def level_anchors(device: torch.device, anchors: Anchors = ANCHORS) -> list[Tensor]:
    """Return the anchors of layers 82, 94 and 106, each float32 [3, 2]: width, height in pixels.

    They are copied to a device once, since a training step that copies waits for all before it.
    """
    with torch.inference_mode(mode=False):  # evaluation may ask first, and training reuses them
        sizes = torch.tensor(anchors).to(device)
    return [sizes[mask[0] : mask[-1] + 1] for mask in MASKS]


def assign(
    targets: Sequence[Target], anchors: Tensor, stride: int, grid: tuple[int, int]
) -> Assignment:
    """Pair the boxes of a batch with the anchors of one level.

    A centre on or beyond the image's edge counts for the nearest cell.

    Args:
        targets: One target an image, boxes in pixels of the network input; at least one image, any
            of them without boxes. A box of label `NO_BOX` fills up and counts for nothing.
        anchors: float32 [3, 2], width and height of the level's anchors in pixels, on the targets'
            device.
        stride: Pixels per cell.
        grid: Rows and columns of the level's map.
    """
    labels = torch.cat([target["labels"] for target in targets])
    image = torch.cat([torch.full_like(t["labels"], index) for index, t in enumerate(targets)])
    corners = torch.cat([target["boxes"] for target in targets]).float() / stride
    size = corners[:, 2:] - corners[:, :2]
    centre = corners[:, :2] + size / 2
    column = centre[:, 0].long().clamp(0, grid[1] - 1)
    row = centre[:, 1].long().clamp(0, grid[0] - 1)
    within = centre - torch.stack([column, row], dim=1)

    iou = size_iou(size, anchors[:, None] / stride)
    boxes = torch.cat([within, size], dim=1)
    answers = (iou > MATCH_IOU) & (labels != NO_BOX)
    return Assignment(image, row, column, labels, boxes, answers)


def size_iou(sizes: Tensor, anchors: Tensor) -> Tensor:
    """Return the IoU of boxes with anchors, width and height [..., 2] of either, as of one centre."""
    overlap = area(torch.minimum(sizes, anchors))
    return overlap / (area(sizes) + area(anchors) - overlap)


def area(sides: Tensor) -> Tensor:
    """Return width times height of [..., 2]; the gradient of `prod` would wait for the device."""
    return sides[..., 0] * sides[..., 1]
