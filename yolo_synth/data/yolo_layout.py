"""Where images and labels of a YOLO data set lie, and which split each image is of.

What `data.yaml` says under `train`, `val` and `test` decides: folders, or text files that list images.
Only where it says nothing, or nothing that is there, the two usual layouts of folders are looked for.
No path is read for the split of an image afterwards: a folder of pictures of trains is no split.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import msgspec

from yolo_synth.data.listing import IMAGES, Listing, list_below, list_file, paths_below
from yolo_synth.data.splits import PARTS

_FOLDERS: Final = (("images/{part}", "labels/{part}"), ("{part}/images", "{part}/labels"))
"""Where images and labels of a part are, in the two layouts in use."""


class About(msgspec.Struct):
    """What is read of `data.yaml`."""

    names: list[str] | dict[int, str]
    path: Any = None
    train: Any = None
    val: Any = None
    valid: Any = None
    test: Any = None


class Part(NamedTuple):
    """Some images of a split, and their labels.

    Attributes:
        split: The split.
        image_folder: Folder of the images below the root.
        label_folder: Folder of their labels below the root.
        images: The image files there.
        labels: The label files there.
        chosen: Paths of the images that are of the split, below the root; None if all are.
    """

    split: str
    image_folder: str
    label_folder: str
    images: tuple[Listing, ...]
    labels: tuple[Listing, ...]
    chosen: frozenset[str] | None = None


class Layout(NamedTuple):
    """What was found.

    Attributes:
        file: `data.yaml`, or what it is called here.
        names: Class number → name.
        parts: The images and labels.
        lists: The text files that list images.
        notes: What `data.yaml` says that could not be followed.
    """

    file: Path
    names: dict[int, str]
    parts: list[Part]
    lists: list[Listing]
    notes: list[str]

    @property
    def listings(self) -> list[Listing]:
        """All files that are read."""
        found = [one for part in self.parts for one in (*part.images, *part.labels)]
        return [list_file(self.file, self.file.parent), *self.lists, *found]


def find_layout(root: Path) -> Layout:
    """Find and list the files of a data set.

    Raises:
        FileNotFoundError: If images, labels or names are not found; says what was looked for, where.
        ValueError: If `data.yaml` is malformed.
    """
    file = _names_file(root)
    about = _read(file)
    names = dict(enumerate(about.names)) if isinstance(about.names, list) else about.names
    parts: list[Part] = []
    lists: list[Listing] = []
    absent: list[str] = []
    for key, entry in _entries(about, file):
        place = _resolve(root, about.path, entry)
        if place is None:
            absent.append(f"{file.name} names {key}: {entry}, which is not there")
        elif (root / place).is_dir():
            parts.append(_part(root, PARTS[key], *_folders(root, place)))
        else:
            lists.append(list_file(root / place, root))
            parts += _listed(root, PARTS[key], place)
    said = {PARTS[key] for key, _ in _entries(about, file)} if parts else set()
    known = {part.image_folder for part in parts}
    for part, images, labels in _usual(root):
        if PARTS[part] not in said and images not in known:
            parts.append(_part(root, PARTS[part], images, labels))
            if said:
                absent.append(
                    f"{file.name} does not name {images}, which is taken for {PARTS[part]}"
                )
    if not parts:
        named = f"{'; '.join(absent)}; also" if absent else f"{file.name} names no train or val;"
        raise FileNotFoundError(
            f"no YOLO images in {root}: {named} looked for "
            f"{' and '.join(images for images, _ in _FOLDERS)}, {{part}} being {', '.join(PARTS)}; name "
            "the folder that holds data.yaml"
        )
    return Layout(file, names, parts, lists, absent)


def pairs(root: Path, part: Part) -> Iterator[tuple[str, str]]:
    """Yield each image of a part and its label file, "" if it has none, relative to the root."""
    there = set(paths_below(root, part.labels))
    for image in paths_below(root, part.images):
        if part.chosen is None or image in part.chosen:
            file = label_of(part, image)
            yield image, file if file in there else ""


def label_of(part: Part, image: str) -> str:
    """Return where the label file of an image should be."""
    return f"{part.label_folder}{image[len(part.image_folder) : image.rindex('.')]}.txt"


def _names_file(root: Path) -> Path:
    """Return `data.yaml`, or the one .yaml file that there is."""
    file = root / "data.yaml"
    if file.is_file():
        return file
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}; correct data.root")
    files = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    if len(files) != 1:
        raise FileNotFoundError(
            f"no {file}: it names the classes of a YOLO data set (names: [car, bus]), and there is "
            f"{'more than one' if files else 'no'} other .yaml file in {root}"
        )
    return files[0]


def _read(file: Path) -> About:
    try:
        return msgspec.yaml.decode(file.read_bytes(), type=About)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: {error}; it should have names: [car, bus, …]") from error


def _entries(about: About, file: Path) -> Iterator[tuple[str, str]]:
    """Yield each folder or list that `data.yaml` names, with its part."""
    for key in PARTS:
        value = getattr(about, key)
        for entry in value if isinstance(value, list) else [value]:
            if entry is not None and not isinstance(entry, str):
                raise ValueError(
                    f"{file}: {key}: {entry!r} is no folder of images, nor a list of them"
                )
            if entry:
                yield key, entry


def _resolve(root: Path, above: object, entry: str) -> str | None:
    """Return the path below the root that an entry of `data.yaml` means, None if it is not there.

    Entries are written for where the data set once lay (`../train/images`, `/content/set/images/train`,
    or below a `path`), so the end of the path counts, of two names at least where it has two.
    """
    plain = _plain(entry)
    tried = [(*_plain(above), *plain)] if isinstance(above, str) else []
    tried += [plain[start:] for start in range(max(1, len(plain) - 1))]
    for names in tried:
        path = "/".join(names)
        if names and (
            (root / path).is_dir() or (path.endswith(".txt") and (root / path).is_file())
        ):
            return path
    return None


def _plain(path: str) -> tuple[str, ...]:
    """Return the names in a path, without those that lead up or nowhere."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    return tuple(name for name in parts if name not in ("/", "..", "."))


def _folders(root: Path, place: str) -> tuple[str, str]:
    """Return the folders of images and of labels that belong to a named one."""
    names = place.split("/")
    if "images" in names:
        last = len(names) - 1 - names[::-1].index("images")
        return place, "/".join([*names[:last], "labels", *names[last + 1 :]])
    if (root / place / "images").is_dir():
        return f"{place}/images", f"{place}/labels"
    return place, place


def _listed(root: Path, split: str, place: str) -> list[Part]:
    """Return the parts of the images that a text file lists."""
    try:
        lines = (root / place).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{root / place} is not a text file with one image a line") from None
    named = [_plain(line.strip()) for line in lines if line.strip()]
    beside = _plain(place)[:-1]
    chosen: dict[str, set[str]] = {}
    for names in named:
        tried = [(*beside, *names), *(names[start:] for start in range(len(names)))]
        path = next(("/".join(t) for t in tried if root.joinpath(*t).is_file()), "/".join(names))
        folder, _, _ = path.rpartition("/")
        inner = folder.split("/")
        if "images" in inner:  # one listing of all folders below it
            folder = "/".join(inner[: len(inner) - inner[::-1].index("images")])
        chosen.setdefault(folder or ".", set()).add(path)
    return [
        _part(root, split, *_folders(root, folder))._replace(chosen=frozenset(paths))
        for folder, paths in chosen.items()
        if (root / folder).is_dir()
    ]


def _usual(root: Path) -> list[tuple[str, str, str]]:
    """Return part, image folder and label folder of the usual layout that there is."""
    for image_folder, label_folder in _FOLDERS:
        folders = [(p, image_folder.format(part=p), label_folder.format(part=p)) for p in PARTS]
        there = [row for row in folders if (root / row[1]).is_dir()]
        if there:
            return there
    return []


def _part(root: Path, split: str, images: str, labels: str) -> Part:
    if not (root / labels).is_dir():
        raise FileNotFoundError(
            f"no labels for the images in {root / images}: there is no folder {root / labels}"
        )
    found = list_below(root / images, root, IMAGES)
    if not any(listing.names for listing in found):
        raise FileNotFoundError(f"no {', '.join(IMAGES)} in {root / images}")
    return Part(split, images, labels, found, list_below(root / labels, root, (".txt",)))
