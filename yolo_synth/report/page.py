"""The report as one HTML file that needs nothing else: no network, no other file, no plotting library.

Text and tables are written here; the figures are drawn by the script in page.html, onto canvases, from
the arrays that are packed into the page.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Hashable, Iterable, Sequence
from html import escape
from itertools import groupby
from math import floor, log10
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from numpy.typing import ArrayLike, NDArray

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.figures import ribbon, tracks
from yolo_synth.report.results import INITIAL_STATE, Matrix, Pair, Report, Table, Values

LIMIT: Final = 3_000_000
"""Bytes that a page stays under, by giving up precision where it must."""

PRECISIONS: Final = (0.001, 0.002, 0.005, 0.01)
"""Steps that the matrices' values are rounded to: the first with which the page stays under `LIMIT`."""

TRACK_PRECISION: Final = 0.001
"""Step that the values per layer are rounded to."""

LEADING: Final = 5
"""Findings that stand before the figures; the others are folded away."""

SCORECARD: Final = "scorecard"
"""Key of the table that puts the paper's figures beside ours."""

_TEMPLATE: Final = Path(__file__).with_name("page.html")
_UNDEFINED: Final = -(2**15)
_SERIES: Final = ("low", "high", "null", "p", "ceiling", "partial")
_LONG: Final = 40
"""Rows above which a table other than the scorecard is folded away."""

Packed = NDArray[np.int16]


def write_page(report: Report, path: Path) -> None:
    """Write a report as one self-contained HTML file.

    It opens from disk in any browser of 2023 or later and loads nothing. Values per layer and the
    matrices' cells are rounded to 0.001, the latter coarser if the page would reach `LIMIT` otherwise;
    it says how much. A report without pairs has no figures.

    Args:
        report: What to show.
        path: File to write; its folder exists.

    Raises:
        ValueError: If a pair's arrays have not one value per layer, or the tables alone reach `LIMIT`.
    """
    for pair in report.pairs:
        _check(pair, len(report.structure))
    for gap in report.gaps:
        if not len(gap.gap) == len(gap.null) == len(report.structure):
            raise ValueError(f"{gap.run}: its gap has not one value for each of the layers")
    for precision in PRECISIONS:
        page = _page(report, precision).encode()
        if len(page) < LIMIT:
            break
    else:
        raise ValueError(
            f"{path}: {len(page):,} bytes even with values rounded to {PRECISIONS[-1]}, and the limit "
            f"is {LIMIT:,}: leave out some of the {len(report.pairs)} comparisons"
        )
    path.write_bytes(page)


def _check(pair: Pair, layers: int) -> None:
    rows = {name: getattr(pair, name) for name in _SERIES}
    shapes = {name: np.shape(row) for name, row in rows.items() if row is not None}
    shapes |= {"biased": pair.biased.shape, "debiased": pair.debiased.shape}
    for name, shape in shapes.items():
        expected = (layers,) if name in _SERIES else (layers, layers)
        if shape != expected:
            raise ValueError(
                f"{pair.first} vs {pair.second}: {name} has shape {list(shape)} where the network's "
                f"layers ask for {list(expected)}"
            )


def _page(report: Report, precision: float) -> str:
    parts = {
        "title": escape(report.title),
        "findings": _items(report.findings[:LEADING]),
        "more": _more(report.findings),
        "notes": _items(report.notes),
        "tables": "\n".join(map(_table, report.tables)),
        # `<` could only end the script element: as an escape it is the same JSON.
        "data": json.dumps(_data(report, precision), allow_nan=False).replace("<", "\\u003c"),
        "series": _pack(_series(report.pairs, len(report.structure))),
        "matrices": _pack(_matrices(report.pairs, len(report.structure), precision)),
    }
    page = _TEMPLATE.read_text(encoding="utf-8")
    before, *rest = page.split("<!--")
    pieces = [before]
    for piece in rest:
        name, _, after = piece.partition("-->")
        pieces += [parts[name], after]
    return "".join(pieces)


def _more(findings: Sequence[str]) -> str:
    """Return the findings after the leading ones, folded away."""
    if len(findings) <= LEADING:
        return ""
    return (
        f"<details><summary>All {len(findings)} findings</summary>"
        f'<ol class="findings" start="{LEADING + 1}">{_items(findings[LEADING:])}</ol></details>'
    )


def _items(sentences: Iterable[str]) -> str:
    return "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)


def _data(report: Report, precision: float) -> dict[str, Any]:
    """Return what the page's script has to know besides the packed arrays."""
    names = {name for pair in report.pairs for name in (pair.first, pair.second)}
    return {
        "precision": precision,
        "trackPrecision": TRACK_PRECISION,
        "networks": len(names - {INITIAL_STATE}),
        "structure": _structure(report.structure),
        "pairs": [
            {
                "first": pair.first,
                "second": pair.second,
                "probe": pair.probe,
                "images": pair.images,
                "size": pair.size,
                "series": [name for name in _SERIES if getattr(pair, name) is not None],
            }
            for pair in report.pairs
        ],
        "gaps": [
            {
                "run": gap.run,
                "domains": gap.domains,
                "images": gap.images,
                "size": gap.size,
                "values": _listed(gap.gap),
                "null": _listed(gap.null),
            }
            for gap in report.gaps
        ],
        "kindColours": ribbon.kind_colours(report.structure),
        "kindMarkers": ribbon.KIND_MARKERS,
        "kindNames": ribbon.KIND_NAMES,
        "trackColours": tracks.COLOURS,
        "headShade": ribbon.HEAD_SHADE,
        "ink": ribbon.INK,
        "faint": ribbon.FAINT,
        "viridis": [to_hex(colour) for colour in matplotlib.colormaps["viridis"](range(256))],
    }


def _listed(values: Values) -> list[float | None]:
    """Return values per layer rounded to `TRACK_PRECISION`, None where they are not defined."""
    return [round(float(value), 3) if np.isfinite(value) else None for value in values]


def _structure(structure: Structure) -> dict[str, Any]:
    return {
        "kinds": structure.kinds,
        "sources": structure.sources,
        "strides": structure.strides,
        "backboneEnd": structure.backbone_end,
        "thickness": [round(value, 4) for value in ribbon.thickness(structure)],
        "regions": [[region.start, region.stop] for region in structure.regions],
        "skips": structure.skips,
    }


def _series(pairs: Sequence[Pair], layers: int) -> Packed:
    """Return each pair's diagonals and series, one below the other [rows, layers], as differences."""
    rows: list[ArrayLike] = []
    for pair in pairs:
        rows += [np.diagonal(pair.debiased), np.diagonal(pair.biased)]
        rows += [row for name in _SERIES if (row := getattr(pair, name)) is not None]
    steps = _steps(np.reshape(np.array(rows, dtype=np.float64), (-1, layers)), TRACK_PRECISION)
    return np.diff(steps, axis=1, prepend=np.int16(0))


def _matrices(pairs: Sequence[Pair], layers: int, precision: float) -> Packed:
    """Return two matrices a pair, the debiased one and what the biased one has more, as differences.

    Cells become differences along both axes: what is left is small, and its sums are exact in the
    integers modulo 2**16. Of a network with itself the half above the diagonal is left out.
    """
    matrices = np.zeros((len(pairs), 2, layers, layers), dtype=np.int16)
    for pair, place in zip(pairs, matrices, strict=True):
        place[0] = _steps(pair.debiased, precision)
        place[1] = _steps(pair.biased, precision) - place[0]
        if pair.first == pair.second:
            place[...] = np.tril(place)
    down = np.diff(matrices, axis=-2, prepend=np.int16(0))
    return np.diff(down, axis=-1, prepend=np.int16(0))


def _steps(values: Matrix, precision: float) -> Packed:
    """Return values as whole steps, the lowest integer where they are not defined."""
    defined = np.isfinite(values)
    steps = np.rint(np.where(defined, values, 0) / precision)
    return np.where(defined, np.clip(steps, -32_000, 32_000), _UNDEFINED).astype(np.int16)


def _pack(differences: Packed) -> str:
    """Return integers as text: low bytes, then high bytes, of their zigzag code, deflated, in base64."""
    zigzag = ((differences << 1) ^ (differences >> 15)).ravel().view(np.uint16)
    planes = np.stack([zigzag & 255, zigzag >> 8]).astype(np.uint8)
    deflate = zlib.compressobj(level=9, wbits=-15)
    return base64.b64encode(deflate.compress(planes.tobytes()) + deflate.flush()).decode()


def _table(table: Table) -> str:
    content = (
        f'<div class="wide"><table><thead>{_head(table.frame)}</thead>'
        f"<tbody>{_body(table)}</tbody></table></div>"
    )
    if len(table.frame) > _LONG and table.key != SCORECARD:
        content = f"<details><summary>All {len(table.frame):,} rows</summary>{content}</details>"
    return (
        f'<figure class="table" id="table-{escape(table.key)}">'
        f"<figcaption><b>{escape(table.title.rstrip('.'))}.</b> {escape(table.caption)}</figcaption>"
        f"{content}</figure>"
    )


def _head(frame: pd.DataFrame) -> str:
    """Return a header row per level of the columns; equal neighbours of upper levels share a cell."""
    columns = _tuples(frame.columns)
    levels = frame.columns.nlevels
    rows = []
    for level in range(levels):
        last = level == levels - 1
        names = [_text(name) if last else "" for name in frame.index.names]
        cells = [f'<th class="name">{name}</th>' for name in names]
        keys = [(column[: level + 1], last and place) for place, column in enumerate(columns)]
        for (label, _), group in groupby(keys):
            span = len(list(group))
            merged = f' colspan="{span}" class="group"' if span > 1 else ""
            cells.append(f'<th scope="col"{merged}>{_text(label[-1])}</th>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return "".join(rows)


def _body(table: Table) -> str:
    """Return the rows; a name that the row above has too is not repeated."""
    cells = _cells(table)
    names = _tuples(table.frame.index)
    rows = []
    above: tuple[Hashable, ...] = ()
    for number, row in enumerate(names):
        new = next((i for i, (a, b) in enumerate(zip(above, row, strict=False)) if a != b), 0)
        starts = ' class="starts"' if len(row) > 1 and new == 0 and number else ""
        heads = [
            f'<th scope="row">{_text(name) if level >= new else ""}</th>'
            for level, name in enumerate(row)
        ]
        rows.append(f"<tr{starts}>{''.join(heads)}{''.join(cells[number])}</tr>")
        above = row
    return "".join(rows)


def _tuples(index: pd.Index) -> list[tuple[Hashable, ...]]:
    return [label if isinstance(label, tuple) else (label,) for label in index]


def _text(label: Hashable) -> str:
    return "" if label is None else escape(str(label))


def _cells(table: Table) -> list[list[str]]:
    """Return the body's cells as HTML, row by row, with as many decimals as the numbers deserve.

    Fractions have three, and other numbers three digits, a column alike. In the scorecard a row has
    as many as the paper gives.
    """
    frame = table.frame
    kinds = [str(column[-1]).lower() for column in _tuples(frame.columns)]
    per_column = [_decimals(frame.iloc[:, place]) for place in range(len(kinds))]
    if not any((numbers.abs() > 1).any() for _, numbers in frame.select_dtypes("float").items()):
        per_column = [3] * len(kinds)
    rows = []
    for number in range(len(frame)):
        row = [frame.iat[number, place] for place in range(len(kinds))]
        decimals = per_column
        if table.key == SCORECARD and "paper" in kinds:
            decimals = [_decimals_given(row[kinds.index("paper")])] * len(kinds)
        rows.append(list(map(_cell, row, decimals, kinds)))
    return rows


def _decimals(column: pd.Series[Any]) -> int:
    """Return the decimals that show three digits of a column's middle number, 0 to 4."""
    if not pd.api.types.is_float_dtype(column):
        return 0
    sizes = column.abs()
    middle = sizes[sizes.between(0, np.inf, inclusive="neither")].median()
    return 3 if np.isnan(middle) else min(4, max(0, 2 - floor(log10(middle))))


def _decimals_given(value: object) -> int:
    """Return the decimals that a printed figure has, and as many as show three of its digits."""
    if not isinstance(value, float) or not np.isfinite(value):
        return 3
    given = len(f"{value:.6f}".rstrip("0").partition(".")[2])
    return max(given, _decimals(pd.Series([value])))


def _cell(value: object, decimals: int, kind: str) -> str:
    """Return a table cell; `kind` is its column's name in lower case."""
    sign = "+" if kind.startswith("difference") else ""
    grey = " paper" if kind == "paper" else ""
    if isinstance(value, (float, np.floating)):
        text = f"{value:{sign},.{decimals}f}" if np.isfinite(value) else "\N{EN DASH}"
    elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        text = f"{value:{sign},d}"
    else:
        return f'<td class="text{grey}">{escape(str(value))}</td>'
    minus = text.replace("-", "\N{MINUS SIGN}")
    return f'<td class="number{grey}">{minus}</td>'
