"""How alike the trainings of two models are, beside two trainings of one: all in one pass over the layers.

What varies is the images, or groups of images: they are left out of all pairs of runs at once, so that
what the pairs have in common cancels where they are compared. The runs stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import t as student
from torch import Tensor

from yolo_synth.analysis.similarity.centring import count_groups
from yolo_synth.analysis.similarity.replicates import of_pairs, spread

Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Two = tuple[str, str]

SAME: Final = 1 - 1e-9
"""Debiased CKA from which on two layers are the same function of the images: frozen, or shared."""


class Spread(NamedTuple):
    """Estimates with their standard errors, one a cell [m].

    Attributes:
        value: The estimates; NaN where there is none.
        error: Their standard errors over images, or groups of images.
        freedom: Degrees of freedom of Student's distribution.
    """

    value: Values
    error: Values
    freedom: Values

    def ends(self) -> tuple[Values, Values]:
        """Return the ends of the 95 % intervals."""
        reach = student.ppf(0.975, self.freedom) * self.error
        return self.value - reach, self.value + reach

    def above(self, limit: float) -> Values:
        """Return one-sided p-values of an estimate of at most `limit`."""
        distance = self.value - limit
        # Where nothing varies over images the value itself decides
        ratio = np.sign(distance) * np.inf
        np.divide(distance, self.error, out=ratio, where=~(self.error == 0))
        p: Values = student.sf(ratio, self.freedom)
        return p


@dataclass(frozen=True)
class Alike:
    """How alike the trainings of two models are, or those of one model that differ in their seed.

    Attributes:
        means: Mean debiased CKA over all pairs of runs, and over the layers of each part; last that of
            the first part minus that of the last [parts + 1]. Parts that are the same function of the
            images in both runs are left out.
        ratio: log c_ab - ½ (log c_aa + log c_bb), layer by layer and last of the parts' means
            [l + parts]; None of one model with itself, and where neither has two runs. NaN where all
            are the same function of the images, and where a mean is not positive.
        below: One-sided p-values of a ratio of at least 1 [l + parts], not corrected.
    """

    means: Spread
    ratio: Spread | None = None
    below: Values | None = None


def together(
    stacks: Sequence[Tensor],
    models: Sequence[str],
    parts: Mapping[str, range],
    groups: Sequence[Hashable] | None = None,
    counted: Mapping[tuple[int, int], Flags] | None = None,
    progress: Callable[[], object] = lambda: None,
) -> dict[Two, Alike]:
    """Jackknife all that is said of every two models, and of two seeds of one.

    Each c is a mean over all pairs of runs of debiased CKA of layer i with layer i. Ratios are of c's
    logarithms; where one is not positive, c_ab - √(c_aa c_bb) tells whether it is below.

    Args:
        stacks: Gram matrices of each run, or what training added to them [l, n, n].
        models: Which model each is of.
        parts: The network's parts, by name.
        groups: What each image belongs to [n]; None if all images are independent.
        counted: Two runs, by their places → in which layers they can be compared [l]; there are no
            ratios then. None compares them in all.
        progress: Called once a layer.

    Returns:
        For every two models, the one that comes first first, and for each that has two runs with itself.

    Raises:
        ValueError: As `replicates.replicates`.
    """
    pairs = pairs_of(models)
    every = [pair for of_two in pairs.values() for pair in of_two]
    ceilings = {
        two: [(m, m) for m in two if (m, m) in pairs]
        for two in pairs
        if two[0] != two[1] and counted is None
    }
    ceilings = {two: own for two, own in ceilings.items() if own}
    units = count_groups(groups, stacks[0].shape[-1])
    nothing = torch.full((1 + units + units * units,), torch.nan, dtype=torch.float64)
    layered: dict[Two, list[Cell]] = {two: [] for two in ceilings}
    totals = {pair: [torch.zeros_like(nothing) for _ in parts] for pair in every}
    counts = {pair: [0] * len(parts) for pair in every}
    same = {pair: [True] * len(parts) for pair in every}
    for layer, found in enumerate(of_pairs(stacks, every, groups)):
        cells = {pair: torch.cat([x.flatten() for x in cell]) for pair, cell in found.items()}
        for two, own in ceilings.items():
            c = [_mean([cells[pair] for pair in pairs[one]], nothing) for one in (two, *own)]
            layered[two].append(_relative(c[0], c[1:], units))
        for pair, cell in cells.items():
            if not cell[0].isfinite() or (counted is not None and not counted[pair][layer]):
                continue
            for part, layers in enumerate(parts.values()):
                if layer in layers:
                    totals[pair][part] += cell
                    counts[pair][part] += 1
                    same[pair][part] &= bool(cell[0] >= SAME)
        progress()

    def part_mean(two: Two, part: int, without_same: bool) -> Tensor:
        means = [
            totals[pair][part] / counts[pair][part]
            for pair in pairs[two]
            if counts[pair][part] and not (without_same and same[pair][part])
        ]
        return _mean(means, nothing)

    result = {}
    for two in pairs:
        means = [part_mean(two, part, without_same=True) for part in range(len(parts))]
        contrast = [means[0] - means[-1]] if means else []
        result[two] = Alike(_spread([_estimate(mean, units) for mean in [*means, *contrast]]))
        if two in ceilings:
            of_parts = [
                [part_mean(one, part, without_same=False) for one in (two, *ceilings[two])]
                for part in range(len(parts))
            ]
            found_here = [*layered[two], *(_relative(c[0], c[1:], units) for c in of_parts)]
            ratio = _spread([cell.ratio for cell in found_here])
            below = _below(ratio, _spread([cell.difference for cell in found_here]))
            result[two] = Alike(result[two].means, ratio, below)
    return result


def pairs_of(models: Sequence[str]) -> dict[Two, list[tuple[int, int]]]:
    """Return all pairs of runs (i, j), i < j, of every two models, and of each with itself."""
    two: dict[Two, list[tuple[int, int]]] = {}
    names = list(dict.fromkeys(models))
    for i, j in combinations(range(len(models)), 2):
        first, second = sorted((models[i], models[j]), key=names.index)
        two.setdefault((first, second), []).append((i, j))
    return two


Estimate = tuple[float, float, float]


class Cell(NamedTuple):
    """What is known of one layer, or part: of log c_ab - ½ (log c_aa + log c_bb), and without logs."""

    ratio: Estimate
    difference: Estimate


def _relative(across: Tensor, own: Sequence[Tensor], units: int) -> Cell:
    """Compare a similarity, and those without one group and without two, with what two seeds reach."""
    if across[0] >= SAME:
        across = torch.full_like(across, torch.nan)
    ceiling = torch.stack([_log(one) for one in own]).mean(0)
    return Cell(_estimate(_log(across) - ceiling, units), _estimate(across - ceiling.exp(), units))


def _log(similarity: Tensor) -> Tensor:
    return similarity.where(similarity > 0, torch.nan).log()


def _mean(rows: Sequence[Tensor], nothing: Tensor) -> Tensor:
    return torch.stack(list(rows)).mean(0) if rows else nothing


def _estimate(values: Tensor, units: int) -> Estimate:
    one, two = values[None, 1 : 1 + units], values[1 + units :].view(1, units, units)
    value, variance, freedom = spread([(values[:1], one, two)])
    return float(value), float(variance.sqrt()), float(freedom)


def _spread(estimates: Sequence[Estimate]) -> Spread:
    return Spread(*np.array(estimates, dtype=float).reshape(-1, 3).T)


def _below(ratio: Spread, difference: Spread) -> Values:
    of_ratio, of_difference = (
        one._replace(value=-one.value).above(0.0) for one in (ratio, difference)
    )
    return np.where(np.isnan(of_ratio), of_difference, of_ratio)
