"""Curves and heat maps of similarity as matplotlib figures; nothing here shows or saves one.

Each function returns a `matplotlib.figure.Figure` that no window and no global state knows. Values
that are not defined are NaN: a gap in a curve with a cross at its foot, a hatched cell of a map.
To save with text as text and the same bytes every time:

    with matplotlib.rc_context(SVG_SETTINGS):
        figure.savefig("figure.svg", metadata={"Date": None})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.figures import cells as painting
from yolo_synth.analysis.figures import ribbon as ribbons
from yolo_synth.analysis.figures import tracks as panels
from yolo_synth.analysis.figures.sheet import (
    LABEL_SIZE,
    LEFT,
    LEGEND_ROW,
    NOTE_ROW,
    NOTE_SIZE,
    Page,
    Title,
    legend_rows,
    styled,
    wrapped_text,
)
from yolo_synth.analysis.similarity.series import LayerSeries, Values

SVG_SETTINGS: Final[dict[Any, Any]] = {"svg.fonttype": "none", "svg.hashsalt": "yolo_synth"}
"""Settings to save an SVG under: text stays text, and the ids inside do not change."""

MOST_SHARED: Final = 3
"""Tracks that stay legible in a share picture."""

_WIDTH: Final = 7.1  # inches; the text width of a two-column journal page
_PANEL: Final = _WIDTH - LEFT - 0.14
_CURVES: Final = 2.5  # height of the panel of curves
_HEADING: Final = 0.46  # height of the lines for parts and resolutions over a panel
_MAP: Final = 4.4  # the longer side of a heat map
_SIDE: Final = 0.26  # thickness of the ribbon along a heat map's axis
_TRACK_NAME: Final = 0.19  # room for a track's name above it


@styled
def similarity_curves(
    series: Mapping[str, LayerSeries],
    structure: Structure,
    *,
    title: str,
    image_size: int | None = None,
    measure: str = "CKA",
    highest: float = 1.0,
    distance: bool = False,
    chance: str = "images permuted",
) -> Figure:
    """Draw the similarity of corresponding layers, a curve per pair of networks.

    Shortcut, route and detection layers are marked on the curves; resolutions, backbone and head
    above them.

    Args:
        series: Name of the pair → its values, with their intervals where there are any. Up to what is
            reached with the images permuted is a grey area, what two trainings of one model reach
            a dashed line; of several pairs the highest of each layer.
        structure: The layers that the networks have in common.
        title: What the figure shows; lines after the first are a subtitle.
        image_size: Side of the probe images in pixels; resolutions are then written as the side of
            the layers' output, and else as strides.
        measure: The y axis's name.
        highest: The y axis's upper end.
        distance: Whether low values mean alike: chance is then from its 5 % point upwards.
        chance: What the grey area is.

    Returns:
        A figure of a journal page's width.

    Raises:
        ValueError: If there is no curve, or a row has not one value per layer.
    """
    tracks = panels.checked(series, structure)
    common = panels.shared_references(tracks.values(), structure, distance)
    legend = [
        *legend_rows(panels.curve_entries(tracks), _PANEL),
        *legend_rows(panels.reference_entries([*tracks.values(), common], chance), _PANEL),
        *legend_rows(panels.mark_entries(structure), _PANEL),
    ]
    heading = Title(title, _PANEL)
    top = heading.bottom + 0.06 + _HEADING
    page = Page(_WIDTH, top + _CURVES + 0.5 + len(legend) * LEGEND_ROW)
    page.title(heading)
    _draw_heading(page, structure, (LEFT, top, _PANEL), image_size)
    axes = page.axes(LEFT, top, _PANEL, _CURVES)
    panels.prepare(axes, structure, panels.lowest([*tracks.values(), common]), highest)
    panels.draw_references(axes, common, page.unit, distance)
    for number, (name, track) in enumerate(tracks.items()):
        panels.draw_curve(axes, name, track, structure, number, page.unit, dashed=True)
    axes.set_xlabel("layer", fontsize=LABEL_SIZE)
    axes.set_ylabel(measure, fontsize=LABEL_SIZE)
    page.legend(top + _CURVES + 0.46, legend)
    return page.figure


@styled
def similarity_heatmap(
    matrix: ArrayLike,
    structure_a: Structure,
    structure_b: Structure,
    *,
    names: tuple[str, str],
    title: str,
    image_size: int | None = None,
    measure: str = "CKA",
    ribbon: bool = False,
) -> Figure:
    """Draw the similarity of every layer of one network with every layer of another.

    Row i from below is layer i of the first network. Thin lines run where the resolution changes,
    strong ones between backbone and head. The colours run from 0 to 1; cells below 0 are black,
    and undefined ones (NaN) hatched.

    Args:
        matrix: [layers of a, layers of b].
        structure_a: The first network's layers, on the y axis.
        structure_b: The second network's layers, on the x axis.
        names: What the two networks are called.
        title: What the figure shows; lines after the first are a subtitle.
        image_size: Side of the probe images in pixels; resolutions are then written as the side of
            the layers' output, and else as strides.
        measure: The colour bar's name.
        ribbon: Draw the layers' kinds and resolutions along both axes.

    Returns:
        A figure whose map is 4.4 inches long on its longer side.

    Raises:
        ValueError: If the matrix has another shape.
    """
    cells = _matrix(matrix, structure_a, structure_b, names)
    width, height = (_MAP * max(0.5, side / max(cells.shape)) for side in cells.shape[::-1])
    beside = _SIDE if ribbon else 0.0
    left = LEFT + beside
    text_width = beside + width + 0.6
    heading = Title(title, text_width)
    notes = wrapped_text(" ".join(painting.cell_notes(cells)), text_width, NOTE_SIZE)
    colours = ribbons.kind_colours(structure_a, structure_b)
    legend = legend_rows(ribbons.kind_handles(colours), text_width) if ribbon else []
    top = heading.bottom + 0.06 + _HEADING
    foot = top + height + beside + 0.46
    foot_of_legend = foot + len(legend) * LEGEND_ROW
    page = Page(LEFT + text_width + 0.12, foot_of_legend + len(notes) * NOTE_ROW + 0.04)
    page.title(heading)
    _draw_heading(page, structure_b, (left, top, width), image_size)
    axes = page.axes(left, top, width, height)
    image = painting.draw_cells(axes, cells)
    painting.draw_borders(axes, structure_a, structure_b)
    x_axes = y_axes = axes
    if ribbon:
        axes.set_xticks([])
        axes.set_yticks([])
        x_axes = page.axes(left, top + height + 0.03, width, beside - 0.03)
        y_axes = page.axes(LEFT, top, beside - 0.03, height)
        painting.draw_side_ribbon(x_axes, structure_b, colours, vertical=False)
        painting.draw_side_ribbon(y_axes, structure_a, colours, vertical=True)
    x_axes.set_xticks(ribbons.layer_ticks(structure_b))
    y_axes.set_yticks(ribbons.layer_ticks(structure_a))
    x_axes.set_xlabel(f"layer of {names[1]}", fontsize=LABEL_SIZE)
    y_axes.set_ylabel(f"layer of {names[0]}", fontsize=LABEL_SIZE)
    bar = page.axes(left + width + 0.14, top, 0.13, height)
    painting.draw_colour_bar(bar, image, measure, below=bool((cells < 0).any()))
    page.legend(foot, legend)
    page.notes(foot_of_legend, notes)
    return page.figure


@styled
def ribbon_figure(
    series: Mapping[str, LayerSeries],
    structure: Structure,
    *,
    title: str,
    image_size: int | None = None,
    measure: str = "CKA",
    share: bool = False,
    chance: str = "images permuted",
    highest: Mapping[str, float] | None = None,
    singles: Mapping[str, Values] | None = None,
) -> Figure:
    """Draw the network as a ribbon of its layers, with a track of similarity per pair aligned under it.

    The ribbon's thickness is the layers' resolution and its colour their kind; arcs join each layer
    with the earlier outputs that it reads. Each track names its means over backbone and head.

    Args:
        series: Name of the pair → its values, with what they are judged by; the first is the uppermost
            track.
        structure: The layers that the networks have in common.
        title: What the figure shows; lines after the first are a subtitle.
        image_size: Side of the probe images in pixels; resolutions are then written as the side of
            the layers' output, and else as strides.
        measure: What the tracks show.
        share: Fit the figure into 12 by 6.3 inches, 1200 by 630 pixels at its own 100 dpi.
        chance: What the grey area is reached with.
        highest: Upper end of the scale of tracks that have one of their own, by name.
        singles: What a track is the mean of, by its name [n, L]: drawn as thin lines.

    Returns:
        A figure of a journal page's width, or the share picture.

    Raises:
        ValueError: If there is no curve, a row has not one value per layer, or there are more than
            `MOST_SHARED` tracks to share.
    """
    tracks = panels.checked(series, structure)
    if share and len(tracks) > MOST_SHARED:
        raise ValueError(f"a share picture has room for {MOST_SHARED} tracks, not {len(tracks)}")
    legend = [
        *legend_rows(ribbons.kind_handles(ribbons.kind_colours(structure)), _PANEL),
        *legend_rows(panels.reference_entries(tracks.values(), chance), _PANEL),
    ]
    own, singles = highest or {}, singles or {}
    heading = Title(title, _PANEL, enlarged=1.15 if share else 1.0)
    ribbon_height, track_height = 1.0 if share else 1.3, 0.95
    top = heading.bottom + 0.04 + ribbon_height + 0.06
    foot = 0.28 + len(legend) * LEGEND_ROW
    if share:
        page = Page(_WIDTH, _WIDTH * 630 / 1200, unit=12 / _WIDTH)
        track_height = (page.height - top - foot) / len(tracks)
    else:
        page = Page(_WIDTH, top + foot + track_height * len(tracks))
    page.title(heading)
    _draw_ribbon(page, structure, heading.bottom + 0.04, ribbon_height, image_size)
    lowest = panels.lowest(track for name, track in tracks.items() if name not in own)
    for number, (name, track) in enumerate(tracks.items()):
        above = top + number * track_height + _TRACK_NAME
        axes = page.axes(LEFT, above, _PANEL, track_height - _TRACK_NAME - 0.04)
        panels.prepare(
            axes, structure, panels.lowest([track]) if name in own else lowest, own.get(name, 1.0)
        )
        panels.draw_references(axes, track, page.unit)
        panels.draw_singles(axes, singles.get(name, ()), number, page.unit)
        panels.draw_curve(axes, name, track, structure, number, page.unit, dashed=False)
        if name in own:
            axes.locator_params("y", nbins=3)
        else:
            axes.set_yticks(
                [0, 1] if share else [0, 0.5, 1], ["0", "1"] if share else ["0", "0.5", "1"]
            )
        axes.tick_params(labelbottom=number == len(tracks) - 1)
        _name_track(page, name, track.means(structure.parts), number, above - 0.03)
    middle = top + track_height * len(tracks) / 2
    page.text(0.14, middle, measure, rotation=90, ha="center", va="center")
    page.text(LEFT - 0.1, page.height - foot + 0.015, "layer", ha="right")
    page.legend(page.height - len(legend) * LEGEND_ROW - 0.02, legend)
    return page.figure


def _matrix(
    matrix: ArrayLike, structure_a: Structure, structure_b: Structure, names: tuple[str, str]
) -> Values:
    cells = np.asarray(matrix, dtype=np.float64)
    expected = (len(structure_a), len(structure_b))
    if cells.shape != expected:
        raise ValueError(
            f"the similarity matrix of {names[0]} and {names[1]} has shape {list(cells.shape)}: "
            f"give a row per layer of the first and a column per layer of the second, "
            f"{list(expected)}"
        )
    return cells


def _draw_heading(
    page: Page, structure: Structure, panel: tuple[float, float, float], image_size: int | None
) -> None:
    """Write parts and scale regions over a panel that is given by left, top and width."""
    left, top, width = panel
    axes = page.axes(left, top - _HEADING, width, _HEADING)
    ribbons.clear(axes, structure)
    axes.set_ylim(0, 1)
    ribbons.draw_parts(axes, structure, y=0.58, size=LABEL_SIZE)
    ribbons.draw_scales(axes, structure, y=0.1, size=NOTE_SIZE, image_size=image_size)


def _draw_ribbon(
    page: Page, structure: Structure, top: float, height: float, image_size: int | None
) -> None:
    """Draw parts, arcs, ribbon, marks and scale regions under each other."""
    axes = page.axes(LEFT, top, _PANEL, height)
    ribbons.clear(axes, structure)
    axes.set_ylim(-1.35, 2.1)
    ribbons.draw_parts(axes, structure, y=1.7, size=LABEL_SIZE * page.unit)
    ribbons.draw_arcs(axes, structure, top=1.55, width=0.6 * page.unit)
    ribbons.draw_bars(axes, structure, ribbons.kind_colours(structure))
    ribbons.draw_marks(axes, structure, y=-0.72, size=3.6 * page.unit)
    ribbons.draw_scales(axes, structure, y=-1.3, size=NOTE_SIZE * page.unit, image_size=image_size)


def _name_track(
    page: Page, name: str, means: Mapping[str, float], number: int, bottom: float
) -> None:
    """Write a pair's name and its means over backbone and head above its track."""
    page.text(LEFT, bottom, name, va="bottom", weight="bold", color=panels.colour_of(number))
    known = [f"{p} {m:.2f}" for p, m in means.items() if p != "all" and np.isfinite(m)]
    if known:
        text = f"mean: {', '.join(known)}"
        page.text(LEFT + _PANEL, bottom, text, NOTE_SIZE, ha="right", va="bottom")
