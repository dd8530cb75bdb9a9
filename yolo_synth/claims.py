"""Folders claimed by one process: nobody else writes there for as long as it lives."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from yolo_synth.files import remove_drafts

try:
    import fcntl
except ImportError:  # Windows has no such locks; nothing is claimed there
    fcntl = None  # type: ignore[assignment]

CLAIM: Final = ".claim"
"""The file in a claimed folder that says who works there."""


@contextmanager
def claimed(folder: str | Path, what: str) -> Iterator[None]:
    """Hold a folder, which is made if it is missing, for this process alone.

    The lock is the process's own and ends with it, however it ends: a claim of one that was killed
    holds nobody up, and its data workers do not hold it. What a killed writer left is removed, and the
    folder too in the end if it was made for nothing. A file system without locks claims nothing.

    Args:
        folder: The folder.
        what: What is done in it, as `trains`.

    Raises:
        ValueError: If another process holds it.
    """
    folder = Path(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(folder / CLAIM, what)
    remove_drafts(folder)
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / CLAIM).unlink()
        os.close(descriptor)
        with suppress(OSError):
            for path in made:
                path.rmdir()  # only what is still empty


def _locked(path: Path, what: str) -> int:
    """Open and lock a file, and write into it who did."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _lock(descriptor):
            holder = os.read(descriptor, 500).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise ValueError(
                f"{path.parent}: {holder}; wait for its end, or end it, or choose another folder"
            )
        with suppress(FileNotFoundError):  # else its holder removed it between our two calls
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        os.close(descriptor)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    os.ftruncate(descriptor, 0)
    os.write(
        descriptor,
        f"process {os.getpid()} on {socket.gethostname()} {what} here since {since}".encode(),
    )
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
