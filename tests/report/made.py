"""Comparisons made up for tests, and what the report's panels say of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from yolo_synth.analysis.activations.structure import structure_of
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.comparison import Comparison
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.probe import INITIAL_STATE, Label
from yolo_synth.report.models import Models
from yolo_synth.report.panels import freezing, gap, opinion, scores, similarity, start, verdicts

STRUCTURE = structure_of(YOLOv3(width=0.0625), backbone_end=75)


def label(name: str) -> Label:
    """Return the label of a network that is called as the paper calls it."""
    if name == INITIAL_STATE:
        return label("U-Real/0")._replace(is_initial=True)
    model, _, seed = name.rpartition("/")
    frozen = "backbone" if model.startswith("F") else "none"
    return Label(model, int(seed), frozen, model.partition("-")[2])


def comparison(first, second, biased, debiased, probe="Real", images=200, size=32, **rows):
    """Return a comparison; rows are those of the debiased CKA, or other series by name."""
    others = {name: rows.pop(name) for name in list(rows) if isinstance(rows[name], LayerSeries)}
    a, b = label(first), label(second)
    if b.is_initial:
        b = a._replace(is_initial=True)
    series = {"debiased": LayerSeries(np.diag(debiased).copy(), **rows), **others}
    return Comparison(a, b, probe, images, size, STRUCTURE, biased, debiased, series)


def findings(
    frame: pd.DataFrame,
    pairs=(),
    gaps=(),
    contrasts=(),
    panels=(start, scores, similarity, verdicts),
    models=None,
) -> list[str]:
    """Return the panels' sentences in the report's order."""
    seen = {network for pair in pairs for network in (pair.first, pair.second)}
    names = {f"{model}/{seed}" for model, seed in frame[["model", "seed"]].to_numpy()}
    labels = seen | {label(name) for name in names - {network.run for network in seen}}
    given = sorted(network for network in labels if not network.is_initial)
    nothing = dict.fromkeys({(pair.probe, pair.size) for pair in pairs}, Models({}, {}))
    study = SimpleNamespace(
        pairs=list(pairs),
        scores=frame,
        labels=given,
        margin=0.1,
        models=nothing | (models or {}),
    )
    said = [s for panel in panels for s in panel.sentences(panel.compute(study))]
    said += opinion.sentences(opinion.compute(study))
    said += gap.sentences(list(gaps))
    two = [pair for pair in pairs if pair.is_two_runs]
    return [*said, *freezing.sentences(freezing.Freezing(given, frame, two, contrasts))]
