"""What the detectors are good and bad at: confidence, calibration, recall by part, confusion."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from yolo_synth.analysis.figures.diagnosis import MOST, diagnosis_sheet
from yolo_synth.diagnosis import CONFIDENCES
from yolo_synth.diagnosis_tables import summary, to_frames
from yolo_synth.files import file_name
from yolo_synth.report.figures import Drawing, inline_svg
from yolo_synth.report.panel import Panel, Section, Table
from yolo_synth.report.study import Study
from yolo_synth.report.words import number


class Diagnosed(NamedTuple):
    """A run on the test images of a domain, and what was found of it."""

    model: str
    seed: int
    domain: str
    found: dict[str, Any]


def compute(study: Study) -> list[Diagnosed]:
    """Return the diagnoses of all runs on all domains, of those that have one."""
    if "diagnosis" not in study.scores:
        return []
    rows = study.scores[["model", "seed", "domain", "diagnosis"]].itertuples(index=False)
    return [Diagnosed(*map(_own, row)) for row in rows if row.diagnosis]


def _own(value: Any) -> Any:  # noqa: ANN401
    return value.item() if hasattr(value, "item") else value


def tables(runs: list[Diagnosed]) -> Iterator[Table]:
    """Yield the values at the best confidence, recall by part, and the confusions."""
    if not runs:
        return
    keys = [(run.domain, run.model, run.seed) for run in runs]
    names = ["test images", "model", "seed"]
    frames = [to_frames(run.found) for run in runs]
    yield Table(
        "diagnosis",
        "Where F1 is best, and calibration",
        "All classes pooled, at IoU 0.5. Confidence: the least score at which F1 is best, with precision "
        "and recall there. Calibration error: the expected difference of score and share that is right, "
        "of detections from 0.05 on, in ten bins. Intervals: 95 %, bootstrap of images or whole "
        "sequences.",
        pd.DataFrame(
            [summary(run.found) for run in runs], index=pd.MultiIndex.from_tuples(keys, names=names)
        ),
    )
    for key, title, caption in (
        (
            "recall",
            "Recall by class, size and condition",
            "At each run's best confidence: the share of true boxes that are found at IoU 0.5, with its "
            "95 % interval. Sizes are COCO's, in pixels of the pictures; conditions as the data name "
            "them.",
        ),
        (
            "confusion",
            "What is taken for what",
            "At each run's best confidence, whatever the class, at IoU 0.5: rows are the true class, "
            "columns what it was called; in the row background are false alarms.",
        ),
        (
            "confidence_curves",
            "Precision, recall and F1 over confidence",
            "Classes pooled, IoU 0.5.",
        ),
    ):
        parts = dict(zip(keys, (frame[key] for frame in frames), strict=True))
        frame = pd.concat(parts, names=names)
        yield Table(f"diagnosis_{key}", title, caption, frame, is_data=key != "recall")


def sentences(runs: list[Diagnosed]) -> Iterator[str]:
    """Say at which confidence F1 is best on each domain, of the models' first seeds."""
    for domain, shown in _by_domain(runs).items():
        parts = []
        for name, found in shown.items():
            values = found["values"]
            ends = [values[f"confidence_{end}"] for end in ("low", "high")]
            sure = "" if None in ends else f" [{number(ends[0])}, {number(ends[1])}]"
            parts.append(
                f"{name} {number(values['confidence'])}{sure}, where it is {number(values['f1'])}"
            )
        yield f"On {domain} test images F1 is best from these confidences on: {'; '.join(parts)}."


def _by_domain(runs: list[Diagnosed]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the diagnoses of each model's first seed, by domain and run."""
    shown: dict[str, dict[str, dict[str, Any]]] = {}
    seeds: dict[tuple[str, str], int] = {}
    for run in runs:
        if seeds.setdefault((run.domain, run.model), run.seed) == run.seed:
            shown.setdefault(run.domain, {})[f"{run.model}/{run.seed}"] = run.found
    return shown


def figures(runs: list[Diagnosed]) -> Iterator[Drawing]:
    """Yield a sheet a domain, of the models' first seeds."""
    for domain, shown in _by_domain(runs).items():
        name = file_name(f"diagnosis_{domain.lower()}")
        yield Drawing(name, partial(_draw, domain, shown), [shown, domain])


def _draw(domain: str, shown: dict[str, dict[str, Any]]) -> Figure:
    return diagnosis_sheet(shown, CONFIDENCES.tolist(), f"{domain} test images")


def section(runs: list[Diagnosed]) -> Section:
    """Return the sheets."""
    svgs = [inline_svg(_draw(*pair)) for pair in _by_domain(runs).items()]
    return Section(
        "diagnosis",
        "What the detectors are good and bad at",
        f"One seed of each model, at most {MOST} models. All classes pooled, at IoU 0.5; shades and bars "
        "are 95 % intervals over images or whole sequences. Below: rows are the true class, columns what "
        "it was called, the last row false alarms.",
        pictures=svgs,
    )


PANEL = Panel("diagnosis", "Diagnosis", compute, tables, sentences, figures, section)
