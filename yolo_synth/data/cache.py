"""A folder of images at their network size, which spares reading and decoding them again.

Each image is a file of its own: its pixels as `images.read` gives them, without padding, and their
CRC-32. The file's name is a digest of all that decides the pixels: the source file's path, time and
length, the sizes before and after, and the decoder. So a changed image, another size or another
decoder is another file, and runs that share a folder share what fits. A file comes into its place
whole, by renaming: a killed run leaves none that is half-written, and any number of processes may
read and fill at once. Everything in the folder can be deleted at any time, between runs.
"""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from yolo_synth.boxes import Placement
from yolo_synth.data.images import DECODER, ImageError, Pixels, read
from yolo_synth.files import digest, hold, remove_left

_CRC: Final = 4
"""Bytes of the checksum at a file's end."""

_DRAFTS: Final = ".drafts"
"""Folder of the files that are being written; what a killed run left there goes at the next start."""

log = logging.getLogger(__name__)


class ImageCache:
    """Read images through a folder that keeps them decoded and resized."""

    def __init__(self, folder: str | Path) -> None:
        """Make the folder.

        Raises:
            ValueError: If it cannot be made or written to.
        """
        self.folder = Path(folder)
        self._drafts = self.folder / _DRAFTS
        try:
            self._drafts.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self._drafts).close()
        except OSError as error:
            raise ValueError(
                f"data.cache: cannot write to {folder} ({error.strerror}); name another folder, or "
                "none"
            ) from error
        self._fills = True
        for draft in self._drafts.iterdir():
            remove_left(draft)

    def read(self, path: Path, width: int, height: int, placement: Placement) -> Pixels:
        """Return what `images.read` returns, from the folder if it is there; else put it there.

        The array is read-only if it comes from the folder: it is the file, mapped into memory.

        Raises:
            ImageError: As `images.read`, and if the source file is no more.
        """
        shape = (placement.height, placement.width, 3)
        file = self.file(path, width, height, placement)
        pixels = _kept(file, shape)
        if pixels is None:
            pixels = read(path, width, height, placement)
            if self._fills:
                self._keep(file, pixels)
        return pixels

    def file(self, path: Path, width: int, height: int, placement: Placement) -> Path:
        """Return where an image is kept; takes its arguments from `read`."""
        try:
            stat = path.stat()
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {error.strerror}") from error
        decides = (
            os.path.abspath(path),  # noqa: PTH100 - Path.absolute keeps "..", resolve is slow
            *(stat.st_mtime_ns, stat.st_size, width, height, placement.width, placement.height),
            DECODER,
        )
        name = digest(repr(decides))
        return self.folder / name[:2] / name[2:]

    def _keep(self, file: Path, pixels: Pixels) -> None:
        """Write a file; where the disk is full, go on without."""
        data = pixels.tobytes()
        part = None
        try:
            file.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._drafts, delete=False) as stream:
                part = Path(stream.name)
                hold(stream)
                stream.write(data)
                stream.write(zlib.crc32(data).to_bytes(_CRC, "little"))
            part.replace(file)
        except FileNotFoundError:
            return  # another start took the draft for one of a run that was killed
        except OSError as error:
            log.warning(
                "%s: no more images are kept (%s); training goes on", self.folder, error.strerror
            )
            self._fills = False
            if part is not None:
                part.unlink(missing_ok=True)


def _kept(file: Path, shape: tuple[int, int, int]) -> Pixels | None:
    """Map a file's pixels into memory; None if there is no such file, or it is not sound."""
    length = shape[0] * shape[1] * shape[2]
    try:
        with file.open("rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (FileNotFoundError, ValueError):  # ValueError: an empty file cannot be mapped
        return None
    if len(data) != length + _CRC:
        return None
    if zlib.crc32(memoryview(data)[:length]) != int.from_bytes(data[length:], "little"):
        return None
    return np.frombuffer(data, np.uint8, length).reshape(shape)
