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
        if path.stem.startswith(
            ("table_2", "diagnosis", "scorecard", "similarity_layers", "verdicts")
        ):
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


def rounding(name: str, values: np.ndarray) -> np.ndarray | float:
    """Return how far float32 may move values: a layer's median is as sure as its spread allows."""
    if "_layers_" not in name:
        return 2e-5
    mean_median_std_min_max = values.reshape(-1, 5)
    return 2e-5 + np.repeat(5e-6 * mean_median_std_min_max[:, 2], 5)


def test_the_numbers_are_those_of_before(out):
    kept, found = json.loads(KEPT.read_text()), figures(out / "tables")
    assert list(found) == list(kept)
    for name, values in kept.items():
        now, before = (np.array(row, dtype=float) for row in (found[name], values))
        off = np.abs(now - before) > rounding(name, before) + 1e-5 * np.abs(before)
        assert (np.isnan(now) == np.isnan(before)).all(), name
        assert not off.any(), f"{name}: {now[off]} where {before[off]} stood"
