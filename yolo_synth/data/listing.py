"""The files below a data set's folder: where they are looked for, which they are, how they are read.

Only what lies below the folder is read: a link that leads out of it is refused, wherever it stands.
"""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from yolo_synth.files import digest

Job = TypeVar("Job")
Result = TypeVar("Result")

IMAGES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""How the names of image files end, in small or in capital letters."""

DEPTH: Final = 3
"""How many folders below the given one are looked into."""

MANY: Final = 5000
"""Number of files from which several processes are faster than one."""

_PARTS: Final = ("train", "val", "test")
_READ_ONLY: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # Windows would change line ends
_BLOCK: Final = 1 << 16


class Listing(NamedTuple):
    """The files of one folder that end in some way, sorted by name.

    Attributes:
        folder: Where they are.
        names: Their names.
        states: Length in bytes and time of the last change in nanoseconds, int64 [files, 2].
        others: Names of the other files there, hidden ones aside.
    """

    folder: Path
    names: list[str]
    states: NDArray[np.int64]
    others: tuple[str, ...] = ()

    def only(self, name: str) -> Listing:
        """Return it with one of its files alone."""
        place = self.names.index(name)
        return self._replace(names=[name], states=self.states[place : place + 1])

    def digest(self, root: Path) -> str:
        """Return a number that changes if a file comes, goes, or changes in length or time."""
        below = self.folder.is_relative_to(root)
        place = self.folder.relative_to(root) if below else self.folder.absolute()
        return digest(place.as_posix(), *self.names, self.states.tobytes())


def list_folder(folder: Path, root: Path, ends: tuple[str, ...]) -> Listing:
    """List the files of a folder whose names end in one of `ends`, hidden ones left out.

    Args:
        folder: A folder below `root`, or that folder.
        root: Folder that no link may lead out of.
        ends: Endings in small letters.

    Raises:
        ValueError: If the folder or a file cannot be read, leads out of `root` or is no file.
    """
    refuse_outside(folder, root)
    found, others = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == ".":
                    continue
                if not name.lower().endswith(ends):
                    if entry.is_file():
                        others.append(name)
                    continue
                if entry.is_symlink():
                    refuse_outside(Path(entry.path), root)
                if not entry.is_file():  # reading from a pipe might never end
                    raise ValueError(f"{entry.path} is not a file; take it away")
                state = entry.stat()
                found.append((name, state.st_size, state.st_mtime_ns))
    except OSError as error:
        raise ValueError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    found.sort()
    return _listing(folder, found)._replace(others=tuple(sorted(others)))


def list_file(file: Path, root: Path) -> Listing:
    """List one file, as `list_folder` does."""
    refuse_outside(file, root)
    try:
        state = file.stat()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    return _listing(file.parent, [(file.name, state.st_size, state.st_mtime_ns)])


def _listing(folder: Path, found: list[tuple[str, int, int]]) -> Listing:
    names = [name for name, _, _ in found]
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        name = next(name for name in names if not name.isprintable())
        raise ValueError(f"{folder}: {name!r} is not a file name in UTF-8; rename it") from None
    return Listing(folder, names, np.array([s for _, *s in found], np.int64).reshape(-1, 2))


def list_folders(folders: Sequence[Path], root: Path, ends: tuple[str, ...]) -> tuple[Listing, ...]:
    """List several folders, as `list_folder` does; many of them on all cores."""
    jobs = [(folder, root, ends) for folder in folders]
    return tuple(in_parallel(_list, jobs, "Looking for changes", many=len(jobs) > 20))


def list_below(folder: Path, root: Path, ends: tuple[str, ...]) -> tuple[Listing, ...]:
    """List a folder and all folders in it, as `list_folder` does; hidden folders are left out.

    A link to a folder is followed, but not one that leads back to where it lies, nor one that is
    only reached by another: links among folders would make endless paths.
    """
    refuse_outside(folder, root)
    found, waiting = [], [(folder, True)]
    while waiting:
        path, may_link = waiting.pop()
        found.append(path)
        for inner in _inner(path):
            if not inner.is_symlink():
                waiting.append((inner, may_link))
                continue
            refuse_outside(inner, root)
            if may_link and not path.resolve().is_relative_to(inner.resolve()):
                waiting.append((inner, False))
    return list_folders(sorted(found), root, ends)


def _inner(folder: Path) -> list[Path]:
    """Return the folders in a folder and the links to such."""
    try:
        with os.scandir(folder) as entries:
            return [Path(e.path) for e in entries if e.name[0] != "." and e.is_dir()]
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror}") from error


def paths_below(root: Path, listings: Sequence[Listing]) -> list[str]:
    """Return the paths of all listed files, relative to a folder above, with forward slashes."""
    above = [listing.folder.relative_to(root).as_posix() for listing in listings]
    return [
        name if folder == "." else f"{folder}/{name}"
        for folder, listing in zip(above, listings, strict=True)
        for name in listing.names
    ]


def read_file(path: str) -> bytes:
    """Read a small file, in half the time that `open` takes.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        file = os.open(path, _READ_ONLY)
        try:
            text = os.read(file, _BLOCK)
            while text and len(text) % _BLOCK == 0 and (more := os.read(file, _BLOCK)):
                text += more
        finally:
            os.close(file)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    return text


def _list(job: tuple[Path, Path, tuple[str, ...]]) -> Listing:
    return list_folder(*job)


def refuse_outside(path: Path, root: Path) -> None:
    """Refuse a path that leads out of a folder by a link.

    Raises:
        ValueError: If it does; says what to do instead.
    """
    target, inside = os.path.realpath(path), os.path.realpath(root)
    if target != inside and not target.startswith(os.path.join(inside, "")):  # noqa: PTH118
        raise ValueError(
            f"{path} leads to {target}, outside of {root}, and links out of a data set's folder are "
            f"not followed: give the folder with the images themselves as data.root and, if the "
            "labels lie elsewhere, theirs as data.label_root. COCO and YOLO data, which have no "
            "label_root, lie in one folder: name one above both as data.root, or put what the link leads "
            f"to in its place (cp -rl {target} on one disk takes no room; else mount --bind)"
        )


def look_for(
    root: Path, places: Iterable[str], has: Callable[[Path], bool], depth: int = DEPTH
) -> list[Path]:
    """Look for places in a folder and, if there is none, in the folders in it, level by level.

    Hidden folders, links, and the insides of train, val and test are not looked through.

    Args:
        root: The folder.
        places: Paths to look for, in the order of preference.
        has: Tells whether a path is what is wanted.
        depth: Number of levels below `root`.

    Returns:
        All paths of the first level and place that has any, sorted; none if there are none.
    """
    places, level = list(places), [root]
    for _ in range(depth + 1):
        for place in places:
            found = [folder / place for folder in level if has(folder / place)]
            if found:
                return found
        level = [inner for folder in level for inner in _folders_in(folder)]
    return []


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:  # a folder that cannot be looked into holds nothing to be found
        return []
    return [folder / name for name in sorted(names) if name[0] != "." and name not in _PARTS]


def holds(ends: tuple[str, ...]) -> Callable[[Path], bool]:
    """Return a test, for `look_for`, whether a folder holds a file that ends so."""

    def test(folder: Path) -> bool:
        if not folder.is_dir():
            return False
        with os.scandir(folder) as entries:
            return any(e.name.lower().endswith(ends) and e.name[0] != "." for e in entries)

    return test


def seen_in(root: Path) -> str:
    """Say for a message what a folder holds."""
    if not root.is_dir():
        return f"there is no folder {root}"
    names = [path.name + "/" * path.is_dir() for path in root.iterdir() if path.name[0] != "."]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{root} holds {', '.join(sorted(names)[:8]) or 'nothing'}{more}"


def in_parallel(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    title: str,
    *,
    many: bool,
    chunk: int = 1,
) -> Iterator[Result]:
    """Call a function for each job, behind a progress bar if it takes longer than a second.

    Args:
        function: A function of a module, so that other processes can find it.
        jobs: What it is called with.
        title: What the bar says.
        many: Whether it is worth starting a process for each core.
        chunk: Jobs that a process gets at a time.

    Yields:
        The results, in the order of the jobs.
    """
    with tqdm(total=len(jobs), desc=title, delay=1, leave=False, disable=None) as bar:
        # A process that was itself started to help, as a DataLoader's, may not start others.
        if not many or cores() == 1 or multiprocessing.current_process().daemon:
            for job in jobs:
                yield function(job)
                bar.update()
            return
        with ProcessPoolExecutor(cores()) as pool:
            for result in pool.map(function, jobs, chunksize=chunk):
                yield result
                bar.update()


def cores(most: int = 8) -> int:
    """Return how many processor cores this process may use, so many at most."""
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    return min(most, len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1)


def check_name(name: str, where: str) -> None:
    """Refuse an image name that is not the plain name of a file.

    Args:
        name: What stands in a label file or a split list.
        where: File and position, for the message.

    Raises:
        ValueError: If the name is empty, has a folder in it, or leads out of its folder.
    """
    if name in ("", ".", "..") or re.search(r"[/\\\x00]|^[A-Za-z]:", name):
        raise ValueError(f"{where}: {name[:80]!r} is not the plain name of an image file")


def check_path(path: str, where: str) -> None:
    """Refuse a path that is not one below the data set's root.

    Args:
        path: What stands in a label file; it may have folders, divided by forward slashes.
        where: File and position, for the message.

    Raises:
        ValueError: If the path is empty or absolute, or leads out of its folder.
    """
    parts = path.split("/")
    if re.search(r"[\\\x00]|^[A-Za-z]:", path) or not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError(f"{where}: {path!r} is not the path of an image file below the root")
