"""A value a layer, with what is known of it: the one thing that curves, tables and verdicts are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from yolo_synth.analysis.similarity.chance import SIGNIFICANT
from yolo_synth.analysis.similarity.seeds import SeedTest
from yolo_synth.analysis.similarity.trainings import SAME

Values = npt.NDArray[np.float64]

SHARED: Final = "the same in both"
ALIKE: Final = "as two seeds"
BELOW: Final = "below two seeds"
CHANCE: Final = "not told from chance"
UNDECIDED: Final = "undecided"
CONSTANT: Final = "constant"

WORDS: Final = (ALIKE, UNDECIDED, BELOW, CHANCE)
"""Verdicts on layers that could be other ones in the two networks, from most alike to least."""


@dataclass(frozen=True)
class LayerSeries:
    """One value a layer [L], and what it is judged by [L], as far as that is known.

    Attributes:
        value: The value; NaN where a layer has none.
        low: Lower end of its 95 % interval; NaN where there is none.
        high: Upper end.
        null: 95 % point of what chance gives.
        floor: Mean of the same.
        untrained: The value of two untrained networks of the same architecture.
        ceiling: What two seeds of one model reach: √(c_aa c_bb).
        ratio: Mean over all pairs of seeds of both models, over the ceiling.
        ratio_low: Lower end of its 95 % interval.
        ratio_high: Upper end.
        p_below: P-value of a ratio of 1 or more, corrected over the layers.
        p_alike: P-value of a ratio that differs from 1 by the margin or more, corrected.
        p: P-value of chance, corrected over the layers; NaN as `value`.
    """

    value: Values
    low: Values | None = None
    high: Values | None = None
    null: Values | None = None
    floor: Values | None = None
    untrained: Values | None = None
    ceiling: Values | None = None
    ratio: Values | None = None
    ratio_low: Values | None = None
    ratio_high: Values | None = None
    p_below: Values | None = None
    p_alike: Values | None = None
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
    def significant(self) -> npt.NDArray[np.bool_]:
        """In which layers the value is beyond chance: its corrected p-value is at most 0.05 [L]."""
        return self._row(self.p) <= SIGNIFICANT

    @property
    def shared(self) -> npt.NDArray[np.bool_]:
        """Which layers are the same function of the images in both networks, as frozen ones [L]."""
        return self.value >= SAME

    def verdict(self) -> npt.NDArray[np.str_]:
        """Return in a word what the tests allow to say [L].

        Returns:
            `CHANCE` where the corrected p-value is above 0.05; else `ALIKE` or `BELOW` where that is
            shown of the two models (`seeds.as_two_seeds`), `UNDECIDED` where neither is, or there are
            not two seeds or no test; `SHARED` where both are the same, `CONSTANT` where there is no
            value.
        """
        words = np.where(self._row(self.p_below) <= SIGNIFICANT, BELOW, UNDECIDED)
        words = np.where(self._row(self.p_alike) <= SIGNIFICANT, ALIKE, words)
        p = self._row(self.p)
        words = np.where(p > SIGNIFICANT, CHANCE, words)
        words = np.where(np.isnan(p), UNDECIDED, words)
        words = np.where(self.shared, SHARED, words)
        return np.where(np.isnan(self.value), CONSTANT, words)

    def calibrated(self) -> Values:
        """Return each value's place between chance (0) and two seeds of one model (1) [L].

        NaN where the ceiling is not known, or not above the floor.
        """
        span = self._row(self.ceiling) - self._row(self.floor)
        return (self.value - self._row(self.floor)) / np.where(span > 0, span, np.nan)

    def above(self, agree: float) -> Values:
        """Return how far each value is from chance (0) towards `agree` (1), a layer's with itself [L].

        (value - floor) / (agree - floor): an angle of .04 is no agreement where permuted images have .04.
        """
        floor = self._row(self.floor)
        span = agree - floor
        return (self.value - floor) / np.where(np.abs(span) > 1e-9, span, np.nan)

    def means(self, parts: Mapping[str, range]) -> dict[str, float]:
        """Return the mean over all layers, `all`, and over each part, of those that have a value."""
        return part_means(self.value, parts)

    def with_seeds(
        self, models: Sequence[Sequence[LayerSeries]], test: SeedTest | None = None
    ) -> Self:
        """Return it with what two trainings can reach that differ no more than seeds do as its ceiling.

        √(c_aa c_bb), c the mean over pairs of seeds of one model: two noisy repeats of two models are
        as alike at most (Spearman, 1904).

        Args:
            models: Of each model that has two seeds, the series of its pairs of seeds.
            test: How both models compare with that.
        """
        ceiling = _geometric([_mean_rows([other.value for other in model]) for model in models])
        ratio, low, high, below, alike = (
            (test.ratio, test.low, test.high, test.p_below, test.p_alike) if test else [None] * 5
        )
        return replace(
            self,
            ceiling=ceiling,
            ratio=ratio,
            ratio_low=low,
            ratio_high=high,
            p_below=below,
            p_alike=alike,
        )

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


def _geometric(rows: Sequence[Values]) -> Values | None:
    """Return the geometric mean layer by layer; None of no rows, NaN where one is not positive."""
    if not rows:
        return None
    table = np.stack(rows)
    table = np.where(table > 0, table, np.nan)
    mean: Values = np.exp(np.log(table).mean(0))
    return mean


def _mean_rows(rows: Sequence[Values]) -> Values:
    """Return the mean of several rows, layer by layer, of those that have a value."""
    table = np.stack(rows)
    known = np.isfinite(table)
    counts = np.where(known.any(0), known.sum(0), np.nan)
    mean: Values = np.where(known, table, 0.0).sum(0) / counts
    return mean
