"""The cells of a heat map: colours, borders, the ribbon beside them and the colour bar."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.figures import ribbon as ribbons
from yolo_synth.analysis.figures.sheet import LABEL_SIZE
from yolo_synth.analysis.similarity.series import Values
from yolo_synth.palette import GREY, SHADE


def draw_cells(axes: Axes, cells: Values) -> AxesImage:
    """Draw a cell for each two layers, those without a value hatched."""
    rows, columns = cells.shape
    ground = Rectangle((-0.5, -0.5), columns, rows, linewidth=0, zorder=0)
    ground.set(facecolor=SHADE, edgecolor=GREY, hatch="////////")
    axes.add_patch(ground)
    colours = matplotlib.colormaps["viridis"].with_extremes(under="black", bad=(0, 0, 0, 0))
    return axes.imshow(
        np.ma.masked_invalid(cells),
        cmap=colours,
        vmin=0,
        vmax=1,
        origin="lower",
        interpolation="none",
        aspect="auto",
        zorder=1,
    )


def draw_borders(axes: Axes, structure_a: Structure, structure_b: Structure) -> None:
    """Draw lines where the resolution changes and where the head starts."""
    for line, structure in ((axes.axhline, structure_a), (axes.axvline, structure_b)):
        for region in structure.regions[1:]:
            line(region.start - 0.5, color="white", linewidth=0.4, alpha=0.8, zorder=2)
        if structure.head:
            line(structure.head.start - 0.5, color="white", linewidth=1, zorder=2)


def draw_side_ribbon(
    axes: Axes, structure: Structure, colours: Mapping[str, str], *, vertical: bool
) -> None:
    """Draw the ribbon beside a heat map, aligned with its cells."""
    ribbons.clear(axes, structure)
    if vertical:
        axes.set_xlim(-0.5, 0.5)
        axes.set_ylim(-0.5, len(structure) - 0.5)
    else:
        axes.set_ylim(-0.5, 0.5)
    ribbons.draw_bars(axes, structure, colours, vertical=vertical)


def draw_colour_bar(axes: Axes, image: AxesImage, measure: str, *, below: bool) -> None:
    """Draw the colour bar, with a black tip for values below 0 if there are any."""
    bar = image.figure.colorbar(
        image, cax=axes, extend="min" if below else "neither", extendfrac=0.03
    )
    bar.set_label(measure, fontsize=LABEL_SIZE)
    bar.outline.set_linewidth(0.6)


def cell_notes(cells: Values) -> list[str]:
    """Say what black and hatched cells are, if there are any."""
    notes = []
    if below := int((cells < 0).sum()):
        lowest = f"{np.nanmin(cells):.2f}".replace("-", "\N{MINUS SIGN}")
        notes.append(f"Black: below 0 ({below} of {cells.size} cells, lowest {lowest}).")
    if undefined := int((~np.isfinite(cells)).sum()):
        notes.append(f"Hatched: not defined ({undefined} of {cells.size} cells).")
    return notes
