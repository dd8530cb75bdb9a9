"""What the intervals allow to say: which layers cannot be told from chance, or from two seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from yolo_synth.analysis.similarity.series import CONSTANT, SEEDS, WORDS, part_means
from yolo_synth.comparison import Comparison
from yolo_synth.report.pairs import is_one_model, main_pairs
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.study import Study
from yolo_synth.report.words import listed, named, numbers


def compute(study: Study) -> list[Comparison]:
    """Return the pairs of two models that have intervals."""
    return [
        pair
        for pair in study.pairs
        if pair.is_two_runs and not is_one_model(pair) and pair.debiased_series.low is not None
    ]


def tables(pairs: Sequence[Comparison]) -> Iterator[Table]:
    """Yield how many layers get each verdict."""
    rows = []
    for pair in pairs:
        words = pair.debiased_series.verdict()
        means = part_means(pair.debiased_series.calibrated(), pair.structure.parts)
        rows.append(
            {
                "probe images": pair.probe,
                "size": pair.size,
                "pair": pair.name,
                **{word: int((words == word).sum()) for word in WORDS},
                **{f"calibrated, {part}": means[part] for part in pair.structure.parts},
            }
        )
    if rows:
        yield Table(
            "verdicts",
            "What the intervals allow to say",
            "Number of layers. Not told from two seeds: the interval reaches up to that of two seeds of "
            "one model, and the value is beyond chance. Not told from chance: the p-value of permuted "
            "images (whole sequences where they come in such), corrected over the layers, is above 0.05. "
            "Between: neither. Undecided: beyond chance, but there are not two seeds or too few "
            "sequences for an interval. What cannot "
            "be told apart may still differ: more images tell more. Calibrated: the mean place of the "
            "debiased CKA between the mean of permuted images (0) and two seeds (1).",
            pd.DataFrame(rows).set_index(["probe images", "size", "pair"]),
        )


def sentences(pairs: Sequence[Comparison]) -> Iterator[str]:
    """Count the layers above chance, and those that reach two seeds of one model."""
    for group in main_pairs(pairs):
        yield _against_references(group)


def _against_references(group: Sequence[Comparison]) -> str:
    series = [pair.debiased_series for pair in group]
    words = [one.verdict() for one in series]
    valued = max(int((each != CONSTANT).sum()) for each in words)
    pair = group[0]
    text = (
        f"Judged layer by layer, {named(group).rstrip(',')} ({pair.probe} images at "
        f"{pair.size}x{pair.size}): beyond the chance of permuted images or sequences, "
        f"corrected over the layers, in {listed(int(one.significant.sum()) for one in series)} of "
        f"{valued} layers"
    )
    if any(one.ceiling is None for one in series):
        return (
            f"{text}; how far two trainings of one model are apart is unknown, since there is one "
            "seed."
        )
    reached = listed(int((each == SEEDS).sum()) for each in words)
    places = [part_means(one.calibrated(), pair.structure.parts) for one in series]
    backbone, head = (numbers(place[part] for place in places) for part in ("backbone", "head"))
    return (
        f"{text}; of these, it reaches the interval of two seeds of one model in {reached}. Between "
        f"permuted images (0) and two seeds (1), the debiased CKA has its mean place at {backbone} "
        f"over the backbone and {head} over the head."
    )


PANEL = Panel("verdicts", "Verdicts", compute, tables, sentences)
