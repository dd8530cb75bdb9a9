"""Folders claimed by one process: nobody else writes there for as long as it lives."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from yolo_synth.files import DRAFT, naming, remove_drafts

try:
    import fcntl
except ImportError:  # Windows has no such locks; nothing is claimed there
    fcntl = None  # type: ignore[assignment]

CLAIM: Final = ".claim"
"""The file in a claimed folder that says who works there."""


_held: Final[dict[str, os.stat_result]] = {}
"""The claims of this process, by their folders' real paths."""


@contextmanager
def claimed(folder: str | Path, what: str, patience: float = 0) -> Iterator[None]:
    """Hold a folder, which is made if it is missing, for this process alone.

    The lock is the process's own and ends with it, however it ends: a claim of one that was killed
    holds nobody up, and its data workers do not hold it. What a killed writer left is removed, and the
    folder too in the end if it was made for nothing. A file system without locks claims nothing.

    Args:
        folder: The folder.
        what: What is done in it, as `trains`.
        patience: Seconds to wait for its end if another process holds it.

    Raises:
        ValueError: If another process holds it.
    """
    folder = Path(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(folder / CLAIM, what, time.monotonic() + patience)
    place = os.path.realpath(folder)
    _held[place] = os.fstat(descriptor)
    remove_drafts(folder)
    try:
        yield
    finally:
        if is_held(folder):
            with suppress(OSError):
                (folder / CLAIM).unlink()
        _held.pop(place)
        os.close(descriptor)
        with suppress(OSError):
            for path in made:
                path.rmdir()  # only what is still empty


def is_held(folder: Path) -> bool:
    """Tell whether a folder that this process claimed is still where it was; True of all others."""
    claim = _held.get(os.path.realpath(folder))
    if claim is None or fcntl is None:
        return True
    try:
        return os.path.samestat(claim, (folder / CLAIM).stat())
    except FileNotFoundError:
        return False


@contextmanager
def new_folder(folder: str | Path, what: str) -> Iterator[Path]:
    """Make a folder that appears once all is in it; whatever ends that leaves nothing.

    What a process that was killed left of it is removed first.

    Args:
        folder: The folder.
        what: What is done, as `converts`.

    Yields:
        The folder to write to, beside it.

    Raises:
        ValueError: If the folder is there, or another process makes it.
    """
    folder = Path(folder)
    draft = folder.with_name(f"{folder.name}{DRAFT}")
    with naming(folder), claimed(draft, what):
        if folder.exists():
            raise ValueError(f"{folder} exists already; choose another folder, or remove it")
        try:
            for path in draft.iterdir():
                if path.name != CLAIM:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            yield draft
            draft.rename(folder)
            (folder / CLAIM).unlink()
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


def _locked(path: Path, what: str, until: float) -> int:
    """Open and lock a file, and write into it who did."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _lock(descriptor):
            holder = os.read(descriptor, 500).decode(errors="replace") or "another process"
            os.close(descriptor)
            if time.monotonic() < until:
                time.sleep(0.2)
                continue
            raise ValueError(
                f"{path.parent}: {holder}; wait for its end, or end it, or choose another folder"
            )
        with suppress(FileNotFoundError):  # else its holder removed it between our two calls
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        os.close(descriptor)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    holder = f"process {os.getpid()} on {socket.gethostname()} {what} here since {since}"
    with suppress(OSError):  # of a full disk: the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.write(descriptor, holder.encode())
    return descriptor


def _lock(descriptor: int) -> bool:
    """Lock an open file; False if another process has. One of `lockf`'s is not inherited by a fork."""
    if fcntl is None:
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True
