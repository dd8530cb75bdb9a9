"""Detect: what any detector finds in pictures, drawn and as files for other programs."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Literal

import pandas as pd

from yolo_synth.annotated import Annotator
from yolo_synth.claims import new_folder
from yolo_synth.commands.networks import read_network
from yolo_synth.data.shots import open_shots
from yolo_synth.detecting import SHOWN, Found, detector_of
from yolo_synth.escaping import csv_text, say
from yolo_synth.files import write_whole
from yolo_synth.found import box_table, result_rows

log = logging.getLogger(__name__)

RESULTS, TABLE, PICTURES = "detections.json", "detections.parquet", "pictures.csv"


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
    shots = open_shots(source, trust=trust)
    detector = detector_of(
        read_network(reference, trust),
        confidence=confidence,
        size=size,
        precision=precision,
        batch=batch_size,
    )
    classes = detector.reference.classes
    found: list[Found] = []
    with new_folder(out, "detects") as folder:
        with closing(Annotator(folder, classes, shots.rate)) as annotator:
            for one in detector.find(shots.each, shots.total):
                if one.problem:
                    log.warning("left out: %s", one.problem)
                elif not no_pictures:
                    annotator.draw(one)
                found.append(one._replace(shot=one.shot._replace(frame=None)))
        _refuse_all_broken(found, source)
        rows = list(result_rows(found, classes))
        boxes = box_table(found, classes)
        write_whole(folder / RESULTS, json.dumps(rows, allow_nan=False))
        write_whole(folder / TABLE, lambda file: boxes.to_parquet(file, index=False))
        write_whole(folder / PICTURES, csv_text(_pictures(found), index=False))
    say(summary(found, boxes), f"see {out}")


def _refuse_all_broken(found: Sequence[Found], source: str) -> None:
    broken = [one.problem for one in found if one.problem]
    if not found:
        raise ValueError(f"{source}: has no picture that can be read; name another")
    if len(broken) == len(found):
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise ValueError(f"{source}: has no picture that can be read: {broken[0]}{more}")


def _pictures(found: Sequence[Found]) -> pd.DataFrame:
    """Return a row a picture: its size, how many boxes it has, and why it cannot be read."""
    rows = [(one.shot.name, one.width, one.height, len(one.labels), one.problem) for one in found]
    return pd.DataFrame(rows, columns=["image", "width", "height", "boxes", "problem"])


def summary(found: Sequence[Found], boxes: pd.DataFrame) -> str:
    """Say how much was found, of which classes, and what was left out."""
    broken = sum(bool(one.problem) for one in found)
    counts = Counter(boxes["class"].tolist()).most_common(10)
    kinds = f" ({', '.join(f'{count:,} {name}' for name, count in counts)})" if counts else ""
    text = f"{len(boxes):,} boxes{kinds} in {len(found) - broken:,} pictures"
    return f"{text}; {broken:,} could not be read: see {PICTURES}" if broken else text
