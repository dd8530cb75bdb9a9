"""Tables for the page: cells as text, with as many decimals as the numbers deserve."""

from __future__ import annotations

import re
from math import floor, log10
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.report.panel import Table

SCORECARD: Final = "scorecard"
"""Key of the table that puts the paper's figures beside ours."""

LONG: Final = 40
"""Rows above which a table other than the scorecard is folded away."""


class HtmlTable(NamedTuple):
    """A table as the page's template takes it: its markup, and whether it is folded away."""

    table: Table
    markup: str
    is_long: bool


def html_table(table: Table) -> HtmlTable:
    """Lay out a table; equal neighbours among its row and column names share a cell."""
    frame = table.frame
    text = pd.DataFrame(_cells(table), frame.index, frame.columns, dtype=object)
    with pd.option_context("display.max_colwidth", None):  # by default 50 letters
        markup = re.sub(r">\s+<", "><", text.to_html(border=0, sparsify=True))
    return HtmlTable(table, markup, len(frame) > LONG and table.key != SCORECARD)


def _cells(table: Table) -> list[list[str]]:
    """Return the body's cells row by row.

    Fractions have three decimals, and other numbers three digits, a column alike. In the scorecard a
    row has as many as the paper gives.
    """
    frame = table.frame
    kinds = [str(name[-1] if isinstance(name, tuple) else name).lower() for name in frame.columns]
    per_column = [_decimals(frame.iloc[:, place]) for place in range(len(kinds))]
    floats = frame.select_dtypes("float").abs()
    if not (floats > 1 + 1e-9).any(axis=None):  # a similarity's 1 may be rounded upwards
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
    """Return a cell's text; `kind` is its column's name in lower case."""
    sign = "+" if kind.startswith("difference") else ""
    if isinstance(value, (float, np.floating)):
        rounded = round(float(value), decimals) + 0.0  # -0.0 is written 0
        text = f"{rounded:{sign},.{decimals}f}" if np.isfinite(value) else "\N{EN DASH}"
    elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        text = f"{value:{sign},d}"
    else:
        return str(value)
    return text.replace("-", "\N{MINUS SIGN}")
