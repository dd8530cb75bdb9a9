"""A second opinion: what other families of measures say of the same layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from yolo_synth.analysis.activations.statistics import agreement
from yolo_synth.analysis.similarity.measures import MEASURES
from yolo_synth.comparison import Comparison
from yolo_synth.report.pairs import main_pairs
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.study import Study
from yolo_synth.report.words import listed, named, numbers


def compute(study: Study) -> list[Comparison]:
    """Return the pairs of which other measures were asked: two runs of one seed at the paper's size."""
    return [pair for pair in study.pairs if "angle" in pair.series]


def tables(pairs: Sequence[Comparison]) -> Iterator[Table]:
    """Yield what the other measures say beside CKA."""
    rows = [
        {
            "probe images": pair.probe,
            "size": pair.size,
            "pair": pair.name,
            **{
                f"{measure}, {part}": pair.series[measure].means(pair.structure.parts)[part]
                for measure in MEASURES
                for part in pair.structure.parts
            },
            **opinions(pair),
        }
        for pair in pairs
    ]
    if rows:
        yield Table(
            "second_opinion",
            "A second opinion: other families of measures",
            "Angle: angular Procrustes distance in radians, 0 for layers that agree up to rotation and "
            "scale, at most 1.57. Neighbours: share of an image's 10 nearest neighbours that both "
            "networks agree on. The last three columns: Spearman's correlation over the layers, the "
            "angle's sign turned; near 1 where two families of measures rank the layers alike. None is "
            "right everywhere (Klabunde et al. 2025).",
            pd.DataFrame(rows).set_index(["probe images", "size", "pair"]),
        )


def opinions(pair: Comparison) -> dict[str, float]:
    """Return how alike CKA, angle and neighbours rank a pair's layers: Spearman's correlations."""
    values = {"CKA": pair.debiased_series.value}
    values |= {measure: pair.series[measure].value for measure in ("angle", "neighbours")}
    ranks = agreement(pd.DataFrame(values), distances=["angle"]).to_numpy()
    return {
        f"{first} and {second}": float(ranks[i, j])
        for (i, first), (j, second) in combinations(enumerate(values), 2)
    }


def sentences(pairs: Sequence[Comparison]) -> Iterator[str]:
    """Say whether other families of measures rank the layers alike, and which layers match."""
    for group in main_pairs(pairs):
        yield _second_opinion(group)


def _second_opinion(group: Sequence[Comparison]) -> str:
    ranks = [opinions(pair) for pair in group]
    pair = group[0]
    text = (
        f"A second opinion, {named(group).rstrip(',')} ({pair.images} {pair.probe} images at "
        f"{pair.size}x{pair.size}): Spearman's correlation over the layers is "
        f"{numbers(each['CKA and angle'] for each in ranks)} between debiased CKA and angular "
        f"Procrustes and {numbers(each['CKA and neighbours'] for each in ranks)} between CKA and "
        "shared nearest neighbours, where 1 is the same ranking."
    )
    if not all("match" in pair.series for pair in group):
        return text
    matches = [pair.series["match"] for pair in group]
    same = listed(int((match.value == np.arange(len(match))).sum()) for match in matches)
    clear = listed(int(match.significant.sum()) for match in matches)
    return (
        f"{text} In {same} of {len(matches[0])} layers the layer of the same number matches best, and "
        f"in {clear} the best match is beyond chance."
    )


PANEL = Panel("opinion", "A second opinion", compute, tables, sentences)
