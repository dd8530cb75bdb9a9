"""YOLO's text files → box table.

The layout of the usual YOLO tools: `data.yaml` with the names of the classes, images in
`images/{train,val,test}` and, beside them in `labels/…`, a text file for each image with one box a
line: class number, then centre, width and height over the image's width and height.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pandas as pd
from tqdm import tqdm

from yolo_synth.data.annotations import EDGES, box_table, image_size_if_known
from yolo_synth.data.splits import PARTS
from yolo_synth.labels import label_map

log = logging.getLogger(__name__)

_FOLDERS: Final = (("images/{part}", "labels/{part}"), ("{part}/images", "{part}/labels"))
"""Where images and labels of a part are, in the two layouts in use."""

_SUFFIXES: Final = (".jpg", ".jpeg", ".png")
_COLUMNS: Final = 5


class _Data(msgspec.Struct):
    names: list[str] | dict[int, str]


def read_yolo(root: str | Path, labels: Mapping[str, str | None] | None = None) -> pd.DataFrame:
    """Read images and boxes of a data set in YOLO's layout into one box table.

    Images are `images/{train,val,test}` or `{train,valid,test}/images` below the root, with folders in
    them or not; the labels of `images/train/a.jpg` are `labels/train/a.txt`. An image whose label file
    is empty or missing has no box; they are counted in the log.

    Args:
        root: Folder of the data set, with its `data.yaml` (or one other .yaml file).
        labels: Category → one of `labels.CLASSES`, or None to leave it out (see `labels.label_map`).

    Returns:
        The box table (see `annotations`). An image is called by its path below the root, and is a
        group of its own.

    Raises:
        FileNotFoundError: If images, labels or names are not found; says what was looked for, where.
        ValueError: If a file is malformed (says file and line), or a category is neither a common one
            nor in `labels`.
    """
    root = Path(root)
    names = _names(root)
    pairs = [pair for folders in _find(root) for pair in _files(*folders)]
    of_row, numbers, places = array("q"), array("q"), array("d")
    sizes = np.zeros((len(pairs), 2), np.int64)
    empty = missing = 0
    bar = tqdm(pairs, desc="images and labels", unit="image", leave=False, delay=2)
    for row, (image, file) in enumerate(bar):
        sizes[row] = image_size_if_known(image)
        if not file.is_file():
            missing += 1
            continue
        before = len(numbers)
        for number, line in enumerate(file.read_bytes().splitlines(), 1):
            if line.strip():
                category, place = _parse(line, names, f"{file} line {number}")
                of_row.append(row)
                numbers.append(category)
                places.extend(place)
        empty += len(numbers) == before
    rows = np.frombuffer(of_row, np.int64)
    paths = [image.relative_to(root).as_posix() for image, _ in pairs]
    images = pd.DataFrame({"image": paths, "path": paths, "group": paths})
    images[["width", "height"]] = sizes
    centre, side = np.split(np.frombuffer(places).reshape(-1, 4), 2, axis=1)
    corners = np.concatenate([centre - side / 2, centre + side / 2], axis=1)
    boxes = pd.DataFrame(corners * np.tile(sizes[rows], 2), columns=EDGES)
    boxes["row"] = rows
    boxes["category"] = [names[number] for number in numbers]
    boxes["category"] = boxes["category"].astype("str")
    boxes["instance"] = -1
    log.info(
        "YOLO files in %s: %d images, %d boxes; %d images have an empty and %d no label file and count "
        "as images without objects",
        *(root, len(images), len(boxes), empty, missing),
    )
    declared = list(dict.fromkeys(names.values()))
    used = boxes["category"].unique().tolist()
    return box_table(
        images, boxes, label_map(labels or {}, declared, used, f"the YOLO data in {root}")
    )


def _names(root: Path) -> dict[int, str]:
    """Read the classes' names from `data.yaml`, or from the one .yaml file that there is."""
    file = root / "data.yaml"
    if not file.is_file():
        files = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
        if len(files) != 1:
            raise FileNotFoundError(
                f"no {file}: it names the classes of a YOLO data set (names: [car, bus]), and there is "
                f"{'more than one' if files else 'no'} other .yaml file in {root}"
            )
        file = files[0]
    try:
        names = msgspec.yaml.decode(file.read_bytes(), type=_Data).names
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: {error}; it should have names: [car, bus, …]") from error
    return dict(enumerate(names)) if isinstance(names, list) else names


def _find(root: Path) -> list[tuple[Path, Path]]:
    """Return the folders of images and of labels of all parts."""
    for pair in _FOLDERS:
        folders = [(root / pair[0].format(part=p), root / pair[1].format(part=p)) for p in PARTS]
        there = [(images, labels) for images, labels in folders if images.is_dir()]
        for images, labels in there:
            if not labels.is_dir():
                raise FileNotFoundError(
                    f"no labels for the images in {images}: there is no folder {labels}"
                )
        if there:
            return there
    raise FileNotFoundError(
        f"no YOLO images in {root}: looked for {' and '.join(images for images, _ in _FOLDERS)}, "
        f"{{part}} being {', '.join(PARTS)}; name the folder that holds data.yaml"
    )


def _files(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    """List the images of a folder and those in it, in order, each with its label file."""
    paths = sorted(
        path
        for path in images.rglob("*")
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    )
    if not paths:
        raise FileNotFoundError(f"no {', '.join(_SUFFIXES)} in {images}")
    return [(path, labels / path.relative_to(images).with_suffix(".txt")) for path in paths]


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
