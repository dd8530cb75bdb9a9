"""Tables for the page: cells as text, with as many decimals as the numbers deserve."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import groupby
from math import floor, log10
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.report.panel import Table

SCORECARD: Final = "scorecard"
"""Key of the table that puts the paper's figures beside ours."""

LONG: Final = 40
"""Rows above which a table other than the scorecard is folded away."""


class Cell(NamedTuple):
    """A cell: its text, its class in the page, and how many columns of the head it spans."""

    text: str
    kind: str = ""
    span: int = 1


class Row(NamedTuple):
    """A row of the body: its names, its cells, and whether another group starts with it."""

    names: list[str]
    cells: list[Cell]
    starts: bool


class HtmlTable(NamedTuple):
    """What the page's template makes a table of.

    Attributes:
        table: The table.
        names: Names of the index's levels.
        head: A row of cells per level of the columns.
        rows: The body.
        is_long: Whether it is folded away.
    """

    table: Table
    names: list[str]
    head: list[list[Cell]]
    rows: list[Row]
    is_long: bool


def html_table(table: Table) -> HtmlTable:
    """Lay out a table."""
    is_long = len(table.frame) > LONG and table.key != SCORECARD
    names = [_text(name) for name in table.frame.index.names]
    return HtmlTable(table, names, _head(table.frame), _rows(table), is_long)


def _head(frame: pd.DataFrame) -> list[list[Cell]]:
    """Return a header row per level of the columns; equal neighbours of upper levels share a cell."""
    columns, levels = _tuples(frame.columns), frame.columns.nlevels
    rows = []
    for level in range(levels):
        last = level == levels - 1
        keys = [(column[: level + 1], last and place) for place, column in enumerate(columns)]
        spans = [(label[-1], len(list(group))) for (label, _), group in groupby(keys)]
        rows.append([Cell(_text(name), "group" if n > 1 else "", n) for name, n in spans])
    return rows


def _rows(table: Table) -> list[Row]:
    """Return the body; a name that the row above has too is not repeated."""
    cells = _cells(table)
    rows: list[Row] = []
    above: tuple[Hashable, ...] = ()
    for number, names in enumerate(_tuples(table.frame.index)):
        new = next((i for i, (a, b) in enumerate(zip(above, names, strict=False)) if a != b), 0)
        shown = [_text(name) if level >= new else "" for level, name in enumerate(names)]
        rows.append(Row(shown, cells[number], len(names) > 1 and new == 0 and number > 0))
        above = names
    return rows


def _tuples(index: pd.Index) -> list[tuple[Hashable, ...]]:
    return [label if isinstance(label, tuple) else (label,) for label in index]


def _text(label: Hashable) -> str:
    return "" if label is None else str(label)


def _cells(table: Table) -> list[list[Cell]]:
    """Return the body's cells row by row.

    Fractions have three decimals, and other numbers three digits, a column alike. In the scorecard a
    row has as many as the paper gives.
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


def _cell(value: object, decimals: int, kind: str) -> Cell:
    """Return a table cell; `kind` is its column's name in lower case."""
    sign = "+" if kind.startswith("difference") else ""
    grey = "paper" if kind == "paper" else ""
    if isinstance(value, (float, np.floating)):
        text = f"{value:{sign},.{decimals}f}" if np.isfinite(value) else "\N{EN DASH}"
    elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        text = f"{value:{sign},d}"
    else:
        return Cell(str(value), f"text {grey}".strip())
    return Cell(text.replace("-", "\N{MINUS SIGN}"), grey)
