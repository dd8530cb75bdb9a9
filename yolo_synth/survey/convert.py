"""Convert: any data set that can be trained on, in COCO's or YOLO's format."""

from __future__ import annotations

from pathlib import Path

from yolo_synth.data import Format, Placing
from yolo_synth.escaping import say


def convert(
    data: str,
    to: Format = "coco",
    out: str = "converted",
    images: Placing = "link",
    *,
    trust: bool = False,
) -> None:
    """Write a data set as COCO JSON or YOLO text files, as it is trained on.

    The same splits, classes, filters and conditions: boxes that are left out in training are not
    written. Images take no space twice where they can be hard links, on their own disk; elsewhere they
    are copied, and it is said how much that is.

    Args:
        data: File that names the data set, as experiments/data/bdd100k.yaml.
        to: coco or yolo.
        out: Folder to make.
        images: link makes hard links (two names of one file, so a change shows in both) or else copies;
            copy always copies; symlink points to where the images are, on any disk, for other programs
            alone: yolo-synth reads nothing that lies outside of a data set's folder.
        trust: Whether classes from elsewhere that the file names are imported and run.
    """
    from yolo_synth.data.convert import write_converted  # brings PyTorch
    from yolo_synth.data.source import open_data

    module = open_data(data, trust=trust)
    boxes = write_converted(module, to, Path(out), images)
    counts = ", ".join(
        f"{len(module.names(split))} {split}" for split in ("train", "valid", "test")
    )
    say(f"{out}: {counts} images with {boxes} boxes")
