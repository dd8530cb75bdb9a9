"""Unity Perception's SOLO files → box table.

The format of the package com.unity.perception from version 0.11 on: a folder `sequence.N` for each
sequence, and in it `stepM.frame_data.json` with one or several captures (cameras), each with its image
and annotations. A 2-D box is its left upper corner (`origin`) and its width and height (`dimension`).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

import msgspec

from yolo_synth.data.labelled import Files, LabelledData, Record
from yolo_synth.data.listing import IMAGES, check_path, list_below, read_file

_FRAME: Final = ".frame_data.json"


class _Value(msgspec.Struct):
    labelName: str  # noqa: N815 - Unity's name
    origin: tuple[float, float]
    dimension: tuple[float, float]


class _Annotation(msgspec.Struct):
    kind: str = msgspec.field(name="@type", default="")
    values: msgspec.Raw = msgspec.Raw(b"[]")


class _Capture(msgspec.Struct):
    filename: str
    dimension: tuple[float, float] = (0, 0)
    annotations: list[_Annotation] = []


class _Frame(msgspec.Struct):
    captures: list[_Capture]
    sequence: int = -1


class SOLO(LabelledData):
    """Serve a data set of Unity's Perception package, in its SOLO format.

    The root holds `sequence.0`, `sequence.1` and so on; a sequence is a group. It has no parts of its
    own, so whole sequences are drawn for training, validation and test.
    """

    format: ClassVar[str] = "SOLO"

    def find(self) -> Files:
        """Find the frames' files and their images."""
        labels = list_below(self.root, self.root, (_FRAME,)) if self.root.is_dir() else ()
        if not any(listing.names for listing in labels):
            raise FileNotFoundError(
                f"no SOLO data in {self.root}: looked for sequence.N/stepM{_FRAME} below it; captures "
                "of older versions of Unity's Perception (captures_*.json) are not read"
            )
        return Files(labels, list_below(self.root, self.root, IMAGES))

    @staticmethod
    def read_label(root: Path, file: str) -> list[Record]:
        """Read one frame: a record for each of its captures."""
        where = str(root / file)
        try:
            frame = msgspec.json.decode(read_file(where), type=_Frame)
            return [_record(capture, file, where) for capture in frame.captures]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(
                f"{where}: {error}; is this a frame of Unity's SOLO format?"
            ) from error


def _record(capture: _Capture, file: str, where: str) -> Record:
    check_path(capture.filename, where)
    folder = file.rpartition("/")[0]
    boxes = []
    for annotation in capture.annotations:
        if annotation.kind.rpartition(".")[2].startswith("BoundingBox2D"):
            for value in msgspec.json.decode(annotation.values, type=list[_Value]):
                (left, top), (width, height) = value.origin, value.dimension
                boxes.append((value.labelName, left, top, left + width, top + height))
    width, height = (int(side) for side in capture.dimension)
    path = f"{folder}/{capture.filename}" if folder else capture.filename
    return Record(path, boxes, (width, height), group=folder.rpartition("/")[2])
