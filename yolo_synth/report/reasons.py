"""The page of `why`: its card, its pictures and its tables, and the same as files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from yolo_synth.analysis.figures.similarity import ribbon_figure
from yolo_synth.analysis.figures.tracks import COLOURS
from yolo_synth.analysis.similarity.gaps import MEASURE
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.comparison import Comparison
from yolo_synth.escaping import csv_text
from yolo_synth.files import write_whole
from yolo_synth.reasons.answer import Answer, listed, signed
from yolo_synth.reasons.checks import check_table
from yolo_synth.reasons.misses import miss_table
from yolo_synth.reasons.numbers import numbers
from yolo_synth.reasons.pictures import Score
from yolo_synth.reasons.swaps import Place, Way
from yolo_synth.report.figures import inline_svg
from yolo_synth.report.html_tables import html_table
from yolo_synth.report.panel import Table
from yolo_synth.report.still import still_page
from yolo_synth.report.two import Picture, Two

FOLDER: Final = "why"
"""Where a run's answer lies in its folder."""

PAGE: Final = "why.html"
SAID: Final = "why.json"
"""The card and its numbers for other programs, and for the report."""


def write_answer(answer: Answer, folder: Path, layers: Sequence[Two] = ()) -> None:
    """Write `why.html`, which loads nothing and needs no script, `why.json` and a CSV a table.

    Args:
        answer: What is said.
        folder: Where to.
        layers: Network and oracle compared layer by layer, of each pair of trainings.
    """
    tables = list(_tables(answer))
    for table in tables:
        write_whole(folder / f"{table.key}.csv", csv_text(table.frame.reset_index(), index=False))
    page = still_page(
        "why.html",
        title=f"Why {_called(answer)[0]} is not as good on {answer.gap.domains[0]} images",
        findings=answer.sentences(),
        pictures=list(_pictures(answer, layers)),
        notes=answer.notes,
        tables=[html_table(table) for table in tables],
    )
    write_whole(folder / PAGE, page)
    said = {"sentences": answer.sentences(), **numbers(answer)}
    write_whole(folder / SAID, json.dumps(said, indent=1) + "\n")


def _tables(answer: Answer) -> Iterator[Table]:
    real, synthetic = answer.gap.domains
    yield Table(
        "gap",
        "The gap",
        f"mAP@0.5 on {answer.images[0]} {real} and {answer.images[1]} {synthetic} test images, with its "
        "95 % interval over images (jackknife over whole sequences).",
        answer.gap_table(),
    )
    yield Table(
        "checks",
        "Checks before explanations",
        "How far the sets differ, and how much a remedy would help, beside what halves of one set reach. "
        "Only a mistake is named, and only beyond its floor: synthetic images are others than real ones. "
        "Boxes, classes and scale are judged by what a network finds, in each set the one that is best "
        "there: the gain in overlap, or in boxes of the right class, chosen on one half and tried on the "
        "other.",
        check_table(answer.checks),
    )
    if answer.recalibration.trials:
        yield Table(
            "recalibration",
            "Batch norms recalibrated",
            f"Means and variances of {real} images without labels, none a test image, in place of the "
            "network's own, whole or half. Differences to the network as it was, paired over the images.",
            answer.recalibration.table(),
        )
    if answer.missed:
        yield Table(
            "misses",
            "What is missed",
            f"True boxes in {real} images that no detection of their class overlaps by half, from the "
            "confidence on at which F1 is best; the share missed less that of all other boxes, with its "
            "95 % interval over images.",
            miss_table(answer.missed),
        )
    if answer.place:
        of = (
            f"Means over seeds {listed(answer.place.seeds)}."
            if answer.place.singles
            else "One pair of trainings."
        )
        counts = f"{answer.place.images[0]} {real} and {answer.place.images[1]} {synthetic}"
        yield Table(
            "blocks",
            "Blocks exchanged",
            f"mAP@0.5 on {counts} images of networks that have some layers of the other one; batch norms "
            "are estimated anew on images of the domain that is measured. Differences to the network that "
            "has the rest, treated alike, paired over the images. {of}",
            answer.place.table(),
        )
        yield Table(
            "path",
            "The way of weights",
            f"mAP@0.5 on {counts} images of networks between the network (0) and the oracle (1), all "
            "weights in these shares, batch norms as above, and how far they lie below the straight line "
            f"between both ends. {of}",
            answer.place.path_table(),
        )


def _called(answer: Answer) -> Sequence[str]:
    """Return the names of network and oracle, of several pairs of trainings without the seeds."""
    if answer.place is None or not answer.place.singles:
        return answer.names
    return [name.rpartition("/")[0] for name in answer.names]


def _pictures(answer: Answer, layers: Sequence[Two]) -> Iterator[Picture]:
    if answer.place is None or not layers:
        return
    names, real = _called(answer), answer.gap.domains[0]
    alike, gaps = _similarities(layers, real), _gaps(layers, names)
    tracks = {name: _mean(some) for name, some in (alike | gaps).items()}
    singles = {name: np.stack([s.value for s in some]) for name, some in (alike | gaps).items()}
    for name, way, base in _exchanged(names):
        value, low, high = answer.place.rows(way, base)
        tracks[name] = LayerSeries(value, low=low, high=high)
        singles[name] = np.array([one.rows(way, base)[0] for one in answer.place.singles])
    several = bool(answer.place.singles)
    drawn = ribbon_figure(
        tracks,
        next(_compared(layers)).structure,
        title=f"Where {names[0]} and {names[1]} part\nblocks: {answer.place.images[0]} {real} images",
        measure="CKA, gap, mAP@0.5",
        chance="images permuted; of a gap, two halves of one set",
        highest={name: _highest(some) for name, some in gaps.items()},
        singles=singles if several else {},
    )
    of = "One pair of trainings."
    if several:
        of = f"Means over seeds {listed(answer.place.seeds)}, each of which is a thin line"
    yield Picture(
        "How alike both are, how far apart each holds the domains, and what exchanged blocks reach, layer "
        f"by layer, with 95 % intervals over images. {of}"
        + ("; the intervals of CKA are means, too." if several else ""),
        inline_svg(drawn),
    )
    yield Picture(
        "The way of weights from the network to the oracle. Dashed is the straight line between both, the "
        f"bar below it the barrier. {of}" + "." * several,
        inline_svg(_path(answer.place, answer.gap.domains)),
    )


def _similarities(layers: Sequence[Two], real: str) -> dict[str, list[LayerSeries]]:
    """Return CKA, and what is left of it without the common start, of each pair of trainings."""
    found = {f"CKA of both, {real} images": [one.debiased_series for one in _compared(layers)]}
    partial = [one.series["partial"] for one in _compared(layers) if "partial" in one.series]
    if partial:
        found["the same given the common start (partial CKA)"] = partial
    return found


def _gaps(layers: Sequence[Two], names: Sequence[str]) -> dict[str, list[LayerSeries]]:
    """Return how far apart network and oracle hold the domains, of each pair of trainings."""
    found: dict[str, list[LayerSeries]] = {}
    for two in layers:
        for name, gap in zip(names, two.gaps, strict=False):
            track = f"{' and '.join(gap.sets)} inside {name}: {MEASURE}"
            found.setdefault(track, []).append(gap.series)
    return found


def _exchanged(names: Sequence[str]) -> Iterator[tuple[str, Way, int]]:
    """Yield the tracks of exchanged blocks: name, way and whose the rest is."""
    ways: dict[Way, str] = {"alone": "this block", "first": "all up to this block"}
    for way, what in ways.items():
        for base, (own, other) in enumerate((names[:2], names[1::-1])):
            yield f"mAP@0.5, {own} with {what} of {other}", way, base


def _compared(layers: Sequence[Two]) -> Iterator[Comparison]:
    return (one for two in layers for one in two.results if isinstance(one, Comparison))


def _highest(some: Sequence[LayerSeries]) -> float:
    return float(max(np.nanmax(one.value, initial=0.0) for one in some)) or 1.0


def _mean(some: Sequence[LayerSeries]) -> LayerSeries:
    """Return the mean of several pairs' series, of what is drawn of them."""
    if len(some) == 1:
        return some[0]
    drawn = {}
    for row in ("value", "low", "high", "null"):
        rows = [getattr(one, row) for one in some]
        if all(values is not None for values in rows):
            drawn[row] = np.mean(rows, 0)
    return LayerSeries(**drawn)


def _path(place: Place, domains: Sequence[str]) -> Figure:
    figure = Figure(figsize=(7.1, 3), layout="constrained")
    axes = figure.subplots()
    alphas = [step.alpha for step in place.path]
    for number, (domain, colour) in enumerate(zip(domains, COLOURS, strict=False)):
        scores = _along(place, number)
        low, high = np.array([score.interval for score in scores]).T
        values = [score.value for score in scores]
        axes.fill_between(alphas, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(
            [0, 1], [values[0], values[-1]], color=colour, linewidth=0.8, linestyle=(0, (4, 3))
        )
        for one in place.singles:
            own = [score.value for score in _along(one, number)]
            axes.plot(alphas, own, color=colour, linewidth=0.6)
        step, fall = place.barrier(number)
        axes.plot(alphas, values, "o-", color=colour, label=f"{domain}: barrier {signed(fall)}")
        if fall.value > 0:
            at, foot = alphas[step + 1], values[step + 1]
            axes.vlines(at, foot, foot + fall.value, color=colour, linewidth=3, alpha=0.6)
    axes.set(xlabel="share of the oracle's weights", ylabel="mAP@0.5", ylim=(0, 1))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _along(place: Place, side: int) -> list[Score]:
    return [(step.real, step.synthetic)[side] for step in place.path]
