"""From raw maps to boxes: decoding and non-maximum suppression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_convert, clip_boxes_to_image

from yolo_synth.boxes import Detection
from yolo_synth.networks.yolov3.architecture import ANCHORS, STRIDES, Anchors
from yolo_synth.networks.yolov3.targets import level_anchors

_TOGETHER: Final = 8  # images whose pairs of boxes are compared together: 2.5 GB with 3000 each
_LOG_LARGEST: Final = math.log(1e3)  # a box is at most a thousand times its anchor


def decode(raw: Tensor, anchors: Tensor) -> Tensor:
    """Turn raw box entries into centre and size (Redmon and Farhadi, 2018, section 2.1).

    Args:
        raw: [..., 4], the raw x, y, width and height.
        anchors: [..., 2], width and height of the anchors, broadcasting with `raw`.

    Returns:
        [..., 4]: x and y of the centre within its cell, in cells (0..1); width and height in the
        anchors' unit, at most 1000 times the anchor.
    """
    # Limited before the exponential, so that an overflow cannot make the gradient NaN.
    size = raw[..., 2:].clamp(max=_LOG_LARGEST).exp() * anchors
    return torch.cat([raw[..., :2].sigmoid(), size], dim=-1)


@torch.no_grad()
def detections(
    raw: Sequence[Tensor],
    image_size: int | tuple[int, int],
    confidence: float = 0.001,
    iou: float = 0.6,
    max_candidates: int = 3000,
    max_detections: int = 300,
    anchors: Anchors = ANCHORS,
) -> list[Detection]:
    """Find the objects of each image in the network's raw maps.

    A box is looked at if its objectness is above `confidence`, and then stands once for every
    class whose score (objectness times class probability) is above it too. The best
    `max_candidates` of an image enter non-maximum suppression, class by class; the best
    `max_detections` of what is left are returned. Boxes are clipped to the network input, but only
    after the suppression, as in Darknet and in the paper's code base.

    Args:
        raw: The network's three raw maps, [B, 3, h, w, 5 + C] at strides 32, 16 and 8.
        image_size: Side of the network input in pixels, or its height and width.
        confidence: Least score, exclusive; 0.001 for a precision-recall curve, more for a picture.
        iou: A box goes if its IoU with a better one of its class is above this.
        max_candidates: Box and class pairs of an image that enter the suppression, which takes
            time quadratic in them.
        max_detections: Detections of an image that are returned.
        anchors: The network's, of `checked_anchors`.

    Returns:
        B detections, boxes in pixels of the network input, the surest first. An image without any
        has boxes [0, 4], scores [0] and labels [0].

    Raises:
        ValueError: If the maps are not those of an input of `image_size`.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    for level, stride in zip(raw, STRIDES, strict=True):
        rows, columns = level.shape[2:4]
        if (rows * stride, columns * stride) != (height, width):
            raise ValueError(
                f"a map of {rows}x{columns} cells at stride {stride} belongs to an input of "
                f"{rows * stride}x{columns * stride}, not {height}x{width}: give that image_size"
            )
    flat = torch.cat([level.flatten(1, 3) for level in raw], dim=1).float()  # [B, n, 5 + C]
    objectness, classes = flat[..., 4:5].sigmoid(), flat[..., 5:].sigmoid()
    scores = torch.where(objectness > confidence, objectness * classes, 0).flatten(1)
    best, order = scores.topk(min(max_candidates, scores.shape[1]))
    cell, labels = order.div(classes.shape[2], rounding_mode="floor"), order % classes.shape[2]
    boxes = _boxes(flat.gather(1, cell[..., None].expand(-1, -1, 4)), _priors(raw, anchors)[cell])
    kept = suppress(boxes, labels, best > confidence, iou)
    kept &= kept.cumsum(1) <= max_detections
    boxes = clip_boxes_to_image(boxes, (height, width))
    counts = kept.sum(1).tolist()
    parts = (torch.split(values[kept], counts) for values in (boxes, best, labels))
    return [
        {"boxes": of_boxes, "scores": of_scores, "labels": of_labels}
        for of_boxes, of_scores, of_labels in zip(*parts, strict=True)
    ]


def _priors(raw: Sequence[Tensor], anchors: Anchors) -> Tensor:
    """Return column, row, anchor width and height, and stride of each of n boxes, [n, 5], in pixels."""
    priors = []
    levels = zip(raw, level_anchors(raw[0].device, anchors), STRIDES, strict=True)
    for level, sizes, stride in levels:
        prior = torch.empty(*level.shape[1:4], 5, device=level.device)
        prior[..., 0] = stride * torch.arange(level.shape[3], device=level.device)
        prior[..., 1] = stride * torch.arange(level.shape[2], device=level.device)[:, None]
        prior[..., 2:4] = sizes[:, None, None]
        prior[..., 4] = stride
        priors.append(prior.flatten(0, 2))
    return torch.cat(priors)


def _boxes(raw: Tensor, priors: Tensor) -> Tensor:
    """Decode raw boxes [..., 4] to x1, y1, x2, y2 in pixels."""
    box = decode(raw, priors[..., 2:4])
    centre = priors[..., :2] + box[..., :2] * priors[..., 4:]
    corners: Tensor = box_convert(torch.cat([centre, box[..., 2:]], dim=-1), "cxcywh", "xyxy")
    return corners


def suppress(boxes: Tensor, labels: Tensor, there: Tensor, iou: float) -> Tensor:
    """Say which boxes non-maximum suppression keeps: none that overlaps a kept better one of its class.

    Args:
        boxes: [B, K, 4], the surest of an image first.
        labels: [B, K].
        there: bool [B, K], whether it is a box at all.
        iou: Overlap above which the less sure one goes.

    Returns:
        bool [B, K].
    """
    if boxes.device.type == "cpu":
        kept = torch.zeros_like(there)
        order = torch.arange(boxes.shape[1], 0, -1).float()
        for image, (one, kinds, real) in enumerate(zip(boxes, labels, there, strict=True)):
            index = real.nonzero()[:, 0]
            kept[image, index[batched_nms(one[index], order[index], kinds[index], iou)]] = True
        return kept
    parts = [slice(first, first + _TOGETHER) for first in range(0, len(boxes), _TOGETHER)]
    kept_of_parts = [suppress_at_once(boxes[p], labels[p], there[p], iou) for p in parts]
    return torch.cat(kept_of_parts)


def suppress_at_once(boxes: Tensor, labels: Tensor, there: Tensor, iou: float) -> Tensor:
    """Do the same for all images at once, by all pairs of boxes: few kernels of more arithmetic.

    Boxes chosen one after the other, the surest first, are a fixed point of "a box stays unless a
    surer one that stays overlaps it", and the only one; it is iterated to from all boxes.
    """
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    goes = overlap / (area[:, :, None] + area[:, None] - overlap) > iou
    goes &= labels[:, :, None] == labels[:, None]
    goes = goes.triu(1)  # [B, K, K]: the first, surer one suppresses the second
    kept, before = there, torch.zeros_like(there)
    while not torch.equal(kept, before):
        kept, before = there & ~(goes & kept[:, :, None]).any(1), kept
    return kept
