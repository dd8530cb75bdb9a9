"""BDD100K's label files, frame by frame: what the categories become, and how the JSON is decoded."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from yolo_synth.data.listing import check_name
from yolo_synth.data.table import MAX_EDGE
from yolo_synth.labels import CLASSES

Decoded = TypeVar("Decoded")

_COMMON: Final = {
    "person": ("person", "pedestrian", "rider"),
    "cycle": ("bike", "bicycle", "motor", "motorcycle"),
    "car": ("car",),
    "bus": ("bus",),
    "truck": ("truck",),
}
"""Common class → the names of 2018 and of 2020 (Table 1 of the paper)."""

_OTHERS: Final = (
    "train",
    "traffic light",
    "traffic sign",
    "other person",
    "other vehicle",
    "trailer",
    "lane",
    "drivable area",
)

BDD100K_LABELS: Final[Mapping[str, int | None]] = {
    **{name: CLASSES.index(common) for common, names in _COMMON.items() for name in names},
    **dict.fromkeys(_OTHERS),
}
"""BDD100K category name → class index, or None where the category is left out."""

CATEGORIES: Final = tuple(BDD100K_LABELS)
_CODES: Final = {category: code for code, category in enumerate(CATEGORIES)}
_BLOCK: Final = 1 << 25
"""Bytes of a label file that are read at a time."""
_BETWEEN_FRAMES: Final = re.compile(rb',\s*(?=\{\s*"name")')

_Edge = Annotated[float, msgspec.Meta(gt=-MAX_EDGE, lt=MAX_EDGE)]


# What is not named in these types, lanes' and areas' polygons above all, is never built.
class _Box(msgspec.Struct, gc=False):
    x1: _Edge
    y1: _Edge
    x2: _Edge
    y2: _Edge


class _Label(msgspec.Struct, gc=False):
    category: str
    box2d: _Box | None = None


class Attributes(msgspec.Struct, gc=False):
    """Under which conditions a frame was taken."""

    weather: str | None = None
    scene: str | None = None
    timeofday: str | None = None


class _Frame(msgspec.Struct):
    name: str
    attributes: Attributes | None = None
    labels: list[_Label] | None = None


class _Moment(msgspec.Struct):
    """A frame in the file of one image: `objects` as of 2018, `labels` in Scalabel."""

    name: str | None = None
    attributes: Attributes | None = None
    labels: list[_Label] | None = None
    objects: list[_Label] | None = None


class _ImageFile(_Moment):
    frames: list[_Moment] | None = None


class _Scalabel(msgspec.Struct):
    frames: list[msgspec.Raw]


_IMAGE_FILE: Final = msgspec.json.Decoder(_ImageFile | list[_Moment])


class Entries(NamedTuple):
    """What some frames say.

    Attributes:
        places: File and number of each frame, for messages.
        stems: Name of each frame's image, without its ending.
        attributes: Of each frame.
        mistakes: What is wrong with frames and boxes, a line each; those are not among the others.
        counts: Number of boxes of each frame, int64 [frames].
        codes: Category of each box, int8 [boxes].
        edges: float64 [boxes, 4].
    """

    places: list[str]
    stems: list[str]
    attributes: list[Attributes | None]
    mistakes: list[str]
    counts: NDArray[np.int64]
    codes: NDArray[np.int8]
    edges: NDArray[np.float64]


def collect(frames: Iterable[tuple[str, _Frame | ValueError]]) -> Entries:
    """Gather what frames say, each given with its place, or what is wrong with it."""
    places: list[str] = []
    stems: list[str] = []
    attributes: list[Attributes | None] = []
    mistakes: list[str] = []
    counts, codes, edges = array("q"), array("b"), array("d")
    for place, frame in frames:
        try:
            if isinstance(frame, ValueError):
                raise frame
            check_name(frame.name, place)
        except ValueError as error:
            mistakes.append(str(error))
            continue
        places.append(place)
        stems.append(stem_of(frame.name))
        attributes.append(frame.attributes)
        before = len(codes)
        for label in frame.labels or ():
            box = label.box2d
            if box is None:
                continue
            code = _CODES.get(label.category)
            if code is None:
                mistakes.append(_unknown(label.category, place, frame.name))
                continue
            codes.append(code)
            edges.extend((box.x1, box.y1, box.x2, box.y2))
        counts.append(len(codes) - before)
    return Entries(
        *(places, stems, attributes, mistakes, np.array(counts), np.array(codes)),
        np.array(edges).reshape(-1, 4),
    )


def frames_of(file: Path) -> Iterator[tuple[str, _Frame | ValueError]]:
    """Decode a label file frame by frame, so that only a part of it is in memory at a time.

    Yields:
        The place of each frame, and the frame, or what is wrong with it.
    """
    try:
        yield from _frames_of(file)
    except ValueError as error:  # of the file as a whole
        yield str(file), error


def _frames_of(file: Path) -> Iterator[tuple[str, _Frame | ValueError]]:
    decoder = msgspec.json.Decoder(_Frame)
    size = file.stat().st_size
    if size == 0:
        raise ValueError(f"{file} is empty")
    bar = tqdm(
        total=size,
        desc=f"Reading {file.name}",
        unit="B",
        unit_scale=True,
        delay=1,
        leave=False,
        disable=None,
    )
    number = 0
    with file.open("rb") as stream, bar:
        for raw_frames in _raw_frames(stream, str(file)):
            for raw in raw_frames:
                place = f"{file} frame {number}"
                yield place, _or_error(partial(_decode, partial(decoder.decode, raw), place))
                number += 1
            bar.update(stream.tell() - bar.n)


def _raw_frames(stream: BinaryIO, place: str) -> Iterator[list[msgspec.Raw]]:
    """Cut a label file, a list of frames or an object with `frames`, into its frames, some at a time.

    The list is cut at a comma that seems to stand between two frames. It does if what is before it is
    a whole list once it is closed; else more of the file is read, at worst all.
    """
    text, done = stream.read(_BLOCK), 0
    if text.lstrip()[:1] == b"{":
        text += stream.read()
        yield _decode(partial(msgspec.json.decode, text, type=_Scalabel), place).frames
        return
    while more := stream.read(max(_BLOCK, len(text))):
        text += more
        ends = list(_BETWEEN_FRAMES.finditer(text, max(0, len(text) - _BLOCK // 8)))
        if ends:
            with suppress(ValueError):
                frames = _raw_list(text[: ends[-1].start()] + b"]", place)
                text, done = b"[" + text[ends[-1].end() :], done + len(frames)
                yield frames
    yield _raw_list(text, f"{place} from frame {done} on" if done else place)


def _raw_list(text: bytes, place: str) -> list[msgspec.Raw]:
    return _decode(partial(msgspec.json.decode, text, type=list[msgspec.Raw]), place)


def image_frame(file: Path) -> _Frame | ValueError:
    """Decode the label file of one image, which is called as its image is; or say what is wrong."""
    return _or_error(partial(_image_frame, file))


def _or_error(decode: Callable[[], _Frame]) -> _Frame | ValueError:
    try:
        return decode()
    except ValueError as error:
        return error


def _image_frame(file: Path) -> _Frame:
    whole = _decode(partial(_IMAGE_FILE.decode, file.read_bytes()), str(file))
    if isinstance(whole, list):
        whole = _ImageFile(frames=whole)
    frames = whole.frames or [_Moment()]
    if len(frames) != 1:
        raise ValueError(f"{file}: {len(frames)} frames in a label file that is named as an image")
    inner = frames[0]
    for name in (whole.name, inner.name):
        if name is not None and file.stem not in (name, stem_of(name)):
            raise ValueError(
                f"{file}: its labels are of image {name[:80]!r}; is the file misnamed?"
            )
    labels = [*(whole.labels or ()), *(inner.labels or ()), *(inner.objects or ())]
    return _Frame(f"{file.stem}.jpg", whole.attributes or inner.attributes, labels)


def _decode(decode: Callable[[], Decoded], place: str) -> Decoded:
    try:
        return decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{place}: {error}") from error


def _unknown(category: str, place: str, image: str) -> str:
    return (
        f"{place}: image {image} has a box of the unknown category {category[:80]!r}; known are "
        f"{', '.join(CATEGORIES)}"
    )


def stem_of(name: str) -> str:
    """Return a file name without its ending."""
    return name.rpartition(".")[0] or name
