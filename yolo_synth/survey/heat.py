"""Where in an image the boxes are: a figure, which is neither shown nor saved here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from yolo_synth.analysis.figures.sheet import styled
from yolo_synth.labels import CLASSES
from yolo_synth.palette import FAINT
from yolo_synth.survey.charts import page
from yolo_synth.survey.counts import commonest

_GRID: Final = (36, 64)
_COLUMNS: Final = 3


@styled
def places(table: pd.DataFrame, names: Sequence[str], title: str) -> Figure:
    """Draw how often each place of an image is covered, by the boxes of each class and the hood's.

    Args:
        table: The box table.
        names: Names of its classes; of many those with most boxes are drawn.
        title: Stands above all.
    """
    used = table["dropped"] == ""
    shown = commonest(table.loc[used, "label"].to_numpy(), len(names))
    parts = [(names[label], table[used & (table["label"] == label)]) for label in shown]
    hood = table[table["dropped"] == "hood"]
    if len(hood) or tuple(names) == CLASSES:
        parts.append(("left out as hood", hood))
    rows = -(-len(parts) // _COLUMNS)
    figure = page(0.5 + 2.2 * rows, title)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).flat
    for axes in panels[len(parts) :]:
        axes.set_visible(False)
    for axes, (name, boxes) in zip(panels, parts, strict=False):
        axes.set_title(f"{name}, {len(boxes):,}", loc="left", fontsize=9.5, weight="bold")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(FAINT)
        axes.spines[:].set_linewidth(0.6)
        axes.set_aspect("equal")
        axes.set_xlim(0, _GRID[1])
        axes.set_ylim(_GRID[0], 0)
        if len(boxes):
            heat = coverage(boxes)
            extent = (0, _GRID[1], _GRID[0], 0)
            image = axes.imshow(heat, cmap="GnBu", vmin=0, extent=extent, interpolation="bilinear")
            bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=20, shrink=0.8)
            bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            bar.ax.tick_params(labelsize=7)
            bar.outline.set_linewidth(0.4)
    return figure


def coverage(boxes: pd.DataFrame) -> NDArray[np.float64]:
    """Return which share of the boxes covers each of 36 x 64 cells that the image is divided into."""
    rows, columns = _GRID
    edges = boxes[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
    native = boxes[["width", "height", "width", "height"]].to_numpy(np.float64)
    grid = np.array([columns, rows, columns, rows], np.float64)
    cells = np.clip(np.rint(edges / native * grid), 0, grid).astype(np.int64)
    # Corners of every box, summed along both axes, count the boxes over each cell.
    corners = np.zeros((rows + 1, columns + 1))
    for x, y, sign in ((0, 1, 1), (2, 1, -1), (0, 3, -1), (2, 3, 1)):
        np.add.at(corners, (cells[:, y], cells[:, x]), sign)
    heat: NDArray[np.float64] = corners.cumsum(0).cumsum(1)[:rows, :columns] / len(boxes)
    return heat
