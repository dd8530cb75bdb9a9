"""A page to lay a figure out on: parts are placed in inches, so panels align and nothing is cut off."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from yolo_synth.palette import INK

Entry = Line2D | Patch
"""One entry of a legend."""

LEFT: Final = 0.58
"""Room for the y axis's labels."""

LABEL_SIZE: Final = 7.5
"""Points of axis labels, tick labels and legends."""

NOTE_SIZE: Final = 7.0
"""Points of what stands beside or below a panel."""

LEGEND_ROW: Final = 0.19
NOTE_ROW: Final = 0.16
TITLE_ROW: Final = 0.19

_TITLE_SIZE: Final = 9.5
_TITLE_TOP: Final = 0.1
_EM: Final = 1 / 72  # inches per point of text size
_STYLE: Final[dict[Any, Any]] = {
    "font.family": ["DejaVu Sans"],
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,  # a name with two dollar signs is a name
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.5,
}
_Arguments = ParamSpec("_Arguments")


def styled(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Let a function draw in this package's style alone, whatever the user's settings are."""

    @wraps(draw)
    def drawn(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_STYLE)
            return draw(*args, **kwargs)

    return drawn


class Title:
    """A title that is broken to a width.

    Attributes:
        lines: Its lines; those of the text's first line are bold, the others a subtitle.
        bottom: Inches from the page's top to its lower edge.
    """

    def __init__(self, text: str, width: float, *, enlarged: float = 1.0) -> None:
        """Break a text to `width` inches at `enlarged` times the usual size."""
        self.size = _TITLE_SIZE * enlarged
        first, *others = text.split("\n") if text else [""]
        bold = wrapped_text(first, width, self.size * 1.1)
        self.lines = [
            *((line, "bold") for line in bold),
            *((part, "normal") for line in others for part in wrapped_text(line, width, self.size)),
        ]
        self.row = TITLE_ROW * enlarged
        self.bottom = _TITLE_TOP + len(self.lines) * self.row


class Page:
    """A figure whose parts are placed from its upper left corner.

    Attributes:
        figure: The figure.
        unit: Factor on all lengths and text sizes; at 1 they are inches and points.
        width: Width of the page.
        height: Height of the page.
    """

    def __init__(self, width: float, height: float, unit: float = 1.0) -> None:
        """Make an empty page."""
        self.figure = Figure(figsize=(width * unit, height * unit), dpi=100)
        self.unit = unit
        self.width = width
        self.height = height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes whose upper left corner is at (`left`, `top`)."""
        bottom = self.height - top - height
        axes = self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )
        length = 2.5 * self.unit
        axes.tick_params(
            labelsize=LABEL_SIZE * self.unit, length=length, pad=length, width=0.6 * self.unit
        )
        axes.spines[:].set_linewidth(0.6 * self.unit)
        return axes

    def text(
        self,
        left: float,
        top: float,
        text: str,
        size: float = LABEL_SIZE,
        **style: Any,  # noqa: ANN401
    ) -> None:
        """Write a text; (`left`, `top`) is its upper left corner unless `style` aligns it otherwise."""
        style = {"ha": "left", "va": "top", "fontsize": size * self.unit, **style}
        self.figure.text(left / self.width, 1 - top / self.height, text, **style)

    def title(self, title: Title) -> None:
        """Write the title over the panels."""
        for number, (line, weight) in enumerate(title.lines):
            size = title.size if weight == "bold" else title.size - 1
            self.text(LEFT, _TITLE_TOP + number * title.row, line, size, weight=weight)

    def notes(self, top: float, lines: Sequence[str]) -> None:
        """Write lines under each other."""
        for number, line in enumerate(lines):
            self.text(LEFT, top + number * NOTE_ROW, line, NOTE_SIZE)

    def legend(self, top: float, rows: Sequence[Sequence[Entry]]) -> None:
        """Write rows of legend entries under each other."""
        for number, row in enumerate(rows):
            down = 1 - (top + number * LEGEND_ROW) / self.height
            self.figure.legend(
                handles=list(row),
                loc="upper left",
                bbox_to_anchor=(LEFT / self.width, down),
                ncols=len(row),
                frameon=False,
                fontsize=LABEL_SIZE * self.unit,
                markerscale=self.unit,
                borderpad=0,
                borderaxespad=0,
                handlelength=1 if all(map(_is_mark, row)) else 2.6,
                handletextpad=0.5,
                columnspacing=1.6,
            )


def legend_rows(entries: Iterable[Entry], width: float) -> list[list[Entry]]:
    """Break legend entries into rows that fit into `width` inches; none if there is no entry."""
    rows: list[list[Entry]] = []
    room = 0.0
    for entry in entries:
        handle = 0.3 if _is_mark(entry) else 0.48
        needed = handle + 0.62 * LABEL_SIZE * _EM * len(str(entry.get_label()))
        if not rows or needed > room:
            rows.append([])
            room = width
        rows[-1].append(entry)
        room -= needed
    return rows


def wrapped_text(text: str, width: float, size: float) -> list[str]:
    """Break a text into lines of at most `width` inches at `size` points."""
    return textwrap.wrap(text, max(1, int(width / (0.6 * size * _EM))))


def _is_mark(entry: Entry) -> bool:
    return entry.get_linestyle() == "None"
