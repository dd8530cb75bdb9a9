"""The report's figures: Figures 4 to 12 of the paper, the ribbon and the share picture, as files."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from itertools import starmap
from pathlib import Path
from typing import Any, Final, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.figures.similarity import (
    SVG_SETTINGS,
    ribbon_figure,
    similarity_curves,
    similarity_heatmap,
)
from yolo_synth.report import paper
from yolo_synth.report.keeping import file_name
from yolo_synth.report.results import DomainGap, Pair, Values, split_name
from yolo_synth.report.similarities import pair_name

PAPERS: Final = "CKA as in the paper"
DEBIASED: Final = "debiased CKA"

HEADLINE: Final = "Trained on real and on synthetic images, layer by layer"
"""The report's title, and that of the ribbon."""

MOST_CURVES: Final = 3
"""Curves with their bands that stay legible in one panel."""

SHARED: Final = 2
"""Tracks of the share picture."""


WORTH_PROCESSES: Final = 60
"""Figures to be drawn from which on several processes are started for them."""


class Drawing(NamedTuple):
    """A figure to be drawn.

    Attributes:
        name: Its file name, without an ending.
        draw: Draws it.
        inputs: All that it shows; it is drawn again when they have changed.
        dpi: Pixels an inch of the PNG.
    """

    name: str
    draw: Callable[[], Figure]
    inputs: Sequence[Any]
    dpi: int = 150


def write_figures(
    pairs: Sequence[Pair], structure: Structure, folder: Path, gaps: Sequence[DomainGap] = ()
) -> None:
    """Write all figures of a report as PNG and SVG; those that stand are left as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    drawings = [
        *_curves(pairs, structure),
        *_ribbons(pairs, structure),
        *_maps(pairs, structure),
        *_gaps(gaps, structure),
    ]
    origins = [f"sha256:{_digest(drawing.inputs, structure)}" for drawing in drawings]
    todo = [
        (drawing, origin, folder)
        for drawing, origin in zip(drawings, origins, strict=True)
        if not _stands(drawing, origin, folder)
    ]
    with tqdm(total=len(todo), desc="draw", unit="figure", leave=False) as bar:
        for _ in _in_parallel(todo):
            bar.update()


def _in_parallel(todo: Sequence[tuple[Drawing, str, Path]]) -> Iterator[None]:
    """Write figures in a process a core, unless they are too few to be worth starting any."""
    if len(todo) < WORTH_PROCESSES:
        yield from starmap(_write, todo)
        return
    # spawned: a process that has run threads should not be forked
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_write, *zip(*todo, strict=True))


def _paths(drawing: Drawing, folder: Path) -> tuple[Path, Path]:
    return folder / f"{drawing.name}.svg", folder / f"{drawing.name}.png"


def _stands(drawing: Drawing, origin: str, folder: Path) -> bool:
    svg, png = _paths(drawing, folder)
    return svg.is_file() and png.is_file() and origin in svg.read_text(encoding="utf-8")


def _write(drawing: Drawing, origin: str, folder: Path) -> None:
    svg, png = _paths(drawing, folder)
    figure = drawing.draw()
    figure.savefig(png, dpi=drawing.dpi)
    with matplotlib.rc_context(SVG_SETTINGS):
        figure.savefig(svg, metadata={"Date": None, "Identifier": origin})


def _digest(inputs: Sequence[Any], structure: Structure) -> str:
    """Return SHA-256 of what a figure shows, and of the program's version."""
    content = hashlib.sha256(f"{version('yolo-synth')} {structure}".encode())
    for value in inputs:
        content.update(value.tobytes() if isinstance(value, np.ndarray) else str(value).encode())
    return content.hexdigest()


def _views(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Yield the pairs seen by each probe at each size."""
    for view in dict.fromkeys((pair.probe, pair.size) for pair in pairs):
        yield [pair for pair in pairs if (pair.probe, pair.size) == view]


def _about(pair: Pair) -> str:
    """Say in words what the pair was probed with."""
    return f"{pair.images} {pair.probe} test images at {pair.size}x{pair.size}"


def _curves(pairs: Sequence[Pair], structure: Structure) -> Iterator[Drawing]:
    """Yield Figures 4 to 6 and the curves against the initial states."""
    for view in _views(pairs):
        place = f"{view[0].probe.lower()}_{view[0].size}"
        for stem, title, chosen in _groups(view):
            for measure, ending in ((PAPERS, ""), (DEBIASED, "_debiased")):
                yield Drawing(
                    f"{stem}_{place}{ending}",
                    partial(_draw_curves, chosen, structure, title, measure),
                    [title, measure, *(x for pair in chosen for x in _series(pair))],
                )


def _groups(view: Sequence[Pair]) -> Iterator[tuple[str, str, list[Pair]]]:
    """Yield file name, title and pairs of each figure of curves of one view."""
    runs = [pair for pair in view if pair.is_two_runs]
    for number, seed in enumerate(sorted({pair.seeds[0] for pair in view})):
        same = [pair for pair in runs if pair.seeds == (seed, seed)]
        further = [pair for pair in same if not set(pair.models) <= set(paper.MODELS)]
        papers = [pair for pair in same if pair not in further]
        stem = f"figure_{4 if number == 0 else 5}_seed_{seed}"
        if papers:
            yield stem, f"CKA per layer, runs with seed {seed}", papers
        for place in range(0, len(further), MOST_CURVES):
            part = further[place : place + MOST_CURVES]
            more = "more" if place == 0 else f"more_{place // MOST_CURVES + 1}"
            yield f"{stem}_{more}", f"CKA per layer, further runs with seed {seed}", part
        initial = [pair for pair in view if pair.is_initial and pair.seeds[0] == seed]
        if initial:
            title = f"CKA per layer with the initial state, seed {seed}"
            yield f"initial_state_seed_{seed}", title, initial
    across = [pair for pair in runs if pair.seeds[0] != pair.seeds[1]]
    for seeds in dict.fromkeys(pair.seeds for pair in across):
        first, second = seeds
        stem = f"figure_6_seeds_{first}_{second}"
        these = [pair for pair in across if pair.seeds == seeds]
        one = [pair for pair in these if len(set(pair.models)) == 1]
        if one:
            yield f"{stem}_same_model", f"CKA per layer across seeds {first} and {second}", one
        for model in dict.fromkeys(pair.models[0] for pair in these):
            others = [p for p in these if p.models[0] == model and p.models[1] != model]
            if others:
                title = f"CKA per layer, {model}/{first} and the others with seed {second}"
                yield file_name(f"{stem}_{model}"), title, others


def _series(pair: Pair) -> list[Any]:
    given = (np.diag(pair.biased), np.diag(pair.debiased), pair.low, pair.high, pair.null)
    return [pair.name, *given, pair.ceiling]


def _draw_curves(pairs: Sequence[Pair], structure: Structure, title: str, measure: str) -> Figure:
    debiased = measure == DEBIASED
    curves = {pair.name: np.diag(pair.debiased if debiased else pair.biased) for pair in pairs}
    return similarity_curves(
        curves,
        structure,
        title=f"{title}\n{_about(pairs[0])}, {measure}",
        bands=_bands(pairs) if debiased else None,
        null=_highest([pair.null for pair in pairs]) if debiased else None,
        ceiling=_highest([pair.ceiling for pair in pairs]) if debiased else None,
        image_size=pairs[0].size,
        measure=measure,
    )


def _bands(pairs: Sequence[Pair]) -> dict[str, tuple[Values, Values]]:
    return {
        pair.name: (pair.low, pair.high)
        for pair in pairs
        if pair.low is not None and pair.high is not None
    }


def _highest(rows: Sequence[Values | None]) -> Values | None:
    """Return the largest value of each layer over the pairs of a figure."""
    given = [row for row in rows if row is not None]
    return np.fmax.reduce(given) if given else None


def _ribbons(pairs: Sequence[Pair], structure: Structure) -> Iterator[Drawing]:
    """Yield a ribbon figure per seed and view, and the share picture of the first one."""
    shared = False
    for view in _views(pairs):
        for seed in sorted({pair.seeds[0] for pair in view}):
            chosen = [pair for pair in view if pair.is_two_runs and pair.seeds == (seed, seed)]
            if not chosen:
                continue
            inputs = [x for pair in chosen for x in _series(pair)]
            title = f"{HEADLINE}\n{_about(chosen[0])}, seed {seed}"
            name = f"ribbon_seed_{seed}_{chosen[0].probe.lower()}_{chosen[0].size}"
            yield Drawing(
                name, partial(_draw_ribbon, chosen, structure, title), [title, *inputs], 150
            )
            if not shared:
                shared = True
                draw = partial(_draw_ribbon, chosen[:SHARED], structure, title, share=True)
                yield Drawing("share", draw, ["share", title, *inputs], 100)


def _draw_ribbon(
    pairs: Sequence[Pair], structure: Structure, title: str, share: bool = False
) -> Figure:
    return ribbon_figure(
        {pair.name: np.diag(pair.debiased) for pair in pairs},
        structure,
        title=title,
        bands=_bands(pairs),
        nulls=_given({pair.name: pair.null for pair in pairs}),
        ceilings=_given({pair.name: pair.ceiling for pair in pairs}),
        image_size=pairs[0].size,
        measure=DEBIASED,
        share=share,
    )


def _given(rows: Mapping[str, Values | None]) -> dict[str, Values]:
    return {name: row for name, row in rows.items() if row is not None}


def _maps(pairs: Sequence[Pair], structure: Structure) -> Iterator[Drawing]:
    """Yield Figures 7 to 12 and the other heat maps of runs with one seed.

    A network with itself is drawn as in the paper alone. The page and the matrices have both forms,
    and the pairs across seeds and with initial states too.
    """
    for pair in pairs:
        if pair.is_initial or pair.seeds[0] != pair.seeds[1]:
            continue
        name = pair_name(pair.first, pair.second, pair.probe, pair.size)
        stem = f"{_map_number(pair)}_{name}"
        measures = {PAPERS: pair.biased, DEBIASED: pair.debiased}
        for measure, cells in list(measures.items())[: 1 if pair.is_self else 2]:
            yield Drawing(
                stem if measure == PAPERS else f"{stem}_debiased",
                partial(_draw_map, pair, structure, measure, cells),
                [measure, pair.name, _about(pair), cells],
            )


def _gaps(gaps: Sequence[DomainGap], structure: Structure) -> Iterator[Drawing]:
    """Yield where the domains part inside the networks, a figure per two domains and seed."""
    seeds = dict.fromkeys((gap.domains, split_name(gap.run)[1]) for gap in gaps)
    for domains, seed in seeds:
        chosen = [g for g in gaps if (g.domains, split_name(g.run)[1]) == (domains, seed)]
        name = file_name(f"gap_seed_{seed}_{'_'.join(domains)}_{chosen[0].size}".lower())
        inputs = [x for gap in chosen for x in (gap.run, gap.images, gap.gap, gap.null)]
        yield Drawing(name, partial(_draw_gaps, chosen, structure), inputs)


def _draw_gaps(gaps: Sequence[DomainGap], structure: Structure) -> Figure:
    first, second = gaps[0].domains
    images = f"{gaps[0].images[0]} {first} and {gaps[0].images[1]} {second} test images"
    return similarity_curves(
        {gap.run: gap.gap for gap in gaps},
        structure,
        title=f"How far apart each network holds {first} and {second} images\n"
        f"{images} at {gaps[0].size}x{gaps[0].size}",
        null=_highest([gap.null for gap in gaps]),
        image_size=gaps[0].size,
        measure="MMD\N{SUPERSCRIPT TWO} / variance within",
        highest=max(float(np.nanmax(gap.gap)) for gap in gaps),
    )


def _map_number(pair: Pair) -> str:
    """Return the paper's figure that shows such a heat map, or `heatmap`."""
    number = paper.HEAT_MAPS.get((*pair.models, pair.size))
    return f"figure_{number}" if number else "heatmap"


def _draw_map(pair: Pair, structure: Structure, measure: str, cells: Values) -> Figure:
    what = f"{pair.first} with itself" if pair.is_self else pair.name
    return similarity_heatmap(
        cells,
        structure,
        structure,
        names=(pair.first, pair.second),
        title=f"{what}\n{_about(pair)}, {measure}",
        image_size=pair.size,
        measure=measure,
        ribbon=True,
    )
