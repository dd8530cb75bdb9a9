"""How large an image is, by its header alone."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's width and height in pixels from its header, without decoding it.

    Raises:
        ValueError: If the file is not an image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(f"{path} is not an image that can be read; fetch it anew") from error


def image_size_if_known(path: Path) -> tuple[int, int]:
    """Read an image's size as `image_size` does; (0, 0) if the file is not an image.

    So a table can hold the image; whether it is skipped or ends the run is the data module's choice.
    """
    try:
        return image_size(path)
    except ValueError:
        return 0, 0
