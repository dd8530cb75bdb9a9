"""What `objects` does: what networks make of true boxes and of the background."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd

from yolo_synth.claims import claimed
from yolo_synth.commands.classes import silent
from yolo_synth.commands.networks import data_for, read_networks
from yolo_synth.detecting import as_reference
from yolo_synth.escaping import csv_text, say
from yolo_synth.evaluation import domain_data
from yolo_synth.files import write_whole
from yolo_synth.objects.rows import Rows, take_rows
from yolo_synth.objects.study import Objects, study_objects
from yolo_synth.runs import Run

BOXES, TABLE = "boxes.parquet", "objects.csv"


def compare_objects(
    networks: Sequence[str],
    data: str | tuple[str, ...],
    out: str,
    boxes: int,
    size: int | None,
    seed: int,
    trust: bool,
) -> None:
    """Compare what networks make of boxes and write it into a folder."""
    read = read_networks(networks, trust)
    configs = domain_data([one for one in read if isinstance(one, Run)], data)
    if not configs:
        raise ValueError("objects needs --data: a data file that names labelled test images")
    references = {one.name: as_reference(one) for one in read}
    if len(references) < len(networks):
        raise ValueError(f"two networks are called {read[0].name}: name each once")
    first, *others = references.values()
    wants = first.preprocessing
    for other in others:
        theirs = other.preprocessing
        side = wants.side(size or wants.size or theirs.size or 0)
        if theirs.side(side) != side or theirs.resize != wants.resize:
            raise ValueError(
                f"{other.name} takes no images of {side} pixels by {wants.resize}, as {first.name} does: "
                "give both a --size that they take"
            )
    sets: list[Rows] = []
    with claimed(Path(out), "writes objects"):
        for domain, config in configs.items():
            with silent() if sets else nullcontext():
                module = data_for(read[0], config, trust, size)
                if size is not None:
                    module.image_size = wants.side(size)
                module.prepare_data()
            sets.append(take_rows(module, domain, most=boxes, seed=seed))
        found = study_objects({name: one.network for name, one in references.items()}, sets)
        write_objects(found, Path(out))
    say(summary(found), f"see {Path(out) / TABLE} and {Path(out) / BOXES}")


def write_objects(found: Objects, folder: Path) -> None:
    """Write the table and the boxes' features, each whole or not at all."""
    named = [
        frame.assign(measure=name) for name, frame in zip(("CKA", "gap"), found[:2], strict=True)
    ]
    table = pd.concat([frame for frame in named if len(frame)] or named, ignore_index=True)
    write_whole(folder / TABLE, csv_text(table, index=False))
    write_whole(folder / BOXES, lambda file: found.boxes.to_parquet(file, index=False))


def summary(found: Objects) -> str:
    """Return both tables as text."""
    titles = (
        "How alike networks see boxes: debiased CKA, floor of permuted groups of them",
        "How far apart a network puts boxes of two domains: MMD\N{SUPERSCRIPT TWO} over the variance "
        "within, floor of two halves of one",
    )
    parts = []
    for title, frame in zip(titles, found[:2], strict=True):
        if len(frame):
            empty = [name for name in frame if frame[name].isin(["", np.nan]).all()]
            shown = frame.drop(columns=empty)
            text = shown.to_string(index=False, float_format="{:.3f}".format, na_rep="-")
            parts += [title, text]
    return "\n\n".join(parts) or "too few pictures with boxes for any part: give more by --boxes"
