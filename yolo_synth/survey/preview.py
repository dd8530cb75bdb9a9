"""Preview: a contact sheet of images with their boxes, or with the boxes that filters left out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_SUFFIXES: Final = (".png", ".jpg", ".jpeg")


def preview(
    data: str,
    split: str = "train",
    images: int = 12,
    seed: int = 0,
    dropped: bool = False,
    out: str = "preview.png",
    *,
    trust: bool = False,
) -> None:
    """Draw a contact sheet of images with their boxes, a colour a class.

    With --dropped it shows what the filters left out, and why: images are drawn for each reason in
    turn, those for the hood first.

    Args:
        data: File that names the data set, as experiments/data/bdd100k.yaml.
        split: train, valid or test.
        images: How many images to draw at random, of those with boxes as long as there are any.
        seed: Another seed draws other images.
        dropped: Show the boxes that the filters left out, instead of those that are used.
        out: File to write, .png or .jpg.
        trust: Whether classes from elsewhere that the file names are imported and run.
    """
    if Path(out).suffix.lower() not in _SUFFIXES:
        raise ValueError(f"--out is a .png or .jpg, not {out}")
    if images < 1:
        raise ValueError(f"--images is 1 at least, not {images}")
    from yolo_synth.survey.sheet import write_sheet  # brings PyTorch

    write_sheet(data, split, images, seed, dropped, out, trust)
