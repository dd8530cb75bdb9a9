"""What every format with one record an image has in common: records → box table, splits, what is missing.

A format is a file of its own with a subclass of `LabelledData`: which files there are, and what one of
them says.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.data.headers import image_sizes
from yolo_synth.data.index import Content, indexed
from yolo_synth.data.listing import IMAGES, MANY, Listing, in_parallel, paths_below
from yolo_synth.data.mapped import Labels, MappedData, mapped_content
from yolo_synth.data.mistakes import refuse
from yolo_synth.data.splits import SPLITS, group_split, random_split
from yolo_synth.data.table import WITH_SPLIT, box_frame
from yolo_synth.data.unused import unused_files

log = logging.getLogger(__name__)

_CHUNK: Final = 200
"""Label files that a process reads at a time."""


class Record(NamedTuple):
    """What a label file says of one image.

    Attributes:
        path: The image's path below the root; without its ending where the file does not tell it.
        boxes: Category and x1, y1, x2, y2 in native pixels of each box, right and lower edge exclusive.
        size: Width and height in pixels; (0, 0) reads them from the image.
        group: What the image belongs to, such as its sequence; "" is alone.
        split: Which split it is of, one of `splits.SPLITS`; "" if the data set does not say.
        weather: In the data set's words, as scene and timeofday.
        scene: As weather.
        timeofday: As weather.
    """

    path: str
    boxes: list[tuple[str, float, float, float, float]]
    size: tuple[int, int] = (0, 0)
    group: str = ""
    split: str = ""
    weather: str = ""
    scene: str = ""
    timeofday: str = ""


class Files(NamedTuple):
    """What a data set consists of.

    Attributes:
        labels: Label files, each a job for the reader.
        images: Folders with images.
        others: What else the table follows from, such as split lists.
    """

    labels: Sequence[Listing]
    images: Sequence[Listing]
    others: Sequence[Listing] = ()


class LabelledData(MappedData):
    """Serve a data set whose label files tell of one image or of several."""

    format: ClassVar[str]
    """What the format is called, in messages and in the index's name."""

    @abstractmethod
    def find(self) -> Files:
        """Find and list all files.

        Raises:
            FileNotFoundError: If there are none; says what was looked for, and where.
        """

    @staticmethod
    @abstractmethod
    def read_label(root: Path, file: str) -> list[Record]:
        """Read one label file, given by its path below the root.

        Raises:
            ValueError: If it is malformed; says file and line.
        """

    def options(self) -> dict[str, object]:
        """Return the options that the table follows from."""
        return {"labels": dict(self.labels or {}), "classes": self._given}

    def completed(self, record: Record) -> Record:
        """Add to a record what its own label file does not tell."""
        return record

    def read_files(self, labels: Labels, classes: list[str] | None) -> Content:
        """Read the box table, with the split of each image.

        Such files declare no categories: without `labels` and `classes` those that occur are the
        classes, by name.
        """
        files = self.find()
        listings = [*files.labels, *files.images, *files.others]
        read = partial(_read, self, files, labels, classes)
        return indexed(self.root, self.format.lower(), listings, self.options(), read, WITH_SPLIT)

    def divide(self, images: pd.DataFrame) -> dict[str, list[str]]:
        """Divide as the data set does; one that does not say how, by whole groups where it has some."""
        if self.splits is not None or self.split_by != "part" or self.parts(images).any():
            return super().divide(images)
        groups = dict(zip(images["image"], images["group"], strict=True))
        several = len(groups) > len(set(groups.values())) >= len(SPLITS)
        log.info(
            "%s data in %s have no train and val parts of their own: 60, 20 and 20 %% are drawn %s",
            self.format,
            self.root,
            "in whole groups" if several else "image by image",
        )
        if several:
            return group_split(groups, self.split_seed)
        return random_split(images["image"], self.split_seed)

    def labelled(self) -> Mapping[str, str]:
        """Say which images the label files tell of."""
        files = self.find()
        there = _by_stem(paths_below(self.root, files.images))
        found = {}
        for file in paths_below(self.root, files.labels):
            for record in self.read_label(self.root, file):
                found[there.get(_stem(record.path), record.path)] = str(self.root / file)
        return found

    def unlisted(self) -> list[str]:
        """Return the images that no label file tells of."""
        listed = self.labelled()
        return [path for path in paths_below(self.root, self.find().images) if path not in listed]

    def unused(self) -> list[Path]:
        """Return the files in its folders that nothing reads."""
        files = self.find()
        return unused_files([*files.labels, *files.images, *files.others])


def _read(data: LabelledData, files: Files, given: Labels, classes: list[str] | None) -> Content:
    """Read all label files and put what they say into one table."""
    labels = paths_below(data.root, files.labels)
    jobs = [labels[start : start + _CHUNK] for start in range(0, len(labels), _CHUNK)]
    title = f"Reading {data.format} labels"
    job = partial(_read_labels, type(data), data.root)
    read = list(in_parallel(job, jobs, title, many=len(labels) > MANY))
    refuse([mistake for _, mistakes in read for mistake in mistakes])
    records = [record for records, _ in read for record in records]
    there = _by_stem(paths_below(data.root, files.images))
    found = [
        data.completed(record._replace(path=there[_stem(record.path)]))
        for record in records
        if _stem(record.path) in there
    ]
    if not found:
        sample = f", such as {records[0].path}" if records else ""
        raise FileNotFoundError(
            f"{data.root}: none of the {len(records)} images that its {data.format} labels tell of is "
            f"there{sample}; are the images in their place?"
        )
    left_out = len(set(there.values())) - len({record.path for record in found})
    flat = [box for record in found for box in record.boxes]
    rows = np.repeat(np.arange(len(found)), [len(record.boxes) for record in found])
    boxes = box_frame([box[1:] for box in flat], rows, [box[0] for box in flat])
    summary = (
        f"{data.format} files in {data.root}: {len(found)} images, {len(boxes)} boxes; "
        f"{len(records) - len(found)} records have no image, and {left_out} images no record: both are "
        "left out"
    )
    return mapped_content(
        _images(data.root, found),
        boxes,
        {record.path: record.split for record in found},
        sorted(set(boxes["category"])),
        (given, classes),
        f"the {data.format} data in {data.root}",
        summary,
    )


def _read_labels(
    kind: type[LabelledData], root: Path, files: Sequence[str]
) -> tuple[list[Record], list[str]]:
    """Return what some files say, and what is wrong with the malformed ones."""
    records, mistakes = [], []
    for file in files:
        try:
            records += kind.read_label(root, file)
        except ValueError as error:
            mistakes.append(str(error))
    return records, mistakes


def _images(root: Path, records: Sequence[Record]) -> pd.DataFrame:
    unknown = [number for number, record in enumerate(records) if 0 in record.size]
    sizes = np.array([record.size for record in records], np.int64).reshape(-1, 2)
    sizes[unknown] = image_sizes([root / records[number].path for number in unknown])
    images = pd.DataFrame({"image": [record.path for record in records]})
    images["path"] = images["image"]
    images[["width", "height"]] = sizes
    images["group"] = [record.group or record.path for record in records]
    for name in ("weather", "scene", "timeofday"):
        images[name] = [getattr(record, name) for record in records]
    return images


def _by_stem(paths: Iterable[str]) -> dict[str, str]:
    """Return each image's path by its path without ending."""
    return {_stem(path): path for path in paths}


def _stem(path: str) -> str:
    folder, _, name = path.rpartition("/")
    stem, _, end = name.rpartition(".")
    known = stem and f".{end.lower()}" in IMAGES
    return f"{folder}/{stem if known else name}"


def numbers(texts: Sequence[str], where: str) -> tuple[float, ...]:
    """Return numbers in pixels.

    Raises:
        ValueError: If one is none, or not finite.
    """
    try:
        values = tuple(map(float, texts))
    except ValueError:
        values = ()
    if not values or not np.isfinite(values).all():
        raise ValueError(
            f"{where}: {' '.join(texts)[:80]!r} are not {len(texts)} numbers in pixels"
        )
    return values


def text_of(root: Path, file: str) -> str:
    """Return a label file's text.

    Raises:
        ValueError: If it is not UTF-8, or cannot be read.
    """
    try:
        return (root / file).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{root / file} is not a text file in UTF-8") from None
    except OSError as error:
        raise ValueError(f"{root / file} cannot be read: {error.strerror}") from error
