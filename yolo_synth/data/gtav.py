"""GTAV's images and box files → box table.

"GTAV" is the data set of Richter, Hayder and Koltun, "Playing for Benchmarks", ICCV 2017 (VIPER):
video from the game GTA V at 1920x1080, one box file a frame. A box file is a CSV without header,
one object a line, 28 columns: class and instance number, the left, top, right and lower edge in
pixels (right and lower exclusive), then 6 columns of a 3D box and 16 of its matrix, which are not
read. The data set's README and a program that reads it disagree on whether the class or the
instance number comes first, so the order is an option.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from yolo_synth.data.filters import drop_hood, drop_small
from yolo_synth.data.gtav_boxes import (
    GTAV_CLASSES,
    GTAV_LABELS,
    Columns,
    check_classes,
    find_order,
    parse_boxes,
)
from yolo_synth.data.headers import image_size_if_known
from yolo_synth.data.index import Content, indexed
from yolo_synth.data.listing import (
    DEPTH,
    IMAGES,
    MANY,
    Listing,
    in_parallel,
    list_folders,
    look_for,
    read_file,
    seen_in,
)
from yolo_synth.data.mistakes import Mistakes, refuse
from yolo_synth.data.module import DetectionData
from yolo_synth.data.table import COLUMNS, box_frame, box_table
from yolo_synth.data.unused import unused_files

_IMAGE_PLACES: Final = ("train/img", "img")
_BOX_PLACES: Final = ("train/bb", "bb")


def read_gtav(
    root: str | Path, columns: Columns = "auto", label_root: str | Path | None = None
) -> pd.DataFrame:
    """Read the images and boxes of GTAV's training sequences into one box table.

    Images are `train/img/SEQ/SEQ_FRAME.jpg` (or `.png`) and boxes `train/bb/SEQ/SEQ_FRAME.csv`.
    `root` holds `train/` or is that folder, or holds up to three folders above it, as where each
    archive was unpacked into a folder of its own: the sequences of all are put together. A PNG is
    called `.jpg` in the column `image` as well, since that is how split lists name the frame. The
    frames of a sequence are one video, so their size is read from the first one alone. A frame whose
    box file is empty or missing has no box, and a box file without frame is left out; they are
    counted in the log.

    With `columns="auto"` the first two columns' order is found from all files together: a class is
    a number from 0 to 31; if that leaves both, it is not sky, ground, plant or building; if that
    leaves both, an instance number does not come twice in a frame.

    The table comes from the index (see `index`) if nothing has changed since it was last read.

    Args:
        root: Folder of the data set.
        columns: Order of the first two columns: `class,instance`, `instance,class`, or `auto`.
        label_root: Folder in which to look for `train/bb`; None looks in `root`.

    Returns:
        The box table (see `table`), paths relative to `root`; `group` is the sequence.

    Raises:
        FileNotFoundError: If there are no images or no box files; says where they were looked for.
        ValueError: If a box file is malformed (says file and line), the order cannot be told, or a
            link leads out of `root`.
    """
    root = Path(root)
    files = _find(root, label_root)
    options = {"columns": columns, "labels": GTAV_LABELS}
    listings = [*files.images, *files.boxes]
    return indexed(root, "gtav", listings, options, partial(_read, root, files, columns)).table


def _box_files_of(root: Path, label_root: str | Path | None) -> dict[str, str]:
    """Return the image that each box file is of, as the box table calls it → the file."""
    return {
        f"{name[:-4]}.jpg": str(listing.folder / name)
        for listing in _find(root, label_root).boxes
        for name in listing.names
    }


class _Files(NamedTuple):
    """The image folders and the box folders of all sequences, each sorted by the sequence."""

    images: tuple[Listing, ...]
    boxes: tuple[Listing, ...]


def _find(root: Path, label_root: str | Path | None) -> _Files:
    """Find and list the folders of all sequences."""
    labels = root if label_root is None else Path(label_root)
    where = f"and in folders up to {DEPTH} levels below"
    images = look_for(root, _IMAGE_PLACES, Path.is_dir)
    if not images:
        raise FileNotFoundError(
            f"no GTAV images in {root}: looked for the folders {' and '.join(_IMAGE_PLACES)} there "
            f"{where}; {seen_in(root)}; name the folder that holds train/"
        )
    boxes = look_for(labels, _BOX_PLACES, Path.is_dir)
    if not boxes:
        raise FileNotFoundError(
            f"no boxes for the images in {images[0]}: looked for the folders "
            f"{' and '.join(_BOX_PLACES)} in {labels} {where}; {seen_in(labels)}; unpack the data "
            "set's bounding boxes there or name their folder (data.label_root)"
        )
    sequences = _sequences(images)
    if not sequences:
        raise FileNotFoundError(f"no folder of a sequence (001, 002, …) in {images[0]}")
    of_boxes = _sequences(boxes)
    known = [of_boxes[name] for name in sequences if name in of_boxes]
    if not known:
        raise FileNotFoundError(
            f"no boxes for the images in {images[0]}: none of its {len(sequences)} sequences has a "
            f"folder in {boxes[0]}"
        )
    return _Files(
        list_folders(list(sequences.values()), root, IMAGES),
        list_folders(known, labels, (".csv",)),
    )


def _sequences(folders: list[Path]) -> dict[str, Path]:
    """Return the sequences' folders by their names, sorted."""
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in folder.iterdir() if path.is_dir()):
        if path.name in found:
            raise ValueError(
                f"sequence {path.name} is in {found[path.name]} and in {path}; keep one of them"
            )
        found[path.name] = path
    return dict(sorted(found.items()))


def _read(root: Path, files: _Files, columns: Columns) -> Content:
    """Read what was found."""
    boxes_of = {listing.folder.name: listing for listing in files.boxes}
    listings = [listing for listing in files.images if listing.names]
    if not listings:
        above = files.images[0].folder.parent
        raise FileNotFoundError(f"no .jpg or .png in the folders of {above}")
    jobs = [_box_files(listing, boxes_of.get(listing.folder.name)) for listing in listings]
    paths = [path for job in jobs for path in job]
    there = np.array([bool(path) for path in paths])
    if not there.any():
        first = listings[0]
        looked = files.boxes[0].folder.parent / first.folder.name / f"{_stem(first.names[0])}.csv"
        raise FileNotFoundError(
            f"none of the {len(paths)} images has a box file; looked for {looked}"
        )
    read = in_parallel(_read_boxes, jobs, "Reading GTAV's boxes", many=len(paths) > MANY)
    counts, pairs, edges, mistakes = map(np.concatenate, zip(*read, strict=True))
    refuse(mistakes.tolist())
    images = _images(listings, root)
    rows = np.repeat(np.arange(len(paths)), counts)
    order = find_order(pairs, rows, root) if columns == "auto" else columns
    class_column = order.split(",").index("class")
    check_classes(pairs[:, class_column], class_column, rows, paths)
    codes = pairs[:, class_column].astype(np.int8)
    kinds = pd.Categorical.from_codes(codes, categories=pd.Index(GTAV_CLASSES))
    boxes = box_frame(edges, rows, kinds).assign(instance=pairs[:, 1 - class_column])
    unused = sum(len(listing.names) for listing in files.boxes) - there.sum()
    summary = (
        f"GTAV in {root}: {len(listings)} sequences, {len(images)} images, {len(boxes)} boxes "
        f"(columns {order}); {(there & (counts == 0)).sum()} images have an empty and "
        f"{(~there).sum()} no box file and count as images without objects, {unused} box files have "
        "no image"
    )
    return Content(box_table(images, boxes, GTAV_LABELS), summary)


def _images(listings: Sequence[Listing], root: Path) -> pd.DataFrame:
    """Return one row an image, as `box_table` takes them."""
    counts = [len(listing.names) for listing in listings]
    sizes = np.repeat([_size(listing) for listing in listings], counts, axis=0)
    above = [listing.folder.relative_to(root).as_posix() for listing in listings]
    names = [listing.names for listing in listings]
    return pd.DataFrame(
        {
            "image": [f"{_stem(name)}.jpg" for inner in names for name in inner],
            "path": [
                f"{a}/{name}" for a, inner in zip(above, names, strict=True) for name in inner
            ],
            "width": sizes[:, 0],
            "height": sizes[:, 1],
            "group": np.repeat([listing.folder.name for listing in listings], counts),
        }
    )


def _size(sequence: Listing) -> tuple[int, int]:
    """Return width and height of a sequence's images, read from the first that is one."""
    sizes = (image_size_if_known(sequence.folder / name) for name in sequence.names)
    return next((size for size in sizes if size != (0, 0)), (0, 0))


def _stem(name: str) -> str:
    return name[: name.rindex(".")]


def _box_files(images: Listing, boxes: Listing | None) -> list[str]:
    """Return the box file of each image of a sequence, "" for one that has none."""
    if boxes is None:
        return [""] * len(images.names)
    there, above = set(boxes.names), f"{boxes.folder}{os.sep}"  # a Path each takes longer
    names = [f"{_stem(name)}.csv" for name in images.names]
    return [above + name if name in there else "" for name in names]


_Boxes = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.str_]]
"""Number of boxes of each file [files], their first two columns [boxes, 2] and edges [boxes, 4]; and what
is wrong with the files, a line each [mistakes]."""


def _read_boxes(files: Sequence[str]) -> _Boxes:
    """Read the box files of a sequence."""
    texts = [read_file(file) if file else b"" for file in files]
    mistakes: Sequence[str] = ()
    try:
        counts, values = parse_boxes(texts, files)
    except Mistakes as error:
        counts, values, mistakes = np.zeros(len(files), np.int64), np.zeros((0, 6)), error.lines
    pairs, edges = values[:, :2].astype(np.int64), values[:, 2:].astype(np.float32)
    return counts, pairs, edges, np.array(mistakes, np.str_)


class GTAV(DetectionData):
    """Serve GTAV (Playing for Benchmarks): rendered street images (see `read_gtav`)."""

    default_domain = "Synthetic"

    def __init__(
        self,
        root: str | Path,
        *,
        min_area: float = 100.0,
        drop_hood: bool = True,
        columns: Columns = "auto",
        label_root: str | Path | None = None,
        **settings: Any,  # noqa: ANN401 as DetectionData has them
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder of the data set.
            min_area: Boxes of fewer square native pixels are left out.
            drop_hood: Whether the hood of the recording vehicle is left out.
            columns: Order of the box files' first two columns; `auto` finds it out.
            label_root: Folder in which its boxes lie (train/bb), if not in root.
            **settings: Those of `DetectionData`.
        """
        super().__init__(root, **settings)
        self.min_area = min_area
        self.drop_hood = drop_hood
        self.columns: Columns = columns
        self.label_root = label_root

    def read(self) -> pd.DataFrame:
        """Read the box table and mark small boxes and the hood.

        Dividing by part takes the val sequences as well. Their numbers may be those of train again, so
        their images and groups are called `val_001_00001.jpg` and `val_001`.
        """
        table = read_gtav(self.root, self.columns, self.label_root)
        if self.split_by == "part" and self.splits is None:
            table = pd.concat([table, self._read_val()], ignore_index=True).astype(dict(COLUMNS))
        table = drop_small(table, self.min_area)
        return drop_hood(table) if self.drop_hood else table

    def labelled(self) -> Mapping[str, str]:
        """Say which frames have a box file."""
        found = _box_files_of(self.root, self.label_root)
        if self.split_by == "part" and self.splits is None:
            of_val = _box_files_of(self.root / "val", self._val_labels)
            found |= {f"val_{name}": file for name, file in of_val.items()}
        return found

    def unused(self) -> list[Path]:
        """Return the files in its folders that nothing reads."""
        files = _find(self.root, self.label_root)
        return unused_files([*files.images, *files.boxes])

    @property
    def _val_labels(self) -> Path | None:
        return None if self.label_root is None else Path(self.label_root) / "val"

    def _read_val(self) -> pd.DataFrame:
        folder = self.root / "val"
        if not (folder / "img").is_dir():
            raise FileNotFoundError(
                f"no folder {folder / 'img'}: split_by part tests on GTAV's val sequences; unpack them "
                f"there (val/img and val/bb), or use split_by group"
            )
        table = read_gtav(folder, self.columns, self._val_labels)
        for name, prefix in (("image", "val_"), ("group", "val_"), ("path", "val/")):
            table[name] = prefix + table[name]
        return table
