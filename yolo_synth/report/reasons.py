"""The page of `why`: its card, its pictures and its tables, and the same as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from yolo_synth.analysis.figures.similarity import ribbon_figure
from yolo_synth.analysis.figures.tracks import COLOURS
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.comparison import Comparison
from yolo_synth.escaping import csv_text
from yolo_synth.files import write_whole
from yolo_synth.reasons.answer import Answer
from yolo_synth.reasons.checks import check_table
from yolo_synth.reasons.misses import miss_table
from yolo_synth.reasons.numbers import numbers
from yolo_synth.reasons.swaps import Way
from yolo_synth.report.figures import inline_svg
from yolo_synth.report.html_tables import html_table
from yolo_synth.report.panel import Table
from yolo_synth.report.still import still_page
from yolo_synth.report.two import Picture, Two, gap_pictures

PAGE: Final = "why.html"
SAID: Final = "why.json"
"""The card and its numbers for other programs, and for the report."""


def write_answer(answer: Answer, folder: Path, layers: Two | None = None) -> None:
    """Write `why.html`, which loads nothing and needs no script, `why.json` and a CSV a table.

    Args:
        answer: What is said.
        folder: Where to.
        layers: Network and oracle compared layer by layer.
    """
    tables = list(_tables(answer))
    for table in tables:
        write_whole(folder / f"{table.key}.csv", csv_text(table.frame.reset_index(), index=False))
    page = still_page(
        "why.html",
        title=f"Why {answer.names[0]} is not as good on {answer.gap.domains[0]} images",
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
        answer.gap.table(answer.names),
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
        counts = f"{answer.place.images[0]} {real} and {answer.place.images[1]} {synthetic}"
        yield Table(
            "blocks",
            "Blocks exchanged",
            f"mAP@0.5 on {counts} images of networks that have some layers of the other one; batch norms "
            "are estimated anew on images of the domain that is measured. Differences to the network that "
            "has the rest, treated alike, paired over the images. One pair of trainings.",
            answer.place.table(),
        )
        yield Table(
            "path",
            "The way of weights",
            f"mAP@0.5 on {counts} images of networks between the network (0) and the oracle (1), all "
            "weights in these shares, batch norms as above.",
            answer.place.path_table(),
        )


def _pictures(answer: Answer, layers: Two | None) -> Iterator[Picture]:
    if answer.place is None or layers is None:
        return
    real = answer.gap.domains[0]
    result = next(one for one in layers.results if isinstance(one, Comparison))
    tracks = {f"CKA of both, {real} images": result.debiased_series}
    if "partial" in result.series:
        tracks["the same given the common start"] = result.series["partial"]
    ways: dict[Way, str] = {"alone": "this block", "first": "all up to this block"}
    for way, what in ways.items():
        for base, (own, other) in enumerate((answer.names[:2], answer.names[1::-1])):
            value, low, high = answer.place.rows(way, base)
            name = f"mAP@0.5, {own} with {what} of {other}"
            tracks[name] = LayerSeries(value, low=low, high=high)
    title = f"Where {answer.names[0]} and {answer.names[1]} part\n{answer.place.images[0]} {real} images"
    drawn = ribbon_figure(tracks, result.structure, title=title, measure="CKA, mAP@0.5")
    yield Picture(
        "Similarity layer by layer, and what exchanged blocks reach, with 95 % intervals over images.",
        inline_svg(drawn),
    )
    yield from gap_pictures(layers)
    yield Picture("The way of weights from the network to the oracle.", inline_svg(_path(answer)))


def _path(answer: Answer) -> Figure:
    assert answer.place is not None
    figure = Figure(figsize=(5, 2.6), layout="constrained")
    axes = figure.subplots()
    alphas = [step.alpha for step in answer.place.path]
    for number, domain in enumerate(answer.gap.domains):
        scores = [(step.real, step.synthetic)[number] for step in answer.place.path]
        low, high = np.array([score.interval for score in scores]).T
        axes.fill_between(alphas, low, high, color=COLOURS[number], alpha=0.2, linewidth=0)
        values = [score.value for score in scores]
        axes.plot(alphas, values, "o-", color=COLOURS[number], label=domain)
    axes.set(xlabel="share of the oracle's weights", ylabel="mAP@0.5", ylim=(0, 1))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
