"""Widths and heights of boxes as the network sees them, and how well anchors fit them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from yolo_synth.boxes import Resize, place
from yolo_synth.data.table import EDGES
from yolo_synth.networks.yolov3 import targets

Sizes = NDArray[np.float64]
"""Width and height in pixels of the network input, [n, 2]."""


def network_sizes(boxes: pd.DataFrame, size: int, resize: Resize = "letterbox") -> Sizes:
    """Return the width and height of boxes in pixels of the network input, [n, 2].

    Only what lies inside the image counts, as in training.

    Args:
        boxes: Rows of a box table that have a box.
        size: Side of the network input.
        resize: `letterbox` or `stretch`.
    """
    native = boxes[["width", "height"]].to_numpy(np.int64)
    edges = boxes[EDGES].to_numpy(np.float64)
    low, high = np.maximum(edges[:, :2], 0), np.minimum(edges[:, 2:], native)
    kinds, kind = np.unique(native, axis=0, return_inverse=True)
    places = [place(int(width), int(height), size, resize) for width, height in kinds]
    scales = np.array([[p.scale_x, p.scale_y] for p in places]).reshape(-1, 2)
    sizes: Sizes = np.maximum(high - low, 0) * scales[kind.reshape(-1)]
    return sizes


def best_iou(sizes: Sizes, anchors: ArrayLike) -> NDArray[np.float64]:
    """Return the width-height IoU of each box [n, 2] with the anchor [k, 2] that fits it best.

    Both are thought to have the same centre: `min(w) min(h) / union`. It is the number that the
    assignment of targets compares with `MATCH_IOU`.
    """
    best: NDArray[np.float64] = size_iou(sizes, anchors).max(axis=1)
    return best


def size_iou(sizes: Sizes, anchors: ArrayLike) -> NDArray[np.float64]:
    """Return the width-height IoU of boxes [n, 2] with anchors [k, 2], [n, k]."""
    prior = torch.tensor(np.asarray(anchors, np.float64))
    iou: NDArray[np.float64] = targets.size_iou(torch.tensor(sizes)[:, None], prior).numpy()
    return iou
