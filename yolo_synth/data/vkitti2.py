"""Virtual KITTI 2's text files → box table.

The format of Cabon, Murray and Humenberger, "Virtual KITTI 2", arXiv:2001.10773: for each of five scenes
and ten variants `SceneXX/VARIANT/bbox.txt` with the boxes of both cameras, whose right and lower edge
belong to the box, and `info.txt` with what each track is; images in `frames/rgb/Camera_C/rgb_FFFFF.jpg`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from yolo_synth.data.labelled import Files, LabelledData, Record, numbers, text_of
from yolo_synth.data.listing import IMAGES, list_below

_BOXES: Final = "bbox.txt"
_TRACKS: Final = "info.txt"
_COLUMNS: Final = ("frame", "cameraID", "trackID", "left", "right", "top", "bottom")
_WEATHER: Final = ("fog", "overcast", "rain")
_TIMES: Final = ("morning", "sunset")


class VirtualKITTI2(LabelledData):
    """Serve Virtual KITTI 2.

    The archives of images (rgb) and of ground truth (textgt) are unpacked into one folder, the root, so
    that `Scene01/clone` holds `frames` beside `bbox.txt` and `info.txt`. A scene is a group, since its
    variants show the same drive, and whole scenes are drawn for training, validation and test. The
    variants fog, overcast and rain are its weather, morning and sunset its time of day. A frame that
    `bbox.txt` does not name has no box.
    """

    format: ClassVar[str] = "Virtual KITTI 2"

    def find(self) -> Files:
        """Find the boxes, the tracks and the images of all scenes."""
        found = list_below(self.root, self.root, (_BOXES, _TRACKS)) if self.root.is_dir() else ()
        labels = [listing.only(_BOXES) for listing in found if _BOXES in listing.names]
        if not labels:
            raise FileNotFoundError(
                f"no Virtual KITTI 2 data in {self.root}: looked for SceneXX/VARIANT/{_BOXES} below it"
            )
        return Files(labels, list_below(self.root, self.root, IMAGES), found)

    @staticmethod
    def read_label(root: Path, file: str) -> list[Record]:
        """Read the boxes of one variant of a scene."""
        above = file.rpartition("/")[0]
        kinds = _tracks(root, f"{above}/{_TRACKS}".lstrip("/"))
        frames = _empty_frames(root, above)
        for where, row in _rows(root, file, _COLUMNS):
            frame, camera, left, right, top, bottom = numbers([row[0], row[1], *row[3:7]], where)
            kind = kinds.get(row[2])
            if kind is None:
                raise ValueError(f"{where}: {_TRACKS} beside it has no track {row[2][:20]!r}")
            path = f"{above}/frames/rgb/Camera_{int(camera)}/rgb_{int(frame):05d}".lstrip("/")
            frames.setdefault(path, []).append((kind, left, top, right + 1, bottom + 1))
        scene, _, variant = above.rpartition("/")
        return [
            Record(
                path,
                boxes,
                group=scene.rpartition("/")[2] or variant,
                weather=variant if variant in _WEATHER else "",
                timeofday=variant if variant in _TIMES else "",
            )
            for path, boxes in frames.items()
        ]


def _empty_frames(
    root: Path, above: str
) -> dict[str, list[tuple[str, float, float, float, float]]]:
    """Return all frames that have an image, without ending, each without a box."""
    images = sorted((root / above / "frames/rgb").glob("Camera_*/rgb_*"))
    return {image.relative_to(root).with_suffix("").as_posix(): [] for image in images}


def _tracks(root: Path, file: str) -> dict[str, str]:
    """Return the kind of each track."""
    if not (root / file).is_file():
        raise ValueError(f"{root / file} is missing: it says what each track of {_BOXES} is")
    return {row[0]: row[1] for _, row in _rows(root, file, ("trackID", "label"))}


def _rows(root: Path, file: str, columns: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """Return the rows of a table with a header, each with its place."""
    head, *lines = text_of(root, file).splitlines() or [""]
    if tuple(head.split()[: len(columns)]) != columns:
        raise ValueError(
            f"{root / file} line 1: {head[:80]!r} where the columns {' '.join(columns)} should be named"
        )
    rows = []
    for number, line in enumerate(lines, 2):
        fields = line.split()
        where = f"{root / file} line {number}"
        if fields and len(fields) < len(columns):
            raise ValueError(f"{where}: {line[:80]!r} has {len(fields)} of {len(columns)} columns")
        if fields:
            rows.append((where, fields))
    return rows
