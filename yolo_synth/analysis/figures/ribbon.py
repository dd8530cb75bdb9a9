"""Drawings of a network's layers that figures are aligned with: ribbon, scale regions, parts.

All of them draw into axes whose x axis counts layers, layer i from i - 0.5 to i + 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.palette import FAINT, INK, ORANGE, PALE, PURPLE, SKY

KIND_COLOURS: Final = {
    "convolutional": PALE,
    "shortcut": SKY,
    "route": ORANGE,
    "upsample": PURPLE,
    "yolo": "#222222",
}
"""Fill colour of each kind of layer: those of Okabe and Ito's that the first curves do not have."""

OTHER_COLOURS: Final = ("#E8DCC0", "#A9BFA5", "#B9A779", "#D8C3CF", "#7F9178", "#8C7B54")
"""Fill colours of other kinds, in order of appearance."""

KIND_MARKERS: Final = {"shortcut": "o", "route": "D", "upsample": "^", "yolo": "s"}
"""Marker shape of each kind of layer that is marked."""

KIND_NAMES: Final = {"convolutional": "convolution", "yolo": "detection"}
"""What the legend calls a kind, where that is not Darknet's word."""

HEAD_SHADE: Final = "#F1F2F3"
"""Background of the head's layers."""


def clear(axes: Axes, structure: Structure) -> None:
    """Leave axes without frame and ticks, with one unit of x per layer."""
    axes.set_xlim(-0.5, len(structure) - 0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_frame_on(False)
    axes.patch.set_visible(False)


def thickness(structure: Structure) -> list[float]:
    """Return how thick the ribbon is at each layer: 1 at the finest resolution, a step less per halving."""
    coarsest = math.log2(max(structure.strides))
    steps = [coarsest - math.log2(stride) + 1 for stride in structure.strides]
    return [step / max(steps) for step in steps]


def layer_ticks(structure: Structure) -> range:
    """Return the layers whose number stands at an axis: every tenth, or all of a small network."""
    return range(0, len(structure), 10 if len(structure) > 20 else 1)


def kind_colours(*structures: Structure) -> dict[str, str]:
    """Return the fill colour of each kind of layer that the networks have, in order of appearance."""
    kinds = dict.fromkeys(kind for structure in structures for kind in structure.kinds)
    others = [kind for kind in kinds if kind not in KIND_COLOURS]
    return {
        kind: KIND_COLOURS[kind]
        if kind in KIND_COLOURS
        else OTHER_COLOURS[others.index(kind) % len(OTHER_COLOURS)]
        for kind in kinds
    }


def draw_bars(
    axes: Axes, structure: Structure, colours: Mapping[str, str], *, vertical: bool = False
) -> None:
    """Draw the ribbon: a bar per layer, its colour the kind and its length the resolution.

    Args:
        axes: Emptied by `clear`; the bars are centred on 0 and at most 1 long.
        structure: The network.
        colours: Fill colour of each kind, from `kind_colours`.
        vertical: Count the layers along y, upwards.
    """
    halves = [length / 2 for length in thickness(structure)]
    bars = [
        [(i - 0.5, -half), (i + 0.5, -half), (i + 0.5, half), (i - 0.5, half)]
        for i, half in enumerate(halves)
    ]
    if vertical:
        bars = [[(y, x) for x, y in bar] for bar in bars]
    fill = [colours[kind] for kind in structure.kinds]
    # one collection: a patch a layer takes matplotlib longer than all the rest of a heat map
    axes.add_collection(PolyCollection(bars, facecolors=fill, linewidths=0))


def draw_arcs(axes: Axes, structure: Structure, *, top: float, width: float = 0.6) -> None:
    """Draw an arc above the ribbon for each output that is read by another than the next layer.

    Args:
        axes: Holds the bars of `draw_bars`.
        structure: The network.
        top: y of the longest arc's top; the arcs' rise grows with the square root of their span.
        width: Line width in points.
    """
    edges = [length / 2 for length in thickness(structure)]
    longest = max((layer - source for source, layer in structure.skips), default=1)
    for source, layer in structure.skips:
        start, end = edges[source], edges[layer]
        base = max(start, end)
        rise = (top - base) * math.sqrt((layer - source) / longest)
        # A cubic with both control points at height h has its top at base + 3/4 (h - base).
        control = base + rise * 4 / 3
        path = Path(
            [(source, start), (source, control), (layer, control), (layer, end)],
            [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
        )
        kind = structure.kinds[layer]
        axes.add_patch(
            PathPatch(
                path,
                fill=False,
                edgecolor=KIND_COLOURS.get(kind, FAINT),
                linewidth=width if kind == "shortcut" else 1.6 * width,
            )
        )


def draw_marks(axes: Axes, structure: Structure, *, y: float, size: float) -> None:
    """Draw a row of markers at height `y`, one per layer of a kind of `KIND_MARKERS`."""
    for kind, marker in KIND_MARKERS.items():
        layers = [layer for layer, other in enumerate(structure.kinds) if other == kind]
        axes.plot(
            layers,
            [y] * len(layers),
            linestyle="none",
            marker=marker,
            markersize=0.75 * size if kind == "shortcut" else size,
            color=KIND_COLOURS[kind],
            markeredgewidth=0,
            clip_on=False,
        )


def kind_handles(colours: Mapping[str, str]) -> list[Line2D]:
    """Return a legend's entries for the kinds of layer that `kind_colours` gives."""
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=KIND_MARKERS.get(kind, "|"),
            markersize=4 if kind in KIND_MARKERS else 6.4,
            markeredgewidth=0 if kind in KIND_MARKERS else 2.5,
            color=colour,
            label=KIND_NAMES.get(kind, kind),
        )
        for kind, colour in colours.items()
    ]


def draw_scales(
    axes: Axes, structure: Structure, *, y: float, size: float, image_size: int | None
) -> None:
    """Write each scale region's resolution over a line that spans it, where it fits.

    Args:
        axes: Emptied by `clear`; what the numbers are is written to the left of it.
        structure: The network.
        y: Height of the lines; the text stands on them.
        size: Text size in points.
        image_size: Side of the input in pixels, to write the side of the regions' outputs; without
            it, their strides.
    """
    what = "stride" if image_size is None else "map side"
    _write(axes, (-0.5, y), what, size, ha="right", right=-size / 2)
    for region in structure.regions:
        _span(axes, region, y, color=FAINT, linewidth=size / 7)
        resolution = structure.strides[region.start]
        if image_size is not None:
            resolution = structure.side(region.start, image_size)
        # A digit of DejaVu Sans is 0.64 em wide.
        if 0.64 * size * len(str(resolution)) <= len(region) * _points_per_layer(axes):
            _write(axes, (_middle(region), y), str(resolution), size)


def draw_parts(axes: Axes, structure: Structure, *, y: float, size: float) -> None:
    """Name backbone and head on lines that span them at height `y`."""
    for name, part in structure.parts.items():
        _span(axes, part, y, color=INK, linewidth=size / 4)
        text = f"{name}, layers {part.start}\N{EN DASH}{part.stop - 1}"
        _write(axes, (_middle(part), y), text, size)


def _middle(layers: range) -> float:
    return (layers.start + layers.stop - 1) / 2


def _points_per_layer(axes: Axes) -> float:
    inches: float = axes.bbox.transformed(axes.figure.dpi_scale_trans.inverted()).width
    return 72 * inches / abs(axes.get_xlim()[1] - axes.get_xlim()[0])


def _span(axes: Axes, layers: range, y: float, *, color: str, linewidth: float) -> None:
    """Draw a line under or over layers that leaves a gap to the next ones' line."""
    gap = min(0.15, 1 / _points_per_layer(axes))
    axes.plot(
        [layers.start - 0.5 + gap, layers.stop - 0.5 - gap],
        [y, y],
        color=color,
        linewidth=linewidth,
        solid_capstyle="butt",
        clip_on=False,
    )


def _write(
    axes: Axes,
    place: tuple[float, float],
    text: str,
    size: float,
    *,
    ha: Literal["center", "right"] = "center",
    right: float = 0,
) -> None:
    """Write a text on a line at `place`, moved `right` by some points."""
    axes.annotate(
        text,
        place,
        xytext=(right, size / 4),
        textcoords="offset points",
        ha=ha,
        va="bottom",
        fontsize=size,
        annotation_clip=False,
    )


def guide(axes: Axes, structure: Structure) -> None:
    """Shade the head and draw thin lines where the resolution changes, under the data."""
    if structure.head:
        axes.axvspan(
            structure.head.start - 0.5,
            structure.head.stop - 0.5,
            facecolor=HEAD_SHADE,
            edgecolor="none",
            zorder=0,
        )
    for region in structure.regions[1:]:
        axes.axvline(region.start - 0.5, color="#DADDE0", linewidth=0.5, zorder=0.5)
