"""What images belong to, as a file says: groups of images that are alike, for data of any kind."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Final

import pandas as pd

log = logging.getLogger(__name__)

COLUMNS: Final = ("image", "group")
"""Of a file of groups: an image's name in the data set, and what it belongs to."""


def named_by(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a box table with the groups that a file names, as `data check --out` writes it.

    Args:
        table: A box table.
        path: CSV with the columns image and group; a name that begins as a formula does may stand after
            an apostrophe. Images that the data set has not are counted in the log.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, or names an image twice or not at all.
    """
    groups = _read(path)
    images = table["image"].drop_duplicates()
    missing = [name for name in images if name not in groups]
    if missing:
        raise ValueError(
            f"data.groups: {path} names no group of {len(missing)} of {len(images)} images, as "
            f"{missing[0]}: make it anew, by data check --out FOLDER"
        )
    if more := len(groups) - len(images):
        log.warning("%s: %d of its images are not in the data set", path, more)
    return table.assign(group=table["image"].map(groups).astype("str"))


def _read(path: Path) -> dict[str, str]:
    """Return image → group."""
    if not path.is_file():
        raise FileNotFoundError(
            f"data.groups: there is no file {path}; data check --out writes one"
        )
    groups: dict[str, str] = {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.DictReader(file)
        if not set(COLUMNS) <= set(rows.fieldnames or ()):
            raise ValueError(f"data.groups: {path} has no columns {' and '.join(COLUMNS)}")
        for row in rows:
            image, group = (_plain(row[column] or "") for column in COLUMNS)
            if not image or not group or image in groups:
                what = f"{image} stands twice" if image in groups else "a name is missing"
                raise ValueError(f"data.groups: {path}, line {rows.line_num}: {what}")
            groups[image] = group
    return groups


def _plain(name: str) -> str:
    """Take off the apostrophe that keeps a spreadsheet from reading a formula."""
    return name[1:] if name[:2] in ("'=", "'+", "'-", "'@") else name
