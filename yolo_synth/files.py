"""Files that are read back: written whole or not at all; and digests of what they follow from."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

DRAFT: Final = ".draft"
"""How the name of a file that is being written ends."""

Content = str | bytes | Callable[[BinaryIO], object]
"""A file's text (UTF-8), its bytes, or what writes it into an open binary file."""


def write_whole(path: str | Path, content: Content) -> None:
    """Write a file that a reader, another process and a power cut find whole or as it was before.

    It is written beside its place under a name of its own, synced and renamed; missing folders are
    made. Whatever ends the writing leaves the old file, and nothing else.

    Args:
        path: The file to write or replace.
        content: Text, bytes, or a function that writes to the binary file it is given.

    Raises:
        OSError: If it cannot be written; `filename` is `path`, also where the disk is full.
    """
    path = Path(path)
    # Not the file's whole name, which may be as long as a name may be.
    draft = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}{DRAFT}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as file:
            _put(file, content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


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
    """Remove what writers that were killed left in a folder; nobody may be writing there."""
    for draft in Path(folder).glob(f".*{DRAFT}"):
        with suppress(OSError):
            draft.unlink()


def digest(*parts: str | bytes) -> str:
    """Return 64 hexadecimal digits that tell whether texts and bytes are those of before, in order."""
    total = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(f"{len(content)}:".encode())  # so that no two lists run together to one text
        total.update(content)
    return total.hexdigest()
