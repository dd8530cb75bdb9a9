"""A second opinion that is held to what CKA is held to: chance, intervals, groups of images.

`opinion` judges one measure of `measures.MEASURES` layer by layer; `rank_agreement` tells whether two of
them rank the layers alike. Of images in groups every measure is of the groups' mean outputs: groups are
independent, weigh the same, change places as a whole and are left out as a whole.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import torch
from scipy.stats import rankdata
from scipy.stats import t as student
from torch import Tensor

from yolo_synth.analysis.similarity.centring import (
    between_groups,
    check_pairs,
    check_same_images,
    inner,
    normalized,
)
from yolo_synth.analysis.similarity.chance import SIGNIFICANT
from yolo_synth.analysis.similarity.cka import FLOAT32_ROUNDING
from yolo_synth.analysis.similarity.measures import MEASURES, Measure
from yolo_synth.analysis.similarity.permutation import PermutationTest, orders
from yolo_synth.analysis.similarity.replicates import FEWEST
from yolo_synth.analysis.similarity.series import LayerSeries, Values

DRAWS: Final = 100
"""Permutations a measure is held against; the tail of their largest values is fitted. Each takes a
decomposition a layer."""

BLOCKS: Final = 60
"""Parts of the images that are left out in turn, each a single image or group where there are no more."""


@dataclass(frozen=True)
class Opinion:
    """What a measure says of corresponding layers.

    Attributes:
        series: Value, interval, mean and 95 % point (for a distance, the 5 % point) of permuted images,
            corrected p-value [l].
        without: Values without each block of images in turn [l, blocks].
    """

    series: LayerSeries
    without: Values


def opinion(
    name: str,
    grams_a: Tensor,
    grams_b: Tensor,
    groups: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Opinion:
    """Compare layer i with layer i by one measure, and say how sure that is and what chance gives.

    Most measures see something in common where nothing is: n images of many features are turned onto
    each other whatever they show. Floor and 95 % point are therefore those of the second network's
    images in another order, and the p-value is corrected over the layers by the maximum statistic, its
    tail fitted. `LayerSeries.above` has what is beyond the floor.

    The interval is value ± t · error, error² = (B-1)/B Σ (θ₋ᵦ - mean)² over B blocks of images, or of
    groups, left out in turn, t with 2B/(κ-1) degrees of freedom and at most B-1, κ the kurtosis of θ₋ᵦ.
    It is one of what the measure is at so many images, which for most depends on their number; without
    the second-order part of `jackknife.jackknife` it is rather too wide.

    Sources: Gröger et al., Revisiting the Platonic representation hypothesis, 2026, for the floor;
    Winkler et al., Faster permutation inference in brain imaging, 2016, for the tail; Shao and Wu, A
    general theory for jackknife variance estimation, 1989.

    Args:
        name: Of `MEASURES`.
        grams_a: Gram matrices of the first network [l, n, n].
        grams_b: Those of the second on the same images [l, n, n].
        groups: What each image belongs to [n]; None if all are independent.
        draws: Number of permutations, at least 20.
        seed: Of the permutations.

    Raises:
        ValueError: If there is no such measure, or fewer than 4 images or groups, or as `cka.cka`.

    Example:
        Independent noise of 20,000 features: the angle is small, and what chance gives.

        >>> generator = torch.Generator().manual_seed(0)
        >>> x, y = torch.randn(2, 1, 20, 20_000, generator=generator, dtype=torch.float64)
        >>> angle = opinion("angle", x @ x.mT, y @ y.mT).series
        >>> [round(float(v[0]), 3) for v in (angle.value, angle.floor, angle.null)]
        [0.023, 0.024, 0.023]
        >>> bool(angle.p[0] > 0.05)
        True
    """
    check_same_images(grams_a, grams_b)
    check_pairs(grams_a, grams_b, paired=True)
    measure = measure_of(name)
    a, b = between_groups(grams_a, groups), between_groups(grams_b, groups)
    if (units := a.shape[-1]) < 4:
        what = "images" if groups is None else "groups of images"
        raise ValueError(f"{name} needs at least 4 {what}, not {units}")
    sign = 1.0 if measure.agree else -1.0
    value = measure.of(a, b)
    shuffled = torch.stack(list(_shuffled(measure, a, b, draws, seed)))
    test = PermutationTest(sign * value, sign * shuffled)
    p = test.p_fitted
    low = high = torch.full_like(value, torch.nan)
    without = np.empty((len(value), 0))
    if units >= FEWEST:
        without = np.stack([x.numpy() for x in _left_out(measure, a, b)], axis=1)
        reach = torch.as_tensor(_reach(without)).where(p <= SIGNIFICANT, torch.nan)
        low, high = value - reach, value + reach
    rows = (value, low, high, sign * test.null_quantile(), sign * test.null_mean)
    value_, low_, high_, null, floor = (row.numpy() for row in rows)
    return Opinion(LayerSeries(value_, low_, high_, null=null, floor=floor, p=p.numpy()), without)


def measure_of(name: str) -> Measure:
    """Return a measure by its name.

    Raises:
        ValueError: If there is none; names those that there are.
    """
    if name not in MEASURES:
        raise ValueError(f"there is no measure {name!r}: choose of {', '.join(MEASURES)}")
    return MEASURES[name]


def chosen(names: str) -> tuple[str, ...]:
    """Return the measures that a text names, separated by commas.

    Raises:
        ValueError: As `measure_of`.
    """
    asked = tuple(name.strip() for name in names.split(",") if name.strip())
    for name in asked:
        measure_of(name)
    return tuple(dict.fromkeys(asked))


def rank_agreements(
    debiased: Values,
    grams_a: Tensor,
    grams_b: Tensor,
    opinions: Mapping[str, Opinion],
    groups: Sequence[Hashable] | None = None,
) -> dict[str, tuple[float, float, float]]:
    """Return how alike debiased CKA and each two measures rank the layers, see `rank_agreement`.

    Args:
        debiased: Debiased CKA of corresponding layers [l].
        grams_a: Gram matrices [l, n, n].
        grams_b: Gram matrices [l, n, n] on the same images.
        opinions: What the measures say of them, by name; none have nothing to agree with.
        groups: As in `opinion`.

    Returns:
        Correlation and ends of its interval by names as `CKA and angle`, distances with their sign
        turned.
    """
    if not opinions:
        return {}
    a, b = between_groups(grams_a, groups), between_groups(grams_b, groups)
    left = np.empty((len(a), 0))
    if (units := a.shape[-1]) >= FEWEST:
        left = np.stack([_debiased(_chosen((a, b), kept)) for kept in _kept(units)], axis=1)
    ranked = {"CKA": (_tied(debiased, 1), _tied(left, 1))}
    for name, found in opinions.items():
        agree = measure_of(name).agree
        sign = 1 if agree else -1
        values = _tied(found.series.value, agree), _tied(found.without, agree)
        ranked[name] = sign * values[0], sign * values[1]
    return {
        f"{first} and {second}": rank_agreement(x, y, x_without, y_without)
        for (first, (x, x_without)), (second, (y, y_without)) in combinations(ranked.items(), 2)
    }


def _tied(values: Values, agree: float) -> Values:
    """Return values in which full agreement up to float32's rounding is one value, and so one rank.

    Layers that neither training changed agree up to that: their order would be the rounding's.
    """
    tied: Values = np.where(np.abs(values - agree) <= FLOAT32_ROUNDING, agree, values)
    return tied


def rank_agreement(
    first: Values, second: Values, first_without: Values, second_without: Values
) -> tuple[float, float, float]:
    """Return whether two measures rank the layers alike beyond that both fall with depth, with an interval.

    Spearman's correlation over the layers, the layer's number taken out of both: (r₁₂ - r₁ᵈ r₂ᵈ) / √((1 -
    r₁ᵈ²)(1 - r₂ᵈ²)). Everything that falls from the first layer to the last correlates with everything
    else that does, and 107 neighbouring layers are no 107 observations. The interval is over images:
    the same without each block of them, jackknifed on Fisher's scale.

    Sources: Kendall, Partial rank correlation, 1942; Efron and Stein, The jackknife estimate of variance,
    1981.

    Args:
        first: Values of one measure [l]; turn the sign of a distance.
        second: Values of the other [l].
        first_without: The first without each block of images [l, blocks].
        second_without: The second without each block of images [l, blocks].

    Returns:
        Correlation, lower and upper end; ends NaN without blocks.

    Example:
        >>> depth = np.arange(8.0)
        >>> falls, too = -depth + [0, 2, 0, 2, 0, 2, 0, 2], -depth + [2, 0, 2, 0, 2, 0, 2, 0]
        >>> round(rank_agreement(falls, too, np.empty((8, 0)), np.empty((8, 0)))[0], 2)
        -0.95
    """
    value = _partial_rank(first, second)
    left = [_partial_rank(x, y) for x, y in zip(first_without.T, second_without.T, strict=True)]
    if not left or not np.isfinite([value, *left]).all():
        return value, float("nan"), float("nan")
    centre, every = np.arctanh(np.clip([value], -0.9999, 0.9999)), np.clip(left, -0.9999, 0.9999)
    reach = _reach(np.arctanh(every)[None])
    low, high = np.tanh(centre - reach), np.tanh(centre + reach)
    return value, float(low[0]), float(high[0])


def _debiased(pair: Iterable[Tensor]) -> Values:
    values: Values = inner(*(normalized(grams, debiased=True) for grams in pair)).numpy()
    return values


def _partial_rank(first: Values, second: Values) -> float:
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 4:
        return float("nan")
    ranks = [rankdata(x[known]) for x in (first, second, np.arange(len(first), dtype=float))]
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.corrcoef(ranks)
        left = (1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)
        return float((r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt(left)) if left > 0 else float("nan")


def _shuffled(measure: Measure, a: Tensor, b: Tensor, draws: int, seed: int) -> Iterator[Tensor]:
    """Yield the measure [l] with the images of b in other orders."""
    compare, prepared = measure.of, measure.prepared
    if prepared is not None:
        a, b, compare = prepared.prepare(a), prepared.prepare(b), prepared.compare
    for order in orders(b.shape[1], draws, seed):
        moved = b[:, order]
        yield compare(a, moved if prepared and prepared.rows else moved[:, :, order])


def _left_out(measure: Measure, a: Tensor, b: Tensor) -> Iterator[Tensor]:
    """Yield the measure [l] without each block of images."""
    prepared = measure.prepared
    if prepared is None or not prepared.rows:
        yield from (measure.of(*_chosen((a, b), kept)) for kept in _kept(a.shape[-1]))
        return
    a, b = prepared.prepare(a), prepared.prepare(b)
    for kept in _kept(a.shape[1]):
        yield prepared.compare(a[:, kept], b[:, kept])


def _chosen(pair: Sequence[Tensor], images: Tensor) -> list[Tensor]:
    return [grams[:, images][:, :, images] for grams in pair]


def _kept(images: int) -> Iterator[Tensor]:
    """Yield the images that stay when each of at most `BLOCKS` random blocks is left out."""
    places = torch.arange(images)
    if images > BLOCKS:
        places = torch.randperm(images, generator=torch.Generator().manual_seed(0))
    for block in range(min(images, BLOCKS)):
        yield (places % BLOCKS != block).nonzero()[:, 0]


def _reach(without: Values) -> Values:
    """Return half the length of the 95 % interval [l] of values without each block [l, blocks]."""
    blocks = without.shape[1]
    deviation = without - without.mean(1, keepdims=True)
    second = (deviation**2).mean(1)
    moving = np.where(second > 0, second, 1.0)
    kurtosis = (deviation**4).mean(1) / moving**2
    freedom = np.clip(2 * blocks / np.maximum(kurtosis - 1, 1e-9), 1.0, blocks - 1.0)
    reach: Values = student.ppf(0.975, freedom) * np.sqrt((blocks - 1) * second)
    return reach
