"""The page of two networks: what `compare` found, on each set of images and between the sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, combinations
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.analysis.activations.blocks import LeftOut, choose_layers
from yolo_synth.analysis.activations.layers import is_planned
from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.figures.similarity import ribbon_figure, similarity_curves
from yolo_synth.analysis.similarity.floors import gap_with_floor
from yolo_synth.analysis.similarity.gaps import MEASURE
from yolo_synth.analysis.similarity.judging import DRAWS
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.comparison import BIASED, DEBIASED, Comparison
from yolo_synth.comparison_files import heatmap, summary
from yolo_synth.crossing import Crossing
from yolo_synth.escaping import csv_text
from yolo_synth.files import write_whole
from yolo_synth.probe import Grams, Guest, Probe, Shown
from yolo_synth.report.figures import inline_svg
from yolo_synth.report.html_tables import html_table
from yolo_synth.report.panel import Table
from yolo_synth.report.still import still_page
from yolo_synth.report.words import number

PAGE: Final = "compare.html"
FEWEST_OF_A_SET: Final = 2
"""Images, or groups of images, of a set between which and another a gap has a meaning."""


class SetGap(NamedTuple):
    """How far apart one network holds two sets of images.

    Attributes:
        network: The network.
        sets: Both sets' names.
        series: Layer by layer, beside the floor of two halves of one set.
    """

    network: Shown
    sets: tuple[str, str]
    series: LayerSeries


class Picture(NamedTuple):
    """A figure of the page: what it is of and the drawing."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Two:
    """All that is known of two networks.

    Attributes:
        networks: Both.
        results: Their comparison on each set of images.
        probes: The sets, as the first network took them.
        whole: Gram matrices of all sets together.
    """

    networks: tuple[Shown, Shown]
    results: Sequence[Comparison | Crossing]
    probes: Sequence[Probe]
    whole: Grams

    @cached_property
    def gaps(self) -> list[SetGap]:
        """How far apart each network holds every two sets."""
        ends = [0, *accumulate(len(probe.images) for probe in self.probes)]
        groups = self.whole.probe.groups or self.whole.probe.names
        found = []
        for one, other in combinations(range(len(self.probes)), 2):
            parts = [list(range(ends[place], ends[place + 1])) for place in (one, other)]
            if min(len({groups[i] for i in part}) for part in parts) < FEWEST_OF_A_SET:
                continue
            both = [*parts[0], *parts[1]]
            for network in self.networks:
                grams = self.whole(network)[:, both][:, :, both]
                clusters = [groups[i] for i in both]
                series = gap_with_floor(grams, len(parts[0]), DRAWS, clusters)
                names = self.probes[one].domain, self.probes[other].domain
                found.append(SetGap(network, names, series))
        return found

    def sentences(self) -> list[str]:
        """Say where inside each network the sets part."""
        return [_where_sets_part(gap) for gap in self.gaps]


def _where_sets_part(gap: SetGap) -> str:
    names, value = gap.network.structure.called, gap.series.value
    text = f"Inside {gap.network.label} {gap.sets[0]} and {gap.sets[1]}"
    apart = np.flatnonzero(gap.series.significant)
    if not len(apart):
        return f"{text} are in no layer farther apart than chance."
    layer = int(np.nanargmax(value))
    floor = number(float(gap.series.columns("value")["null"][layer]))
    return (
        f"{text} are farthest apart in layer {layer} ({names[layer]}): {number(float(value[layer]))} times "
        f"the variance within a set, where halves of one set reach {floor}; beyond chance in {len(apart)} "
        f"of {len(value)} layers, of which layer {apart[0]} ({names[apart[0]]}) is the first."
    )


def write_two(two: Two, folder: Path) -> None:
    """Write `compare.html`, one file that loads nothing and needs no script, and `gap.csv`."""
    tables = [*_gap_tables(two), *_layer_tables(two)]
    for table in tables[: len(two.gaps) and 1]:
        write_whole(folder / "gap.csv", csv_text(table.frame.reset_index(), index=False))
    first, second = two.networks
    page = still_page(
        "compare.html",
        title=f"{first.label} and {second.label}",
        findings=[f"{r.label}: {summary(r)}." for r in two.results] + two.sentences(),
        networks=[_described(network) for network in two.networks],
        sets=[(r.label, list(_pictures(r))) for r in two.results],
        gaps=list(_gap_pictures(two)),
        tables=[html_table(table) for table in tables],
    )
    write_whole(folder / PAGE, page)


def _described(network: Shown) -> dict[str, Any]:
    """Say what a network is, what becomes of its images, and what of it is not compared."""
    return {
        "name": str(network.label),
        "kind": type(network.network).__name__,
        "weights": sum(weight.numel() for weight in network.network.parameters()),
        "random": isinstance(network, Guest) and network.reference.random,
        "layers": len(network.structure),
        "images": str(network.reference.preprocessing) if isinstance(network, Guest) else "",
        "left_out": _left_out(network),
    }


def _left_out(network: Shown) -> list[LeftOut]:
    if not isinstance(network, Guest) or (network.layers is None and is_planned(network.network)):
        return []
    return choose_layers(network.network, network.taken, network.layers).left_out


def _pictures(result: Comparison | Crossing) -> Iterator[Picture]:
    """Yield the tracks and both heat maps of one set."""
    title = f"{result.name}\n{result.label}"
    if isinstance(result, Comparison):
        tracks = {result.name: result.debiased_series}
        yield Picture("Layer by layer.", _ribbon(tracks, result.structure, title))
    else:
        pairs = ((result.first, result.second), (result.second, result.first))
        structures = (result.structure, result.other)
        for (own, other), found, structure in zip(pairs, result.matches, structures, strict=True):
            tracks = {"with its most similar layer": found.series}
            yield Picture(
                f"Each layer of {own} with the most similar one of {other}.",
                _ribbon(tracks, structure, title),
            )
    for measure in (DEBIASED, BIASED):
        drawn = inline_svg(heatmap(result, title, measure))
        yield Picture(f"Every layer with every layer, {measure}.", drawn)


def _ribbon(tracks: dict[str, LayerSeries], structure: Structure, title: str) -> str:
    return inline_svg(ribbon_figure(tracks, structure, title=title, measure=DEBIASED))


def _gap_pictures(two: Two) -> Iterator[Picture]:
    """Yield how far apart each network holds the sets, layer by layer."""
    for gap in two.gaps:
        known = gap.series.value[np.isfinite(gap.series.value)]
        figure = similarity_curves(
            {str(gap.network.label): gap.series},
            gap.network.structure,
            title=f"How far apart {gap.network.label} holds {gap.sets[0]} and {gap.sets[1]}",
            measure=MEASURE,
            highest=max(known, default=1.0),
            chance="two halves of one set",
        )
        yield Picture(f"Inside {gap.network.label}.", inline_svg(figure))


def _gap_tables(two: Two) -> Iterator[Table]:
    frames = [
        pd.DataFrame(
            {
                "network": str(gap.network.label),
                "sets": " and ".join(gap.sets),
                "layer": [f"{i} {name}" for i, name in enumerate(gap.network.structure.called)],
                "gap": gap.series.value,
                "two halves": gap.series.null,
                "p": gap.series.p,
            }
        )
        for gap in two.gaps
    ]
    if frames:
        yield Table(
            "gap",
            "How far the sets lie apart inside each network",
            "The unbiased squared distance between the mean outputs for two sets of images over the "
            "variance within a set (MMD\N{SUPERSCRIPT TWO}): 1 is a gap as large as the spread within. Two "
            "halves: what 95 % of random halves of one set stay below, of the set where that is more. "
            "P-values by images that change sets, corrected over the layers.",
            pd.concat(frames).set_index(["network", "sets", "layer"]),
        )


def _layer_tables(two: Two) -> Iterator[Table]:
    """Yield the similarity layer by layer, a column a set."""
    first, second = two.networks
    if all(isinstance(result, Comparison) for result in two.results):
        columns = {
            result.probe: result.debiased_series.value
            for result in two.results
            if isinstance(result, Comparison)
        }
        yield _layer_table("layers", f"{first.label} and {second.label}", first.structure, columns)
        return
    crossings = [result for result in two.results if isinstance(result, Crossing)]
    for side, (own, other) in enumerate(((first, second), (second, first))):
        rows: dict[str, Any] = {}
        for result in crossings:
            found = result.layers()[side]
            rows[result.probe] = found["cka_debiased"].to_numpy()
            rows[f"{result.probe}, match"] = found["match_name"].to_numpy()
        title = f"Each layer of {own.label} with its most similar one of {other.label}"
        yield _layer_table(f"layers_{side}", title, own.structure, rows)


def _layer_table(key: str, title: str, structure: Structure, columns: dict[str, Any]) -> Table:
    index = pd.Index([f"{i} {name}" for i, name in enumerate(structure.called)], name="layer")
    caption = "Debiased CKA, of each set of images by itself."
    return Table(key, title, caption, pd.DataFrame(columns, index=index))
