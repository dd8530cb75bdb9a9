"""What a target and a detection are, and where an image lies inside the network's input.

Boxes are float32 `[n, 4]`, `x1, y1, x2, y2` in pixels with the origin at the upper left corner; a box
covers `x2 - x1` by `y2 - y1` pixels (the right and lower edges are exclusive). Labels are int64 `[n]`
and count from 0. An image without objects has boxes of shape `[0, 4]` and labels of shape `[0]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.floating[Any]]

Resize = Literal["letterbox", "stretch"]

NO_BOX: Final = -1
"""Label of what fills a target up to a fixed number of boxes, where a network's `fixed_shapes` says it."""


class Target(TypedDict):
    """The true objects of one image.

    Attributes:
        boxes: float32 [n, 4], `x1, y1, x2, y2` in pixels of the network input.
        labels: int64 [n], class indices from 0.
        crowd_boxes: float32 [m, 4], regions of many objects, which evaluation sets aside; left out
            where there are none.
        crowd_labels: int64 [m].
    """

    boxes: Tensor
    labels: Tensor
    crowd_boxes: NotRequired[Tensor]
    crowd_labels: NotRequired[Tensor]


class Detection(TypedDict):
    """The objects that a network found in one image, the surest first.

    Attributes:
        boxes: float32 [n, 4], `x1, y1, x2, y2` in pixels of the network input.
        scores: float32 [n], objectness times class probability, in 0..1.
        labels: int64 [n], class indices from 0.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def iou(a: Floats, b: Floats, crowd: NDArray[np.bool_] | None = None) -> Floats:
    """Return the intersection over union of boxes [..., 4]; 0 of two boxes without area.

    Where `crowd` says so it is the share of the first box that lies in the second.

    Example:
        >>> iou(np.array([0.0, 0, 2, 2]), np.array([[1.0, 0, 3, 2], [0, 0, 2, 1], [5, 5, 6, 6]])).round(3)
        array([0.333, 0.5  , 0.   ])
    """
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = sides.clip(0).prod(-1)
    area = (a[..., 2:] - a[..., :2]).prod(-1)
    whole = area + (b[..., 2:] - b[..., :2]).prod(-1) - common
    if crowd is not None and crowd.any():
        whole = np.where(crowd, area, whole)
    share: Floats = np.divide(common, whole, out=np.zeros_like(whole), where=whole > 0)
    return share


@dataclass(frozen=True)
class Placement:
    """Where a resized image lies inside the network input.

    A point (x, y) of the original image is at `(x * scale_x + left, y * scale_y + top)`.

    Attributes:
        width: Width of the resized image, in pixels.
        height: Height of the resized image, in pixels.
        left: Columns of padding to the left of it.
        top: Rows of padding above it.
        scale_x: Resized width over original width.
        scale_y: Resized height over original height.
    """

    width: int
    height: int
    left: int
    top: int
    scale_x: float
    scale_y: float

    def to_network(self, boxes: Tensor) -> Tensor:
        """Move boxes [n, 4] from pixels of the original image to pixels of the network input.

        Example:
            >>> import torch
            >>> place(1280, 720, 416).to_network(torch.tensor([[0.0, 0.0, 640.0, 720.0]]))
            tensor([[  0.,  91., 208., 325.]])
        """
        return boxes * self._scale(boxes) + self._offset(boxes)

    def to_image(self, boxes: Tensor) -> Tensor:
        """Move boxes [n, 4] from pixels of the network input to pixels of the original image."""
        return (boxes - self._offset(boxes)) / self._scale(boxes)

    def _scale(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.scale_x, self.scale_y, self.scale_x, self.scale_y])

    def _offset(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.left, self.top, self.left, self.top])


def place(width: int, height: int, size: int, resize: Resize = "letterbox") -> Placement:
    """Say where an image goes in a square network input.

    A letterbox keeps the aspect and centres the image (1280x720 becomes 416x234 with 91 rows of
    padding above and below); a stretch fills the square.

    Args:
        width: Width of the original image, in pixels.
        height: Height of the original image, in pixels.
        size: Side of the network input, in pixels.
        resize: `letterbox` or `stretch`.

    Example:
        >>> place(1280, 720, 416)
        Placement(width=416, height=234, left=0, top=91, scale_x=0.325, scale_y=0.325)
        >>> place(1280, 720, 416, "stretch").scale_y
        0.5777777777777777
    """
    if resize == "stretch":
        return Placement(size, size, 0, 0, size / width, size / height)
    scale = size / max(width, height)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - new_width) // 2, (size - new_height) // 2
    return Placement(new_width, new_height, left, top, new_width / width, new_height / height)
