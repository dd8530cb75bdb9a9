"""BDD100K's images and label files → box table.

Yu et al., "BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning", CVPR 2020.
Both forms of its detection labels are read, that of 2018 (`bdd100k_labels_images_train.json`) and
that of 2020 (`det_20/det_train.json`, Scalabel). The later tools take `x2` and `y2` of a box as
inside it, the earlier ones as its outer edge; here they are the outer edge in both.
"""

from __future__ import annotations

import logging
import mmap
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pandas as pd

from yolo_synth.data.annotations import EDGES, box_table, check_name, image_size
from yolo_synth.labels import BDD100K_LABELS

log = logging.getLogger(__name__)

_IMAGE_FOLDERS: Final = tuple(
    f"{above}images/100k"
    for above in (
        "bdd100k/",
        "",
        "bdd100k_images_100k/bdd100k/",
        "bdd100k_images_100k/",
        "bdd100k/bdd100k/",
    )
)
_LABEL_FOLDERS: Final = tuple(
    f"{above}labels"
    for above in (
        "bdd100k/",
        "",
        "bdd100k_labels_release/bdd100k/",
        "bdd100k_labels_release/",
        "bdd100k_det_20_labels_trainval/bdd100k/",
        "bdd100k_det_20_labels_trainval/",
        "bdd100k/bdd100k/",
    )
)
_LABEL_FILES: Final = ("bdd100k_labels_images_{part}.json", "det_20/det_{part}.json")
_PARTS: Final = ("train", "val")
_CATEGORIES: Final = tuple(BDD100K_LABELS)
_CODES: Final = {category: code for code, category in enumerate(_CATEGORIES)}


# What is not named in these types, lanes' and areas' polygons above all, is never built.
class _Box(msgspec.Struct, gc=False):
    x1: float
    y1: float
    x2: float
    y2: float


class _Label(msgspec.Struct, gc=False):
    category: str
    box2d: _Box | None = None


class _Attributes(msgspec.Struct, gc=False):
    weather: str | None = None
    scene: str | None = None
    timeofday: str | None = None


class _Frame(msgspec.Struct):
    name: str
    attributes: _Attributes | None = None
    labels: list[_Label] | None = None


class _Scalabel(msgspec.Struct):
    frames: list[msgspec.Raw]


def read_bdd100k(root: str | Path) -> pd.DataFrame:
    """Read BDD100K's official train and validation images and labels into one box table.

    `root` holds `bdd100k/` or is that folder, or holds what its archives unpack to
    (`bdd100k_images_100k/bdd100k/…`, `bdd100k_labels_release/bdd100k/…`). Images are
    `images/100k/{train,val}/*.jpg`; labels are `labels/bdd100k_labels_images_{train,val}.json` or,
    where that is missing, `labels/det_20/det_{train,val}.json`. An image folder without its label
    file is an error, since its images would pass for empty streets.

    An image that no label file names has no box, and a frame of a label file that has no image is
    left out; both are counted in the log. Entries without a box (lanes, areas) are not rows.

    Args:
        root: Folder of the data set.

    Returns:
        The box table (see `annotations`), paths relative to `root`.

    Raises:
        FileNotFoundError: If images or labels are not found; says what was looked for, and where.
        ValueError: If a label file is malformed, knows an image twice, or has a category that
            `labels.BDD100K_LABELS` has not.
    """
    root = Path(root)
    folders, files = _find(root)
    images = _list_images(root, folders)
    rows = {name: row for row, name in enumerate(images["image"])}
    attributes = {name: [""] * len(images) for name in _Attributes.__struct_fields__}
    read, absent = bytearray(len(images)), 0
    of_row, codes, edges = array("q"), array("b"), array("d")
    for file in files:
        for number, frame in enumerate(_frames(file)):
            where = f"{file} frame {number}"
            check_name(frame.name, where)
            row = rows.get(frame.name)
            if row is None:
                absent += 1
                continue
            if read[row]:
                raise ValueError(f"{where}: image {frame.name} has an entry already")
            read[row] = True
            for name, values in attributes.items():
                values[row] = getattr(frame.attributes, name, None) or ""
            for label in frame.labels or ():
                if label.box2d is None:
                    continue
                of_row.append(row)
                codes.append(_code(label.category, file, frame.name))
                box = label.box2d
                edges.extend((box.x1, box.y1, box.x2, box.y2))
    if not any(read):
        raise ValueError(
            f"none of the {len(rows)} images has an entry in {' or '.join(map(str, files))}"
        )
    boxes = pd.DataFrame(np.frombuffer(edges).reshape(-1, 4), columns=EDGES)
    boxes["row"] = np.frombuffer(of_row, np.int64)
    boxes["category"] = pd.Categorical.from_codes(
        np.frombuffer(codes, np.int8), categories=pd.Index(_CATEGORIES)
    )
    boxes["instance"] = -1
    log.info(
        "BDD100K in %s: %d images, %d boxes; %d images have no entry in the label files and count "
        "as images without objects, %d entries have no image and are left out",
        *(root, len(images), len(boxes), read.count(0), absent),
    )
    return box_table(images.assign(**attributes), boxes, BDD100K_LABELS)


class _Name(msgspec.Struct, gc=False):
    name: str


class _Names(msgspec.Struct):
    frames: list[_Name]


def bdd100k_frames(root: str | Path) -> dict[str, str]:
    """Return the image that each frame of the label files is of → the label file."""
    found: dict[str, str] = {}
    for file in _find(Path(root))[1]:
        read = msgspec.json.decode(file.read_bytes(), type=list[_Name] | _Names)
        frames = read.frames if isinstance(read, _Names) else read
        found |= {frame.name: str(file) for frame in frames}
    return found


def _find(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the image folders and the label files under a root."""
    folders, files, lacking = [], [], []
    for part in _PARTS:
        folder = _first(root / above / part for above in _IMAGE_FOLDERS)
        file = _first(
            root / above / name.format(part=part)
            for name in _LABEL_FILES
            for above in _LABEL_FOLDERS
        )
        if folder is not None:
            folders.append(folder)
            if file is None:
                lacking.append(folder)
        if file is not None:
            files.append(file)
    if not folders:
        raise FileNotFoundError(
            f"no BDD100K images in {root}: looked for train/ and val/ in "
            f"{', '.join(_IMAGE_FOLDERS)}; name the folder that holds bdd100k/"
        )
    if lacking:
        names = " and ".join(name.format(part=lacking[0].name) for name in _LABEL_FILES)
        raise FileNotFoundError(
            f"no labels for the images in {lacking[0]}: looked for {names} in "
            f"{', '.join(_LABEL_FOLDERS)} under {root}; unpack BDD100K's labels there"
        )
    return folders, files


def _first(paths: Iterator[Path]) -> Path | None:
    return next((path for path in paths if path.exists()), None)


def _list_images(root: Path, folders: list[Path]) -> pd.DataFrame:
    """List the images of the folders with their sizes, in the order of their names."""
    paths = sorted(
        path
        for folder in folders
        for path in folder.iterdir()
        if path.suffix.lower() in (".jpg", ".png") and not path.name.startswith(".")
    )
    if not paths:
        raise FileNotFoundError(f"no .jpg or .png in {' and '.join(map(str, folders))}")
    sizes = np.array([image_size(path) for path in paths])
    return pd.DataFrame(
        {
            "image": [path.name for path in paths],
            "path": [path.relative_to(root).as_posix() for path in paths],
            "width": sizes[:, 0],
            "height": sizes[:, 1],
            "group": [path.stem.split("-")[0] or path.stem for path in paths],
        }
    )


def _frames(file: Path) -> Iterator[_Frame]:
    """Decode a label file frame by frame, so that only one is in memory at a time."""
    decoder = msgspec.json.Decoder(_Frame)
    with file.open("rb") as stream:
        if file.stat().st_size == 0:
            raise ValueError(f"{file} is empty")
        text = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    for number, raw in enumerate(_raw_frames(text, file)):
        try:
            yield decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{file} frame {number}: {error}") from error


def _raw_frames(text: mmap.mmap, file: Path) -> list[msgspec.Raw]:
    """Cut a label file, a list of frames or an object with `frames`, into its frames."""
    is_object = text[:64].lstrip()[:1] == b"{"
    try:
        if is_object:
            return msgspec.json.decode(text, type=_Scalabel).frames
        return msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file}: {error}") from error


def _code(category: str, file: Path, image: str) -> int:
    code = _CODES.get(category)
    if code is None:
        raise ValueError(
            f"{file}: image {image} has a box of the unknown category {category!r}; known are "
            f"{', '.join(_CATEGORIES)}"
        )
    return code
