"""YOLO's text files → box table.

The layout of the usual YOLO tools: `data.yaml` with the names of the classes, images in
`images/{train,val,test}` and, beside them in `labels/…`, a text file for each image with one box a
line: class number, then centre, width and height over the image's width and height.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from yolo_synth.data.headers import image_size_if_known
from yolo_synth.data.index import Content, indexed
from yolo_synth.data.listing import (
    MANY,
    in_parallel,
    paths_below,
    read_file,
)
from yolo_synth.data.mapped import Labels, MappedData, mapped_content
from yolo_synth.data.mistakes import refuse
from yolo_synth.data.table import WITH_SPLIT, box_frame
from yolo_synth.data.unused import unused_files
from yolo_synth.data.yolo_layout import Layout, find_layout, label_of, pairs

log = logging.getLogger(__name__)

_NO_LABELS: Final = ("classes.txt",)
"""What some annotation tools write beside the labels."""

_COLUMNS: Final = 5
_CHUNK: Final = 500
"""Images and label files that a process reads at a time."""


def read_yolo(root: str | Path, labels: Mapping[str, str | None] | None = None) -> pd.DataFrame:
    """Read images and boxes of a data set in YOLO's layout into one box table.

    Images are where `data.yaml` says under `train`, `val` and `test` (folders, or text files that list
    images), or else `images/{train,val,test}` or `{train,valid,test}/images` below the root, with
    folders in them or not; the labels of `images/train/a.jpg` are `labels/train/a.txt`. An image whose
    label file is empty or missing has no box; they are counted in the log.

    The table comes from the index (see `index`) if nothing has changed since it was last read.

    Args:
        root: Folder of the data set, with its `data.yaml` (or one other .yaml file).
        labels: Category → one of `labels.CLASSES`, or None to leave it out (see `labels.label_map`).
            Without it a set's own categories are its classes (see `labels.classes_of`).

    Returns:
        The box table (see `table`). An image is called by its path below the root, and is a
        group of its own.

    Raises:
        FileNotFoundError: If images, labels or names are not found; says what was looked for, where.
        ValueError: If files are malformed (says file and line of each mistake), a category is neither
            a common one nor in `labels`, or a link leads out of `root`.
    """
    return YOLO(root, labels=labels).read()


class _Lines(NamedTuple):
    """What the files of some images say.

    Attributes:
        sizes: Width and height of each image, int32 [images, 2]; 0 if it is none.
        counts: Number of boxes of each image, int64 [images].
        classes: Class number of each box, int64 [boxes].
        places: Centre, width and height of each box over its image's size, float64 [boxes, 4].
        mistakes: What is wrong with the files, a line each [mistakes].
    """

    sizes: NDArray[np.int32]
    counts: NDArray[np.int64]
    classes: NDArray[np.int64]
    places: NDArray[np.float64]
    mistakes: NDArray[np.str_]


def _read(root: Path, layout: Layout, given: tuple[Labels, Sequence[str] | None]) -> Content:
    """Read what was found."""
    names = layout.names
    files, splits = _files(root, layout)
    listed = list(files.items())
    jobs = [listed[start : start + _CHUNK] for start in range(0, len(listed), _CHUNK)]
    title = "Reading images' sizes and labels"
    chunks = list(
        in_parallel(partial(_read_pairs, root, names), jobs, title, many=len(listed) > MANY)
    )
    refuse([*_shared_labels(files), *(str(line) for chunk in chunks for line in chunk.mistakes)])
    read = _Lines(*(np.concatenate(column) for column in zip(*chunks, strict=True)))
    paths = list(files)
    images = pd.DataFrame({"image": paths, "path": paths, "group": paths})
    images[["width", "height"]] = read.sizes
    rows = np.repeat(np.arange(len(paths)), read.counts)
    centre, side = np.split(read.places, 2, axis=1)
    corners = np.concatenate([centre - side / 2, centre + side / 2], axis=1)
    kinds = [names[number] for number in read.classes.tolist()]
    boxes = box_frame(corners * np.tile(read.sizes[rows], 2), rows, kinds)
    has_file = np.array([bool(label) for label in files.values()])
    summary = (
        f"YOLO files in {root}: {len(images)} images, {len(boxes)} boxes; "
        f"{(has_file & (read.counts == 0)).sum()} images have an empty and {(~has_file).sum()} no label "
        f"file and count as images without objects; {_leavings(root, layout, files, splits)}"
    )
    declared = list(dict.fromkeys(names[number] for number in sorted(names)))
    what = f"the YOLO data in {root}"
    return mapped_content(images, boxes, splits, declared, given, what, summary)


def _files(root: Path, layout: Layout) -> tuple[dict[str, str], dict[str, str]]:
    """Return the label file of each image, "" if it has none, and the split of each image."""
    files: dict[str, str] = {}
    splits: dict[str, str] = {}
    for part in layout.parts:
        for image, label in pairs(root, part):
            files[image] = label
            splits[image] = part.split if splits.get(image, part.split) == part.split else ""
    if not files:
        raise FileNotFoundError(f"none of the images that the lists in {root} name is there")
    return dict(sorted(files.items())), splits


def _shared_labels(files: Mapping[str, str]) -> list[str]:
    """Return a line for each label file that would be of two images."""
    of_file: dict[str, str] = {}
    return [
        f"{of_file[file]} and {image} have one label file, {file}; keep one of the images"
        for image, file in files.items()
        if file and of_file.setdefault(file, image) != image
    ]


def _leavings(
    root: Path, layout: Layout, files: Mapping[str, str], splits: Mapping[str, str]
) -> str:
    """Say which images and labels are not used, or are of no split."""
    images = {path for part in layout.parts for path in paths_below(root, part.images)}
    labels = {path for part in layout.parts for path in paths_below(root, part.labels)}
    known = {label_of(part, image) for part in layout.parts for image in images}
    strays = {path for path in labels - known if PurePosixPath(path).name not in _NO_LABELS}
    notes = [f"{len(strays)} label files have no image"]
    wanted = {path for part in layout.parts for path in part.chosen or ()}
    for number, what in (
        (len(images - set(files)), "images are in none of the lists"),
        (len(wanted - images), "images that the lists name are not there"),
        (list(splits.values()).count(""), "images are of two parts, and so of none"),
    ):
        notes += [f"{number} {what}"] if number else []
    return ", ".join([*notes, *layout.notes])


def _read_pairs(root: Path, names: Mapping[int, str], pairs: Sequence[tuple[str, str]]) -> _Lines:
    """Read the sizes of some images and their label files."""
    classes, places, counts, mistakes = array("q"), array("d"), [], []
    for _, file in pairs:
        before = len(classes)
        text = read_file(str(root / file)) if file else b""
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    category, place = _parse(line, names, f"{root / file} line {number}")
                except ValueError as error:
                    mistakes.append(str(error))
                    continue
                classes.append(category)
                places.extend(place)
        counts.append(len(classes) - before)
    sizes = [image_size_if_known(root / image) for image, _ in pairs]
    return _Lines(
        np.array(sizes, np.int32),
        np.array(counts, np.int64),
        np.array(classes, np.int64),
        np.array(places).reshape(-1, 4),
        np.array(mistakes, np.str_),
    )


def _parse(line: bytes, names: Mapping[int, str], where: str) -> tuple[int, tuple[float, ...]]:
    """Return class number and centre, width and height of a line."""
    fields = line.split()
    try:
        number, *place = map(float, fields)
        category = int(number) if number.is_integer() else -1  # some tools write a class as 0.0
    except (ValueError, OverflowError):
        category, place = -1, []
    if len(place) != _COLUMNS - 1:
        text = line.decode("utf-8", "replace")[:80]
        raise ValueError(
            f"{where}: {text!r} is not a class number and centre x, centre y, width, height"
        )
    if category not in names:
        known = ", ".join(map(str, names))
        raise ValueError(f"{where}: there is no class {category}; data.yaml names {known}")
    if not all(0 <= value <= 1 for value in place):
        raise ValueError(
            f"{where}: {tuple(place)} are not numbers from 0 to 1, as places over the image's size are"
        )
    return category, tuple(place)


class YOLO(MappedData):
    """Serve a data set in YOLO's text format (see `read_yolo` for its files)."""

    def read_files(self, labels: Labels, classes: list[str] | None) -> Content:
        """Read the box table, with the split that `data.yaml` or the folders say, "" if they say two."""
        layout = find_layout(self.root)
        for note in layout.notes:
            log.warning("%s: %s", self.root, note)
        read = partial(_read, self.root, layout, (labels, classes))
        options = {"labels": dict(labels), "classes": classes}
        return indexed(self.root, "yolo", layout.listings, options, read, WITH_SPLIT)

    def labelled(self) -> Mapping[str, str]:
        """Say which images have a label file; one that is not there is called `.jpg`."""
        found: dict[str, str] = {}
        strays: dict[str, str] = {}
        known: set[str] = set()
        for part in find_layout(self.root).parts:
            found |= {
                image: str(self.root / file) for image, file in pairs(self.root, part) if file
            }
            known |= {label_of(part, image) for image in paths_below(self.root, part.images)}
            for file in paths_below(self.root, part.labels):
                strays[file] = f"{part.image_folder}{file[len(part.label_folder) : -4]}.jpg"
        for file in sorted(strays.keys() - known):
            if PurePosixPath(file).name not in _NO_LABELS:
                found[strays[file]] = str(self.root / file)
        return found

    def unused(self) -> list[Path]:
        """Return the files in its folders that nothing reads."""
        return unused_files(find_layout(self.root).listings)
