"""COCO's JSON files → box table.

The format of Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, to which most other
data sets are converted: a file with `images`, `annotations` and `categories`, a box as its left and
upper edge, width and height in pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.data.coco_json import (
    CocoFile,
    CocoImage,
    CocoImages,
    Found,
    collect_coco,
    decode_coco,
)
from yolo_synth.data.headers import image_sizes
from yolo_synth.data.index import Content, indexed
from yolo_synth.data.listing import (
    IMAGES,
    Listing,
    check_path,
    list_below,
    list_file,
    paths_below,
)
from yolo_synth.data.mapped import Labels, MappedData, mapped_content
from yolo_synth.data.mistakes import refuse
from yolo_synth.data.splits import PARTS
from yolo_synth.data.table import WITH_SPLIT
from yolo_synth.data.unused import unused_files

PART: Final = "{part}"
"""Stands for train, val, valid and test in the names of files and folders."""

_FILES: Final = (
    "annotations/instances_{part}.json",
    "annotations/instances_{part}2017.json",
    "annotations/{part}.json",
    "{part}/_annotations.coco.json",
    "{part}.json",
)
_FOLDERS: Final = (".", "images", "{part}", "images/{part}", "{part}2017", "images/{part}2017")


class _Files(NamedTuple):
    """What was found: part and path of the JSON files, and the images in all folders."""

    parts: list[tuple[str, Path]]
    images: tuple[Listing, ...]


def read_coco(
    root: str | Path,
    annotations: str | None = None,
    images: str | None = None,
    labels: Mapping[str, str | None] | None = None,
) -> pd.DataFrame:
    """Read images and boxes of a data set in COCO's format into one box table.

    A box marked as a crowd (`iscrowd`) is called `car (crowd)` and not trained on; in evaluation it is set
    aside, as by COCO's own: detections in it are neither right nor wrong. An image without annotations has
    no box. An image whose file is missing is left out; how many is in the log. For the images' folder all
    folders below the root are listed at every start, if `images` names none.

    The table comes from the index (see `index`) if nothing has changed since it was last read.

    Args:
        root: As `COCO`.
        annotations: As `COCO`.
        images: As `COCO`.
        labels: Category → one of `labels.CLASSES`, or None to leave it out (see `labels.label_map`).
            Without it a set's own categories are its classes (see `labels.classes_of`).

    Returns:
        The box table (see `table`). An image is called by its path below the root. What an
        image's entry says under group, weather, scene and timeofday is taken over; one that names no
        group is a group of its own.

    Raises:
        FileNotFoundError: If files or images are not found; says what was looked for, and where.
        ValueError: If a file is malformed, a category is neither a common one nor in `labels`, or a
            link leads out of `root`.
    """
    return COCO(root, annotations=annotations, images=images, labels=labels).read()


def _unlisted(there: Iterable[str], listed: Iterable[str]) -> list[str]:
    """Return the images that are not listed, of the folders of which others are."""
    known = set(listed)
    folders = {path.rpartition("/")[0] for path in known}
    return sorted(
        path for path in there if path not in known and path.rpartition("/")[0] in folders
    )


def _find(root: Path, annotations: str | None, images: str | None) -> _Files:
    """Find the JSON files, and list the folders that images may lie in."""
    parts = _find_files(root, annotations)
    names = {"." if images is None else images.replace(PART, part): None for part, _ in parts}
    for name in names:
        _check_folder(name)
    folders = [root / name for name in names if (root / name).is_dir()]
    return _Files(parts, tuple(x for folder in folders for x in list_below(folder, root, IMAGES)))


def _read(
    root: Path,
    files: _Files,
    images: str | None,
    given: tuple[Labels, Sequence[str] | None],
) -> Content:
    """Read what was found."""
    there = frozenset(paths_below(root, files.images))
    found: list[Found] = []
    for part, file in files.parts:
        decoded = decode_coco(file, CocoFile)
        above = _above(root, images, part, decoded[0].images, file, there)
        found.append(collect_coco(decoded, file, part, above, there))
    refuse([*(line for one in found for line in one.mistakes), *_listed_twice(files, found)])
    starts = np.cumsum([0, *(len(one.images) for one in found)])
    for start, one in zip(starts, found, strict=False):
        one.boxes["row"] += start
    entries = _with_sizes(root, pd.concat([one.images for one in found], ignore_index=True))
    boxes = pd.concat([one.boxes for one in found], ignore_index=True)
    summary = (
        f"COCO files in {root}: {len(entries)} images, {len(boxes)} boxes; "
        f"{sum(one.absent for one in found)} entries have no image and are left out, "
        f"{len(_unlisted(there, entries['path']))} images in the same folders have no entry"
    )
    return mapped_content(
        entries,
        boxes,
        dict(zip(entries["image"], entries["split"], strict=True)),
        list(dict.fromkeys(name for one in found for name in one.categories)),
        given,
        f"the COCO data in {root}",
        summary,
    )


def _listed_twice(files: _Files, found: Sequence[Found]) -> list[str]:
    """Return a line for each image that two files list: whose it is cannot be told."""
    first: dict[str, Path] = {}
    lines = []
    for (_, file), one in zip(files.parts, found, strict=True):
        for path in one.images["path"]:
            other = first.setdefault(path, file)
            if other != file:
                lines.append(
                    f"{other} and {file} both list {path}: take it out of one, or give each part's "
                    "images a folder of their own"
                )
    return lines


def _with_sizes(root: Path, images: pd.DataFrame) -> pd.DataFrame:
    """Fill in the sizes that the files do not tell, from the images."""
    unknown = (images["width"] == 0) | (images["height"] == 0)
    sizes = image_sizes([root / path for path in images.loc[unknown, "path"]])
    images.loc[unknown, ["width", "height"]] = sizes
    return images


def _find_files(root: Path, annotations: str | None) -> list[tuple[str, Path]]:
    """Return part ("" for one file of all) and path of the JSON files of a data set.

    Raises:
        FileNotFoundError: If there is none; says what was looked for.
    """
    patterns = _FILES if annotations is None else (annotations,)
    for pattern in patterns:
        check_path(pattern, "data.annotations")
        parts = PARTS if PART in pattern else [""]
        files = [(part, root / pattern.replace(PART, part)) for part in parts]
        there = [(part, file) for part, file in files if file.is_file()]
        if there:
            return there
    raise FileNotFoundError(
        f"no COCO file in {root}: looked for {', '.join(patterns)}, {PART} being "
        f"{', '.join(PARTS)}; name it by data.annotations"
    )


def _check_folder(name: str) -> None:
    if name != ".":
        check_path(name, "data.images")


def _above(
    root: Path,
    images: str | None,
    part: str,
    entries: list[CocoImage | None],
    file: Path,
    there: Collection[str],
) -> str:
    """Return what the file names of a JSON file follow: the folder below the root and a slash, or "".

    It is the one that holds most of the file's images, of equals the first. Images that are there are
    given by their paths.
    """
    if images is None:
        patterns = [pattern for pattern in _FOLDERS if part or PART not in pattern]
        patterns.append(file.parent.relative_to(root).as_posix())
    else:
        patterns = [images]
    names = [pattern.replace(PART, part) for pattern in patterns]
    above = ["" if name == "." else f"{name}/" for name in names]
    listed = [entry.file_name for entry in entries if entry is not None]
    # Of a sample of the data set the first ones may be missing.
    held = [sum(f"{folder}{name}" in there for name in listed[:1000]) for folder in above]
    if max(held):
        return above[held.index(max(held))]
    sample = listed[0] if listed else "any, since it lists none"
    raise FileNotFoundError(
        f"no image of {file} found, such as {sample}: looked in {', '.join(names)} below {root} for "
        f"files that end in {', '.join(IMAGES)}; name the folder by data.images"
    )


class COCO(MappedData):
    """Serve a data set in COCO's format (see `read_coco` for its files)."""

    def __init__(
        self,
        root: str | Path,
        *,
        annotations: str | None = None,
        images: str | None = None,
        **settings: Any,  # noqa: ANN401 as MappedData has them
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder of the data set.
            annotations: JSON file below the root; {part} in it stands for train, val, valid and test.
                Null looks for annotations/instances_{part}.json and other usual names.
            images: Folder below the root from which file names start; it may have {part} as well. Null
                looks in the root, images, {part} and other usual ones.
            **settings: Those of `MappedData`.
        """
        super().__init__(root, **settings)
        self.annotations = annotations
        self.images = images

    def read_files(self, labels: Labels, classes: list[str] | None) -> Content:
        """Read the box table, with the split of each image's JSON file."""
        root, files = self.root, self._files()
        listings = [*(list_file(file, root) for _, file in files.parts), *files.images]
        options = {
            **{"annotations": self.annotations, "images": self.images},
            **{"labels": dict(labels), "classes": classes},
        }
        read = partial(_read, root, files, self.images, (labels, classes))
        return indexed(root, "coco", listings, options, read, WITH_SPLIT)

    def labelled(self) -> Mapping[str, str]:
        """Say which images the JSON files list."""
        files = self._files()
        there = frozenset(paths_below(self.root, files.images))
        found: dict[str, str] = {}
        for part, file in files.parts:
            entries = decode_coco(file, CocoImages)[0].images
            above = _above(self.root, self.images, part, entries, file, there)
            for number, entry in enumerate(entries):
                if entry is not None:
                    found[f"{above}{entry.file_name}"] = f"{file} image {number}"
        return found

    def unlisted(self) -> list[str]:
        """Return the images that no JSON file lists, though it lists others of their folder."""
        return _unlisted(paths_below(self.root, self._files().images), self.labelled())

    def unused(self) -> list[Path]:
        """Return the files in its folders that nothing reads."""
        return unused_files(self._files().images)

    def _files(self) -> _Files:
        return _find(self.root, self.annotations, self.images)
