"""Figures 4 to 12 of the paper, and the ribbon and the share picture, as files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from matplotlib.figure import Figure

from yolo_synth.analysis.figures.similarity import ribbon_figure, similarity_curves
from yolo_synth.comparison import BIASED, DEBIASED, Comparison
from yolo_synth.comparison_files import heatmap
from yolo_synth.files import file_name
from yolo_synth.report import paper
from yolo_synth.report.figures import Drawing
from yolo_synth.report.pairs import is_of_one_seed, is_one_model, views
from yolo_synth.report.study import pair_name

HEADLINE: Final = "Trained on real and on synthetic images, layer by layer"
"""The report's title, and that of the ribbon."""

MOST_CURVES: Final = 3
"""Curves with their bands that stay legible in one panel."""

SHARED: Final = 2
"""Tracks of the share picture."""


def drawings(pairs: Sequence[Comparison]) -> Iterator[Drawing]:
    """Yield all figures; the paper's are those of the first probe, at the paper's sizes."""
    seen = views(pairs)
    for number, view in enumerate(seen):
        is_papers = number == 0 or (view[0].probe, view[0].size) == (
            seen[0][0].probe,
            paper.PROBE_SIZE,
        )
        yield from _curves(view, is_papers)
        yield from _ribbons(view, is_papers, share=number == 0)
        yield from _maps(view, is_first_probe=view[0].probe == seen[0][0].probe)


def _curves(view: Sequence[Comparison], is_papers: bool) -> Iterator[Drawing]:
    """Yield Figures 4 to 6 and the curves against the initial states."""
    place = f"{view[0].probe.lower()}_{view[0].size}"
    for stem, title, chosen in _groups(view):
        for measure, ending in ((BIASED, ""), (DEBIASED, "_debiased")):
            yield Drawing(
                f"{stem}_{place}{ending}",
                partial(draw_curves, chosen, title, measure),
                [title, measure, *_inputs(chosen, measure)],
                is_papers and stem.startswith("figure"),
            )


def _groups(view: Sequence[Comparison]) -> Iterator[tuple[str, str, list[Comparison]]]:
    """Yield file name, title and pairs of each figure of curves of one view."""
    runs = [pair for pair in view if pair.is_two_runs]
    for number, seed in enumerate(sorted({pair.seeds[0] for pair in view})):
        same = [pair for pair in runs if pair.seeds == (seed, seed)]
        papers = [p for p in same if paper.trained_as(p.first) and paper.trained_as(p.second)]
        further = [pair for pair in same if pair not in papers]
        stem = f"figure_{4 if number == 0 else 5}_seed_{seed}"
        if papers:
            yield stem, f"CKA per layer, runs with seed {seed}", papers
        for place in range(0, len(further), MOST_CURVES):
            part = further[place : place + MOST_CURVES]
            more = "more" if place == 0 else f"more_{place // MOST_CURVES + 1}"
            yield (
                f"further_seed_{seed}_{more}",
                f"CKA per layer, further runs with seed {seed}",
                part,
            )
        initial = [pair for pair in view if pair.is_initial and pair.seeds[0] == seed]
        if initial:
            title = f"CKA per layer with the initial state, seed {seed}"
            yield f"initial_state_seed_{seed}", title, initial
    yield from _across_seeds([pair for pair in runs if not is_of_one_seed(pair)])


def _across_seeds(pairs: Sequence[Comparison]) -> Iterator[tuple[str, str, list[Comparison]]]:
    for first, second in dict.fromkeys(pair.seeds for pair in pairs):
        stem = f"figure_6_seeds_{first}_{second}"
        these = [pair for pair in pairs if pair.seeds == (first, second)]
        if one := [pair for pair in these if is_one_model(pair)]:
            yield f"{stem}_same_model", f"CKA per layer across seeds {first} and {second}", one
        for model in dict.fromkeys(pair.models[0] for pair in these):
            others = [p for p in these if p.models[0] == model and p.models[1] != model]
            if others:
                title = f"CKA per layer, {model}/{first} and the others with seed {second}"
                yield file_name(f"{stem}_{model}"), title, others


def _inputs(pairs: Sequence[Comparison], measure: str) -> list[Any]:
    shown = [pair.debiased_series if measure == DEBIASED else pair.biased_series for pair in pairs]
    return [pairs[0].label, pairs[0].structure, *(pair.name for pair in pairs), *shown]


def draw_curves(pairs: Sequence[Comparison], title: str, measure: str) -> Figure:
    """Draw one value of several pairs, a curve each."""
    return similarity_curves(
        {p.name: p.debiased_series if measure == DEBIASED else p.biased_series for p in pairs},
        pairs[0].structure,
        title=f"{title}\n{pairs[0].label}, {measure}",
        image_size=pairs[0].size,
        measure=measure,
    )


def _ribbons(view: Sequence[Comparison], is_papers: bool, share: bool) -> Iterator[Drawing]:
    """Yield a ribbon figure per seed, and the share picture."""
    for seed in sorted({pair.seeds[0] for pair in view}):
        chosen = [pair for pair in view if pair.is_two_runs and pair.seeds == (seed, seed)]
        if not chosen:
            continue
        title = f"{HEADLINE}\n{chosen[0].label}, seed {seed}"
        inputs = [title, *_inputs(chosen, DEBIASED)]
        name = f"ribbon_seed_{seed}_{chosen[0].probe.lower()}_{chosen[0].size}"
        yield Drawing(name, partial(draw_ribbon, chosen, title), inputs, is_papers)
        if share:
            share = False
            draw = partial(draw_ribbon, chosen[:SHARED], title, share=True)
            yield Drawing("share", draw, ["share", *inputs], is_papers=True, dpi=100)


def draw_ribbon(pairs: Sequence[Comparison], title: str, share: bool = False) -> Figure:
    """Draw the ribbon of layers with a track for each pair."""
    return ribbon_figure(
        {pair.name: pair.debiased_series for pair in pairs},
        pairs[0].structure,
        title=title,
        image_size=pairs[0].size,
        measure=DEBIASED,
        share=share,
    )


def _maps(view: Sequence[Comparison], is_first_probe: bool) -> Iterator[Drawing]:
    """Yield Figures 7 to 12 and the other heat maps of runs with one seed.

    A network with itself is drawn biased alone, as in the paper. The page and the matrices have both
    forms, and the pairs across seeds and with initial states too.
    """
    first_seed = min(pair.seeds[0] for pair in view)
    for pair in view:
        if pair.is_initial or not is_of_one_seed(pair):
            continue
        number = paper.figure_of(pair.first, pair.second, pair.size)
        name = pair_name(pair.first, pair.second, pair.probe, pair.size)
        stem = f"figure_{number}_{name}" if number else f"heatmap_{name}"
        title = pair.name if not pair.is_self else f"{pair.first} with itself"
        for measure, cells in ((BIASED, pair.biased), (DEBIASED, pair.debiased)):
            if pair.is_self and measure == DEBIASED:
                continue
            yield Drawing(
                stem if measure == BIASED else f"{stem}_debiased",
                partial(heatmap, pair, f"{title}\n{pair.label}, {measure}", measure),
                [measure, title, pair.label, pair.structure, cells],
                bool(number) and is_first_probe and pair.seeds[0] == first_seed,
            )
