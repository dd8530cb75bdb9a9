"""BDD100K's images and label files → box table.

Yu et al., "BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning", CVPR 2020.
All three forms of its detection labels are read: one file a part as of 2018
(`bdd100k_labels_images_train.json`) or as of 2020 (`det_20/det_train.json`, Scalabel), and one file
an image. The later tools take `x2` and `y2` of a box as inside it, the earlier ones as its outer
edge; here they are the outer edge in all.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from yolo_synth.data.annotations import EDGES, MAX_EDGE, box_table, check_name, image_size_if_known
from yolo_synth.data.files import (
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
from yolo_synth.data.index import Content, indexed
from yolo_synth.labels import BDD100K_LABELS

Decoded = TypeVar("Decoded")

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
_BLOCK: Final = 1 << 25
"""Bytes of a label file that are read at a time."""
_BETWEEN_FRAMES: Final = re.compile(rb',\s*(?=\{\s*"name")')

_CATEGORIES: Final = tuple(BDD100K_LABELS)
_CODES: Final = {category: code for code, category in enumerate(_CATEGORIES)}

_Edge = Annotated[float, msgspec.Meta(gt=-MAX_EDGE, lt=MAX_EDGE)]


# What is not named in these types, lanes' and areas' polygons above all, is never built.
class _Box(msgspec.Struct, gc=False):
    x1: _Edge
    y1: _Edge
    x2: _Edge
    y2: _Edge


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


class _Moment(msgspec.Struct):
    """A frame in the file of one image: `objects` as of 2018, `labels` in Scalabel."""

    name: str | None = None
    attributes: _Attributes | None = None
    labels: list[_Label] | None = None
    objects: list[_Label] | None = None


class _ImageFile(_Moment):
    frames: list[_Moment] | None = None


class _Scalabel(msgspec.Struct):
    frames: list[msgspec.Raw]


_IMAGE_FILE: Final = msgspec.json.Decoder(_ImageFile | list[_Moment])


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
        The box table (see `annotations`), paths relative to `root`.

    Raises:
        FileNotFoundError: If images or labels are not found; says what was looked for, and where.
        ValueError: If a label file is malformed (says file and frame), knows an image twice, or has
            a category that `labels.BDD100K_LABELS` has not, or if a link leads out of `root`.
    """
    root = Path(root)
    files = _find(root, root if label_root is None else Path(label_root))
    listings = files.images + files.of_parts + files.of_images
    options = {"labels": BDD100K_LABELS}
    return indexed(root, "bdd100k", listings, options, partial(_read, root, files))


def bdd100k_frames(root: str | Path, label_root: str | Path | None = None) -> dict[str, str]:
    """Return the image that each frame of the label files is of → file and frame.

    Images are named as in the box table.
    """
    root = Path(root)
    files = _find(root, root if label_root is None else Path(label_root))
    return {
        f"{stem}.jpg": place
        for entries in _read_labels(files)
        for stem, place in zip(entries.stems, entries.places, strict=True)
    }


class _Files(NamedTuple):
    """What was found: image folders, label files of many frames, folders of label files of one."""

    images: tuple[Listing, ...]
    of_parts: tuple[Listing, ...]
    of_images: tuple[Listing, ...]


class _Entries(NamedTuple):
    """What some frames say.

    Attributes:
        places: File and number of each frame, for messages.
        stems: Name of each frame's image, without its ending.
        attributes: Of each frame.
        counts: Number of boxes of each frame, int64 [frames].
        codes: Category of each box, int8 [boxes].
        edges: float64 [boxes, 4].
    """

    places: list[str]
    stems: list[str]
    attributes: list[_Attributes | None]
    counts: NDArray[np.int64]
    codes: NDArray[np.int8]
    edges: NDArray[np.float64]


def _find(root: Path, labels: Path) -> _Files:
    """Find and list the image folders and the label files."""
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
    rows = {_stem(name): row for row, name in enumerate(images["image"])}
    attributes = {name: [""] * len(images) for name in _Attributes.__struct_fields__}
    read = np.zeros(len(images), bool)
    of_frames: list[int] = []
    parts = []
    for entries in _read_labels(files):
        for place, stem, said in zip(*entries[:3], strict=True):
            row = rows.get(stem, -1)
            of_frames.append(row)
            if row < 0:
                continue
            if read[row]:
                raise ValueError(f"{place}: image {stem}.jpg has an entry already")
            read[row] = True
            for name, values in attributes.items():
                values[row] = getattr(said, name, None) or ""
        parts.append(entries[3:])
    if not read.any():
        names = " or ".join(_name(listing) for listing in files.of_parts + files.of_images)
        raise ValueError(f"none of the {len(images)} images has an entry in {names}")
    counts, codes, edges = (np.concatenate(part) for part in zip(*parts, strict=True))
    rows_of_boxes = np.repeat(of_frames, counts)
    there = rows_of_boxes >= 0
    boxes = pd.DataFrame(edges[there], columns=EDGES)
    boxes["row"] = rows_of_boxes[there]
    boxes["category"] = pd.Categorical.from_codes(codes[there], categories=pd.Index(_CATEGORIES))
    boxes["instance"] = -1
    summary = (
        f"BDD100K in {root}: {len(images)} images, {len(boxes)} boxes; {(~read).sum()} images have no "
        f"entry in the label files and count as images without objects, {of_frames.count(-1)} entries "
        "have no image and are left out"
    )
    return Content(box_table(images.assign(**attributes), boxes, BDD100K_LABELS), summary)


def _images(folders: Iterable[Listing], root: Path) -> pd.DataFrame:
    """Return one row an image, as `box_table` takes them, in the order of their names."""
    found = sorted((name, folder) for folder, names, _ in folders for name in names)
    paths = [folder / name for name, folder in found]
    title = "Reading the sizes of BDD100K's images"
    jobs = _chunks(paths)
    sizes = np.concatenate(list(in_parallel(_sizes, jobs, title, many=len(paths) > MANY)))
    stems = [_stem(name) for name, _ in found]
    return pd.DataFrame(
        {
            "image": [f"{stem}.jpg" for stem in stems],
            "path": [path.relative_to(root).as_posix() for path in paths],
            "width": sizes[:, 0],
            "height": sizes[:, 1],
            "group": [stem.split("-")[0] or stem for stem in stems],
        }
    )


def _sizes(paths: list[Path]) -> NDArray[np.int32]:
    return np.array([image_size_if_known(path) for path in paths], np.int32)


def _chunks(paths: list[Path]) -> list[list[Path]]:
    return [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _name(listing: Listing) -> str:
    single = len(listing.names) == 1
    return str(listing.folder / listing.names[0] if single else listing.folder)


def _read_labels(files: _Files) -> Iterator[_Entries]:
    """Read all label files."""
    for folder, names, _ in files.of_parts:
        for name in names:
            yield _collect(_frames(folder / name))
    for folder, names, _ in files.of_images:
        paths = [folder / name for name in names]
        title = f"Reading the labels in {folder.name}"
        yield from in_parallel(_read_image_files, _chunks(paths), title, many=len(paths) > MANY)


def _read_image_files(files: list[Path]) -> _Entries:
    return _collect((str(file), _image_frame(file)) for file in files)


def _collect(frames: Iterable[tuple[str, _Frame]]) -> _Entries:
    """Gather what frames say, each given with its place."""
    places, stems, attributes = [], [], []
    counts, codes, edges = array("q"), array("b"), array("d")
    for place, frame in frames:
        check_name(frame.name, place)
        places.append(place)
        stems.append(_stem(frame.name))
        attributes.append(frame.attributes)
        before = len(codes)
        for label in frame.labels or ():
            box = label.box2d
            if box is not None:
                codes.append(_code(label.category, place, frame.name))
                edges.extend((box.x1, box.y1, box.x2, box.y2))
        counts.append(len(codes) - before)
    return _Entries(
        *(places, stems, attributes, np.array(counts), np.array(codes)),
        np.array(edges).reshape(-1, 4),
    )


def _frames(file: Path) -> Iterator[tuple[str, _Frame]]:
    """Decode a label file frame by frame, so that only a part of it is in memory at a time."""
    decoder = msgspec.json.Decoder(_Frame)
    size = file.stat().st_size
    if size == 0:
        raise ValueError(f"{file} is empty")
    bar = tqdm(
        total=size,
        desc=f"Reading {file.name}",
        unit="B",
        unit_scale=True,
        delay=1,
        leave=False,
        disable=None,
    )
    number = 0
    with file.open("rb") as stream, bar:
        for raw_frames in _raw_frames(stream, str(file)):
            for raw in raw_frames:
                place = f"{file} frame {number}"
                yield place, _decode(partial(decoder.decode, raw), place)
                number += 1
            bar.update(stream.tell() - bar.n)


def _raw_frames(stream: BinaryIO, place: str) -> Iterator[list[msgspec.Raw]]:
    """Cut a label file, a list of frames or an object with `frames`, into its frames, some at a time.

    The list is cut at a comma that seems to stand between two frames. It does if what is before it is
    a whole list once it is closed; else more of the file is read, at worst all.
    """
    text, done = stream.read(_BLOCK), 0
    if text.lstrip()[:1] == b"{":
        text += stream.read()
        yield _decode(partial(msgspec.json.decode, text, type=_Scalabel), place).frames
        return
    while more := stream.read(max(_BLOCK, len(text))):
        text += more
        ends = list(_BETWEEN_FRAMES.finditer(text, max(0, len(text) - _BLOCK // 8)))
        if ends:
            with suppress(ValueError):
                frames = _raw_list(text[: ends[-1].start()] + b"]", place)
                text, done = b"[" + text[ends[-1].end() :], done + len(frames)
                yield frames
    yield _raw_list(text, f"{place} from frame {done} on" if done else place)


def _raw_list(text: bytes, place: str) -> list[msgspec.Raw]:
    return _decode(partial(msgspec.json.decode, text, type=list[msgspec.Raw]), place)


def _image_frame(file: Path) -> _Frame:
    """Decode the label file of one image, which is called as its image is."""
    whole = _decode(partial(_IMAGE_FILE.decode, file.read_bytes()), str(file))
    if isinstance(whole, list):
        whole = _ImageFile(frames=whole)
    frames = whole.frames or [_Moment()]
    if len(frames) != 1:
        raise ValueError(f"{file}: {len(frames)} frames in a label file that is named as an image")
    inner = frames[0]
    for name in (whole.name, inner.name):
        if name is not None and file.stem not in (name, _stem(name)):
            raise ValueError(
                f"{file}: its labels are of image {name[:80]!r}; is the file misnamed?"
            )
    labels = [*(whole.labels or ()), *(inner.labels or ()), *(inner.objects or ())]
    return _Frame(f"{file.stem}.jpg", whole.attributes or inner.attributes, labels)


def _decode(decode: Callable[[], Decoded], place: str) -> Decoded:
    try:
        return decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{place}: {error}") from error


def _code(category: str, place: str, image: str) -> int:
    code = _CODES.get(category)
    if code is None:
        raise ValueError(
            f"{place}: image {image} has a box of the unknown category {category[:80]!r}; known are "
            f"{', '.join(_CATEGORIES)}"
        )
    return code
