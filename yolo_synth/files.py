"""Files that are read back: written whole or not at all; and digests of what they follow from."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, TypeVar, overload

import numpy as np

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

DRAFT: Final = ".draft"
"""How the name of a file that is being written ends."""

_ZIPPED: Final = b"PK\x03\x04"
"""How each file in a zip file begins."""

_HOUR: Final = 3600

_ONLY_READ: Final = (errno.EROFS, errno.EACCES, errno.EPERM)

_told: Final[set[str]] = set()
"""Folders that were found to be read-only."""

_swept: Final[set[str]] = set()
"""Folders that this process has written to: what writers that were killed left there is removed."""

Content = str | bytes | Callable[[BinaryIO], object]
"""A file's text (UTF-8), its bytes, or what writes it into an open binary file."""


Result = TypeVar("Result")


def write_whole(path: str | Path, content: Content, *, synced: bool = True) -> None:
    """Write a file that a reader, another process and a power cut find whole or as it was before.

    It is written beside its place under a name of its own, synced and renamed; missing folders are
    made. Whatever ends the writing leaves the old file, and nothing else.

    Args:
        path: The file to write or replace.
        content: Text, bytes, or a function that writes to the binary file it is given.
        synced: Whether it outlasts a power cut. What carries its digest and can be made anew need not:
            syncing takes milliseconds a file.

    Raises:
        OSError: If it cannot be written; `filename` is `path`, also where the disk is full.
    """
    path = Path(path)
    draft = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with _new_draft(path) as file:
            draft = Path(file.name)
            _put(file, content)
            file.flush()
            if synced:
                os.fsync(file.fileno())
            if fcntl is not None:
                draft.replace(path)
        if fcntl is None:  # there no file that is open can be renamed
            draft.replace(path)
    except Exception as error:
        refused = _by_the_disk(error)
        if refused is None:
            raise
        refused.filename, refused.filename2 = str(path), None
        raise refused from None
    finally:
        if draft is not None:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
    if synced:
        _sync_folder(path.parent)


def _new_draft(path: Path) -> BinaryIO:
    """Open a file beside another one, and hold it."""
    while True:
        # Not the file's whole name, which may be as long as a name may be.
        name = f".{path.name[:40]}.{secrets.token_hex(6)}{DRAFT}"
        file = path.with_name(name).open("xb")
        if hold(file):
            return file
        file.close()


def _by_the_disk(error: BaseException | None) -> OSError | None:
    """Return the disk's own error, which writers such as PyTorch's cover by one of theirs."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Have a disk's error say what could not be written, where it does not say so itself."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def keeping(folder: str | Path) -> Iterator[None]:
    """Go on where a folder can only be read, as somebody else's: what is computed is not kept there.

    It is said, of each folder once. A disk that is full is another matter.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _ONLY_READ:
            raise
        if str(folder) not in _told:
            _told.add(str(folder))
            log.warning(
                "%s: cannot be written to (%s): what is computed is not kept there, and computed anew "
                "each time",
                *(folder, str(error.strerror).lower()),
            )


def _put(file: BinaryIO, content: Content) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content.encode() if isinstance(content, str) else content)


def _sync_folder(folder: Path) -> None:
    """Make a renaming last through a power cut, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_drafts(folder: str | Path) -> None:
    """Remove what writers that were killed left in a folder or below."""
    for draft in Path(folder).rglob(f".*{DRAFT}"):
        remove_left(draft)


def _sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder, the first time that this process writes there."""
    if str(folder) not in _swept:
        _swept.add(str(folder))
        for draft in folder.glob(f".*{DRAFT}"):
            remove_left(draft)


def hold(file: IO[bytes]) -> bool:
    """Hold a new file until it is closed, so that nobody takes it for one of a writer that was killed.

    Returns:
        False if somebody has, and removed it.
    """
    if fcntl is not None:
        with suppress(OSError):  # of a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
    return os.fstat(file.fileno()).st_nlink > 0


def remove_left(draft: Path) -> None:
    """Remove what a writer that was killed left; what is being written is held, and stays.

    Where nothing can be held it stays for an hour.
    """
    with suppress(OSError):
        with draft.open("r+b") as file:
            if fcntl is not None:
                with suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    draft.unlink()
                    return
            age = time.time() - os.fstat(file.fileno()).st_mtime
        if age > _HOUR:
            draft.unlink()


def digest(*parts: str | bytes) -> str:
    """Return 64 hexadecimal digits that tell whether texts and bytes are those of before, in order."""
    total = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(f"{len(content)}:".encode())  # so that no two lists run together to one text
        total.update(content)
    return total.hexdigest()


def file_name(text: str) -> str:
    """Replace what a file name should not have by `-`."""
    return re.sub(r"[^\w.-]+", "-", text)


class Kept:
    """A result in a file, read back only if it follows from the same things by the same rules.

    A file that is damaged, of another format or of other things is as good as none: what should be in
    it is computed again and replaces it.
    """

    def __init__(self, path: str | Path, key: str, format_number: int) -> None:
        """Name the file; nothing is read or written yet.

        Args:
            path: The file, `.npz` for arrays, `.json` for all else.
            key: A `digest` of what the result follows from.
            format_number: Of what the result means. Raise it whenever that changes: what was kept
                before is then computed anew.
        """
        self.path = Path(path)
        self._origin = {"format": format_number, "key": key}

    @overload
    def read(self) -> dict[str, Any] | None: ...

    @overload
    def read(self, made_of: Callable[[dict[str, Any]], Result]) -> Result | None: ...

    def read(self, made_of: Callable[[dict[str, Any]], Any] = dict) -> Any:
        """Return what is kept, by name or what is made of it; None if nothing can be used.

        Args:
            made_of: Makes a result of the values. If it cannot, since one is missing or of another type
                or shape, nothing can be used.
        """
        try:
            values = _read(self.path)
            origin = {name: values.pop(name) for name in self._origin}
            if self.path.suffix == ".json" and values.pop("digest") != _digest_of(values):
                return None
            same = all(str(origin[name]) == str(value) for name, value in self._origin.items())
            return made_of(values) if same else None
        except Exception:  # those of damaged JSON, zip and arrays have no common class
            return None

    def once(
        self, made_of: Callable[[dict[str, Any]], Result], make: Callable[[], dict[str, Any]]
    ) -> Result:
        """Return what is made of what is kept; if nothing can be used, it is made and kept first."""
        found = self.read(made_of)
        if found is None:
            values = make()
            self.write(values)
            found = made_of(values)
        return found

    def write(self, values: Mapping[str, Any]) -> None:
        """Write a result, whole or not at all."""
        content = {**self._origin, **values}
        if self.path.suffix == ".json":  # a zip file has sums of its own
            content |= {"digest": _digest_of(values)}
            write_whole(self.path, json.dumps(content, indent=1) + "\n")
        else:
            write_whole(self.path, lambda file: np.savez_compressed(file, **content))


def _digest_of(values: Mapping[str, Any]) -> str:
    return digest(json.dumps(values, sort_keys=True))


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".json":
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return values
    content = path.read_bytes()
    with np.load(io.BytesIO(content)) as arrays:
        # A damaged table of contents may pass over some arrays without a word
        if content.count(_ZIPPED) != len(arrays.files):
            raise ValueError("it holds arrays that its table of contents does not name")
        return dict(arrays)
