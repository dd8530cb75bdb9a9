"""KITTI's text files → box table; NVIDIA's TAO and Replicator write the same.

The format of Geiger, Lenz and Urtasun, "Are we ready for Autonomous Driving? The KITTI Vision Benchmark
Suite", CVPR 2012: one text file an image, one object a line, of which type and the four edges in
0-based pixels (fields 1 and 5 to 8 of 15 or more) are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from yolo_synth.data.labelled import Files, LabelledData, Record, numbers, text_of
from yolo_synth.data.listing import IMAGES, list_below
from yolo_synth.data.splits import PARTS

_LAYOUTS: Final = (
    ("training/image_2", "training/label_2"),
    ("image_2", "label_2"),
    ("images", "labels"),
    ("rgb", "object_detection"),
    ("Camera/rgb", "Camera/object_detection"),
)
"""Folders of images and labels: KITTI's own, TAO's, and those that Replicator's KittiWriter makes."""

_FIELDS: Final = 8
_IGNORED: Final = "DontCare"
"""What KITTI writes for regions that nobody labelled; a category that a label map can leave out."""


class KITTI(LabelledData):
    """Serve a data set in KITTI's text format.

    Images and labels are `training/{image_2,label_2}`, `{images,labels}` or Replicator's
    `{rgb,object_detection}` below the root, or the same below `train`, `val` and `test`, which then are
    its splits. A label file `a.txt` belongs to the image `a.png` at the same place. An image without
    label file, as all of KITTI's `testing`, is left out. `DontCare` regions are left out by themselves.
    """

    format: ClassVar[str] = "KITTI"

    def find(self) -> Files:
        """Find the folders of images and labels."""
        pairs = [pair for part in ("", *PARTS) for pair in self._pairs(part)]
        if not pairs:
            tried = " and ".join(f"{images} with {labels}" for images, labels in _LAYOUTS)
            raise FileNotFoundError(
                f"no KITTI data in {self.root}: looked for {tried}, there and below {', '.join(PARTS)}"
            )
        return Files(
            [
                x
                for _, labels in pairs
                for x in list_below(self.root / labels, self.root, (".txt",))
            ],
            [x for images, _ in pairs for x in list_below(self.root / images, self.root, IMAGES)],
        )

    def _pairs(self, part: str) -> list[tuple[str, str]]:
        above = f"{part}/" if part else ""
        there = [(above + images, above + labels) for images, labels in _LAYOUTS]
        return [pair for pair in there if all((self.root / folder).is_dir() for folder in pair)][:1]

    @staticmethod
    def read_label(root: Path, file: str) -> list[Record]:
        """Read the label file of one image."""
        boxes = []
        for number, line in enumerate(text_of(root, file).splitlines(), 1):
            fields = line.split()
            if not fields or fields[0] == _IGNORED:
                continue
            where = f"{root / file} line {number}"
            if len(fields) < _FIELDS:
                raise ValueError(
                    f"{where}: {line[:80]!r} has {len(fields)} fields; KITTI's have type, truncation, "
                    "occlusion, angle, left, top, right, bottom and more"
                )
            left, top, right, bottom = numbers(fields[4:8], where)
            boxes.append((fields[0], left, top, right, bottom))
        part = file.split("/", 1)[0]
        return [Record(_image_of(file), boxes, split=PARTS.get(part, ""))]


def _image_of(file: str) -> str:
    """Return an image's path, without ending, from that of its label file."""
    stem = file.removesuffix(".txt")
    for images, labels in _LAYOUTS:
        for part in ("", *(f"{part}/" for part in PARTS)):
            if stem.startswith(f"{part}{labels}/"):
                return f"{part}{images}/{stem.removeprefix(f'{part}{labels}/')}"
    return stem
