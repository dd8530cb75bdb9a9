"""The report's numbers do not move: what it said of the same runs when they were last looked at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

KEPT = Path(__file__).with_name("golden.json")

LAYERS = [0, 7, 36, 61, 74, 81, 82, 98, 106]
"""Layers whose values are kept of the tables that have a row a layer."""

DISCRETE = ("p", "p_corrected", "match", "largest", "layers", "neighbours", "CKA and", "angle and")
"""Columns of counts and ranks, in which another processor's rounding can make a whole step."""


def figures(tables: Path) -> dict[str, list[float | None]]:
    """Return a few of the numbers of each table of similarities and outputs, row by row."""
    found = {}
    for path in sorted(tables.glob("*.csv")):
        if path.stem.startswith(("table_2", "scorecard", "similarity_layers", "verdicts")):
            continue
        table = pd.read_csv(path)
        if "layer" in table:
            table = table[table["layer"].isin(LAYERS)].drop(columns="layer")
        columns = [c for c in table.select_dtypes("number") if not discrete(str(c))]
        values = table[columns].drop(columns=["size", "seed"], errors="ignore").to_numpy(float)
        found[path.stem] = [float(f"{x:.6g}") if np.isfinite(x) else None for x in values.flat]
    return found


def discrete(column: str) -> bool:
    return column.startswith(DISCRETE) or column.endswith(" p")


def test_the_numbers_are_those_of_before(out):
    kept, found = json.loads(KEPT.read_text()), figures(out / "tables")
    assert list(found) == list(kept)
    for name, values in kept.items():
        np.testing.assert_allclose(
            np.array(found[name], dtype=float),
            np.array(values, dtype=float),
            rtol=1e-5,
            atol=2e-5,
            err_msg=name,
        )
