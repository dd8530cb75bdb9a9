"""What is really there: the true boxes of a COCO file, or of the test images of a data file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from yolo_synth.matching import Boxes, Flags, Floats, Integers

if TYPE_CHECKING:
    from yolo_synth.data.module import DetectionData

CONDITIONS: Final = ("weather", "scene", "timeofday")
"""What the truth may say of a picture."""

SIZES: Final = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""COCO's sizes, as least and greatest area in square pixels; both ends belong to them."""

Key = int | str


class _Image(msgspec.Struct, gc=False):
    id: Key
    file_name: str = ""
    width: int = 0
    height: int = 0
    group: Key = ""
    video_id: Key = ""
    weather: str = ""
    scene: str = ""
    timeofday: str = ""


class _Annotation(msgspec.Struct, gc=False):
    image_id: Key
    category_id: Key
    bbox: tuple[float, float, float, float]
    id: Key = ""
    area: float | None = None
    iscrowd: int | bool = 0


class _Category(msgspec.Struct, gc=False):
    id: Key
    name: str


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True)
class Truth:
    """The true boxes of some images.

    Attributes:
        name: Where it is from.
        classes: Names of the classes, by class index.
        categories: What a result calls a class → its index.
        images: A row an image: `id`, `name` (file name), `path` (as it is below `root`), `width` and
            `height` in pixels (0: unknown), `group` (a number for those that belong together) and
            `CONDITIONS`.
        boxes: The true boxes, in pixels of the pictures; `image` counts the rows of `images`.
        ids: [boxes], what the truth calls each.
        area: [boxes], what decides a box's size, in square pixels.
        crowd: [boxes], whether it is a region that counts for neither side.
        root: Folder of the pictures; None if they are not there.
    """

    name: str
    classes: list[str]
    categories: dict[Key, int]
    images: pd.DataFrame
    boxes: Boxes
    ids: Sequence[Key]
    area: Floats
    crowd: Flags
    root: Path | None

    @property
    def group(self) -> Integers:
        """[images]: number of the group of each image."""
        return self.images["group"].to_numpy(np.int64)

    @property
    def size(self) -> list[str]:
        """[boxes]: the size of each; one on an edge is called by the smaller."""
        edges = [greatest for _, greatest in SIZES.values()][:-1]
        names = list(SIZES)
        return [names[place] for place in np.searchsorted(edges, self.area)]

    def picture(self, row: int) -> Path | None:
        """Return the file of an image, if it is there and below `root`."""
        if self.root is None:
            return None
        path = (self.root / str(self.images["path"].iloc[row])).resolve()
        return path if path.is_relative_to(self.root.resolve()) and path.is_file() else None

    def rows_by_name(self) -> dict[Key, int]:
        """Return what a result may call an image → its row: its id, path, file name or bare name.

        A name that two images share is none of theirs.
        """
        rows: dict[Key, int] = {}
        for form in (_bare, _file, str):
            found: dict[Key, int] = {}
            twice = set()
            for row, name in enumerate(self.images["name"]):
                twice |= {form(name)} & found.keys()
                found[form(name)] = row
            rows |= {name: row for name, row in found.items() if name and name not in twice}
        return rows | {key: row for row, key in enumerate(self.images["id"])}


def _bare(name: str) -> str:
    return Path(name).stem


def _file(name: str) -> str:
    return Path(name).name


def read_truth(truth: str | Path, pictures: str | Path | None = None) -> Truth:
    """Read a COCO file, or the test images of a data file (YAML).

    Args:
        truth: The file.
        pictures: Folder of a COCO file's pictures; by default they are looked for beside the file.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is neither, is malformed, or has no true box.
    """
    path = Path(truth)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; --truth is a COCO file or a data file")
    if pictures is not None and not Path(pictures).is_dir():
        raise FileNotFoundError(f"{pictures}: no such folder; name the one of the pictures")
    if path.suffix.lower() in (".yaml", ".yml"):
        found = _of_data_file(path)
    else:
        found = truth_of(decode(path.read_bytes(), _File, str(path), "a COCO file"), str(path))
        folder = _folder(found, path) if pictures is None else Path(pictures)
        found = Truth(**{**vars(found), "root": folder})
    if not len(found.boxes.label) - found.crowd.sum():
        raise ValueError(f"{path}: has no true box, so nothing can be found; name another truth")
    return found


def decode(text: bytes, kind: type[Any], name: str, what: str) -> Any:  # noqa: ANN401
    """Decode JSON into a type; raises a ValueError that says what is wrong, and where."""
    if not text.strip():
        raise ValueError(f"{name}: is empty; write {what} there")
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        is_number = b"NaN" not in text and b"Infinity" not in text
        why = (
            error if is_number else "it holds NaN or Infinity, which JSON has not, nor any ranking"
        )
        raise ValueError(f"{name}: no {what.removeprefix('a ')}: {why}; mend it") from error


def truth_of(content: Any, name: str) -> Truth:  # noqa: ANN401 - a decoded file
    """Make the truth of what a COCO file holds."""
    rows = {image.id: row for row, image in enumerate(content.images)}
    if len(rows) < len(content.images):
        raise ValueError(f"{name}: two images have the same id; give each its own")
    kinds = {category.id: index for index, category in enumerate(content.categories)}
    for number, box in enumerate(content.annotations):
        for what, key, known in (
            ("image", box.image_id, rows),
            ("category", box.category_id, kinds),
        ):
            if key not in known:
                raise ValueError(
                    f"{name}: annotation {number}: no {what} has the id {key!r}; mend it"
                )
    corners = to_corners([box.bbox for box in content.annotations])
    wrong = np.flatnonzero(~np.isfinite(corners).all(1) | (corners[:, 2:] < corners[:, :2]).any(1))
    if wrong.size:
        box = content.annotations[wrong[0]].bbox
        raise ValueError(f"{name}: annotation {wrong[0]}: {box} is no box in pixels; mend it")
    image = np.array([rows[box.image_id] for box in content.annotations], np.int64)
    label = np.array([kinds[box.category_id] for box in content.annotations], np.int64)
    own = [
        box.bbox[2] * box.bbox[3] if box.area is None else box.area for box in content.annotations
    ]
    columns = ["id", "file_name", "width", "height", "group", *CONDITIONS]
    images = pd.DataFrame(
        [[getattr(image, column) for column in columns] for image in content.images],
        columns=["id", "name", *columns[2:]],
    ).astype({"id": object, "name": object})
    images["path"] = images["name"]
    groups = [
        str(image.group) or (f"video {image.video_id}" if image.video_id != "" else "")
        for image in content.images
    ]
    images["group"] = numbered(groups)
    return Truth(
        name,
        [category.name for category in content.categories],
        {**{category.name: kinds[category.id] for category in content.categories}, **kinds},
        images,
        Boxes(corners, label, image),
        [box.id if box.id != "" else number for number, box in enumerate(content.annotations)],
        np.array(own, np.float64),
        np.array([bool(box.iscrowd) for box in content.annotations], bool),
        None,
    )


def to_corners(boxes: list[tuple[float, float, float, float]]) -> Floats:
    """Return boxes given as left, top, width and height by their corners [n, 4]."""
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners


def numbered(groups: list[str]) -> Integers:
    """Number groups; an image without one ("") is a group of its own."""
    alone = [group or f"\0{row}" for row, group in enumerate(groups)]
    return np.asarray(pd.factorize(np.array(alone, object))[0], np.int64)


def told(values: NDArray[np.object_]) -> list[str]:
    """Return the values of a condition, [images]; none if all images have the same."""
    if len(values) and (values == values[0]).all():
        return []
    return sorted(set(values.tolist()) - {""})


def _folder(truth: Truth, file: Path) -> Path | None:
    """Return the folder near a COCO file that holds its first pictures."""
    beside, above = file.parent, file.parent.parent
    part = file.stem.rpartition("_")[2]  # instances_val2017.json is about val2017/
    folders = (beside, beside / "images", above / "images", above, above / beside.name)
    for name in truth.images["name"].head(20):
        for folder in (*folders, above / part, above / "images" / part, beside / part):
            if name and (folder / name).is_file():
                return folder
    return None


def _of_data_file(path: Path) -> Truth:
    from yolo_synth.data.source import open_data  # it brings PyTorch, which nothing else here needs

    module = open_data(path)
    return truth_of_data(module, module.names("test"), f"{path} test")


def truth_of_data(module: DetectionData, names: Sequence[str], title: str) -> Truth:
    """Make the truth of some images of a data module: the boxes that evaluation uses.

    Args:
        module: The data.
        names: Names of the images.
        title: What to call it.
    """
    table = module.table
    images = table.drop_duplicates("image").set_index("image").loc[list(names)].reset_index()
    rows = {name: row for row, name in enumerate(names)}
    used = table[(table["dropped"] == "") & table["image"].isin(rows)]
    corners = used[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
    image = np.asarray(used["image"].map(rows), np.int64)
    conditions = {name: images[name].astype(str) for name in CONDITIONS}
    groups = numbered(images["group"].astype(str).tolist())
    is_one = module.folders == [module.root]  # a mixture's parts lie anywhere
    root = Path(module.root) if is_one else Path(Path.cwd().anchor)
    paths = images["path"] if is_one else images["path"].map(lambda one: str(Path(one).absolute()))
    return Truth(
        title,
        list(module.classes),
        {
            **{name: index for index, name in enumerate(module.classes)},
            **dict(enumerate(range(len(module.classes)))),
        },
        pd.DataFrame(
            {"id": images["image"].astype(object), "name": images["path"], "path": paths}
            | {"width": images["width"], "height": images["height"], "group": groups}
            | conditions
        ),
        Boxes(corners, np.asarray(used["label"], np.int64), image),
        used.groupby("image").cumcount().tolist(),
        (corners[:, 2:] - corners[:, :2]).prod(1),
        np.zeros(len(used), bool),
        root,
    )
