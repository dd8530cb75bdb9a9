"""How similar the networks are, layer by layer: CKA, debiased and biased (Table 5, Figures 4 to 12)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.analysis.similarity.chance import SIGNIFICANT
from yolo_synth.comparison import BIASED, DEBIASED, Comparison
from yolo_synth.report.figures import Drawing, inline_svg
from yolo_synth.report.models import Models, of_two
from yolo_synth.report.pairs import at_papers_size, is_of_one_seed, main_pairs
from yolo_synth.report.panel import Panel, Section, Table
from yolo_synth.report.panels.similarity_figures import (
    HEADLINE,
    MOST_CURVES,
    draw_ribbon,
    drawings,
)
from yolo_synth.report.study import Study
from yolo_synth.report.tables import SPREAD, seeds_as_columns
from yolo_synth.report.words import interval, kind, listed, named, number, part_means, span

_INDEX: Final = ["probe images", "size", "pair"]


class Layers(NamedTuple):
    """What the panel speaks of: all pairs, and what is known of models by probe and size."""

    pairs: Sequence[Comparison]
    models: Mapping[tuple[str, int], Models]


def compute(study: Study) -> Layers:
    """Return all pairs, and what is known of models."""
    return Layers(study.pairs, study.models)


def tables(result: Layers) -> Iterator[Table]:
    """Yield Table 5 for runs of one seed, the same across seeds and for initial states, and all layers."""
    pairs = result.pairs
    two = [pair for pair in pairs if pair.is_two_runs]
    same = [pair for pair in two if is_of_one_seed(pair)]
    if same:
        yield Table(
            "table_5",
            "Table 5: mean CKA of each pair of models with the same seed",
            "Mean over all layers, backbone and head of layer i against layer i. Biased CKA is the "
            "paper's; it is inflated where layers have more features than there are images. Debiased "
            f"CKA is not, and 0 is chance. {SPREAD}",
            _seeds_beside_each_other(same),
        )
    if across := [pair for pair in two if not is_of_one_seed(pair)]:
        yield Table(
            "table_5_seeds",
            "Table 5 across seeds: mean CKA of runs with other seeds",
            "As Table 5, of two runs whose seeds differ: what two seeds of one model reach is the "
            "ceiling of what to expect.",
            _means(across).pivot_table(
                index=[*_INDEX, "seeds"], columns=["measure", "part"], values="value", sort=False
            ),
        )
    if initial := [pair for pair in pairs if pair.is_initial]:
        yield Table(
            "table_5_initial",
            "Table 5 for the start: mean CKA of each run with its own initial state",
            "As Table 5, of the trained network with the weights that it started from: 1 in layers that "
            "were frozen.",
            _seeds_beside_each_other(initial),
        )
    if layers := [_layers(pair) for pair in pairs if not pair.is_self]:
        yield Table(
            "similarity_layers",
            "Table 5 layer by layer",
            "All that is known of layer i against layer i.",
            pd.concat(layers).set_index(["probe", "size", "first", "second", "layer", "kind"]),
            is_data=True,
        )


def _layers(pair: Comparison) -> pd.DataFrame:
    first, second = map(str, (pair.first, pair.second))
    return pair.layers().assign(probe=pair.probe, size=pair.size, first=first, second=second)


def _seeds_beside_each_other(pairs: Sequence[Comparison]) -> pd.DataFrame:
    return seeds_as_columns(_means(pairs), _INDEX, ["measure", "part"], "value", ("", "", "seed"))


def _means(pairs: Sequence[Comparison]) -> pd.DataFrame:
    """Return the means of pairs in long form."""
    return pd.DataFrame(
        [
            {
                "probe images": pair.probe,
                "size": pair.size,
                "pair": " vs ".join(pair.models),
                "seeds": " vs ".join(map(str, pair.seeds)),
                "seed": pair.seeds[0],
                "measure": measure,
                "part": part,
                "value": mean,
            }
            for pair in pairs
            for measure, series in ((DEBIASED, pair.debiased_series), (BIASED, pair.biased_series))
            for part, mean in series.means(pair.structure.parts).items()
        ]
    )


def sentences(result: Layers) -> Iterator[str]:
    """Say how alike real and synthetic training are and where, and how near all are to their start."""
    pairs = result.pairs
    main = main_pairs(pairs)
    for group in main:
        yield _where(group) + _backbone_and_head(result, group)
    yield from _distance_from_start(pairs)
    if main:
        yield _bias([pair for group in main for pair in group])


def _where(group: Sequence[Comparison]) -> str:
    """Say how alike two models are over backbone and head, and in which layers most and least."""
    lowest: list[str] = []
    highest: list[str] = []
    layers = []
    for pair in group:
        series = pair.debiased_series
        regions = [
            (float(np.nanmean(series.value[region])), region)
            for region in pair.structure.regions
            if np.isfinite(series.value[region]).any()
        ]
        for name, found, choose in (("p_lowest", lowest, min), ("p_highest", highest, max)):
            value, region = choose(regions, key=lambda one: one[0])
            starts = [other.start for _, other in regions]
            found.append(f"{span(region)} ({number(value)}{_or(pair, f'{name}_region', starts)})")
        layer = int(np.nanargmin(series.value))
        text = f"{kind(pair.structure.called[layer])}, {number(float(series.value[layer]))}"
        layers.append(f"{layer} ({text}{_interval(pair, layer)}{_or(pair, 'p_lowest')})")
    pair, rows = group[0], [pair.debiased_series for pair in group]
    return (
        f"Probed with {pair.label}, {named(group).replace(' vs ', ' and ')} have a mean debiased CKA of "
        f"{part_means(rows, pair, 'backbone')} over the backbone and {part_means(rows, pair, 'head')} "
        f"over the head. By scale region it is lowest in {listed(lowest)} and highest in "
        f"{listed(highest)}; the lowest single layer is {listed(layers)}."
    )


def _or(pair: Comparison, name: str, layers: Sequence[int] | None = None) -> str:
    """Say how many layers, or those that regions start with, can be the lowest or highest one."""
    if name not in pair.series:
        return ""
    p = pair.series[name].value
    can_be = int((p[slice(None) if layers is None else list(layers)] > SIGNIFICANT).sum())
    return f", one of {can_be} that may be it" if can_be > 1 else ", told from all others"


def _interval(pair: Comparison, layer: int) -> str:
    """Return a layer's interval or why there is none, to stand after its value."""
    series = pair.debiased_series
    if series.low is None or series.high is None:
        return ""
    if not series.offered[layer]:
        return ", not distinguishable from permuted images"
    return f", 95 % interval {number(series.low[layer])} to {number(series.high[layer])}"


def _backbone_and_head(result: Layers, group: Sequence[Comparison]) -> str:
    """Say how much higher two models, and two seeds of either, are over the backbone than over the head."""
    pair = group[0]
    a, b = pair.models
    found = result.models[pair.probe, pair.size].whole
    texts = []
    for two, who in (((a, b), f"{a} and {b}"), *(((m, m), f"two seeds of {m}") for m in (a, b))):
        alike = of_two(found, two)
        if alike is not None and np.isfinite(alike.means.value[-1]):
            low, high = alike.means.ends()
            texts.append(f"{who} {interval(alike.means.value[-1], low[-1], high[-1])}")
    if not texts:
        return ""
    return (
        f" Backbone minus head, all pairs of runs together: {listed(texts)}. The images vary in this, the "
        "trainings do not."
    )


def _distance_from_start(pairs: Sequence[Comparison]) -> Iterator[str]:
    """Say how near each run still is to its initial state, per probe at the paper's size."""
    for probe, seen in at_papers_size(pair for pair in pairs if pair.is_initial).items():
        texts = []
        for pair in seen:
            means = pair.debiased_series.means(pair.structure.parts)
            texts.append(f"{pair.first} {number(means['backbone'])} and {number(means['head'])}")
        size = seen[0].size
        yield (
            "Mean debiased CKA with the own initial state over backbone and head, "
            f"{probe} images at {size}x{size}: {'; '.join(texts)}."
        )


def _bias(pairs: Sequence[Comparison]) -> str:
    texts = []
    for pair in pairs:
        biased, debiased = (
            number(series.means({})["all"]) for series in (pair.biased_series, pair.debiased_series)
        )
        images = f"{pair.images} {pair.probe} images"
        texts.append(f"{biased} and {debiased} for {pair.name} ({images})")
    return (
        f"Mean CKA over all layers, biased as in the paper and debiased: {'; '.join(texts)}. Only the "
        "second is corrected for few images and many features."
    )


def figures(result: Layers) -> Iterator[Drawing]:
    """Yield all figures of pairs."""
    return drawings(result.pairs)


def section(result: Layers) -> Section:
    """Return the tracks and maps of all pairs, and the tracks of real and synthetic training as SVG."""
    pairs, svg = result.pairs, ""
    if main := main_pairs(pairs):
        title = f"{HEADLINE}\n{main[0][0].label}"
        svg = inline_svg(draw_ribbon(main[0][:MOST_CURVES], title))
    return Section("layers", "Layer by layer", "", pairs=pairs, svg=svg)


PANEL = Panel("similarity", "Similarity", compute, tables, sentences, figures, section)
