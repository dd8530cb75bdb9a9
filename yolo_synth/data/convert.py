"""Box table → COCO JSON or YOLO text files, for any viewer and any other training program."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from yolo_synth.claims import new_folder
from yolo_synth.data import Format, Placing
from yolo_synth.data.headers import read_header
from yolo_synth.data.module import DetectionData
from yolo_synth.data.table import EDGES, kept

log = logging.getLogger(__name__)

_PARTS: Final = {"train": "train", "valid": "val", "test": "test"}
"""What both formats call the splits."""

_SAID: Final = re.compile(r"(images|train|val|valid|test)(20\d\d)?", re.IGNORECASE)
"""Folders of images that say no more than `images/train` does."""


def write_converted(
    data: DetectionData, to: Format, folder: Path, placing: Placing = "link"
) -> int:
    """Write a data set's splits in another format and return how many boxes they hold.

    Written are the images of the three splits and the boxes that no filter dropped, as one of
    its classes, cut off at the image's border as in training: `images/{train,val,test}/…`, and
    `annotations/instances_{train,val,test}.json` or `labels/{train,val,test}/….txt` and `data.yaml`.
    Weather, scene, time of day and group of an image stand in COCO's entries under these names.

    Args:
        data: The data module.
        to: `coco` or `yolo`.
        folder: Folder to make; it appears once all is written.
        placing: How the images come there. Where hard links are not possible they are copied, and the
            log says so and how much it is.

    Raises:
        ValueError: If the folder exists, if two images would have one label file, or if there is no
            room for the copies.
    """
    if folder.exists():
        raise ValueError(f"{folder} exists already; choose another folder, or remove it")
    splits = {part: list(_images(data, split)) for split, part in _PARTS.items()}
    with new_folder(folder, "converts") as draft:
        _write(data, splits, to, draft, placing)
    return sum(len(image.labels) for images in splits.values() for image in images)


def _write(
    data: DetectionData,
    splits: Mapping[str, list[_Image]],
    to: Format,
    draft: Path,
    placing: Placing,
) -> None:
    targets = [
        ((data.root / image.path).resolve(), draft / "images" / part / image.name)
        for part, images in splits.items()
        for image in images
    ]
    _place(targets, placing)
    for part, images in splits.items():
        if to == "coco":
            _write_coco(images, data.classes, draft / f"annotations/instances_{part}.json")
        else:
            shown = [_as_shown(image, data.root) for image in images]
            _write_yolo(shown, draft / "labels" / part)
    if to == "yolo":
        about = {
            **{part: f"images/{part}" for part in splits},
            "names": dict(enumerate(data.classes)),
        }
        (draft / "data.yaml").write_bytes(msgspec.yaml.encode(about))


class _Image(NamedTuple):
    """One image and its boxes.

    Attributes:
        name: Its path below `images/<part>`, with the suffix of its file.
        path: Its path below the data set's root.
        width: Width in native pixels.
        height: Height in native pixels.
        about: Group, weather, scene and timeofday, those that are known.
        boxes: float64 [n, 4], x1, y1, x2, y2 in native pixels, inside the image.
        labels: int64 [n].
    """

    name: str
    path: str
    width: int
    height: int
    about: dict[str, str]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]


def _images(data: DetectionData, split: str) -> Iterator[_Image]:
    """Yield the images of a split with the boxes that are used."""
    names = data.names(split)
    images = data.table.drop_duplicates("image").set_index("image").loc[names]
    boxes = kept(data.table)
    rows = images.index.get_indexer(pd.Index(boxes["image"]))
    order = np.argsort(rows, kind="stable")[np.count_nonzero(rows < 0) :]
    ends = np.cumsum(np.bincount(rows[order], minlength=len(names)))
    edges = boxes[EDGES].to_numpy(np.float64)[order]
    labels = boxes["label"].to_numpy(np.int64)[order]
    columns = ["group", "weather", "scene", "timeofday"]
    abouts = images[columns].astype(str).to_dict("records")
    sizes = images[["width", "height"]].to_numpy(int).tolist()
    seen: dict[PurePosixPath, str] = {}
    places = _plain_names(names)
    for i, (name, path, (width, height)) in enumerate(
        zip(names, images["path"], sizes, strict=True)
    ):
        shown = places[i].with_suffix(PurePosixPath(path).suffix)
        other = seen.setdefault(shown.with_suffix(""), name)
        if other != name:
            raise ValueError(f"{other} and {name} would have one label file; leave one of them out")
        box_rows = slice(ends[i - 1] if i else 0, ends[i])
        yield _Image(
            shown.as_posix(),
            path,
            width,
            height,
            {str(key): value for key, value in abouts[i].items() if value},
            np.clip(edges[box_rows], 0, [width, height, width, height]),
            labels[box_rows],
        )


def _plain_names(names: Sequence[str]) -> list[PurePosixPath]:
    """Return names without the folders that say what the new folder says, as images/train2017.

    Where two would be one then, all keep their folders.
    """
    paths = [PurePosixPath(name) for name in names]
    plain = [
        PurePosixPath(*(part for part in path.parts[:-1] if not _SAID.fullmatch(part)), path.name)
        for path in paths
    ]
    different = len({path.with_suffix("") for path in plain}) == len(plain)
    return plain if different else paths


def _place(images: Sequence[tuple[Path, Path]], placing: Placing) -> None:
    """Put images, each given with its new path, there."""
    if placing == "copy":
        _check_room(images)
    for number, (source, target) in enumerate(tqdm(images, "images", unit="image", leave=False)):
        target.parent.mkdir(parents=True, exist_ok=True)
        if placing == "link":
            try:
                target.hardlink_to(source)
            except OSError as error:
                log.info("%s cannot be a hard link (%s)", target, error.strerror)
                placing = "copy"
                _check_room(images[number:])
        if placing == "copy":
            shutil.copyfile(source, target)
        elif placing == "symlink":
            target.symlink_to(source)


def _check_room(images: Sequence[tuple[Path, Path]]) -> None:
    """Say how much is going to be copied; refuse what there is no room for."""
    size = sum(source.stat().st_size for source, _ in images)
    folder = next(above for above in images[0][1].parents if above.is_dir())
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ValueError(
            f"{folder}: copies of {len(images)} images take {_bytes(size)}, and {_bytes(free)} are "
            "free; choose a folder on the images' own disk, where they can be hard links"
        )
    log.info("%d images are copied, which takes %s", len(images), _bytes(size))


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _write_coco(images: list[_Image], classes: Sequence[str], file: Path) -> None:
    """Write a COCO file; ids count from 1, those of categories in the order of the classes."""
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, 1):
        entry = {"id": image_id, "file_name": image.name, "width": image.width}
        entries.append(entry | {"height": image.height} | image.about)
        corner, side = image.boxes[:, :2], image.boxes[:, 2:] - image.boxes[:, :2]
        boxes = np.concatenate([corner, side], axis=1).round(4).tolist()
        for box, label in zip(boxes, image.labels.tolist(), strict=True):
            about = {"id": len(annotations) + 1, "image_id": image_id, "category_id": label + 1}
            annotations.append({**about, "bbox": box, "area": box[2] * box[3], "iscrowd": 0})
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.encode(content))


def _as_shown(image: _Image, root: Path) -> _Image:
    """Return an image with boxes on the picture as shown, as YOLO's files are read.

    COCO's may have their boxes on the pixels as they are stored (see `headers`).
    """
    if not image.width:
        return image
    header = read_header(root / image.path)
    if (image.width, image.height) == header.shown:
        return image
    x1, y1, x2, y2 = image.boxes.T
    if header.orientation in (6, 7):
        y1, y2 = image.height - y2, image.height - y1
    if header.orientation in (7, 8):
        x1, x2 = image.width - x2, image.width - x1
    boxes = np.stack([y1, x1, y2, x2], axis=1)
    return image._replace(width=image.height, height=image.width, boxes=boxes)


def _write_yolo(images: list[_Image], folder: Path) -> None:
    """Write a text file an image; one without boxes has an empty one."""
    for image in images:
        size = np.tile([image.width, image.height], 2)
        corners = image.boxes / size
        sides = corners[:, 2:] - corners[:, :2]
        places = np.concatenate([corners[:, :2] + sides / 2, sides], axis=1).tolist()
        lines = [
            f"{label} {x:.8f} {y:.8f} {width:.8f} {height:.8f}\n"
            for label, (x, y, width, height) in zip(image.labels.tolist(), places, strict=True)
        ]
        file = folder / PurePosixPath(image.name).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines))
