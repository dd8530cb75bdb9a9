"""Figures as files: what is drawn, whether it stands already, and many at once."""

from __future__ import annotations

import io
import multiprocessing
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import starmap
from pathlib import Path
from typing import Any, Final, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from yolo_synth.analysis.figures.similarity import SVG_SETTINGS
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.files import digest, write_whole

FORMAT: Final = 2
"""Of how figures are drawn: raise it when they look different, and all are drawn again."""

WORTH_PROCESSES: Final = 60
"""Figures to be drawn from which on several processes are started for them."""


class Drawing(NamedTuple):
    """A figure to be drawn.

    Attributes:
        name: Its file name, without an ending.
        draw: Draws it; has to be picklable.
        inputs: All that it shows; it is drawn again when they have changed.
        is_papers: Whether it is one of the paper's figures, which are drawn without being asked for.
        dpi: Pixels an inch of the PNG.
    """

    name: str
    draw: Callable[[], Figure]
    inputs: Sequence[Any]
    is_papers: bool = False
    dpi: int = 150


def write_figures(drawings: Iterable[Drawing], folder: Path) -> None:
    """Write figures as PNG and SVG; those that stand are left as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    marked = [(drawing, f"sha256:{_digest(drawing.inputs)}", folder) for drawing in drawings]
    todo = [job for job in marked if not _stands(*job)]
    with tqdm(total=len(todo), desc="draw", unit="figure", leave=False) as bar:
        for _ in _in_parallel(todo):
            bar.update()


def _in_parallel(todo: Sequence[tuple[Drawing, str, Path]]) -> Iterator[None]:
    """Write figures in a process a core, unless they are too few to be worth starting any."""
    if len(todo) < WORTH_PROCESSES:
        yield from starmap(_write, todo)
        return
    # spawned: a process that has run threads should not be forked
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_write, *zip(*todo, strict=True))


def _paths(drawing: Drawing, folder: Path) -> tuple[Path, Path]:
    return folder / f"{drawing.name}.svg", folder / f"{drawing.name}.png"


def _stands(drawing: Drawing, origin: str, folder: Path) -> bool:
    svg, png = _paths(drawing, folder)
    return (
        svg.is_file()
        and png.is_file()
        and origin in svg.read_text(encoding="utf-8", errors="replace")
    )


def _write(drawing: Drawing, origin: str, folder: Path) -> None:
    svg, png = _paths(drawing, folder)
    figure = drawing.draw()
    write_whole(png, lambda file: figure.savefig(file, format="png", dpi=drawing.dpi))
    write_whole(svg, svg_of(figure, origin))


def svg_of(figure: Figure, origin: str = "") -> str:
    """Return a figure as SVG, its text as text and the same bytes every time."""
    file = io.StringIO()
    with matplotlib.rc_context(SVG_SETTINGS):
        figure.savefig(file, format="svg", metadata={"Date": None, "Identifier": origin})
    return file.getvalue()


def inline_svg(figure: Figure) -> str:
    """Return a figure as SVG that stands inside a page and names no other place.

    Its paths are rounded to hundredths of a point, which nobody sees, and indented by nothing.
    """
    drawn = svg_of(figure)
    drawn = drawn[drawn.index("<svg") :]
    for pattern in (r"<metadata>.*?</metadata>", r' xmlns(:\w+)?="[^"]*"', r' clip-path="[^"]*"'):
        drawn = re.sub(pattern, "", drawn, flags=re.DOTALL)
    drawn = re.sub(r">\s+<", "><", drawn)
    return re.sub(r' d="[^"]*"', _rounded, drawn)


def _rounded(path: re.Match[str]) -> str:
    lines = re.sub(r"\s*\n\s*", "", path[0])
    return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.2f}", lines)


def _digest(inputs: Sequence[Any]) -> str:
    """Return SHA-256 of what a figure shows, and of how it is drawn."""
    parts: list[str | bytes] = [f"{FORMAT} {matplotlib.__version__}"]
    for value in inputs:
        rows = value.columns("value") if isinstance(value, LayerSeries) else {"": value}
        for name, row in rows.items():
            parts += [name, row.tobytes() if isinstance(row, np.ndarray) else str(row)]
    return digest(*parts)
