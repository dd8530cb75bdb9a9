"""What the tests allow to say: which layers are beyond chance, and which below two seeds of one model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from yolo_synth.analysis.similarity.chance import SIGNIFICANT
from yolo_synth.analysis.similarity.series import (
    ALIKE,
    BELOW,
    CONSTANT,
    SHARED,
    WORDS,
    LayerSeries,
    part_means,
)
from yolo_synth.analysis.similarity.trainings import Alike
from yolo_synth.comparison import Comparison
from yolo_synth.report.models import Models, of_two
from yolo_synth.report.pairs import is_one_model, main_pairs
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.study import Study
from yolo_synth.report.words import bracketed, interval, listed, named, number, percent, span

Ends = tuple[float, float, float]
"""A value and its interval."""

_FEW: Final = 2
"""Stretches of layers, or regions, that a short sentence names."""


class Verdicts(NamedTuple):
    """What the panel speaks of.

    Attributes:
        pairs: Pairs of two models that have been tested.
        models: What is known of every two models, by probe and size.
        seeds: How many seeds each model has.
        margin: By which fraction two models may differ from two seeds and be called as alike.
    """

    pairs: Sequence[Comparison]
    models: Mapping[tuple[str, int], Models]
    seeds: Mapping[str, int]
    margin: float


def compute(study: Study) -> Verdicts:
    """Return the pairs of two models that have been tested, and what they are held against."""
    pairs = [
        pair
        for pair in study.pairs
        if pair.is_two_runs and not is_one_model(pair) and pair.debiased_series.p is not None
    ]
    return Verdicts(
        pairs, study.models, Counter(label.model for label in study.labels), study.margin
    )


def tables(result: Verdicts) -> Iterator[Table]:
    """Yield how many layers get each verdict."""
    rows = []
    for pair in result.pairs:
        words = pair.debiased_series.verdict()
        means = part_means(pair.debiased_series.calibrated(), pair.structure.parts)
        floor = pair.debiased_series.untrained
        nothing = np.full(len(pair.structure), np.nan)
        untrained = part_means(nothing if floor is None else floor, pair.structure.parts)
        rows.append(
            {
                "probe images": pair.probe,
                "size": pair.size,
                "pair": pair.name,
                **{word: int((words == word).sum()) for word in (*WORDS, SHARED)},
                "beyond chance within sequences": _count_within(pair),
                **{f"untrained, {part}": untrained[part] for part in pair.structure.parts},
                **{f"calibrated, {part}": means[part] for part in pair.structure.parts},
            }
        )
    if rows:
        yield Table(
            "verdicts",
            "What the tests allow to say",
            "Number of layers. Not told from chance: the p-value of permuted images, or between sequences "
            "where images come in such (whole ones permuted, by their means), corrected over the layers, "
            "is above 0.05; the null within sequences (their means taken out, images permuted within each) "
            "is counted beside it. Below two seeds: the debiased CKA of all pairs of seeds of the two "
            "models, over what two seeds of one model reach (the geometric mean of both), is below 1, by "
            "a jackknife over images, corrected over the layers. "
            f"As two seeds: within {percent(result.margin)} of that, by two one-sided tests. Undecided: "
            "neither is shown, or there are not two seeds; more images decide more. The same in both: "
            "frozen, or shared. Untrained: mean debiased CKA of two networks of this architecture that "
            "nobody trained, on the same images. Calibrated: its mean place between the mean of "
            "permuted images (0) and two seeds (1).",
            pd.DataFrame(rows).set_index(["probe images", "size", "pair"]),
        )


def _count_within(pair: Comparison) -> float:
    within = pair.series.get("within")
    return float("nan") if within is None else int((within.significant & ~within.shared).sum())


def sentences(result: Verdicts) -> Iterator[str]:
    """Count the layers beyond chance, below two seeds of one model, and as two seeds."""
    for group in main_pairs(result.pairs):
        yield _against_chance(group) + _against_seeds(result, group)


def _against_chance(group: Sequence[Comparison]) -> str:
    series = [pair.debiased_series for pair in group]
    pair = group[0]
    in_groups = "within" in pair.series
    between = "between sequences (whole ones permuted, by their means)" if in_groups else ""
    return (
        f"Judged layer by layer, {named(group).rstrip(',')} ({pair.probe} images at "
        f"{pair.size}x{pair.size}): beyond chance {between or 'of permuted images'}, "
        f"corrected over the layers, in {_beyond(series)} of "
        f"{max(_judged(one) for one in series)} layers{_within(group)}.{_untrained(pair)}"
    )


def _beyond(series: Sequence[LayerSeries]) -> str:
    return listed(int((one.significant & ~one.shared).sum()) for one in series)


def _within(group: Sequence[Comparison]) -> str:
    """Count the layers beyond the null within sequences, where there are any."""
    series = [pair.series["within"] for pair in group if "within" in pair.series]
    if not series:
        return ""
    return (
        ", and within sequences (their means taken out, images permuted within each) in "
        f"{_beyond(series)}"
    )


def _untrained(pair: Comparison) -> str:
    """Say what two untrained networks have, as the second floor."""
    values = pair.debiased_series.untrained
    if values is None:
        return ""
    means = part_means(values, pair.structure.parts)
    texts = listed(f"{number(means[part])} over the {part}" for part in pair.structure.parts)
    return f" Two untrained networks of this architecture have a mean debiased CKA of {texts}."


def short(result: Verdicts) -> str:
    """Say in which layers two models part by more than two seeds, if the tests can tell."""
    groups = main_pairs(result.pairs)
    if not groups:
        return ""
    pair, series = groups[0][0], groups[0][0].debiased_series
    both = " and ".join(pair.models)
    alike = of_two(result.models[pair.probe, pair.size].whole, pair.models)
    if max(result.seeds[model] for model in pair.models) < 2:
        return (
            f"Whether {both} part by more than two seeds of one model is undecided, since there is one "
            f"seed of each{_means(pair, alike)}: train a second one."
        )
    total = _judged(series)
    if series.p_below is None or series.p_alike is None or not total:
        return ""
    words = _held(series)
    below = words == BELOW
    seen = f"seen with {pair.probe} images"
    if not below.any():
        same = int((words == ALIKE).sum())
        if same == total:
            return (
                f"{both}, {seen}, are as alike as two seeds of one model within "
                f"{percent(result.margin)} in all {total} layers{_of_seeds(pair, alike)}."
            )
        return (
            f"Whether {both}, {seen}, part by more than two seeds of one model is undecided: they are "
            f"below in 0 and as alike in {same} of {total} layers{_of_seeds(pair, alike)}."
        )
    return (
        f"{both}, {seen}, are less alike than two seeds of one model in {int(below.sum())} of {total} "
        f"layers{_layers(below)}{_least(groups[0])}{_of_seeds(pair, alike)}."
    )


def _held(series: LayerSeries) -> npt.NDArray[np.str_]:
    """Return the verdicts of a pair of models, in layers not told from chance in one of seeds too."""
    return replace(series, p=np.zeros(len(series))).verdict()


def _layers(chosen: npt.NDArray[np.bool_]) -> str:
    """Write which layers there are, if they are few stretches and not all."""
    ends = np.flatnonzero(np.diff(np.r_[0, chosen.astype(int), 0])).reshape(-1, 2).tolist()
    few = len(ends) <= _FEW and not chosen.all()
    return f" ({' and '.join(_bare(range(*pair)) for pair in ends)})" if few else ""


def _bare(layers: range) -> str:
    """Write layers without the word."""
    return span(layers).rpartition(" ")[2]


def _least(group: Sequence[Comparison]) -> str:
    """Name the scale regions that may be the least alike one in any pair of seeds, if they are few."""
    regions: dict[range, None] = {}
    for pair in group:
        if "p_lowest_region" not in pair.series:
            return ""
        can_be = pair.series["p_lowest_region"].value > SIGNIFICANT
        regions |= {region: None for region in pair.structure.regions if can_be[region.start]}
        values = pair.debiased_series.value
        known = [r for r in pair.structure.regions if np.isfinite(values[r]).any()]
        regions[min(known, key=lambda r: float(np.nanmean(values[r])))] = None
    if len(regions) > _FEW:
        return ""
    return f", least in layers {' or '.join(map(_bare, sorted(regions, key=lambda r: r.start)))}"


def _of_seeds(pair: Comparison, alike: Alike | None) -> str:
    texts = _by_part(_ratios(pair, alike))
    return f": of two seeds' CKA they have {texts}" if texts else ""


def _means(pair: Comparison, alike: Alike | None) -> str:
    if alike is None:
        return ""
    rows = zip(
        alike.means.value.tolist(), *(ends.tolist() for ends in alike.means.ends()), strict=True
    )
    texts = _by_part(dict(zip(pair.structure.parts, rows, strict=False)))
    return f" (mean CKA {texts}, {pair.probe} images)" if texts else ""


def _by_part(found: Mapping[str, Ends]) -> str:
    known = {part: ends for part, ends in found.items() if np.isfinite(ends[0])}
    texts = [f"{bracketed(*ends, digits=2)} over the {part}" for part, ends in known.items()]
    return listed(texts) if texts else ""


def _judged(series: LayerSeries) -> int:
    """Return the number of layers that could be other ones in the two networks."""
    return int((~np.isin(series.verdict(), [CONSTANT, SHARED])).sum())


def _against_seeds(result: Verdicts, group: Sequence[Comparison]) -> str:
    pair, series = group[0], group[0].debiased_series
    one, other = pair.models
    if max(result.seeds[one], result.seeds[other]) < 2:
        return " How far two trainings of one model are apart is unknown, since there is one seed."
    if series.p_below is None or series.p_alike is None:
        return ""
    words = _held(series)
    counts = {word: int((words == word).sum()) for word in (BELOW, ALIKE)}
    total = _judged(series)
    a, b = (result.seeds[model] for model in (one, other))
    alike = of_two(result.models[pair.probe, pair.size].whole, pair.models)
    return (
        f" Held against two seeds of one model ({a} of {one} and {b} of {other}, all {a * b} "
        f"pairs of runs), corrected over the layers: {BELOW} in {counts[BELOW]}, as alike as two "
        f"seeds within {percent(result.margin)} in {counts[ALIKE]}, and undecided in "
        f"{total - sum(counts.values())} of {total} layers.{_of_parts(pair, alike)}"
    )


def _of_parts(pair: Comparison, alike: Alike | None) -> str:
    """Say how much of what two seeds reach the means over the parts are."""
    texts = [f"{interval(*ends)} over the {part}" for part, ends in _ratios(pair, alike).items()]
    if not texts:
        return ""
    return (
        f" Of the mean debiased CKA that two seeds reach it has {listed(texts)}; the images vary in "
        "this, the trainings do not."
    )


def _ratios(pair: Comparison, alike: Alike | None) -> dict[str, Ends]:
    """Return which share of two seeds' similarity each part has, with its interval."""
    parts = pair.structure.parts
    if alike is None or alike.ratio is None or not parts:
        return {}
    rows = [np.exp(row[-len(parts) :]) for row in (alike.ratio.value, *alike.ratio.ends())]
    found = dict(zip(parts, zip(*map(np.ndarray.tolist, rows), strict=True), strict=True))
    return {part: ends for part, ends in found.items() if np.isfinite(ends).all()}


PANEL = Panel("verdicts", "Verdicts", compute, tables, sentences, short=short)
