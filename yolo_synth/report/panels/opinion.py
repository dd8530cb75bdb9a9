"""A second opinion: what other families of measures say of the same layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd

from yolo_synth.analysis.similarity.measures import MEASURES
from yolo_synth.analysis.similarity.series import LayerSeries, part_means
from yolo_synth.comparison import Comparison
from yolo_synth.comparison_files import measure_curves
from yolo_synth.report.figures import Drawing
from yolo_synth.report.pairs import main_pairs
from yolo_synth.report.panel import Curves, Panel, Section, Table
from yolo_synth.report.study import Study
from yolo_synth.report.words import listed, named, number


def compute(study: Study) -> list[Comparison]:
    """Return the pairs that were looked at by more than CKA: two runs of one seed at the paper's size."""
    return [pair for pair in study.pairs if "match" in pair.series]


def tables(pairs: Sequence[Comparison]) -> Iterator[Table]:
    """Yield what the other measures say beside CKA."""
    rows = [
        {
            "probe images": pair.probe,
            "size": pair.size,
            "pair": pair.name,
            **{
                name: value
                for measure in pair.opinions
                for name, value in _columns(measure, pair).items()
            },
            **{
                f"{name}{end}": value
                for name, ends in pair.agreement.items()
                for end, value in zip(("", ", from", ", to"), ends, strict=True)
            },
        }
        for pair in pairs
        if pair.opinions
    ]
    if rows:
        titles = ". ".join(
            f"{name.capitalize()}: {MEASURES[name].title}, {MEASURES[name].agree:.0f} for a layer with "
            "itself"
            for name in pairs[0].opinions
        )
        yield Table(
            "second_opinion",
            "A second opinion: other families of measures",
            f"{titles}. Beside each mean stands that of permuted images: what chance gives, which for "
            "few images of many features is nearly agreement; beyond it are so many layers (p-values "
            "corrected over the layers). Of sequences, all of their mean outputs. Two measures together: "
            "Spearman's correlation over the layers without what both owe to depth, a distance's sign "
            "turned, and its 95 % interval over images; near 1 where both rank the layers alike. None is "
            "right everywhere (Klabunde et al. 2025).",
            pd.DataFrame(rows).set_index(["probe images", "size", "pair"]),
        )


def _columns(measure: str, pair: Comparison) -> dict[str, float]:
    """Return a measure's means over the parts, those of chance, and the layers beyond it."""
    series, parts = pair.series[measure], pair.structure.parts
    columns = {f"{measure}, {part}": series.means(parts)[part] for part in parts}
    if series.floor is not None:
        chance = part_means(series.floor, parts)
        columns |= {f"{measure}, permuted, {part}": chance[part] for part in parts}
    return {**columns, f"layers beyond chance, {measure}": int(series.significant.sum())}


def sentences(pairs: Sequence[Comparison]) -> Iterator[str]:
    """Say whether other families of measures rank the layers alike, and which layers match."""
    for group in main_pairs(pairs):
        if group[0].opinions:
            yield _second_opinion(group)
        if all("own_match" in pair.series for pair in group):
            yield _matches(group)


def _second_opinion(group: Sequence[Comparison]) -> str:
    pair = group[0]
    beyond = listed(
        f"{listed(int(each.series[name].significant.sum()) for each in group)} ({name})"
        for name in pair.opinions
    )
    ranks = listed(
        f"{listed(_agreement(each, name) for each in group)} with {name}" for name in pair.opinions
    )
    return (
        f"A second opinion, {named(group).rstrip(',')} ({pair.images} {pair.probe} images at "
        f"{pair.size}x{pair.size}): beyond permuted images are {beyond} of {len(pair.structure)} layers. "
        "Spearman's correlation of debiased CKA over the layers, without what both owe to depth, is "
        f"{ranks}, where 1 is the same ranking."
    )


def _agreement(pair: Comparison, measure: str) -> str:
    value, low, high = pair.agreement.get(f"CKA and {measure}", (np.nan, np.nan, np.nan))
    if np.isnan(low):
        return number(value)
    return f"{number(value)} (95 % interval {number(low)} to {number(high)})"


def _matches(group: Sequence[Comparison]) -> str:
    plain, own = ([pair.series[name] for pair in group] for name in ("match", "own_match"))
    layers = len(plain[0])
    return (
        f"Best matches, {named(group).rstrip(',')}: the layer of the same number is the best match in "
        f"{_same(plain)} of {layers} layers, the best match is beyond chance in {_clear(plain)} (corrected "
        f"over all {layers} x {layers} cells), and the best matches are {_different(plain)} different "
        f"layers. Without what a layer has in common with all others it is the same number in "
        f"{_same(own)}, beyond chance in {_clear(own)}, and {_different(own)} different layers."
    )


def _same(matches: Sequence[LayerSeries]) -> str:
    return listed(int((match.value == np.arange(len(match))).sum()) for match in matches)


def _clear(matches: Sequence[LayerSeries]) -> str:
    return listed(int(match.significant.sum()) for match in matches)


def _different(matches: Sequence[LayerSeries]) -> str:
    return listed(len(set(match.value[np.isfinite(match.value)])) for match in matches)


def figures(pairs: Sequence[Comparison]) -> Iterator[Drawing]:
    """Yield each measure over the layers, of real and synthetic training."""
    for group, name, title in _shown(pairs):
        inputs = [title, group[0].structure, *(x for p in group for x in (p.name, p.series[name]))]
        file = f"opinion_{name}_{group[0].probe.lower()}_{group[0].size}"
        yield Drawing(file, partial(measure_curves, group, name, title), inputs)


def section(pairs: Sequence[Comparison]) -> Section:
    """Return the same as pictures of curves."""
    return Section(
        "opinion",
        "A second opinion",
        "What other families of measures say of corresponding layers, with 95 % intervals over images "
        "where the value is beyond chance. Grey is what permuted images give, up to its 95 % point, or "
        "for a distance from its 5 % point on.",
        [
            Curves(
                title.replace("\n", "; "),
                group[0].size,
                {pair.name: pair.series[name] for pair in group},
                {pair.name: pair.name for pair in group},
                distance=not MEASURES[name].agree,
            )
            for group, name, title in _shown(pairs)
        ],
    )


def _shown(pairs: Sequence[Comparison]) -> Iterator[tuple[Sequence[Comparison], str, str]]:
    """Yield the pairs of each figure, its measure and its title."""
    for group in main_pairs(pairs):
        for name in group[0].opinions:
            words = MEASURES[name].title
            yield group, name, f"{words[0].upper()}{words[1:]} ({name})\n{group[0].label}"


PANEL = Panel("opinion", "A second opinion", compute, tables, sentences, figures, section)
