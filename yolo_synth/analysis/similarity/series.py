"""A value a layer, with what is known of it: the one thing that curves, tables and verdicts are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from yolo_synth.analysis.similarity.chance import SIGNIFICANT

Values = npt.NDArray[np.float64]

CHANCE: Final = "not told from chance"
SEEDS: Final = "not told from two seeds"
BETWEEN: Final = "between"
UNDECIDED: Final = "undecided"
CONSTANT: Final = "constant"

WORDS: Final = (SEEDS, BETWEEN, CHANCE, UNDECIDED)
"""Verdicts on layers that have a value, from most alike to least."""


@dataclass(frozen=True)
class LayerSeries:
    """One value a layer [L], and what it is judged by [L], as far as that is known.

    Attributes:
        value: The value; NaN where a layer has none.
        low: Lower end of its 95 % interval; NaN where there is none.
        high: Upper end.
        null: 95 % point of what chance gives.
        floor: Mean of the same.
        ceiling: What two seeds of one model reach.
        ceiling_low: Lower end of the interval of that.
        p: P-value, corrected over the layers; NaN as `value`.
    """

    value: Values
    low: Values | None = None
    high: Values | None = None
    null: Values | None = None
    floor: Values | None = None
    ceiling: Values | None = None
    ceiling_low: Values | None = None
    p: Values | None = None

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.value)

    def check(self, layers: int, name: str) -> None:
        """Raise ValueError unless each row has one value a layer; `name` is whose rows they are."""
        for row, values in self._given().items():
            if values.shape != (layers,):
                raise ValueError(
                    f"{name}: {row} has shape {list(values.shape)} where the network's layers ask "
                    f"for [{layers}]"
                )

    @property
    def offered(self) -> npt.NDArray[np.bool_]:
        """Which layers have an interval [L]."""
        return np.isfinite(self._row(self.low))

    @property
    def above_chance(self) -> npt.NDArray[np.bool_]:
        """In which layers the interval lies above chance [L]."""
        return self._row(self.low) > self._row(self.null)

    @property
    def significant(self) -> npt.NDArray[np.bool_]:
        """In which layers the corrected p-value is at most 0.05 [L]."""
        return self._row(self.p) <= SIGNIFICANT

    def verdict(self) -> npt.NDArray[np.str_]:
        """Say what the intervals allow to say: what each value cannot be told from [L].

        Returns:
            `CHANCE` where there is no interval or it reaches down to the null, `SEEDS` where it reaches
            up to the ceiling's, `UNDECIDED` where it does both or there is no ceiling, `BETWEEN` where
            it does neither, `CONSTANT` where there is no value.
        """
        ceiling = self._row(self.ceiling_low)
        chance, seeds = ~self.above_chance, self._row(self.high) >= ceiling
        words = np.where(chance, np.where(seeds, UNDECIDED, CHANCE), BETWEEN)
        words = np.where(seeds & ~chance, SEEDS, words)
        words = np.where(np.isnan(ceiling) & ~chance, UNDECIDED, words)
        return np.where(np.isnan(self.value), CONSTANT, words)

    def calibrated(self) -> Values:
        """Return each value's place between chance (0) and two seeds of one model (1) [L].

        NaN where the ceiling is not known, or not above the floor.
        """
        span = self._row(self.ceiling) - self._row(self.floor)
        return (self.value - self._row(self.floor)) / np.where(span > 0, span, np.nan)

    def means(self, parts: Mapping[str, range]) -> dict[str, float]:
        """Return the mean over all layers, `all`, and over each part, of those that have a value."""
        return part_means(self.value, parts)

    def with_ceiling(self, seeds: Sequence[LayerSeries]) -> Self:
        """Return it with the mean of other series and of their lower ends as its ceiling."""
        lows = [other.low for other in seeds if other.low is not None]
        values = _mean_rows([other.value for other in seeds]) if seeds else None
        return replace(self, ceiling=values, ceiling_low=_mean_rows(lows) if lows else None)

    def columns(self, name: str, prefix: str = "") -> dict[str, Values]:
        """Return all rows that there are as columns: `name`, `<prefix>low`, `<prefix>high` and so on."""
        return {
            name if row == "value" else f"{prefix}{row}": values
            for row, values in self._given().items()
        }

    @classmethod
    def read(cls, columns: Mapping[str, Any], name: str, prefix: str = "") -> Self | None:
        """Make it of `columns`; None if there is no such name."""
        if name not in columns:
            return None
        rows = [row.name for row in fields(cls)[1:]]
        given = {row: columns[f"{prefix}{row}"] for row in rows if f"{prefix}{row}" in columns}
        return cls(columns[name], **given)

    def _given(self) -> dict[str, Values]:
        rows = {row.name: getattr(self, row.name) for row in fields(self)}
        return {name: values for name, values in rows.items() if values is not None}

    def _row(self, values: Values | None) -> Values:
        return np.full(len(self), np.nan) if values is None else values


def part_means(values: Values, parts: Mapping[str, range]) -> dict[str, float]:
    """Return the mean of [L] over all layers, `all`, and over each part, of those that have a value."""
    return {
        name: float(_mean(values[list(layers)]))
        for name, layers in {"all": range(len(values)), **parts}.items()
    }


def _mean(values: Values) -> Values:
    known = values[np.isfinite(values)]
    return np.asarray(known.mean() if len(known) else np.nan)


def _mean_rows(rows: Sequence[Values]) -> Values:
    """Return the mean of several rows, layer by layer, of those that have a value."""
    table = np.stack(rows)
    known = np.isfinite(table)
    counts = np.where(known.any(0), known.sum(0), np.nan)
    mean: Values = np.where(known, table, 0.0).sum(0) / counts
    return mean
