"""Summary statistics of layer outputs, and the tables that hold them (the paper's Tables 3 to 5).

All layers of a detector at 416 x 416 put out 57 million values an image, so that nothing here keeps
values: mean, standard deviation, minimum and maximum take one pass over a layer's output, the exact
median a second one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

BLOCK = 1 << 20
"""Values worked on at a time, small enough for the processor's cache."""


class Summary(NamedTuple):
    """What a layer puts out over all images, places and channels.

    Attributes:
        mean: Mean.
        median: Median; the mean of the two middle values if their number is even.
        std: Standard deviation, of the values as a population (divided by their number).
        min: Smallest value.
        max: Largest value.
    """

    mean: float
    median: float
    std: float
    min: float
    max: float


class Accumulator:
    """Exact statistics of values that come in chunks and are not kept.

    Give all chunks to `update`, then the same chunks, in any order, to `refine`, and ask for
    `summary`. The first pass counts values by the upper 16 bits of their order-preserving integer,
    which finds the two middle values but for their lower 16 bits; the second counts those. Memory is
    1 MB, and blocks of a million values are worked on at a time.
    """

    def __init__(self) -> None:
        """Start with no values."""
        self.count = 0
        self._mean = 0.0
        self._squares = 0.0
        self._min = math.inf
        self._max = -math.inf
        self._upper = torch.zeros(1 << 16, dtype=torch.int64)
        self._lower: dict[int, Tensor] = {}

    def update(self, chunk: Tensor) -> None:
        """Take values of any shape in the first pass.

        Raises:
            ValueError: If they are not of at most 32 bits, not finite, or `refine` has begun.
        """
        if self._lower:
            raise ValueError("the second pass has begun: give all chunks to update first")
        for block in _blocks(chunk):
            low, high = (float(end) for end in block.aminmax())
            if not (math.isfinite(low) and math.isfinite(high)):
                raise ValueError("a layer's output has values that are not finite")
            values = block.double()
            mean = float(values.mean())
            squares = float((values - mean).square().sum())
            # Chan, Golub and LeVeque, 1979: merge the means and squared deviations of two sets
            total = self.count + len(block)
            shift = mean - self._mean
            self._mean += shift * len(block) / total
            self._squares += squares + shift**2 * self.count * len(block) / total
            self.count = total
            self._min, self._max = min(self._min, low), max(self._max, high)
            upper = (_ordered(block) >> 16) + (1 << 15)
            self._upper += upper.bincount(minlength=1 << 16).cpu()

    def refine(self, chunk: Tensor) -> None:
        """Take the same values once more in the second pass.

        Raises:
            ValueError: If there was no first pass.
        """
        if not self._lower:
            self._lower = {
                bin_: torch.zeros(1 << 16, dtype=torch.int64) for bin_, _ in self._middle()
            }
        for block in _blocks(chunk):
            ordered = _ordered(block)
            upper = (ordered >> 16) + (1 << 15)
            for bin_, counts in self._lower.items():
                inside = ordered[upper == bin_] & 0xFFFF
                counts += inside.bincount(minlength=1 << 16).cpu()

    def summary(self) -> Summary:
        """Return the statistics.

        Raises:
            ValueError: If there are no values, or the second pass did not see the first one's.
        """
        middle = [self._value(bin_, rank) for bin_, rank in self._middle()]
        std = math.sqrt(self._squares / self.count)
        return Summary(self._mean, sum(middle) / 2, std, self._min, self._max)

    def _middle(self) -> list[tuple[int, int]]:
        """Return the upper bits of the two middle values, and either's rank among their like."""
        if self.count == 0:
            raise ValueError("there are no values: give the layer's output to update first")
        cumulative = self._upper.cumsum(0)
        places = []
        for rank in ((self.count - 1) // 2, self.count // 2):
            bin_ = int(torch.searchsorted(cumulative, rank, right=True))
            places.append((bin_, rank - int(cumulative[bin_] - self._upper[bin_])))
        return places

    def _value(self, bin_: int, rank: int) -> float:
        counts = self._lower.get(bin_)
        seen = 0 if counts is None else int(counts.sum())
        if counts is None or seen != int(self._upper[bin_]):
            raise ValueError(
                f"the second pass saw {seen} of the {int(self._upper[bin_])} values around the "
                "median: give the same chunks to update and then to refine"
            )
        lower = int(torch.searchsorted(counts.cumsum(0), rank, right=True))
        key = torch.tensor(((bin_ - (1 << 15)) << 16) | lower, dtype=torch.int32)
        return float(_flip(key).view(torch.float32))


def layer_table(summaries: Sequence[Summary], kinds: Sequence[str] | None = None) -> pd.DataFrame:
    """Put the statistics of all layers into a table.

    Args:
        summaries: One a layer, in order.
        kinds: What each layer is, such as "convolutional"; None leaves the column out.

    Returns:
        Columns layer, kind, mean, median, std, min, max. `average_layers` makes a row of Table 3 or
        4 of it.

    Raises:
        ValueError: If there are not as many kinds as layers.
    """
    table = pd.DataFrame(summaries, columns=list(Summary._fields))
    return _with_layers(table, kinds)


def average_layers(table: pd.DataFrame) -> pd.Series:
    """Average a `layer_table` over its layers, each layer counting the same: Tables 3 and 4."""
    return table[list(Summary._fields)].mean()


def _with_layers(table: pd.DataFrame, kinds: Sequence[str] | None) -> pd.DataFrame:
    if kinds is not None:
        if len(kinds) != len(table):
            raise ValueError(f"{len(kinds)} kinds for {len(table)} layers: give one a layer")
        table.insert(0, "kind", list(kinds))
    table.insert(0, "layer", range(len(table)))
    return table


def _blocks(chunk: Tensor) -> Iterable[Tensor]:
    """Cut values of any shape into flat float32 blocks."""
    if chunk.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"layer outputs are floating point of at most 32 bits, not {chunk.dtype}")
    flat = chunk.detach().reshape(-1)
    for start in range(0, len(flat), BLOCK):
        yield flat[start : start + BLOCK].float()


def _ordered(values: Tensor) -> Tensor:
    """Map float32 to int32 such that the order of the values stays."""
    return _flip(values.view(torch.int32))


def _flip(bits: Tensor) -> Tensor:
    """Turn the order of negative floats' bits round; its own inverse."""
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
