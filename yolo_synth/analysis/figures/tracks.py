"""Tracks: similarity per layer with what it is judged by, drawn into a panel that counts layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.figures import ribbon
from yolo_synth.analysis.figures.sheet import Entry
from yolo_synth.analysis.similarity.series import LayerSeries, Values
from yolo_synth.palette import BLUE, FAINT, GREEN, GREY, INK, ORANGE, PURPLE, SHADE, SKY, VERMILION

COLOURS: Final = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
"""Colours of curves, in order (Okabe and Ito's, the darker ones first)."""

_DASHES: Final = ("-", (0, (5, 1.6)), (0, (6, 1.4, 1.2, 1.4)), (0, (1.4, 1.2)))
_NULL_COLOUR: Final = SHADE
_CEILING: Final[dict[str, Any]] = {"color": INK, "linestyle": (0, (7, 2.5))}
_UNTRAINED: Final[dict[str, Any]] = {"color": GREY, "linestyle": (0, (4, 2, 1, 2))}
_BAND_ALPHA: Final = 0.22
_MARKED: Final = {"shortcut": 2.6, "route": 4.4, "yolo": 4.4}  # points


def checked(series: Mapping[str, LayerSeries], structure: Structure) -> dict[str, LayerSeries]:
    """Return series by name, as they are.

    Raises:
        ValueError: If there is none, or a row has not one value per layer.
    """
    if not series:
        raise ValueError("there is no curve to draw: give at least one pair of networks")
    for name, rows in series.items():
        rows.check(len(structure), name)
    return dict(series)


def shared_references(
    series: Iterable[LayerSeries], structure: Structure, distance: bool = False
) -> LayerSeries:
    """Return what all curves of a panel are judged by: the highest floors and ceiling of each layer.

    Of distances it is the lowest null.
    """
    series = list(series)
    return LayerSeries(
        np.zeros(len(structure)),
        null=_furthest((one.null for one in series), np.fmin if distance else np.fmax),
        untrained=_furthest((one.untrained for one in series), np.fmax),
        ceiling=_furthest((one.ceiling for one in series), np.fmax),
    )


def _furthest(rows: Iterable[Values | None], further: np.ufunc) -> Values | None:
    given = [row for row in rows if row is not None]
    return further.reduce(given) if given else None


def lowest(series: Iterable[LayerSeries]) -> float:
    """Return the smallest value that a drawing of series shows, at most 0 and at least -1."""
    rows = [
        row for one in series for row in (one.value, one.low, one.null, one.untrained, one.ceiling)
    ]
    numbers = np.concatenate([[0.0], *(row for row in rows if row is not None)])
    return float(np.clip(min(numbers[np.isfinite(numbers)]), -1, 0))


def prepare(axes: Axes, structure: Structure, lowest: float, highest: float = 1.0) -> None:
    """Set a panel's scales, from `lowest` or a little below up to `highest`, and draw what lies behind."""
    ribbon.guide(axes, structure)
    axes.set_xlim(-0.5, len(structure) - 0.5)
    axes.set_ylim(math.floor(10 * lowest - 0.2) / 10 if lowest < 0 else 0, 1.03 * highest)
    axes.set_xticks(ribbon.layer_ticks(structure))
    axes.spines[["top", "right"]].set_visible(False)
    if lowest < 0:
        axes.axhline(0, color=FAINT, linewidth=0.6, zorder=1.2)


def draw_references(axes: Axes, track: LayerSeries, unit: float, distance: bool = False) -> None:
    """Draw the null as a grey area up to it, or from it; second floor and ceiling as dashed lines."""
    layers = np.arange(len(track))
    if track.null is not None:
        end = axes.get_ylim()[1 if distance else 0]
        axes.fill_between(layers, end, track.null, color=_NULL_COLOUR, linewidth=0, zorder=1)
        axes.plot(layers, track.null, color=FAINT, linewidth=0.7 * unit, zorder=1.5, label="null")
    for name, style in (("untrained", _UNTRAINED), ("ceiling", _CEILING)):
        values = getattr(track, name)
        if values is not None:
            axes.plot(layers, values, **style, linewidth=0.8 * unit, zorder=2, label=name)


def draw_singles(axes: Axes, rows: Iterable[Values], number: int, unit: float) -> None:
    """Draw what a pair's curve is the mean of as thin lines in its colour."""
    for row in rows:
        style: dict[str, Any] = {"color": colour_of(number), "linewidth": 0.5 * unit, "alpha": 0.8}
        axes.plot(row, **style, zorder=2.8, label="single")


def draw_curve(
    axes: Axes,
    name: str,
    track: LayerSeries,
    structure: Structure,
    number: int,
    unit: float,
    *,
    dashed: bool,
) -> None:
    """Draw a pair's band, line and marks, and a cross at the foot where it is not defined.

    Args:
        axes: A panel after `prepare`.
        name: The pair.
        track: What is known of it.
        structure: The layers.
        number: Which of the figure's pairs it is; it sets the colour.
        unit: Factor on sizes in points.
        dashed: Tell the pairs apart by their line's dashes too.
    """
    layers = np.arange(len(structure))
    colour = colour_of(number)
    if track.low is not None and track.high is not None:
        axes.fill_between(
            layers, track.low, track.high, color=colour, alpha=_BAND_ALPHA, linewidth=0, zorder=2.5
        )
    axes.plot(
        layers,
        track.value,
        color=colour,
        linewidth=1.2 * unit,
        linestyle=_dash(number) if dashed else "-",
        zorder=3,
        label=name,
    )
    marks: dict[str, Any] = {"linestyle": "none", "color": colour, "clip_on": False, "zorder": 4}
    for kind, size in _MARKED.items():
        places = [layer for layer, other in enumerate(structure.kinds) if other == kind]
        axes.plot(
            places,
            track.value[places],
            marker=ribbon.KIND_MARKERS[kind],
            markersize=size * unit,
            markeredgecolor="white",
            markeredgewidth=0.35 * unit,
            **marks,
        )
    undefined = np.flatnonzero(~np.isfinite(track.value))
    foot = np.full(len(undefined), axes.get_ylim()[0])
    axes.plot(undefined, foot, marker="x", markersize=4 * unit, **marks)


def colour_of(number: int) -> str:
    """Return the colour of a figure's pair."""
    return COLOURS[number % len(COLOURS)]


def _dash(number: int) -> Any:  # noqa: ANN401
    return _DASHES[number % len(_DASHES)]


def curve_entries(names: Iterable[str]) -> list[Entry]:
    """Return a legend's entries for the pairs."""
    return [
        Line2D(
            [],
            [],
            color=colour_of(number),
            linestyle=_dash(number),
            linewidth=1.4,
            label=name,
        )
        for number, name in enumerate(names)
    ]


def reference_entries(
    tracks: Iterable[LayerSeries], chance: str = "images permuted"
) -> list[Entry]:
    """Return a legend's entries for bands, floors, ceiling and undefined values, where there are any."""
    entries: list[Entry] = []
    tracks = list(tracks)
    if any(track.low is not None for track in tracks):
        band = Patch(facecolor=COLOURS[0], alpha=_BAND_ALPHA, linewidth=0, label="95 % interval")
        entries.append(band)
    if any(track.null is not None for track in tracks):
        null = Patch(facecolor=_NULL_COLOUR, edgecolor=FAINT, linewidth=0.7)
        null.set_label(chance)
        entries.append(null)
    if any(track.untrained is not None for track in tracks):
        entries.append(Line2D([], [], **_UNTRAINED, linewidth=0.8, label="two untrained networks"))
    if any(track.ceiling is not None for track in tracks):
        entries.append(Line2D([], [], **_CEILING, linewidth=0.8, label="two seeds of one model"))
    if not all(np.isfinite(track.value).all() for track in tracks):
        entries.append(_mark("x", 4, "not defined"))
    return entries


def mark_entries(structure: Structure) -> list[Entry]:
    """Return a legend's entries for the kinds of layer that are marked on curves."""
    return [
        _mark(ribbon.KIND_MARKERS[kind], size, f"{ribbon.KIND_NAMES.get(kind, kind)} layer")
        for kind, size in _MARKED.items()
        if kind in structure.kinds
    ]


def _mark(marker: str, size: float, label: str) -> Line2D:
    return Line2D([], [], linestyle="none", marker=marker, markersize=size, color=INK, label=label)
