"""Tables: what several panels make theirs with, and how they are written as files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.similarity.series import Values
from yolo_synth.escaping import csv_text, markdown_text
from yolo_synth.files import write_whole
from yolo_synth.report.panel import Table

SPREAD: Final = (
    "The spread is the largest minus the smallest value over the seeds; "
    "with one seed it is unknown."
)

LONG: Final = 40
"""Rows above which a LaTeX table may break across pages."""

_LATEX: Final = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"} | {"\\": r"\textbackslash{}"}
)


def seeds_as_columns(
    rows: pd.DataFrame,
    index: list[str],
    columns: list[str],
    value: str,
    names: Iterable[str],
) -> pd.DataFrame:
    """Turn seeds into columns, with mean and spread under each column where there are several."""
    seeds = sorted(rows["seed"].unique())
    cells = rows.pivot_table(
        index=index, columns=[*columns, "seed"], values=value, sort=False, dropna=False
    )
    made = {}
    for key in dict.fromkeys(name[:-1] for name in cells.columns):
        group = pd.DataFrame({seed: cells.get((*key, seed)) for seed in seeds}, index=cells.index)
        for seed in seeds:
            made[*key, f"seed {seed}"] = group[seed]
        if len(seeds) > 1:
            made[*key, "mean"] = group.mean(axis=1)
            alone = group.count(axis=1) < 2
            made[*key, "spread"] = (group.max(axis=1) - group.min(axis=1)).mask(alone)
    frame = pd.DataFrame(made)
    frame.columns.names = list(names)
    return frame


def by_layer(columns: Mapping[str, Values], structure: Structure) -> pd.DataFrame:
    """Return a row a layer, named by its number and kind."""
    layers = pd.MultiIndex.from_tuples(enumerate(structure.called), names=["layer", "kind"])
    return pd.DataFrame(columns, index=layers)


def write_table(table: Table, folder: Path) -> None:
    """Write `<key>.csv`, and but for data `<key>.md` and `<key>.tex`.

    CSV has 6 significant digits, the others 4. Column names of several levels are joined by spaces.
    The LaTeX needs booktabs, and longtable for more than 40 rows.
    """
    flat = flattened(table.frame)
    text = csv_text(flat, index=False, float_format="%.6g")
    write_whole(folder / f"{table.key}.csv", text)
    if not table.is_data:
        write_whole(folder / f"{table.key}.md", markdown(table))
        write_whole(folder / f"{table.key}.tex", latex(table))


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


def markdown(table: Table) -> str:
    """Return a table as GitHub's Markdown, with title and caption."""
    # by hand: pandas' own to_markdown asks for tabulate, which nothing else here does
    flat = flattened(table.frame)
    rules = ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in flat.dtypes]
    lines = [_line(map(markdown_text, flat.columns)), _line(rules)]
    lines += [_line(markdown_text(_cell(value)) for value in row) for row in flat.itertuples(False)]
    return "\n".join([f"### {table.title}", "", table.caption, "", *lines, ""])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def latex(table: Table) -> str:
    """Return a table as LaTeX, with caption and label."""
    flat = flattened(table.frame)
    return flat.to_latex(
        index=False,
        escape=True,
        longtable=len(flat) > LONG,
        na_rep="--",
        float_format="{:#.4g}".format,
        caption=f"{table.title}. {table.caption}".translate(_LATEX),  # which pandas does not escape
        label=f"tab:{table.key}",
    )
