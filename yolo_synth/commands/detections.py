"""What `detect` does: what any detector finds in pictures, drawn and as files for other programs."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import closing

import pandas as pd

from yolo_synth.annotated import Annotator
from yolo_synth.claims import new_folder
from yolo_synth.commands.networks import read_network
from yolo_synth.data.shots import open_shots
from yolo_synth.detecting import Found, detector_of
from yolo_synth.escaping import csv_text, say
from yolo_synth.files import write_whole
from yolo_synth.found import box_table, result_rows
from yolo_synth.networks.quick import Precision

log = logging.getLogger(__name__)

RESULTS, TABLE, PICTURES = "detections.json", "detections.parquet", "pictures.csv"


def write_detections(
    reference: str,
    source: str,
    out: str,
    confidence: float,
    size: int | None,
    batch_size: int,
    precision: Precision,
    no_pictures: bool,
    trust: bool,
) -> None:
    """Find objects in pictures and write them into a new folder."""
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
