"""The page of `curve`: its sentence, its figure and its tables, and the same as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from yolo_synth.curves.answer import FITTED, Answer
from yolo_synth.curves.recipes import TITLES, Recipe
from yolo_synth.escaping import csv_text
from yolo_synth.files import write_whole
from yolo_synth.palette import BLUE, FAINT, GREEN, INK, PURPLE, VERMILION
from yolo_synth.report.figures import inline_svg, svg_of
from yolo_synth.report.html_tables import html_table
from yolo_synth.report.panel import Table
from yolo_synth.report.still import still_page

PAGE: Final = "curve.html"
SAID: Final = "curve.json"
TABLE: Final = "curve.csv"
FIGURE: Final = "curve"

COLOURS: Final[dict[Recipe, str]] = {
    "real": BLUE,
    "tuned": VERMILION,
    "both": GREEN,
    "synthetic": PURPLE,
}
_ASIDE: Final[dict[Recipe, float]] = {"real": 0.95, "tuned": 1.0, "both": 1.05, "synthetic": 1.0}
"""Factors on numbers of pictures, so that the points of recipes do not lie on each other."""


def write_curve(answer: Answer, folder: Path) -> None:
    """Write `curve.html`, which loads nothing and needs no script, JSON, CSV, and the figure."""
    write_whole(folder / TABLE, csv_text(answer.rows(), index=False))
    drawn = figure_of(answer)
    write_whole(folder / f"{FIGURE}.png", lambda file: drawn.savefig(file, format="png", dpi=150))
    write_whole(folder / f"{FIGURE}.svg", svg_of(drawn))
    real, _ = answer.domains
    page = still_page(
        "curve.html",
        title="What synthetic pictures are worth in real ones",
        sentence=answer.sentence(),
        svg=inline_svg(drawn),
        caption=(
            f"mAP@0.5 on {answer.tests:,} {real} test images by number of real training pictures: a small "
            "point a training, a large one the mean over seeds"
            + (", the fitted curve and its 95 % interval over seeds." if answer.curves else ".")
            + (" The grey line is the sentence above." if answer.curves else "")
        ),
        notes=answer.notes(),
        tables=[html_table(table) for table in _tables(answer)],
    )
    write_whole(folder / PAGE, page)
    write_whole(folder / SAID, json.dumps(answer.said(), indent=1) + "\n")


def _tables(answer: Answer) -> Iterator[Table]:
    real, _ = answer.domains
    if answer.worths:
        yield Table(
            "worth",
            "Worth in real pictures",
            "How many real pictures alone reach the mAP@0.5 of each recipe, on the fitted curve, with its "
            "95 % interval over seeds. Nothing is said beyond the numbers tried.",
            answer.worth_table(),
        )
    yield Table(
        "scores",
        "mAP",
        f"mAP@0.5 on {real} test images, "
        + (
            f"mean over {answer.seeds} seeds and standard deviation between them."
            if answer.seeds > 1
            else "of one seed."
        ),
        answer.score_table(),
    )
    if answer.curves:
        yield Table(
            "curves",
            "Fitted curves",
            "1 \N{MINUS SIGN} mAP@0.5 = D n^\N{MINUS SIGN}beta + C, over the numbers above 0. An end that "
            "is 'any' is above all that was looked at (beta 6, D 1,000).",
            answer.fit_table(),
        )


def figure_of(answer: Answer) -> Figure:
    """Draw mAP over the number of real pictures: trainings, means, curves, intervals, and the answer."""
    figure = Figure(figsize=(7.6, 4.4), layout="constrained")
    axes = figure.subplots()
    numbers = answer.above_0
    step = min(4.0, numbers[1] / numbers[0]) if len(numbers) > 1 else 4.0
    none = numbers[0] / step
    """Where 0 is drawn, left of a gap."""
    for recipe in FITTED:
        _draw(axes, answer, recipe)
    alone = answer.scores("synthetic", 0)
    colour = COLOURS["synthetic"]
    axes.plot([none] * len(alone), alone, "o", color=colour, markersize=3, alpha=0.6)
    axes.plot([none], [alone.mean()], "D", color=colour, markersize=7, label=TITLES["synthetic"])
    axes.axhline(alone.mean(), color=colour, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
    _draw_worth(axes, answer)
    axes.set_xscale("log")
    axes.set(xlabel="real training pictures", ylabel="mAP@0.5 on real test images")
    axes.xaxis.set_major_locator(FixedLocator([none, *numbers]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels(["0", *(f"{n:,}" for n in numbers)])
    axes.set_xlim(none / 1.25, numbers[-1] * 1.25)
    top = max(point.map50 for point in answer.points)
    axes.set_ylim(0, min(1.0, max(0.1, 1.25 * top)))
    axes.spines[["top", "right"]].set_visible(False)
    gap = float(np.sqrt(none * numbers[0]))
    axes.text(gap, 0, "//", ha="center", va="center", color=INK, clip_on=False, fontsize=9)
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    return figure


def _draw(axes: Axes, answer: Answer, recipe: Recipe) -> None:
    colour = COLOURS[recipe]
    numbers = np.array(answer.above_0, float)
    scores = np.stack([answer.scores(recipe, n) for n in answer.above_0], 1)
    places = numbers * _ASIDE[recipe]
    for one in scores:
        axes.plot(places, one, "o", color=colour, markersize=3, alpha=0.6)
    curve = answer.curves.get(recipe)
    style = "o" if curve else "o-"
    axes.plot(places, scores.mean(0), style, color=colour, markersize=7, label=TITLES[recipe])
    if curve is None:
        return
    along = np.geomspace(numbers[0], numbers[-1], 200)
    axes.plot(along, 1 - curve.error(along), color=colour, linewidth=1.8)
    band = curve.band(along)
    if band is not None:
        low, high = (np.clip(1 - end, 0, 1) for end in band)
        axes.fill_between(along, low, high, color=colour, alpha=0.12, linewidth=0)


def _draw_worth(axes: Axes, answer: Answer) -> None:
    """Draw the way from the recipe that the sentence is about to the real pictures that are worth it."""
    n = answer.middle
    found = answer.worths.get(("tuned", n))
    if found is None or found.value is None:
        return
    level = float(answer.scores("tuned", n).mean())
    axes.plot([n, found.value, found.value], [level, level, 0], color=FAINT, linewidth=1, zorder=0)
    axes.annotate(
        f"{found.value:.0f}",
        (found.value, 0),
        xytext=(3, 3),
        textcoords="offset points",
        color=INK,
        fontsize=9,
    )
