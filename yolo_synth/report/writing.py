"""Tables as files: CSV for programs, Markdown for reading, LaTeX for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pandas as pd

from yolo_synth.report.results import Table

LONG: Final = 40
"""Rows above which a LaTeX table may break across pages."""

_LATEX: Final = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"} | {"\\": r"\textbackslash{}"}
)


def write_table(table: Table, folder: Path) -> None:
    """Write `<key>.csv`, `<key>.md` and `<key>.tex`.

    CSV has 6 significant digits, the others 4. Column names of several levels are joined by spaces.
    The LaTeX needs no package, or longtable for more than 40 rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    flat = flattened(table.frame)
    flat.to_csv(folder / f"{table.key}.csv", index=False, float_format="%.6g", lineterminator="\n")
    (folder / f"{table.key}.md").write_text(markdown(table), encoding="utf-8")
    (folder / f"{table.key}.tex").write_text(latex(table), encoding="utf-8")


def flattened(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with its index as columns and one name a column."""
    flat = frame.copy()
    flat.columns = pd.Index([_joined(name) for name in frame.columns])
    return flat.reset_index()


def _joined(name: object) -> str:
    return " ".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _cell(value: Any) -> str:  # noqa: ANN401 - whatever a frame holds
    if isinstance(value, float):
        return "\N{EN DASH}" if value != value else f"{value:#.4g}"
    return str(value)


def _rows(table: Table) -> list[list[str]]:
    flat = flattened(table.frame)
    return [[str(name) for name in flat.columns]] + [
        [_cell(value) for value in row] for row in flat.itertuples(index=False, name=None)
    ]


def _is_number(table: Table) -> list[bool]:
    return [pd.api.types.is_numeric_dtype(kind) for kind in flattened(table.frame).dtypes]


def markdown(table: Table) -> str:
    """Return a table as GitHub's Markdown, with title and caption."""
    head, *rows = _rows(table)
    rules = ["---:" if number else "---" for number in _is_number(table)]
    lines = [f"| {' | '.join(row)} |" for row in (head, rules, *rows)]
    return "\n".join([f"### {table.title}", "", table.caption, "", *lines, ""])


def latex(table: Table) -> str:
    """Return a table as LaTeX, with caption and label."""
    rows = [
        [cell.translate(_LATEX).replace("\N{EN DASH}", "--") for cell in r] for r in _rows(table)
    ]
    columns = "".join("r" if number else "l" for number in _is_number(table))
    head, *body = [f"{' & '.join(row)} \\\\" for row in rows]
    caption = f"\\caption{{{table.title.translate(_LATEX)}. {table.caption.translate(_LATEX)}}}"
    label = f"\\label{{tab:{table.key}}}"
    if len(body) > LONG:
        lines = [
            f"\\begin{{longtable}}{{{columns}}}",
            f"{caption}{label}\\\\",
            *("\\hline", head, "\\hline", "\\endhead", *body, "\\hline", "\\end{longtable}"),
        ]
    else:
        lines = [
            *("\\begin{table}", "\\centering", caption, label),
            f"\\begin{{tabular}}{{{columns}}}",
            *("\\hline", head, "\\hline", *body, "\\hline", "\\end{tabular}", "\\end{table}"),
        ]
    return "\n".join([*lines, ""])
