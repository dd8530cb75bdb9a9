"""Pictures to look at, one by one, wherever they are from: a file, a folder, a video, a data file.

Each is brought to a network's input as in training and testing (`images`). One that cannot be read is
said to be so, and does not end all.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeVar, cast

import cv2
import numpy as np
from torch import Tensor

from yolo_synth.boxes import Placement, Resize, place
from yolo_synth.data.headers import image_size
from yolo_synth.data.images import ImageError, Picture, Pixels, centred, decode, shrink
from yolo_synth.data.listing import IMAGES, cores, list_below, paths_below
from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import open_data

log = logging.getLogger(__name__)

VIDEOS: Final = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
"""How the names of video files end, in small or in capital letters."""

_LOCAL: Final = (
    "protocol_whitelist;file"  # a video may name others, and none is loaded from the net
)
_NO_BOXES: Final = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64))

Result = TypeVar("Result")


class Look(NamedTuple):
    """A picture as a network is shown it.

    Attributes:
        image: uint8 [3, side, side], RGB.
        placement: Where the picture lies in it.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
    """

    image: Tensor
    placement: Placement
    width: int
    height: int


class Shot(NamedTuple):
    """A picture to look at.

    Attributes:
        name: What it is called.
        path: Its file; of a frame that of the video.
        size: Width and height that it must have, in pixels; None takes what it has.
        frame: uint8 [height, width, 3], RGB, of a video; None of a file.
    """

    name: str
    path: Path
    size: tuple[int, int] | None = None
    frame: Pixels | None = None

    def look(self, side: int, resize: Resize) -> Look:
        """Return it as a network is shown it that takes `side` pixels.

        Raises:
            ImageError: If it cannot be read.
        """
        width, height = self._size()
        placement = place(width, height, side, resize)
        pixels = shrink(self._pixels(width, height, placement), placement)
        image, _ = centred(Picture(pixels, *_NO_BOXES), side)
        return Look(image, placement, width, height)

    def whole(self) -> Pixels:
        """Return all of its pixels, uint8 [height, width, 3], RGB; raises as `look`."""
        width, height = self._size()
        return self._pixels(width, height, place(width, height, max(width, height)))

    def _pixels(self, width: int, height: int, placement: Placement) -> Pixels:
        return decode(self.path, width, height, placement) if self.frame is None else self.frame

    def _size(self) -> tuple[int, int]:
        if self.frame is not None:
            return self.frame.shape[1], self.frame.shape[0]
        try:
            return self.size or image_size(self.path)
        except ValueError as error:
            raise ImageError(str(error)) from error


class Shots(NamedTuple):
    """Pictures to look at.

    Attributes:
        total: How many there are; None if only the end will tell.
        each: They, to be gone through once.
        rate: Pictures a second of a video; None of files.
        classes: What a data file calls its classes; none of other sources.
    """

    total: int | None
    each: Iterable[Shot]
    rate: float | None = None
    classes: tuple[str, ...] = ()


def open_shots(source: str | Path, *, trust: bool = False) -> Shots:
    """Return the pictures that a path names.

    Args:
        source: A picture, a folder of pictures and of folders of such, a video or a data file, of which
            the test images are taken.
        trust: Whether classes from elsewhere that a data file names are imported and run.

    Raises:
        FileNotFoundError: If there is no such file or folder, or no picture in the folder.
        ValueError: If it is none of these.
    """
    path = Path(source)
    ending = path.suffix.lower()
    if path.is_dir():
        listed = paths_below(path, list_below(path, path, IMAGES))
        if not listed:
            raise FileNotFoundError(
                f"no pictures in {path}: looked for files that end in {', '.join(IMAGES)}"
            )
        return Shots(len(listed), [Shot(name, path / name) for name in listed])
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file or folder; check the path")
    if ending in IMAGES:
        return Shots(1, [Shot(path.name, path)])
    if ending in (".yaml", ".yml"):
        return test_shots(open_data(path, trust=trust))
    if ending in VIDEOS:
        return _video(path)
    raise ValueError(
        f"{path}: neither a picture ({' '.join(IMAGES)}) nor a video ({' '.join(VIDEOS)}), a data file "
        "(.yaml) or a folder; name one of these"
    )


def test_shots(module: DetectionData) -> Shots:
    """Return the test images of a data module, in its order."""
    names = module.names("test")
    images = module.table.drop_duplicates("image").set_index("image").loc[names]
    columns = (images[name] for name in ("path", "width", "height"))
    shots = [
        Shot(name, module.root / path, (int(width), int(height)) if width else None)
        for name, path, width, height in zip(names, *columns, strict=True)
    ]
    return Shots(len(shots), shots, classes=tuple(module.classes))


def _video(path: Path) -> Shots:
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _LOCAL)
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not video.isOpened():
        raise ValueError(f"{path}: is no video that can be read, or a damaged one; name another")
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    rate = float(video.get(cv2.CAP_PROP_FPS))
    return Shots(max(count, 0) or None, _frames(video, path, count), rate if rate > 0 else 25.0)


def _frames(video: cv2.VideoCapture, path: Path, count: int) -> Iterator[Shot]:
    number = 0
    try:
        while (read := video.read())[0]:
            frame = cast(Pixels, cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
            yield Shot(f"{path.stem}/{number:06}", path, frame=frame)
            number += 1
    finally:
        video.release()
    if number < count:
        log.warning("%s ends after %d of %d frames: it may be cut off", path, number, count)


def look_ahead(
    shots: Iterable[Shot], look: Callable[[Shot], Result], ahead: int
) -> Iterator[tuple[Shot, Result | ImageError]]:
    """Read pictures in other threads, a few of them ahead, and yield them in their order.

    Args:
        shots: The pictures.
        look: What is read of each.
        ahead: How many are read before they are asked for, at most.

    Yields:
        Each picture with what was read, or with what is the matter with it.
    """

    def outcome(reading: Future[Result]) -> Result | ImageError:
        try:
            return reading.result()
        except ImageError as error:
            return error

    with ThreadPoolExecutor(cores()) as pool:
        waiting: deque[tuple[Shot, Future[Result]]] = deque()
        for shot in shots:
            waiting.append((shot, pool.submit(look, shot)))
            if len(waiting) > ahead:
                first, reading = waiting.popleft()
                yield first, outcome(reading)
        for first, reading in waiting:
            yield first, outcome(reading)
