"""Files in a data set's folders that nothing reads: none is passed over in silence."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from yolo_synth.data.listing import Listing

PICTURES: Final = (
    ".gif",
    ".heic",
    ".heif",
    ".avif",
    ".jp2",
    ".jxl",
    ".ppm",
    ".pgm",
    ".tga",
    ".dng",
)
"""Endings of images in forms that are not read."""

_EXPECTED: Final = ("classes.txt", ".cache", "thumbs.db", "desktop.ini")
"""What annotation tools and other programs leave beside images and labels."""

log = logging.getLogger(__name__)


def unused_files(listings: Iterable[Listing]) -> list[Path]:
    """Return the files that nothing reads, in folders of which something is read, sorted.

    Args:
        listings: All listings of a data set; a folder may be listed twice, by several endings.
    """
    listings = [one for one in listings if one.names]
    used = {(one.folder, name) for one in listings for name in one.names}
    found = {(one.folder, name) for one in listings for name in one.others}
    return sorted(
        folder / name for folder, name in found - used if not name.lower().endswith(_EXPECTED)
    )


def log_unused(root: Path, listings: Sequence[Listing]) -> None:
    """Log how many such files there are."""
    files = unused_files(listings)
    if files:
        log.warning(
            "%s: %d files beside the images and labels are not used: %s, as %s",
            *(root, len(files), by_ending(files), files[0]),
        )


def by_ending(files: Iterable[Path]) -> str:
    """Say how many files there are of each ending, as "2 .gif, 1 .xml"."""
    counts = Counter(file.suffix.lower() or "without ending" for file in files)
    return ", ".join(f"{number} {ending}" for ending, number in sorted(counts.items()))
