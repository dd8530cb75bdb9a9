"""Pascal VOC's XML files → box table; Sim10k and many labelling tools write the same.

The format of Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010: one XML
file an image, with boxes in 1-based pixels whose right and lower edge belong to the box.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final
from xml.etree import ElementTree

from yolo_synth.data.labelled import Files, LabelledData, Record, numbers, text_of
from yolo_synth.data.listing import IMAGES, list_below, list_file
from yolo_synth.data.splits import PARTS

_LABELS: Final = "Annotations"
_FOLDERS: Final = ("JPEGImages", "images", "Images")
_LISTS: Final = "ImageSets/Main"
_FIELDS: Final = ("xmin", "ymin", "xmax", "ymax")


class VOC(LabelledData):
    """Serve a data set in Pascal VOC's format.

    `Annotations/a.xml` below the root belongs to the image `a` in `JPEGImages` (or `images`, or beside
    it). The lists `ImageSets/Main/{train,val,test}.txt`, where there are some, are its splits. Boxes are
    1-based, as VOC's are, unless `one_based` is false. Objects marked `difficult` are boxes like others.
    """

    format: ClassVar[str] = "VOC"

    def __init__(
        self,
        root: str | Path,
        *,
        one_based: bool = True,
        **settings: Any,  # noqa: ANN401 as MappedData has them
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder that holds Annotations, as VOCdevkit/VOC2007.
            one_based: Whether the first pixel of an image is number 1 and the last one of a box belongs
                to it, as in VOC; false for tools that count from 0.
            **settings: Those of `MappedData`.
        """
        super().__init__(root, **settings)
        self.one_based = one_based
        self._listed: dict[str, str] = {}

    def find(self) -> Files:
        """Find annotations, images and lists."""
        labels = self.root / _LABELS
        if not labels.is_dir():
            raise FileNotFoundError(
                f"no VOC data in {self.root}: there is no folder {_LABELS}; name the folder that holds it"
            )
        folders = [self.root / name for name in _FOLDERS if (self.root / name).is_dir()][:1] or [
            labels
        ]
        lists = [
            (split, self.root / _LISTS / f"{part}.txt")
            for part, split in PARTS.items()
            if (self.root / _LISTS / f"{part}.txt").is_file()
        ]
        self._listed = {
            name: split
            for split, file in lists
            for name in text_of(self.root, file.relative_to(self.root).as_posix()).split()
        }
        return Files(
            list_below(labels, self.root, (".xml",)),
            [listing for folder in folders for listing in list_below(folder, self.root, IMAGES)],
            [list_file(file, self.root) for _, file in lists],
        )

    def options(self) -> dict[str, object]:
        """Return the options that the table follows from."""
        return {**super().options(), "one_based": self.one_based}

    def completed(self, record: Record) -> Record:
        """Say which of the lists names an image, and count pixels from 0, the right edge exclusive."""
        shift = float(self.one_based)
        boxes = [(name, x1 - shift, y1 - shift, x2, y2) for name, x1, y1, x2, y2 in record.boxes]
        return record._replace(boxes=boxes, split=self._listed.get(Path(record.path).stem, ""))

    @staticmethod
    def read_label(root: Path, file: str) -> list[Record]:
        """Read the XML file of one image; boxes as they stand there."""
        where = str(root / file)
        try:
            tree = ElementTree.fromstring(_without_entities(text_of(root, file), where))
        except ElementTree.ParseError as error:
            raise ValueError(f"{where} is not XML ({error}); fetch it anew") from error
        boxes = []
        for number, thing in enumerate(tree.iter("object"), 1):
            name = (thing.findtext("name") or "").strip()
            place = [(thing.findtext(f"bndbox/{field}") or "").strip() for field in _FIELDS]
            if not name:
                raise ValueError(f"{where} object {number}: it has no name")
            left, top, right, bottom = numbers(place, f"{where} object {number}")
            boxes.append((name, left, top, right, bottom))
        return [Record(_image_of(root, file), boxes)]


def _without_entities(text: str, where: str) -> str:
    """Refuse entities of a file's own, which can grow without bound or read other files."""
    if "<!ENTITY" in text or "<!DOCTYPE" in text:
        raise ValueError(f"{where} declares entities of its own, which label files have no need of")
    return text


def _image_of(root: Path, file: str) -> str:
    stem = file.removeprefix(f"{_LABELS}/").removesuffix(".xml")
    folder = next((name for name in _FOLDERS if (root / name).is_dir()), _LABELS)
    return f"{folder}/{stem}"
