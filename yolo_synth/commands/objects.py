"""Objects: what networks make of true boxes and of the background, instead of whole pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

FEWEST: Final = 20
"""True boxes of a set, at least."""


def objects(
    networks: Sequence[str],
    data: str | tuple[str, ...] = (),
    out: str = "objects",
    boxes: int = 400,
    size: int | None = None,
    seed: int = 0,
    *,
    trust: bool = False,
) -> None:
    """Say how alike networks see objects, and how far apart each puts those of two domains.

    Rows are true boxes of the test images, and as many boxes of the background of the same sizes: of each
    the mean of the map that answers for it. For foreground, background, each class and each size: debiased
    CKA of every two networks, with an interval over pictures, or whole sequences, and what permuted ones
    give; and inside each network the distance between two domains beside that of two halves of one. Maps
    of late layers see far beyond a box, so the background there knows of objects nearby.

    Written into the folder OUT: objects.csv, and boxes.parquet, a row a network and box with its features.

    Args:
        networks: One or several: run folders, or networks of any kind as in `compare`.
        data: Data files with labels, as [real.yaml, synthetic.yaml]; by default those of the runs.
        out: Folder to write to.
        boxes: True boxes of each set, about.
        size: Side of the networks' input, in pixels; by default what the first one was made for.
        seed: Of the pictures, and of the places in the background.
        trust: Whether what runs as a program on loading, and classes from elsewhere, may run.
    """
    if boxes < FEWEST:
        raise ValueError(f"--boxes is at least {FEWEST}, not {boxes}")
    from yolo_synth.commands.likenesses import compare_objects  # brings PyTorch

    compare_objects(networks, data, out, boxes, size, seed, trust)
