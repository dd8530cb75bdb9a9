"""Image files → network inputs: decode, resize, augment.

No other file knows OpenCV or Albumentations.

Training, testing and every analysis decode here, with the same choices: a JPEG whose sides are at
least 2, 4 or 8 times what the network input needs is decoded at a half, a quarter or an eighth of
its size (libjpeg does that inside the decoder, which saves much of the time and averages pixels as
it should), and the rest of the way is resized with OpenCV's area interpolation; an image smaller
than its place is enlarged linearly. Reduced decoding changes pixels slightly, so it is not an
option: what a network saw in training is what an analysis shows it.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a version

import albumentations as A
import cv2

from yolo_synth.boxes import Placement, Resize, Target, place

Sample = tuple[Tensor, Target]
"""An image, uint8 [3, S, S], RGB, and what is in it."""

Pixels = NDArray[np.uint8]
"""An image as OpenCV has it, uint8 [height, width, 3], but in the order RGB."""

PADDING: Final = 114
"""Grey level around a letterboxed image."""

_JPEG: Final = b"\xff\xd8"
_REDUCED: Final = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class ImageError(ValueError):
    """An image file cannot be used.

    A worker process hands an error on with its whole traceback for a message; of that only the last
    line is kept, which is the message that it began with.
    """

    def __init__(self, message: str) -> None:
        """Keep one line of the message."""
        last = message.strip().splitlines()[-1]
        super().__init__(last.removeprefix(f"{__name__}.{type(self).__name__}: "))


class Augmentation:
    """Change training images lightly, in a way that a seed decides.

    Colours first, on the image without its padding: brightness, contrast and saturation by up to
    20, 20 and 30 %, hue by up to 1.5 % of the circle. Then, at network size: a mirror image every
    second time, a scale of 0.9 to 1.1 and a shift by up to 5 % of the input's side. A box of which
    less than a tenth remains inside is left out.
    """

    def __init__(self) -> None:
        """Build the transforms; `seed` is to be called before each image."""
        self._color = A.ColorJitter(
            brightness=(0.8, 1.2),
            contrast=(0.8, 1.2),
            saturation=(0.7, 1.3),
            hue=(-0.015, 0.015),
            p=1,
        )
        self._flip = A.HorizontalFlip(p=0.5)
        self._affine = A.Affine(
            scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), keep_ratio=True, fill=PADDING, p=1
        )
        self._geometry = A.Compose(
            [self._flip, self._affine],
            bbox_params=A.BboxParams(
                "pascal_voc", label_fields=["labels"], clip=True, min_visibility=0.1
            ),
        )

    def seed(self, seed: int) -> None:
        """Decide what happens to the next image; takes about 0.03 ms."""
        # Compose.set_random_seed gives all its parts one seed, which would tie scale to mirroring.
        for number, transform in enumerate((self._color, self._flip, self._affine)):
            transform.set_random_seed(seed + number)

    def color(self, image: Pixels) -> Pixels:
        """Change an image's colours."""
        return cast(Pixels, self._color(image=image)["image"])

    def geometry(
        self, image: Pixels, boxes: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> tuple[Pixels, NDArray[np.float32], NDArray[np.int64]]:
        """Mirror, scale and shift an image [S, S, 3], its boxes [n, 4] and their labels [n]."""
        done = self._geometry(image=image, bboxes=boxes, labels=labels)
        return (
            done["image"],
            np.asarray(done["bboxes"], np.float32).reshape(-1, 4),
            np.asarray(done["labels"], np.int64).reshape(-1),
        )


def load(
    path: Path,
    width: int,
    height: int,
    size: int,
    resize: Resize,
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    augmentation: Augmentation | None = None,
) -> Sample:
    """Read one image and make it a network input with its boxes.

    Args:
        path: JPEG or PNG file.
        width: Width of the image in native pixels.
        height: Height of the image in native pixels.
        size: Side S of the network input, in pixels.
        resize: `letterbox` or `stretch` (see `boxes.place`).
        boxes: Float32 [n, 4] in native pixels; n may be 0. What lies outside the image is cut off.
        labels: Int64 [n].
        augmentation: Applied if given; seed it before.

    Returns:
        The image and its target, boxes in pixels of the network input.

    Raises:
        ImageError: If the file is damaged or has another size than stated.
    """
    placement = place(width, height, size, resize)
    image = shrink(decode(path, width, height, placement), placement)
    inside = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    moved: NDArray[np.float32] = placement.to_network(torch.from_numpy(inside)).numpy()
    if augmentation is None:
        image = pad(image, placement, size)
    else:
        image = pad(augmentation.color(image), placement, size)
        image, moved, labels = augmentation.geometry(image, moved, labels)
    there = (moved[:, 2:] > moved[:, :2]).all(axis=1)
    target: Target = {
        "boxes": torch.from_numpy(moved[there]),
        "labels": torch.from_numpy(labels[there]),
    }
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), target


def decode(path: Path, width: int, height: int, placement: Placement) -> Pixels:
    """Decode an image in RGB, a JPEG reduced by the largest of 2, 4 and 8 that keeps it big enough.

    A camera's note of how it was held (EXIF orientation) is not obeyed: boxes are drawn on the
    pixels as they are stored.

    Args:
        path: JPEG or PNG file.
        width: Width that the image must have, in native pixels.
        height: Height that the image must have, in native pixels.
        placement: What size is needed.

    Raises:
        ImageError: If the file cannot be decoded to its end, or has another size.
    """
    data = path.read_bytes()
    factor = _reduction(width, height, placement) if data.startswith(_JPEG) else 1
    flags = _REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if _is_whole(data) else None
    if image is None:
        raise ImageError(f"{path} is damaged or cut off and cannot be decoded; fetch it anew")
    if image.shape[:2] != (math.ceil(height / factor), math.ceil(width / factor)):
        real = f"{image.shape[1] * factor}x{image.shape[0] * factor}"
        raise ImageError(
            f"{path} has about {real} pixels, not {width}x{height} like the first of its sequence; "
            "its boxes cannot be placed"
        )
    return cast(Pixels, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _reduction(width: int, height: int, placement: Placement) -> int:
    scale = min(width / placement.width, height / placement.height)
    return max(factor for factor in _REDUCED if factor <= max(1.0, scale))


def _is_whole(data: bytes) -> bool:
    """Tell whether a JPEG or PNG file has its end; some decoders fill what is missing with grey."""
    if data.startswith(_JPEG):
        # The last end-of-image must come after the last start of a scan: an earlier one belongs to
        # a thumbnail. Bytes after it do no harm.
        end = b"\xff\xd9"
        return data.endswith(end) or data.rfind(end) > data.rfind(b"\xff\xda")
    return b"IEND" in data[-64:]


def shrink(image: Pixels, placement: Placement) -> Pixels:
    """Resize a decoded image to its size in the network input."""
    size = (placement.width, placement.height)
    if image.shape[1::-1] == size:
        return image
    shrinks = image.shape[1] >= size[0] and image.shape[0] >= size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cast(Pixels, cv2.resize(image, size, interpolation=interpolation))


def pad(image: Pixels, placement: Placement, size: int) -> Pixels:
    """Put a resized image in its place on grey, [S, S, 3]."""
    if image.shape[:2] == (size, size):
        return image
    padded = np.full((size, size, 3), PADDING, np.uint8)
    rows = slice(placement.top, placement.top + placement.height)
    padded[rows, placement.left : placement.left + placement.width] = image
    return padded


def use_one_thread(_worker: int = 0) -> None:
    """Keep OpenCV from starting threads in a worker process: workers are the parallelism."""
    cv2.setNumThreads(0)
