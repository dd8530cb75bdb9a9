"""Draws the images that make two networks alike, and those that set them apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from yolo_synth.analysis.figures.sheet import LEFT, NOTE_ROW, NOTE_SIZE, Page, Title, styled

_COLUMNS: Final = 6
_WIDTH: Final = 7.1  # inches, as that of the curves
_STEP: Final = (_WIDTH - LEFT) / _COLUMNS
_SIDE: Final = _STEP - 0.14
_LONGEST: Final = 22
"""Letters of a name that fit under an image."""


@styled
def influence_sheet(
    images: Tensor, influence: ArrayLike, names: Sequence[str], *, title: str
) -> Figure:
    """Draw the images whose influence on a similarity is greatest, above, and least, below.

    Args:
        images: uint8 [n, 3, H, W].
        influence: What each image adds to the similarity [n], as of `jackknife.influence`.
        names: What stands under each image.
        title: What the figure shows; lines after the first are a subtitle.
    """
    values = np.asarray(influence, dtype=np.float64)
    order = values.argsort(kind="stable")
    count = min(_COLUMNS, len(order) // 2)
    rows = {
        "These add most": order[::-1][:count],
        "These add least, or take away": order[:count],
    }
    heading = Title(title, _WIDTH - LEFT)
    height = _SIDE * images.shape[2] / images.shape[3]
    row_height = height + 3.4 * NOTE_ROW
    page = Page(_WIDTH, heading.bottom + 0.1 + len(rows) * row_height)
    page.title(heading)
    for number, (label, chosen) in enumerate(rows.items()):
        top = heading.bottom + 0.1 + number * row_height
        page.text(LEFT, top, label, NOTE_SIZE)
        for column, image in enumerate(chosen):
            left = LEFT + column * _STEP
            axes = page.axes(left, top + NOTE_ROW, _SIDE, height)
            axes.imshow(images[image].permute(1, 2, 0).numpy(), aspect="auto")
            axes.set_axis_off()
            added = f"{values[image]:+.4f}".replace("-", "\N{MINUS SIGN}")
            under = top + NOTE_ROW + height + 0.03
            page.text(left, under, f"{added}\n{_shortened(names[image])}", 5)
    return page.figure


def _shortened(name: str) -> str:
    """Return a name, or the end of a long one."""
    return name if len(name) <= _LONGEST else f"\N{HORIZONTAL ELLIPSIS}{name[1 - _LONGEST :]}"
