"""Image files → network inputs: decode, resize, augment.

No other file knows the decoders and Albumentations.

Training, testing and every analysis decode here, with the same choices: a JPEG whose sides are at
least 2, 4 or 8 times what the network input needs is decoded at a half, a quarter or an eighth of
its size (libjpeg does that inside the decoder, which saves much of the time and averages pixels as
it should), and what remains, less than a halving, is resized linearly. Anything that has to shrink
by more is resized by OpenCV's area interpolation. Reduced decoding changes pixels slightly, so it is
not an option: what a network saw in training is what an analysis shows it.

Colours are changed by Albumentations. Its mirror, affine map and mosaic are not used: an image that
is put on the input's grey can be mirrored, resized and placed there in a fifth of their time.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a version

import albumentations as A
import cv2
import simplejpeg

from yolo_synth.boxes import Placement, Target
from yolo_synth.data.headers import Header, read_header

Sample = tuple[Tensor, Target]
"""An image, uint8 [3, S, S], RGB, and what is in it."""

Pixels = NDArray[np.uint8]
"""An image as OpenCV has it, uint8 [height, width, 3], but in the order RGB."""

PADDING: Final = 114
"""Grey level around a letterboxed image."""

DECODER: Final = f"2 simplejpeg {simplejpeg.__version__} cv2 {cv2.__version__}"
"""Cache key of the decoder; raise the leading number when what `read` returns changes."""

MIN_VISIBLE: Final = 0.1
"""Share of a box that must remain inside an augmented image; of less, the box is left out."""

MAX_SHIFT: Final = 0.05
"""How far an image is shifted at most, over the side of the network input."""

_CORNERS: Final = ((1, 1), (0, 1), (1, 0), (0, 0))
"""Where the four images of a mosaic have the point at which they meet: in widths and heights."""

_JPEG: Final = b"\xff\xd8"
_PNG: Final = b"\x89PNG"
_STRAY: Final = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_MOST_STRAY: Final = 16
"""Bytes between the last pixel and the end marker that some cameras and editors leave; of more, the
decoder has lost its place in the file."""
_COLOURS: Final = A.ColorJitter(
    brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.7, 1.3), hue=(-0.015, 0.015), p=1
)


class ImageError(ValueError):
    """An image file cannot be used.

    A worker process hands an error on with its whole traceback for a message; of that only the last
    line is kept, which is the message that it began with.
    """

    def __init__(self, message: str) -> None:
        """Keep one line of the message."""
        last = message.strip().splitlines()[-1]
        super().__init__(last.removeprefix(f"{__name__}.{type(self).__name__}: "))


class Picture(NamedTuple):
    """An image at the network's scale, not yet in its place, and what is in it.

    Attributes:
        pixels: uint8 [height, width, 3], RGB.
        boxes: float32 [n, 4], in pixels of this picture.
        labels: int64 [n].
    """

    pixels: Pixels
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def read(path: Path, width: int, height: int, placement: Placement) -> Pixels:
    """Read an image at its size in the network input; takes and raises what `decode` does."""
    return shrink(decode(path, width, height, placement), placement)


def decode(path: Path, width: int, height: int, placement: Placement) -> Pixels:
    """Decode an image in RGB, a JPEG reduced by the largest of 2, 4 and 8 that keeps it big enough.

    The picture is turned as its EXIF orientation says, if the size that it must have is that of the
    picture as shown; if it is that of the pixels as stored alone, they stay as they are.

    Args:
        path: Image file, see `listing.IMAGES`.
        width: Width that the image must have, in native pixels.
        height: Height that the image must have, in native pixels.
        placement: What size is needed.

    Raises:
        ImageError: If the file cannot be read or decoded to its end, or has another size, or more
            pixels than `headers.MAX_PIXELS`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        header = read_header(path, data)
    except ValueError as error:
        raise ImageError(str(error)) from error
    stored = header[:2]
    if (width, height) not in (header.shown, stored):
        raise ImageError(
            f"{path} has {stored[0]}x{stored[1]} pixels, not {width}x{height} as its labels or the "
            "first image of its sequence; its boxes cannot be placed"
        )
    turn = header.orientation if (width, height) == header.shown else 1
    scale = min(width / placement.width, height / placement.height)
    factor = max(factor for factor in (1, 2, 4, 8) if factor <= max(1.0, scale))
    try:
        pixels = _decode_jpeg(data, header, factor) if data.startswith(_JPEG) else _decode(data)
    except Exception as error:  # decoders of damaged files raise whatever comes up
        what = " ".join(str(error).split()) or type(error).__name__  # OpenCV's are of several lines
        raise ImageError(
            f"{path} is damaged or cut off and cannot be decoded ({what}); fetch it anew"
        ) from error
    return _turned(pixels, turn)


def _decode_jpeg(data: bytes, header: Header, factor: int) -> Pixels:
    least = {
        "min_width": math.ceil(header.width / factor),
        "min_height": math.ceil(header.height / factor),
    }
    try:
        # Strict, as it is by default: what libjpeg would fill with grey and warn of, raises.
        return cast(Pixels, simplejpeg.decode_jpeg(data, "RGB", **least))
    except ValueError as error:
        stray = _STRAY.search(str(error))
        if stray is None or int(stray[1]) > _MOST_STRAY:
            raise
        # The first thing to complain of are bytes between the last pixel and the end marker.
        return cast(Pixels, simplejpeg.decode_jpeg(data, "RGB", strict=False, **least))


def _decode(data: bytes) -> Pixels:
    is_whole = not data.startswith(_PNG) or b"IEND" in data
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if is_whole else None
    if pixels is None:
        raise ValueError("the file ends too early, or its form is not known")
    return cast(Pixels, pixels)


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Turn an image as EXIF's number says that it is shown."""
    if orientation in (5, 7):
        pixels = cast(Pixels, cv2.transpose(pixels))
    code = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 7: cv2.ROTATE_180}
    code[8] = cv2.ROTATE_90_COUNTERCLOCKWISE
    if orientation in code:
        return cast(Pixels, cv2.rotate(pixels, code[orientation]))
    return (
        cast(Pixels, cv2.flip(pixels, 1 if orientation == 2 else 0))
        if orientation in (2, 4)
        else pixels
    )


def shrink(pixels: Pixels, placement: Placement) -> Pixels:
    """Resize a decoded image to its size in the network input."""
    size = (placement.width, placement.height)
    # Less than a halving needs no averaging, which would take as long as decoding.
    halved = pixels.shape[1] > 2 * size[0] or pixels.shape[0] > 2 * size[1]
    return _resize(pixels, size, cv2.INTER_AREA if halved else cv2.INTER_LINEAR)


def _resize(pixels: Pixels, size: tuple[int, int], interpolation: int) -> Pixels:
    if pixels.shape[1::-1] == size:
        return pixels
    return cast(Pixels, cv2.resize(pixels, size, interpolation=interpolation))


def shrink_boxes(boxes: NDArray[np.float32], placement: Placement) -> NDArray[np.float32]:
    """Move boxes [n, 4] from native pixels to those of the resized image, cut off at its edges."""
    scale = np.array([placement.scale_x, placement.scale_y] * 2, np.float32)
    return _cut(boxes * scale, placement.width, placement.height)


def _cut(boxes: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32))


def centred(picture: Picture, size: int) -> Sample:
    """Put a picture in the middle of grey: a letterbox, or a stretch, as its size has it."""
    height, width = picture.pixels.shape[:2]
    canvas = Canvas(size)
    canvas.paste(picture, (size - width) // 2, (size - height) // 2)
    return canvas.sample()


class Canvas:
    """A network input that pictures are pasted on."""

    def __init__(self, size: int) -> None:
        """Begin with grey, [3, size, size]."""
        self._planes = np.full((3, size, size), PADDING, np.uint8)
        self._boxes: list[NDArray[np.float32]] = []
        self._labels: list[NDArray[np.int64]] = []

    def paste(self, picture: Picture, left: int, top: int) -> None:
        """Paste a picture with its upper left corner at (left, top), which may lie outside.

        Boxes are cut off at the edges; those of which less than `MIN_VISIBLE` remains are left out.
        """
        size = self._planes.shape[1]
        height, width = picture.pixels.shape[:2]
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, size), min(top + height, size)
        if x1 < x2 and y1 < y2:
            visible = picture.pixels[y1 - top : y2 - top, x1 - left : x2 - left]
            # Writes into the planes: from colour next to colour to one after the other, in one go.
            cv2.split(visible, [plane[y1:y2, x1:x2] for plane in self._planes])
        boxes = picture.boxes + np.array([left, top] * 2, np.float32)
        cut = _cut(boxes, size, size)
        stays = (cut[:, 2:] > cut[:, :2]).all(axis=1) & (_area(cut) >= MIN_VISIBLE * _area(boxes))
        self._boxes.append(cut[stays])
        self._labels.append(picture.labels[stays])

    def sample(self) -> Sample:
        """Return the image and the boxes that are on it."""
        target: Target = {
            "boxes": torch.from_numpy(np.concatenate(self._boxes)),
            "labels": torch.from_numpy(np.concatenate(self._labels)),
        }
        return torch.from_numpy(self._planes), target


def _area(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return cast(NDArray[np.float32], (boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images, drawn anew for each.

    Attributes:
        light: Whether an image's colours, size and place change lightly: brightness and contrast by
            up to 20 %, saturation by up to 30 %, hue by up to 1.5 % of the circle, a mirror image
            every second time, a scale of 0.9 to 1.1 and a shift by up to 5 % of the input's side.
        mosaic: Whether a sample shows four images, which meet at a point anywhere in the input. Each
            is changed lightly on its own, but for the shift.
    """

    light: bool = True
    mosaic: bool = False

    def sample(
        self, pictures: Sequence[Picture], size: int, generator: np.random.Generator
    ) -> Sample:
        """Make a network input of one picture, or of the four of a mosaic."""
        if self.light:
            pictures = [changed(picture, generator) for picture in pictures]
        canvas = Canvas(size)
        if self.mosaic:
            x, y = generator.integers(size, size=2, endpoint=True).tolist()
            for picture, (across, down) in zip(pictures, _CORNERS, strict=True):
                height, width = picture.pixels.shape[:2]
                canvas.paste(picture, x - across * width, y - down * height)
        else:
            (picture,) = pictures
            height, width = picture.pixels.shape[:2]
            shift = MAX_SHIFT * size * generator.uniform(-1, 1, 2) if self.light else (0, 0)
            left, top = (size - width) / 2 + shift[0], (size - height) / 2 + shift[1]
            canvas.paste(picture, round(left), round(top))
        return canvas.sample()


def changed(picture: Picture, generator: np.random.Generator) -> Picture:
    """Change a picture's colours, mirror it every second time, and scale it."""
    pixels, boxes, labels = picture
    height, width = pixels.shape[:2]
    pixels = recoloured(pixels, int(generator.integers(2**32)))
    if generator.random() < 0.5:
        pixels = cast(Pixels, cv2.flip(pixels, 1))
        x1, y1, x2, y2 = boxes.T
        boxes = np.stack([width - x2, y1, width - x1, y2], axis=1)
    scale = generator.uniform(0.9, 1.1)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    real = np.array([size[0] / width, size[1] / height] * 2, np.float32)
    return Picture(_resize(pixels, size, cv2.INTER_LINEAR), boxes * real, labels)


def recoloured(pixels: Pixels, seed: int) -> Pixels:
    """Change an image's colours, uint8 [height, width, 3], as a seed decides."""
    _COLOURS.set_random_seed(seed)
    return cast(Pixels, _COLOURS(image=pixels)["image"])


def use_one_thread(_worker: int = 0) -> None:
    """Keep OpenCV from starting threads in a worker process: workers are the parallelism."""
    cv2.setNumThreads(0)
