"""What an image's header says: how large it is, and how the camera was held.

Phones and cameras store pictures as the sensor lies and note in a tag (EXIF orientation) how to turn
them. Who draws boxes sees the picture turned. So in every data set a size is that of the picture **as
shown**, and `images.decode` turns the pixels; only where labels state the size of the picture as it is
stored, it stays as it is stored. A size that is neither is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from yolo_synth.data.listing import MANY, in_parallel

MAX_PIXELS: Final = 2**28
"""An image of more pixels (16,384 x 16,384) is refused by its header, before memory is taken."""

_ORIENTATION: Final = 0x0112

# Pillow's own limits end in two kinds of exceptions and a warning at other numbers; ours holds instead.
Image.MAX_IMAGE_PIXELS = None


class Header(NamedTuple):
    """What a header says.

    Attributes:
        width: Width in pixels as stored.
        height: Height in pixels as stored.
        orientation: EXIF's number from 1, as it is shown, to 8; from 5 on its sides change places.
    """

    width: int
    height: int
    orientation: int

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height as shown."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def read_header(path: Path, data: bytes | None = None) -> Header:
    """Read an image's header.

    Args:
        path: The file.
        data: What is in it, if it was read already.

    Raises:
        ValueError: If the file is not an image, or one of more than `MAX_PIXELS` pixels.
    """
    try:
        with Image.open(path if data is None else BytesIO(data)) as image:
            # TIFF's readers turn the pixels themselves, and Pillow gives the size that comes of it.
            exif = b"" if image.format == "TIFF" else image.info.get("exif", b"")
            header = Header(*image.size, _orientation(exif))
    except Exception as error:  # decoders of damaged files raise whatever comes up
        raise ValueError(f"{path} is not an image that can be read; fetch it anew") from error
    if header.width * header.height > MAX_PIXELS:
        raise ValueError(
            f"{path} has {header.width}x{header.height} pixels, and images of more than "
            f"{MAX_PIXELS:,} pixels are not read: make it smaller, or take it out of the data set"
        )
    return header


def _orientation(exif: bytes) -> int:
    """Return what a block of EXIF says; `Image.getexif` would decode a PNG that has none."""
    tags = Image.Exif()
    try:
        tags.load(exif)
        said = tags.get(_ORIENTATION, 1)
    except Exception:  # a camera's notes that cannot be read do not make an image unreadable
        return 1
    return said if said in range(1, 9) else 1


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's width and height as shown, in pixels, from its header, without decoding it.

    Raises:
        ValueError: As `read_header`.
    """
    return read_header(path).shown


def image_size_if_known(path: Path) -> tuple[int, int]:
    """Read an image's size as `image_size` does; (0, 0) if the file is not an image.

    So a table can hold the image; whether it is skipped or ends the run is the data module's choice.
    """
    try:
        return image_size(path)
    except ValueError:
        return 0, 0


def image_sizes(files: Sequence[Path]) -> NDArray[np.int64]:
    """Read the sizes of many images as `image_size_if_known` does, [n, 2]; of very many on all cores."""
    title, many = "Reading the sizes of images", len(files) > MANY
    sizes = list(in_parallel(image_size_if_known, files, title, many=many, chunk=500))
    return np.array(sizes, np.int64).reshape(-1, 2)
