"""Scalabel's JSON files → box table: SHIFT, BDD100K's tracking sets, and what Scalabel exports.

The format of the labelling tool Scalabel: a file with a list of frames (or `frames`), each with name,
perhaps `videoName`, attributes and labels whose `box2d` has x1, y1, x2, y2 in 0-based pixels. SHIFT (Sun
et al., "SHIFT: A Synthetic Driving Dataset for Continuous Multi-Task Domain Adaptation", CVPR 2022)
has one a view: `discrete/images/{train,val}/front/det_2d.json` with images in `img/VIDEO/` beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from yolo_synth.data.labelled import Files, LabelledData, Record
from yolo_synth.data.listing import IMAGES, check_path, list_below
from yolo_synth.data.splits import PARTS

_ATTRIBUTES: Final = {
    "weather": ("weather", "weather_coarse"),
    "scene": ("scene", "town"),
    "timeofday": ("timeofday", "timeofday_coarse"),
}
"""Column of the box table → what BDD100K and SHIFT call it."""

_IMAGES: Final = "img"
_DETECTION: Final = "det_2d.json"


class _Box(msgspec.Struct, gc=False):
    x1: float
    y1: float
    x2: float
    y2: float


class _Label(msgspec.Struct, gc=False):
    category: str
    box2d: _Box | None = None


class _Size(msgspec.Struct, gc=False):
    width: int
    height: int


class _Frame(msgspec.Struct, gc=False):
    name: str
    videoName: str | None = None  # noqa: N815 - Scalabel's name
    attributes: dict[str, Any] | None = None
    labels: list[_Label] | None = None
    size: _Size | None = None


class _Config(msgspec.Struct):
    imageSize: _Size | None = None  # noqa: N815 - Scalabel's name


class _Whole(msgspec.Struct):
    frames: list[_Frame]
    config: _Config | None = None


_DECODER: Final = msgspec.json.Decoder(_Whole | list[_Frame])


class Scalabel(LabelledData):
    """Serve a data set whose labels are Scalabel's JSON files, as SHIFT's.

    Every `det_2d.json` below the root is read (or each other `.json` where there is none), and the images
    of its frames are looked for in `img` beside it, in a folder of the video's name, or beside it. A
    video is a group; a folder train or val above the file says which split it is of.
    """

    format: ClassVar[str] = "Scalabel"

    def find(self) -> Files:
        """Find the JSON files and the images."""
        found = list_below(self.root, self.root, (".json",)) if self.root.is_dir() else ()
        named = [listing.only(_DETECTION) for listing in found if _DETECTION in listing.names]
        labels = named or list(found)
        if not any(listing.names for listing in labels):
            raise FileNotFoundError(
                f"no Scalabel data in {self.root}: looked for {_DETECTION} and other .json below it"
            )
        return Files(labels, list_below(self.root, self.root, IMAGES))

    @staticmethod
    def read_label(root: Path, file: str) -> list[Record]:
        """Read one file of many frames."""
        try:
            whole = _DECODER.decode((root / file).read_bytes())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{root / file}: {error}; is this a file of Scalabel?") from error
        frames, config = (whole, None) if isinstance(whole, list) else (whole.frames, whole.config)
        size = config.imageSize if config is not None else None
        folder = root / Path(file).parent
        above = Path(file).parent.as_posix().removeprefix(".")
        if (folder / _IMAGES).is_dir():
            above = f"{above}/{_IMAGES}".lstrip("/")
        split = next((PARTS[part] for part in Path(file).parts[:-1] if part in PARTS), "")
        return [
            _record(frame, size, above, split, f"{root / file} frame {number}")
            for number, frame in enumerate(frames)
        ]


def _record(frame: _Frame, size: _Size | None, above: str, split: str, where: str) -> Record:
    name = f"{frame.videoName}/{frame.name}" if frame.videoName else frame.name
    check_path(name, where)
    boxes = [
        (label.category, label.box2d.x1, label.box2d.y1, label.box2d.x2, label.box2d.y2)
        for label in frame.labels or ()
        if label.box2d is not None
    ]
    said = {key: str(value) for key, value in (frame.attributes or {}).items()}
    conditions = {
        column: next((said[name] for name in names if name in said), "")
        for column, names in _ATTRIBUTES.items()
    }
    own = frame.size or size
    return Record(
        f"{above}/{name}".lstrip("/"),
        boxes,
        (own.width, own.height) if own else (0, 0),
        group=frame.videoName or "",
        split=split,
        **conditions,
    )
