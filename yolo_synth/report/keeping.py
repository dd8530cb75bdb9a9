"""Results kept as npz files, each with the key of what it follows from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def digest(*texts: str) -> str:
    """Return SHA-256 of some texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def file_name(text: str) -> str:
    """Replace what a file name should not have by `-`."""
    return re.sub(r"[^\w.-]+", "-", text)


def read_kept(path: Path, key: str) -> dict[str, Any] | None:
    """Return a file's arrays; None if it is not there or follows from something else."""
    if not path.is_file():
        return None
    with np.load(path) as file:
        return dict(file) if str(file["key"]) == key else None


def keep(path: Path, key: str, arrays: Mapping[str, Any]) -> None:
    """Write arrays and their key; the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft.npz")
    np.savez_compressed(draft, **arrays, key=key)
    draft.replace(path)
