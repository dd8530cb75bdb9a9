"""Tracks: similarity per layer with what it is judged by, drawn into a panel that counts layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.figures import ribbon
from yolo_synth.analysis.figures.ribbon import FAINT, INK
from yolo_synth.analysis.figures.sheet import Entry

Values = NDArray[np.float64]
Band = tuple[ArrayLike, ArrayLike]
"""Lower and upper bound per layer."""

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of curves, in order (Okabe and Ito's, the darker ones first)."""

_DASHES: Final = ("-", (0, (5, 1.6)), (0, (6, 1.4, 1.2, 1.4)), (0, (1.4, 1.2)))
_NULL_COLOUR: Final = "#D9DCDF"
_CEILING: Final[dict[str, Any]] = {"color": INK, "linestyle": (0, (7, 2.5))}
_BAND_ALPHA: Final = 0.22
_MARKED: Final = {"shortcut": 2.6, "route": 4.4, "yolo": 4.4}  # points


class Track(NamedTuple):
    """What is known of one pair of networks, a value per layer each.

    Attributes:
        name: The pair.
        values: Its similarity; NaN where it is not defined.
        band: Lower and upper bound.
        null: What is reached with the images permuted.
        ceiling: What two trainings of one model reach.
    """

    name: str
    values: Values
    band: tuple[Values, Values] | None = None
    null: Values | None = None
    ceiling: Values | None = None

    @property
    def lowest(self) -> float:
        """Return the smallest value that a drawing of this track shows, at most 0 and at least -1."""
        lower = self.band[0] if self.band else None
        given = [row for row in (self.values, lower, self.null, self.ceiling) if row is not None]
        numbers = np.concatenate(given)
        return float(np.clip(min(numbers[np.isfinite(numbers)], default=0.0), -1, 0))


def tracks_of(
    curves: Mapping[str, ArrayLike],
    structure: Structure,
    bands: Mapping[str, Band] | None = None,
    nulls: Mapping[str, ArrayLike] | None = None,
    ceilings: Mapping[str, ArrayLike] | None = None,
) -> list[Track]:
    """Bring together what is given per pair, in the order of the curves.

    Raises:
        ValueError: If there is no curve, a row has not one value per layer, or a band, null or
            ceiling belongs to no curve.
    """
    if not curves:
        raise ValueError("there is no curve to draw: give at least one pair of networks")
    lows = {name: band[0] for name, band in (bands or {}).items()}
    highs = {name: band[1] for name, band in (bands or {}).items()}
    given = {"lower bound": lows, "upper bound": highs, "null": nulls, "ceiling": ceilings}
    rows: dict[tuple[str, str], Values] = {}
    for what, named in given.items():
        for name, values in (named or {}).items():
            if name not in curves:
                raise ValueError(f"the {what} of {name!r} has no curve among {', '.join(curves)}")
            rows[what, name] = series(values, structure, f"the {what} of {name!r}")
    return [
        Track(
            name,
            series(values, structure, f"the curve {name!r}"),
            (rows["lower bound", name], rows["upper bound", name]) if name in lows else None,
            rows.get(("null", name)),
            rows.get(("ceiling", name)),
        )
        for name, values in curves.items()
    ]


def series(values: ArrayLike, structure: Structure, name: str) -> Values:
    """Return one value per layer as float64.

    Raises:
        ValueError: If there are more or fewer.
    """
    row = np.asarray(values, dtype=np.float64)
    if row.shape != (len(structure),):
        raise ValueError(
            f"{name} has shape {list(row.shape)}: give one value for each of the network's "
            f"{len(structure)} layers"
        )
    return row


def prepare(axes: Axes, structure: Structure, lowest: float, highest: float = 1.0) -> None:
    """Set a panel's scales, from `lowest` or a little below up to `highest`, and draw what lies behind."""
    ribbon.guide(axes, structure)
    axes.set_xlim(-0.5, len(structure) - 0.5)
    axes.set_ylim(math.floor(10 * lowest - 0.2) / 10 if lowest < 0 else 0, 1.03 * highest)
    axes.set_xticks(ribbon.layer_ticks(structure))
    axes.spines[["top", "right"]].set_visible(False)
    if lowest < 0:
        axes.axhline(0, color=FAINT, linewidth=0.6, zorder=1.2)


def draw_references(axes: Axes, track: Track, unit: float) -> None:
    """Draw the null as a grey area up to it, and the ceiling as a dashed line."""
    layers = np.arange(len(track.values))
    if track.null is not None:
        foot = axes.get_ylim()[0]
        axes.fill_between(layers, foot, track.null, color=_NULL_COLOUR, linewidth=0, zorder=1)
        axes.plot(layers, track.null, color=FAINT, linewidth=0.7 * unit, zorder=1.5, label="null")
    if track.ceiling is not None:
        axes.plot(
            layers, track.ceiling, **_CEILING, linewidth=0.8 * unit, zorder=2, label="ceiling"
        )


def draw_curve(
    axes: Axes, track: Track, structure: Structure, number: int, unit: float, *, dashed: bool
) -> None:
    """Draw a pair's band, line and marks, and a cross at the foot where it is not defined.

    Args:
        axes: A panel after `prepare`.
        track: The pair.
        structure: The layers.
        number: Which of the figure's pairs it is; it sets the colour.
        unit: Factor on sizes in points.
        dashed: Tell the pairs apart by their line's dashes too.
    """
    layers = np.arange(len(structure))
    colour = colour_of(number)
    if track.band is not None:
        axes.fill_between(
            layers, *track.band, color=colour, alpha=_BAND_ALPHA, linewidth=0, zorder=2.5
        )
    axes.plot(
        layers,
        track.values,
        color=colour,
        linewidth=1.2 * unit,
        linestyle=_dash(number) if dashed else "-",
        zorder=3,
        label=track.name,
    )
    marks: dict[str, Any] = {"linestyle": "none", "color": colour, "clip_on": False, "zorder": 4}
    for kind, size in _MARKED.items():
        places = [layer for layer, other in enumerate(structure.kinds) if other == kind]
        axes.plot(
            places,
            track.values[places],
            marker=ribbon.KIND_MARKERS[kind],
            markersize=size * unit,
            markeredgecolor="white",
            markeredgewidth=0.35 * unit,
            **marks,
        )
    undefined = np.flatnonzero(~np.isfinite(track.values))
    foot = np.full(len(undefined), axes.get_ylim()[0])
    axes.plot(undefined, foot, marker="x", markersize=4 * unit, **marks)


def colour_of(number: int) -> str:
    """Return the colour of a figure's pair."""
    return COLOURS[number % len(COLOURS)]


def _dash(number: int) -> Any:  # noqa: ANN401
    return _DASHES[number % len(_DASHES)]


def curve_entries(tracks: Sequence[Track]) -> list[Entry]:
    """Return a legend's entries for the pairs."""
    return [
        Line2D(
            [],
            [],
            color=colour_of(number),
            linestyle=_dash(number),
            linewidth=1.4,
            label=track.name,
        )
        for number, track in enumerate(tracks)
    ]


def reference_entries(tracks: Sequence[Track]) -> list[Entry]:
    """Return a legend's entries for bands, null, ceiling and undefined values, as far as there are any."""
    entries: list[Entry] = []
    if any(track.band is not None for track in tracks):
        band = Patch(facecolor=COLOURS[0], alpha=_BAND_ALPHA, linewidth=0, label="95 % interval")
        entries.append(band)
    if any(track.null is not None for track in tracks):
        null = Patch(facecolor=_NULL_COLOUR, edgecolor=FAINT, linewidth=0.7)
        null.set_label("images permuted")
        entries.append(null)
    if any(track.ceiling is not None for track in tracks):
        entries.append(Line2D([], [], **_CEILING, linewidth=0.8, label="two seeds of one model"))
    if not all(np.isfinite(track.values).all() for track in tracks):
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
