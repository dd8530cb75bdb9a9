"""YOLO's text files → box table.

The layout of the usual YOLO tools: `data.yaml` with the names of the classes, images in
`images/{train,val,test}` and, beside them in `labels/…`, a text file for each image with one box a
line: class number, then centre, width and height over the image's width and height.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from yolo_synth.data.headers import image_size_if_known
from yolo_synth.data.index import Content, indexed
from yolo_synth.data.listing import (
    IMAGES,
    MANY,
    Listing,
    in_parallel,
    list_below,
    list_file,
    paths_below,
    read_file,
)
from yolo_synth.data.mapped import MappedData
from yolo_synth.data.splits import PARTS
from yolo_synth.data.table import EDGES, box_table
from yolo_synth.labels import label_map

_FOLDERS: Final = (("images/{part}", "labels/{part}"), ("{part}/images", "{part}/labels"))
"""Where images and labels of a part are, in the two layouts in use."""

_NO_LABELS: Final = "classes.txt"
"""What some annotation tools write beside the labels."""

_COLUMNS: Final = 5
_CHUNK: Final = 500
"""Images and label files that a process reads at a time."""


class _Data(msgspec.Struct):
    names: list[str] | dict[int, str]


def read_yolo(root: str | Path, labels: Mapping[str, str | None] | None = None) -> pd.DataFrame:
    """Read images and boxes of a data set in YOLO's layout into one box table.

    Images are `images/{train,val,test}` or `{train,valid,test}/images` below the root, with folders in
    them or not; the labels of `images/train/a.jpg` are `labels/train/a.txt`. An image whose label file
    is empty or missing has no box; they are counted in the log.

    The table comes from the index (see `index`) if nothing has changed since it was last read.

    Args:
        root: Folder of the data set, with its `data.yaml` (or one other .yaml file).
        labels: Category → one of `labels.CLASSES`, or None to leave it out (see `labels.label_map`).

    Returns:
        The box table (see `table`). An image is called by its path below the root, and is a
        group of its own.

    Raises:
        FileNotFoundError: If images, labels or names are not found; says what was looked for, where.
        ValueError: If a file is malformed (says file and line), a category is neither a common one
            nor in `labels`, or a link leads out of `root`.
    """
    root, labels = Path(root), dict(labels or {})
    file, parts = _names_file(root), _find(root)
    listings = [list_file(file, root)]
    for part in parts:
        listings += [*part.images, *part.labels]
    return indexed(
        root, "yolo", listings, {"labels": labels}, partial(_read, root, file, parts, labels)
    )


def yolo_label_files(root: str | Path) -> dict[str, str]:
    """Return the image that each label file is of, as the box table calls it → the file.

    One that is not there is called `.jpg`.
    """
    root = Path(root)
    found: dict[str, str] = {}
    for part in _find(root):
        pairs = list(_pairs(root, part))
        found |= {image: str(root / file) for image, file in pairs if file}
        strays = {*paths_below(root, part.labels)} - {file for _, file in pairs}
        for file in sorted(stray for stray in strays if not stray.endswith(f"/{_NO_LABELS}")):
            found[f"{part.image_folder}{file[len(part.label_folder) : -4]}.jpg"] = str(root / file)
    return found


class _Part(NamedTuple):
    """A part's folders, relative to the root, and what is in them."""

    image_folder: str
    label_folder: str
    images: tuple[Listing, ...]
    labels: tuple[Listing, ...]


class _Lines(NamedTuple):
    """What the files of some images say.

    Attributes:
        sizes: Width and height of each image, int32 [images, 2]; 0 if it is none.
        counts: Number of boxes of each image, int64 [images].
        classes: Class number of each box, int64 [boxes].
        places: Centre, width and height of each box over its image's size, float64 [boxes, 4].
    """

    sizes: NDArray[np.int32]
    counts: NDArray[np.int64]
    classes: NDArray[np.int64]
    places: NDArray[np.float64]


def _read(root: Path, file: Path, parts: Sequence[_Part], labels: dict[str, str | None]) -> Content:
    """Read what was found."""
    names = _names(file)
    pairs = [pair for part in parts for pair in _pairs(root, part)]
    jobs = [pairs[start : start + _CHUNK] for start in range(0, len(pairs), _CHUNK)]
    title = "Reading images' sizes and labels"
    chunks = in_parallel(partial(_read_pairs, root, names), jobs, title, many=len(pairs) > MANY)
    read = _Lines(*(np.concatenate(column) for column in zip(*chunks, strict=True)))
    paths = [image for image, _ in pairs]
    images = pd.DataFrame({"image": paths, "path": paths, "group": paths})
    images[["width", "height"]] = read.sizes
    rows = np.repeat(np.arange(len(pairs)), read.counts)
    centre, side = np.split(read.places, 2, axis=1)
    corners = np.concatenate([centre - side / 2, centre + side / 2], axis=1)
    boxes = pd.DataFrame(corners * np.tile(read.sizes[rows], 2), columns=EDGES)
    boxes["row"] = rows
    boxes["category"] = pd.Series([names[number] for number in read.classes.tolist()], dtype="str")
    boxes["instance"] = -1
    has_file = np.array([bool(label) for _, label in pairs])
    summary = (
        f"YOLO files in {root}: {len(images)} images, {len(boxes)} boxes; "
        f"{(has_file & (read.counts == 0)).sum()} images have an empty and {(~has_file).sum()} no label "
        "file and count as images without objects"
    )
    declared = list(dict.fromkeys(names.values()))
    used = boxes["category"].unique().tolist()
    common = label_map(labels, declared, used, f"the YOLO data in {root}")
    return Content(box_table(images, boxes, common), summary)


def _names_file(root: Path) -> Path:
    """Return `data.yaml`, or the one .yaml file that there is."""
    file = root / "data.yaml"
    if file.is_file():
        return file
    files = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    if len(files) != 1:
        raise FileNotFoundError(
            f"no {file}: it names the classes of a YOLO data set (names: [car, bus]), and there is "
            f"{'more than one' if files else 'no'} other .yaml file in {root}"
        )
    return files[0]


def _names(file: Path) -> dict[int, str]:
    """Read the classes' names."""
    try:
        names = msgspec.yaml.decode(file.read_bytes(), type=_Data).names
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: {error}; it should have names: [car, bus, …]") from error
    return dict(enumerate(names)) if isinstance(names, list) else names


def _find(root: Path) -> list[_Part]:
    """Find and list the images and labels of all parts."""
    for image_folder, label_folder in _FOLDERS:
        folders = [(image_folder.format(part=p), label_folder.format(part=p)) for p in PARTS]
        there = [(images, labels) for images, labels in folders if (root / images).is_dir()]
        if there:
            return [_list_part(root, images, labels) for images, labels in there]
    raise FileNotFoundError(
        f"no YOLO images in {root}: looked for {' and '.join(images for images, _ in _FOLDERS)}, "
        f"{{part}} being {', '.join(PARTS)}; name the folder that holds data.yaml"
    )


def _list_part(root: Path, images: str, labels: str) -> _Part:
    if not (root / labels).is_dir():
        raise FileNotFoundError(
            f"no labels for the images in {root / images}: there is no folder {root / labels}"
        )
    found = list_below(root / images, root, IMAGES)
    if not any(listing.names for listing in found):
        raise FileNotFoundError(f"no {', '.join(IMAGES)} in {root / images}")
    return _Part(images, labels, found, list_below(root / labels, root, (".txt",)))


def _pairs(root: Path, part: _Part) -> Iterator[tuple[str, str]]:
    """Yield each image of a part and its label file, "" if it has none, relative to the root."""
    there = set(paths_below(root, part.labels))
    for image in paths_below(root, part.images):
        file = f"{part.label_folder}{image[len(part.image_folder) : image.rindex('.')]}.txt"
        yield image, file if file in there else ""


def _read_pairs(root: Path, names: Mapping[int, str], pairs: Sequence[tuple[str, str]]) -> _Lines:
    """Read the sizes of some images and their label files."""
    classes, places, counts = array("q"), array("d"), []
    for _, file in pairs:
        before = len(classes)
        text = read_file(str(root / file)) if file else b""
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                category, place = _parse(line, names, f"{root / file} line {number}")
                classes.append(category)
                places.extend(place)
        counts.append(len(classes) - before)
    sizes = [image_size_if_known(root / image) for image, _ in pairs]
    return _Lines(
        np.array(sizes, np.int32),
        np.array(counts, np.int64),
        np.array(classes, np.int64),
        np.array(places).reshape(-1, 4),
    )


def _parse(line: bytes, names: Mapping[int, str], where: str) -> tuple[int, tuple[float, ...]]:
    """Return class number and centre, width and height of a line."""
    fields = line.split()
    try:
        category, place = int(fields[0]), tuple(map(float, fields[1:]))
    except ValueError:
        category, place = -1, ()
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
            f"{where}: {place} are not numbers from 0 to 1, as places over the image's size are"
        )
    return category, place


class YOLO(MappedData):
    """Serve a data set in YOLO's text format (see `read_yolo` for its files)."""

    def read_files(self) -> pd.DataFrame:
        """Read the box table."""
        return read_yolo(self.root, self.labels)

    def labelled(self) -> Mapping[str, str]:
        """Say which images have a label file."""
        return yolo_label_files(self.root)
