"""BDD100K's images and label files → box table.

Yu et al., "BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning", CVPR 2020.
All three forms of its detection labels are read: one file a part as of 2018
(`bdd100k_labels_images_train.json`) or as of 2020 (`det_20/det_train.json`, Scalabel), and one file
an image. The later tools take `x2` and `y2` of a box as inside it, the earlier ones as its outer
edge; here they are the outer edge in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.data.bdd100k_labels import (
    BDD100K_LABELS,
    CATEGORIES,
    Attributes,
    Entries,
    collect,
    frames_of,
    image_frame,
    stem_of,
)
from yolo_synth.data.headers import image_sizes
from yolo_synth.data.index import Content, indexed
from yolo_synth.data.listing import (
    DEPTH,
    IMAGES,
    MANY,
    Listing,
    holds,
    in_parallel,
    list_file,
    list_folders,
    look_for,
    seen_in,
)
from yolo_synth.data.mistakes import refuse
from yolo_synth.data.module import DetectionData
from yolo_synth.data.table import box_frame, box_table
from yolo_synth.data.unused import unused_files

_PARTS: Final = ("train", "val")
_IMAGE_PLACES: Final = ("images/100k/{part}", "100k/{part}")
_NEAR_IMAGE_PLACES: Final = ("images/{part}", "{part}")
"""Looked for in the given folder alone: any other data set has folders that are called so."""
_LABEL_PLACES: Final = (
    ("labels/bdd100k_labels_images_{part}.json", "bdd100k_labels_images_{part}.json"),
    ("labels/det_20/det_{part}.json", "det_20/det_{part}.json", "det_{part}.json"),
    ("labels/100k/{part}", "100k/{part}", "labels/{part}"),
)
_CHUNK: Final = 500
"""Small files that a process reads at a time."""


def read_bdd100k(root: str | Path, label_root: str | Path | None = None) -> pd.DataFrame:
    """Read BDD100K's official train and validation images and labels into one box table.

    Images are `images/100k/{train,val}/*.jpg` (or `.png`, which is called `.jpg` in the column
    `image` as well). Labels are, for each part, the first of these that is there: the file of 2018,
    `labels/bdd100k_labels_images_{train,val}.json`; that of 2020, `labels/det_20/det_{train,val}.json`;
    a file an image, `labels/100k/{train,val}/NAME.json`. `root` holds these, or holds up to three
    folders above them, as what the archives unpack to (`bdd100k/…`, `bdd100k_images_100k/bdd100k/…`,
    `bdd100k_labels_release/bdd100k/…`). An image folder without labels is an error, since its images
    would pass for empty streets.

    An image that no label file names has no box, and a frame of a label file that has no image is
    left out; both are counted in the log. Entries without a box (lanes, areas) are not rows.

    The table comes from the index (see `index`) if nothing has changed since it was last read.

    Args:
        root: Folder of the data set.
        label_root: Folder in which to look for the labels, or one label file with all frames; None looks
            in `root`.

    Returns:
        The box table (see `table`), paths relative to `root`.

    Raises:
        FileNotFoundError: If images or labels are not found; says what was looked for, and where.
        ValueError: If a label file is malformed (says file and frame), knows an image twice, or has
            a category that `bdd100k_labels.BDD100K_LABELS` has not, or if a link leads out of `root`.
    """
    root = Path(root)
    files = _find(root, label_root)
    listings = files.images + files.of_parts + files.of_images
    options = {"labels": BDD100K_LABELS}
    return indexed(root, "bdd100k", listings, options, partial(_read, root, files)).table


class _Files(NamedTuple):
    """What was found: image folders, label files of many frames, folders of label files of one."""

    images: tuple[Listing, ...]
    of_parts: tuple[Listing, ...]
    of_images: tuple[Listing, ...]


def _find(root: Path, label_root: str | Path | None) -> _Files:
    """Find and list the image folders and the label files."""
    labels = root if label_root is None else Path(label_root)
    folders: list[Path] = []
    of_parts: list[Path] = [labels] if labels.is_file() else []
    of_images: list[Path] = []
    for part in _PARTS:
        images = _look_for(root, part, holds(IMAGES), _IMAGE_PLACES, _NEAR_IMAGE_PLACES)
        if not labels.is_file():
            files, inner = _find_labels(labels, part)
            if images and not (files or inner):
                raise FileNotFoundError(
                    f"no labels for the images in {images[0]}: looked for "
                    f"{', '.join(sum(_LABEL_PLACES, ())).format(part=part)} in {labels} and in folders "
                    f"up to {DEPTH} levels below; {seen_in(labels)}; unpack BDD100K's labels there or "
                    "name their folder (data.label_root)"
                )
            of_parts += files
            of_images += inner
        folders += images
    if not folders:
        raise FileNotFoundError(
            f"no BDD100K images in {root}: looked for train/ and val/ with .jpg or .png files in "
            f"images/100k and 100k, there and in folders up to {DEPTH} levels below, and in {root} and "
            f"{root / 'images'}; {seen_in(root)}; name the folder that holds bdd100k/"
        )
    above = labels.parent if labels.is_file() else labels
    return _Files(
        list_folders(folders, root, IMAGES),
        tuple(list_file(file, above) for file in of_parts),
        list_folders(of_images, above, (".json",)),
    )


def _find_labels(labels: Path, part: str) -> tuple[list[Path], list[Path]]:
    """Return the label files of a part, or else the folders of its images' label files."""
    of_2018, of_2020, folders = _LABEL_PLACES
    for places in (of_2018, of_2020):
        files = _look_for(labels, part, Path.is_file, places)
        if files:
            return files, []
    return [], _look_for(labels, part, holds((".json",)), folders, ("{part}",))


def _look_for(
    root: Path,
    part: str,
    has: Callable[[Path], bool],
    places: tuple[str, ...],
    near: tuple[str, ...] = (),
) -> list[Path]:
    """Look for a part's files in `places`, or else in `root` itself in the places `near`."""
    found = look_for(root, (place.format(part=part) for place in places), has)
    return found or look_for(root, (place.format(part=part) for place in near), has, depth=0)


def _read(root: Path, files: _Files) -> Content:
    """Read what was found."""
    images = _images(files.images, root)
    rows = {stem_of(name): row for row, name in enumerate(images["image"])}
    attributes = {name: [""] * len(images) for name in Attributes.__struct_fields__}
    read = np.zeros(len(images), bool)
    of_frames: list[int] = []
    parts, mistakes = [], []
    for entries in _read_labels(files):
        for place, stem, said in zip(*entries[:3], strict=True):
            row = rows.get(stem, -1)
            of_frames.append(row)
            if row < 0:
                continue
            if read[row]:
                mistakes.append(f"{place}: image {stem}.jpg has an entry already")
            read[row] = True
            for name, values in attributes.items():
                values[row] = getattr(said, name, None) or ""
        mistakes += entries.mistakes
        parts.append(entries[4:])
    refuse(mistakes)
    if not read.any():
        names = " or ".join(_name(listing) for listing in files.of_parts + files.of_images)
        raise ValueError(f"none of the {len(images)} images has an entry in {names}")
    counts, codes, edges = (np.concatenate(part) for part in zip(*parts, strict=True))
    rows_of_boxes = np.repeat(of_frames, counts)
    there = rows_of_boxes >= 0
    kinds = pd.Categorical.from_codes(codes[there], categories=pd.Index(CATEGORIES))
    boxes = box_frame(edges[there], rows_of_boxes[there], kinds)
    summary = (
        f"BDD100K in {root}: {len(images)} images, {len(boxes)} boxes; {(~read).sum()} images have no "
        f"entry in the label files and count as images without objects, {of_frames.count(-1)} entries "
        "have no image and are left out"
    )
    return Content(box_table(images.assign(**attributes), boxes, BDD100K_LABELS), summary)


def _images(folders: Iterable[Listing], root: Path) -> pd.DataFrame:
    """Return one row an image, as `box_table` takes them, in the order of their names."""
    found = sorted((name, folder) for folder, names, *_ in folders for name in names)
    paths = [folder / name for name, folder in found]
    sizes = image_sizes(paths)
    stems = [stem_of(name) for name, _ in found]
    return pd.DataFrame(
        {
            "image": [f"{stem}.jpg" for stem in stems],
            "path": [path.relative_to(root).as_posix() for path in paths],
            "width": sizes[:, 0],
            "height": sizes[:, 1],
            "group": [stem.split("-")[0] or stem for stem in stems],
        }
    )


def _name(listing: Listing) -> str:
    single = len(listing.names) == 1
    return str(listing.folder / listing.names[0] if single else listing.folder)


def _read_labels(files: _Files) -> Iterator[Entries]:
    """Read all label files."""
    for folder, names, *_ in files.of_parts:
        for name in names:
            yield collect(frames_of(folder / name))
    for folder, names, *_ in files.of_images:
        paths = [folder / name for name in names]
        title = f"Reading the labels in {folder.name}"
        chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
        yield from in_parallel(_read_image_files, chunks, title, many=len(paths) > MANY)


def _read_image_files(files: list[Path]) -> Entries:
    return collect((str(file), image_frame(file)) for file in files)


class BDD100K(DetectionData):
    """Serve BDD100K: real street images (see `read_bdd100k` for its files)."""

    default_domain = "Real"

    def __init__(
        self,
        root: str | Path,
        *,
        label_root: str | Path | None = None,
        **settings: Any,  # noqa: ANN401 as DetectionData has them
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder of the data set.
            label_root: Where its labels lie, if not in root: a folder, or one file for all images.
            **settings: Those of `DetectionData`.
        """
        super().__init__(root, **settings)
        self.label_root = label_root

    def read(self) -> pd.DataFrame:
        """Read the box table; the paper filters nothing here."""
        return read_bdd100k(self.root, self.label_root)

    def labelled(self) -> Mapping[str, str]:
        """Say which images the label files have a frame of."""
        return {
            f"{stem}.jpg": place
            for entries in _read_labels(_find(self.root, self.label_root))
            for stem, place in zip(entries.stems, entries.places, strict=True)
        }

    def unused(self) -> list[Path]:
        """Return the files in its folders that nothing reads."""
        files = _find(self.root, self.label_root)
        return unused_files([*files.images, *files.of_parts, *files.of_images])
