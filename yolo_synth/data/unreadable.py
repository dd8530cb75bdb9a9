"""Find the images that cannot be read before training begins, so that all that follows knows them.

Leaving one out only when it turns up would make batches, mAP and predictions depend on where it does.
"""

from __future__ import annotations

import logging
from typing import Protocol

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from yolo_synth.data.images import ImageError, Picture, use_one_thread

log = logging.getLogger(__name__)


class Pictures(Protocol):
    """Images that can be asked for by number; one that cannot be read raises `ImageError`."""

    def __len__(self) -> int: ...

    def picture(self, index: int) -> Picture:
        """Read an image."""


def log_unreadable(pictures: Pictures, what: str, most: float, workers: int) -> dict[int, str]:
    """Find the images of a split that cannot be read, and log each.

    Args:
        pictures: The images.
        what: What they are called, as `BDD100K test`.
        most: Share of them that may be bad.
        workers: Processes that read; 0 reads in this one.

    Returns:
        What is the matter with each, by its number.

    Raises:
        ValueError: If there are more of them.
    """
    total = len(pictures)
    limit = int(most * total)
    bad = unreadable(pictures, workers, limit, f"reading {what} images")
    if len(bad) > limit:
        raise ValueError(
            f"more than {limit} of the {total} {what.split()[-1]} images cannot be read, and "
            "data.max_skipped allows no more: fetch them anew, or raise it; one is "
            f"{list(bad.values())[-1]}"
        )
    for message in bad.values():
        log.warning("left out: %s", message)
    if bad:
        log.warning(
            "%s: %d of %d images are left out of all that follows, because they cannot be read",
            *(what, len(bad), total),
        )
    return bad


def unreadable(pictures: Pictures, workers: int, limit: int, title: str) -> dict[int, str]:
    """Read every image once, with a progress bar.

    Args:
        pictures: The images.
        workers: Processes that read; 0 reads in this one.
        limit: How many may be bad; reading ends with the first one beyond.
        title: Before the progress bar.

    Returns:
        What is the matter with each image that cannot be read, by its number; at most `limit` + 1.
    """
    messages = DataLoader(
        _Messages(pictures),
        batch_size=64,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=use_one_thread,
    )
    bad: dict[int, str] = {}
    done = 0
    total = len(pictures)
    with tqdm(desc=title, total=total, unit="image", delay=1, leave=False, disable=None) as bar:
        for batch in messages:
            bad |= {done + place: message for place, message in enumerate(batch) if message}
            done += len(batch)
            bar.update(len(batch))
            if len(bad) > limit:
                break
    return dict(list(bad.items())[: limit + 1])


class _Messages(Dataset[str]):
    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> str:
        try:
            self._pictures.picture(index)
        except ImageError as error:
            return str(error)
        return ""
