"""From raw maps to boxes: decoding and non-maximum suppression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_convert, clip_boxes_to_image

from yolo_synth.boxes import Detection
from yolo_synth.yolov3.network import STRIDES
from yolo_synth.yolov3.targets import level_anchors

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
    levels = zip(raw, level_anchors(raw[0].device), STRIDES, strict=True)
    boxes = torch.cat([_boxes(level.float(), anchors, s) for level, anchors, s in levels], dim=1)
    logits = torch.cat([level[..., 4:].float().flatten(1, 3) for level in raw], dim=1)
    probabilities = logits.sigmoid()

    found: list[Detection] = []
    for image_boxes, image_probabilities in zip(boxes, probabilities, strict=True):
        candidates = _candidates(image_boxes, image_probabilities, confidence, max_candidates)
        kept = batched_nms(*candidates, iou)[:max_detections]
        kept_boxes, scores, labels = (values[kept] for values in candidates)
        kept_boxes = clip_boxes_to_image(kept_boxes, (height, width))
        found.append({"boxes": kept_boxes, "scores": scores, "labels": labels})
    return found


def _boxes(raw: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """Decode one level to float32 [B, 3 * h * w, 4], x1, y1, x2, y2 in pixels."""
    rows, columns = raw.shape[2:4]
    box = decode(raw[..., :4], anchors[:, None, None])
    x = (box[..., 0] + torch.arange(columns, device=raw.device)) * stride
    y = (box[..., 1] + torch.arange(rows, device=raw.device)[:, None]) * stride
    centred = torch.stack([x, y, box[..., 2], box[..., 3]], dim=-1)
    corners: Tensor = box_convert(centred, "cxcywh", "xyxy")
    return corners.flatten(1, 3)


def _candidates(
    boxes: Tensor, probabilities: Tensor, confidence: float, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return an image's best box and class pairs above a confidence: boxes, scores and labels.

    Args:
        boxes: [n, 4].
        probabilities: [n, 1 + C], objectness and class probabilities.
        confidence: Least objectness and least score, both exclusive.
        most: How many pairs are returned at most.
    """
    sure = probabilities[:, 0] > confidence
    boxes, probabilities = boxes[sure], probabilities[sure]
    scores = probabilities[:, :1] * probabilities[:, 1:]
    best, order = scores.flatten().topk(min(most, scores.numel()))
    above = best > confidence
    best, order = best[above], order[above]
    box = order.div(scores.shape[1], rounding_mode="floor")
    return boxes[box], best, order % scores.shape[1]
