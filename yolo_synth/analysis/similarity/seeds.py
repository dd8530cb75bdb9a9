"""What seeds allow to say: are two models as alike as two trainings of one, and do their scores differ?"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from yolo_synth.analysis.similarity.chance import SIGNIFICANT, holm
from yolo_synth.analysis.similarity.replicates import replicates, spread

MARGIN: Final = 0.1
"""By which fraction two models may be less or more alike than two seeds and count as alike as those."""

BELOW: Final = "below two seeds"
ALIKE: Final = "as alike as two seeds"
OPEN: Final = "undecided"


@dataclass(frozen=True)
class SeedTest:
    """How alike two models are, relative to two seeds of either, layer by layer [l].

    Attributes:
        ratio: c_ab / √(c_aa c_bb); NaN where one of them is not positive.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p_below: One-sided p-value of a ratio of at least 1, Holm-corrected over the layers.
        p_alike: P-value of a ratio that differs from 1 by the margin or more, Holm-corrected.
        margin: That margin.
    """

    ratio: Tensor
    low: Tensor
    high: Tensor
    p_below: Tensor
    p_alike: Tensor
    margin: float

    def words(self) -> np.ndarray:
        """Return `BELOW`, `ALIKE` or `OPEN` a layer [l]; both of the first are `ALIKE`."""
        below, alike = (p.numpy() <= SIGNIFICANT for p in (self.p_below, self.p_alike))
        return np.where(alike, ALIKE, np.where(below, BELOW, OPEN))


def as_two_seeds(
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    margin: float = MARGIN,
    groups: Sequence[Hashable] | None = None,
) -> SeedTest:
    """Test whether two models are less alike than two trainings of one model, or as alike.

    Two noisy repeats of two models reach √(c_aa c_bb) at most, c_aa the similarity of two seeds of one.
    Of the debiased CKA of layer i with layer i, θ = mean log c_ab - ½ (mean log c_aa + mean log c_bb),
    means over all pairs of seeds, is jackknifed over images, or groups of images, which are the same
    for all: what the pairs have in common cancels. Below: θ < 0. As alike: θ within ±log(1 - margin) by
    two one-sided tests. Neither is evidence for the other. The images vary in this, the trainings do
    not: it is said of these seeds.

    Sources: Spearman, The proof and measurement of association between two things, 1904; Schuirmann,
    A comparison of the two one-sided tests procedure, 1987.

    Args:
        first: Gram matrices of the seeds of one model, each [l, n, n], on the same images.
        second: Those of the other model. A model with one seed has no c of its own: that of the other
            is the ceiling then.
        margin: In 0..1.
        groups: What each image belongs to [n]; None if all images are independent.

    Raises:
        ValueError: If neither model has two seeds, the margin is no such fraction, or as
            `jackknife.jackknife`.
    """
    if not 0 < margin < 1:
        raise ValueError(f"the margin is a fraction between 0 and 1, not {margin}")
    ceilings = [list(combinations(model, 2)) for model in (first, second) if len(model) > 1]
    if not ceilings:
        raise ValueError("two seeds of one model are needed to say what two seeds reach")
    terms = [(list(product(first, second)), 1.0)]
    terms += [(pairs, -1 / len(ceilings)) for pairs in ceilings]
    weighed = [(a, b, weight / len(pairs)) for pairs, weight in terms for a, b in pairs]
    value, variance, freedom = spread(_logarithms(weighed, groups))
    error = variance.sqrt()
    limit = -np.log1p(-margin)

    def tail(distance: Tensor) -> Tensor:
        # Where nothing varies over images the value itself decides
        ratio = torch.where(error > 0, distance / error, distance.sign() * torch.inf)
        chance = torch.as_tensor(student.sf(ratio.numpy(), freedom.numpy()))
        return chance.where(~value.isnan(), torch.nan)

    reach = torch.as_tensor(student.ppf(0.975, freedom.numpy())) * error
    return SeedTest(
        value.exp(),
        (value - reach).exp(),
        (value + reach).exp(),
        holm(tail(-value)),
        holm(torch.maximum(tail(limit - value), tail(value + limit))),
        margin,
    )


def _logarithms(
    weighed: Sequence[tuple[Tensor, Tensor, float]], groups: Sequence[Hashable] | None
) -> Iterator[tuple[Tensor, ...]]:
    """Yield weighed sums of the logarithms of similarities, with and without groups, layer by layer."""
    walks = [replicates(a, b, True, groups) for a, b, _ in weighed]
    weights = [weight for *_, weight in weighed]
    for cells in zip(*walks, strict=True):
        columns = []
        for values in zip(*cells, strict=True):
            total = torch.zeros_like(values[0])
            for similarity, weight in zip(values, weights, strict=True):
                logarithm = similarity.where(similarity > 0, torch.nan).log()
                total = total + weight * logarithm
            columns.append(total)
        # The diagonal of what is left without two means nothing, and may be of any sign
        columns[2].diagonal(dim1=-2, dim2=-1).zero_()
        yield tuple(columns)


def difference_of_means(
    first: Sequence[float], second: Sequence[float], level: float = 0.95
) -> tuple[float, float, float]:
    """Return how much higher the mean of the second sample is than that of the first, with an interval.

    Student's, of samples of one variance: d ± t √(1/k₁ + 1/k₂) s with k₁ + k₂ - 2 degrees of freedom.
    With two seeds a model t is 4.30: two seeds can tell little.

    Source: Student, The probable error of a mean, 1908.

    Args:
        first: A score a seed.
        second: A score a seed of the other model.
        level: Confidence level.

    Returns:
        Difference, lower and upper end; ends NaN unless there are three scores in all, two of one
        model.

    Example:
        >>> [round(x, 3) for x in difference_of_means([0.70, 0.72], [0.34, 0.36])]
        [-0.36, -0.421, -0.299]
    """
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    apart = float(other.mean() - one.mean())
    freedom = len(one) + len(other) - 2
    if freedom < 1:
        return apart, float("nan"), float("nan")
    squares = sum(float(((x - x.mean()) ** 2).sum()) for x in (one, other))
    error = (squares / freedom * (1 / len(one) + 1 / len(other))) ** 0.5
    reach = float(student.ppf((1 + level) / 2, freedom)) * error
    return apart, apart - reach, apart + reach
