"""What detectors are good and bad at, as one sheet: curves over confidence, recall, confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from yolo_synth.palette import BLUE, FAINT, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILION

_COLOURS: Final = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)

MOST: Final = len(_COLOURS)
"""Detectors that a sheet shows."""

_CELLS: Final = 10
"""Classes up to which numbers stand in the cells."""


def diagnosis_sheet(
    diagnoses: Mapping[str, Mapping[str, Any]], confidences: Sequence[float], title: str
) -> Figure:
    """Draw precision-recall, F1 over confidence, calibration and recall by part, and confusions below.

    Args:
        diagnoses: Name of a detector → the fields of its `Diagnosis`, all on the same images; the first
            `MOST` are drawn.
        confidences: Those of the curves.
        title: What all are measured on.
    """
    shown = dict(list(diagnoses.items())[:MOST])
    figure = Figure(figsize=(15, 8.4), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
    axes = above.subplots(1, 4, width_ratios=(1, 1, 1, 1.5))
    for colour, (_, one) in zip(_COLOURS, shown.items(), strict=False):
        _curves(axes, one, np.asarray(confidences), colour)
    axes[0].set(title="precision and recall", xlabel="recall", ylabel="precision")
    axes[1].set(title="F1 over confidence (dot: best)", xlabel="least confidence")
    axes[2].set(title="calibration", xlabel="confidence", ylabel="share that is right")
    axes[2].plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls="--", zorder=0)
    for one in axes[:3]:
        one.set(xlim=(0, 1), ylim=(0, 1.02))
    _recalls(axes[3], shown)
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    handles = [Patch(color=c, label=n) for c, n in zip(_COLOURS, shown, strict=False)]
    figure.legend(handles=handles, loc="outside upper right", ncols=MOST, frameon=False)
    for one, (name, diagnosis) in zip(
        np.atleast_1d(below.subplots(1, len(shown))), shown.items(), strict=True
    ):
        _confusion(one, name, diagnosis)
    figure.suptitle(title, x=0.01, ha="left", color=INK)
    return figure


def _numbers(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values], float)


def _curves(
    axes: Sequence[Axes],
    one: Mapping[str, Any],
    confidences: np.ndarray[Any, np.dtype[np.float64]],
    colour: str,
) -> None:
    curve = {name: _numbers(values) for name, values in one["curves"].items()}
    axes[0].plot(curve["recall"], curve["precision"], color=colour)
    axes[1].plot(confidences, curve["f1"], color=colour)
    axes[1].fill_between(
        confidences, curve["f1_low"], curve["f1_high"], color=colour, alpha=0.15, lw=0
    )
    best = one["values"]
    axes[1].plot(best["confidence"], best["f1"], "o", color=colour)
    if best["confidence_low"] is not None:
        ends = [best["confidence_low"], best["confidence_high"]]
        axes[1].plot(ends, [best["f1"]] * 2, color=colour, lw=1)
    bins = {name: _numbers([row[name] for row in one["reliability"]]) for name in _OF_A_BIN}
    axes[2].plot(bins["score"], bins["right"], "o-", ms=3, color=colour)
    axes[2].fill_between(bins["score"], bins["low"], bins["high"], color=colour, alpha=0.15, lw=0)


_OF_A_BIN: Final = ("score", "right", "low", "high")


def _recalls(axes: Axes, shown: Mapping[str, Mapping[str, Any]]) -> None:
    first = next(iter(shown.values()))["recalls"]
    parts = [(row["part"], row["of"]) for row in first if row["part"] != "class"]
    width = 0.8 / len(shown)
    for number, (colour, one) in enumerate(zip(_COLOURS, shown.values(), strict=False)):
        rows = {(row["part"], row["of"]): row for row in one["recalls"]}
        own = [rows[part] for part in parts if part in rows]
        places = np.array([n for n, part in enumerate(parts) if part in rows])
        values, low, high = (_numbers([r[k] for r in own]) for k in ("recall", "low", "high"))
        spread = np.clip(np.nan_to_num(np.vstack([values - low, high - values])), 0, None)
        axes.bar(
            places + (number - (len(shown) - 1) / 2) * width,
            values,
            width,
            yerr=spread,
            color=colour,
            error_kw={"lw": 0.8, "ecolor": GREY},
        )
    names = [of or "all" for _, of in parts]
    axes.set_xticks(range(len(parts)), names, rotation=60, ha="right", fontsize=8)
    axes.set(title="recall at the best confidence", ylim=(0, 1.02))


def _confusion(axes: Axes, name: str, one: Mapping[str, Any]) -> None:
    matrix = np.array(one["confusion"], float)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    columns, rows = [*one["classes"], "missed"], [*one["classes"], "background"]
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", fontsize=7)
    axes.set_yticks(range(len(rows)), rows, fontsize=7)
    if len(one["classes"]) <= _CELLS:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                ink = "white" if shares[row, column] > 0.5 else INK
                axes.text(
                    column, row, f"{count:.0f}", ha="center", va="center", fontsize=7, color=ink
                )
    axes.set_title(f"{name}: called, from {one['values']['confidence']:.2f} on", fontsize=9)
