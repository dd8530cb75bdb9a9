"""The paper's figures beside this report's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from yolo_synth.comparison import BIASED
from yolo_synth.probe import Label
from yolo_synth.report import paper
from yolo_synth.report.notes import differences
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.study import Study


class Scorecard(NamedTuple):
    """What the paper's figures are set beside.

    Attributes:
        frames: This report's Tables 2 to 5, by their keys.
        models: The paper's names of models, and what they are called here.
        differences: How the study differs from the paper's.
    """

    frames: Mapping[str, pd.DataFrame]
    models: Mapping[str, str]
    differences: Sequence[str]


def compute(study: Study) -> Scorecard:
    """Return the tables that are written before, what the paper's models are called, and what differs."""
    return Scorecard(study.tables, models_here(study.labels), differences(study))


def models_here(labels: Sequence[Label]) -> dict[str, str]:
    """Return what the paper's models are called here; of several like one, the first."""
    found: dict[str, str] = {}
    for label in labels:
        if name := paper.model_of(label):
            found.setdefault(name, label.model)
    return found


def tables(result: Scorecard) -> Iterator[Table]:
    """Yield the scorecard, if any of its numbers is here."""
    rows = [
        (f"Table {figure.table}", figure.row, figure.column, figure.seed, figure.value)
        for figure in paper.figures()
    ]
    frame = pd.DataFrame(rows, columns=["table", "model", "figure", "seed", "paper"])
    frame["ours"] = [_ours(result, figure) for figure in paper.figures()]
    frame["difference"] = frame["ours"] - frame["paper"]
    if frame["ours"].isna().all():
        return
    yield Table(
        "scorecard",
        "Scorecard: the paper and this report",
        f"{_remark(result.differences)} Table 2: mAP@0.5 by test images; Tables 3 and 4: layer outputs "
        "for real probe images at 416 x 416 and 32 x 32; Table 5: mean biased CKA, real probe images at "
        "32 x 32.",
        frame.set_index(["table", "model", "figure", "seed"]),
    )


def _remark(differences: Sequence[str]) -> str:
    if not differences:
        return "The data splits, the network and the image size are the paper's."
    return "Not the paper's study, so that the numbers are not expected to agree: " + " ".join(
        differences
    )


def _ours(result: Scorecard, figure: paper.Figure) -> float:
    models = [result.models.get(name, name) for name in figure.row.split(" vs ")]
    seed = f"seed {figure.seed}"
    row: object = models[0]
    column: object = (figure.column, seed)
    if figure.table in (3, 4):
        row, column = ("Real", models[0], figure.seed), figure.column
    elif figure.table == 5:
        row = ("Real", paper.PROBE_SIZE, " vs ".join(models))
        column = (BIASED, figure.column, seed)
    frame = result.frames.get(f"table_{figure.table}")
    if frame is None or row not in frame.index or column not in frame.columns:
        return float("nan")
    return float(frame.loc[row, column])  # type: ignore[index, arg-type]


PANEL = Panel("scorecard", "Scorecard", compute, tables)
