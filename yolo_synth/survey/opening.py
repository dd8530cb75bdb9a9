"""Open every image of a data set, on all cores, and keep a thumbnail of each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from yolo_synth.boxes import place
from yolo_synth.data.headers import read_header
from yolo_synth.data.images import Pixels, decode
from yolo_synth.data.listing import cores
from yolo_synth.survey.faults import Fault

THUMBNAIL: Final = (16, 17)
"""Height and width of a thumbnail, in pixels."""

_NEEDED: Final = 64
"""Side at which an image is decoded: all of the file is gone through, few pixels are made."""

_PART: Final = 64
"""Images that a thread opens before it hands them on."""

Size = tuple[int, int]


class Opened(NamedTuple):
    """What opening the images found.

    Attributes:
        faults: Images that are missing, damaged, or of another size.
        thumbnails: Grey thumbnails, float32 [n, 16, 17]; NaN for an image that cannot be read.
        sizes: Width and height of each image, (0, 0) for one that cannot be read.
    """

    faults: list[Fault]
    thumbnails: NDArray[np.float32]
    sizes: list[Size]


def open_images(
    root: Path,
    paths: Sequence[str],
    sizes: Sequence[Size] | None = None,
    workers: int | None = None,
) -> Opened:
    """Open images to their end, as training would.

    Threads do: nearly all of the time is decoding, which runs beside other threads.

    Args:
        root: Folder that the paths start from.
        paths: The image files.
        sizes: Width and height that each one should have; None takes what they have.
        workers: Number of threads; None takes one for each processor core.
    """
    wanted: Sequence[Size | None] = [None] * len(paths) if sizes is None else sizes
    jobs = [(root, path, size) for path, size in zip(paths, wanted, strict=True)]
    parts = [jobs[start : start + _PART] for start in range(0, len(jobs), _PART)]
    found: list[_Result] = []
    with (
        ThreadPoolExecutor(workers or cores(most=max(1, len(parts)))) as pool,
        tqdm(desc="open images", total=len(paths), unit="image", leave=False, disable=None) as bar,
    ):
        for results in pool.map(_open_part, parts):
            found += results
            bar.update(len(results))
    unread = np.full(THUMBNAIL, np.nan, np.float32)
    thumbnails = [unread if result.thumbnail is None else result.thumbnail for result in found]
    return Opened(
        [result.fault for result in found if result.fault is not None],
        np.array(thumbnails, np.float32).reshape(-1, *THUMBNAIL),
        [result.size for result in found],
    )


class _Result(NamedTuple):
    fault: Fault | None = None
    thumbnail: NDArray[np.float32] | None = None
    size: Size = (0, 0)


def _open_part(jobs: Sequence[tuple[Path, str, Size | None]]) -> list[_Result]:
    return [_open(*job) for job in jobs]


def _open(root: Path, path: str, wanted: Size | None) -> _Result:
    file = root / path
    if not file.is_file():
        return _Result(Fault("missing-image", path, "no such file"))
    try:
        header = read_header(file)
        fits = wanted in (header.shown, header[:2])
        size = wanted if wanted is not None and fits else header.shown
        pixels = decode(file, *size, place(*size, _NEEDED))
    except ValueError as error:
        what = " ".join(str(error).removeprefix(str(file)).split())
        return _Result(Fault("damaged-image", path, what))
    fault = None
    if wanted is not None and not fits:
        what = f"{size[0]}x{size[1]}, its labels are made for {wanted[0]}x{wanted[1]}"
        fault = Fault("wrong-size", path, what)
    return _Result(fault, thumbnail(pixels), size)


def thumbnail(pixels: Pixels) -> NDArray[np.float32]:
    """Return a grey thumbnail, float32 [16, 17], of an image [height, width, 3]."""
    grey = cv2.cvtColor(pixels.astype(np.float32), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, THUMBNAIL[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)
