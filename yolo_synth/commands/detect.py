"""Detect: what any detector finds in pictures, drawn and as files for other programs."""

from __future__ import annotations

from typing import Literal

from yolo_synth.networks import SHOWN


def detect(
    reference: str,
    source: str,
    out: str = "detections",
    confidence: float = SHOWN,
    size: int | None = None,
    batch_size: int = 8,
    precision: Literal["float32", "bfloat16"] = "float32",
    no_pictures: bool = False,
    *,
    trust: bool = False,
) -> None:
    """Find objects in a picture, a folder of pictures, a video or a data file's test images.

    Written into the new folder OUT: pictures/, or the video, with the boxes drawn; detections.json,
    COCO's result format with images and classes called by their names, as diff takes it;
    detections.parquet, a row a box; pictures.csv, a row a picture. Boxes are in pixels of the original
    pictures. A picture that cannot be read is listed and left out.

    Args:
        reference: The detector: a run folder, torchvision:NAME:FILE, a folder of transformers,
            Ultralytics' FILE.pt, Darknet's FILE.weights or FILE.py:FUNCTION.
        source: A picture, a folder (and the folders in it), a video (.mp4, .avi, .mov, .mkv, .webm) or a
            data file (.yaml).
        out: Folder to write to, which is not there yet.
        confidence: Least score of a box; for diff and average precision 0.001.
        size: Side of the network's input, in pixels; by default what it was made for, or 416.
        batch_size: Pictures that the network is shown at a time.
        precision: bfloat16 is two to three times as fast on processors that have it; scores and boxes
            then differ a little.
        no_pictures: Whether to draw none.
        trust: Whether what runs as a program on loading, and classes from elsewhere that files name,
            may run.
    """
    from yolo_synth.commands.detections import write_detections  # brings PyTorch

    write_detections(
        reference, source, out, confidence, size, batch_size, precision, no_pictures, trust
    )
