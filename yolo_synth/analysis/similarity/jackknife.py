"""How sure a similarity is: intervals by leaving images out, and the images that make it.

All of it follows from the Gram matrices of the same n images, without the networks. Two kinds of
cell are understood throughout: every layer with every layer, [la, lb], or with `paired=True` layer i
with layer i only, [l]. To ask about what training added, hand in `cka.deconfound`'s stacks, and
judge them by `residual_p`.

A bootstrap over images is not offered: an image drawn twice is a pair of similarity 1, which raises
CKA by 0.09 to 0.28 at n = 200. The jackknife leaves images out instead.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from yolo_synth.analysis.similarity.centring import count_groups, inner, prepared
from yolo_synth.analysis.similarity.chance import SIGNIFICANT, holm
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.replicates import (
    FEWEST,
    bent_spread,
    replicates,
    spread,
    without_one,
)


@dataclass(frozen=True)
class Interval:
    """Estimates and their confidence intervals, one a cell.

    Attributes:
        value: The estimate.
        low: Lower end; NaN where no interval is offered.
        high: Upper end; NaN where no interval is offered.
        error: Standard error of the estimate; NaN where no interval is offered.
    """

    value: Tensor
    low: Tensor
    high: Tensor
    error: Tensor


def jackknife(
    grams_a: Tensor,
    grams_b: Tensor,
    p: Tensor,
    paired: bool = False,
    level: float = 0.95,
    groups: Sequence[Hashable] | None = None,
) -> Interval:
    """Give the debiased CKA with a confidence interval over images, or over groups of images.

    Value ± t · error, bent where the error changes with the value (below). The error comes from the
    values without one image, θ₋ᵢ, whose spread counts the interaction of two images twice (with many
    more features than images that doubles the variance). The values without two images, θ₋ᵢⱼ, show
    that part, and it is taken off once, though never more than half of the whole, which is all it can
    be:

        V = (n-1)/n Σ (θ₋ᵢ - mean)²,  Qᵢⱼ = n θ - (n-1)(θ₋ᵢ + θ₋ⱼ) + (n-2) θ₋ᵢⱼ
        error² = max(V - Σ (Qᵢⱼ - mean)² / (n(n-1)) over i < j, V/2)

    t is Student's quantile with Satterthwaite's degrees of freedom, 2 n (error²/V)² / (kurtosis-1), the
    kurtosis that of θ₋ᵢ.

    A low estimate of a low similarity comes with a small error, a high one of a high similarity too: a
    symmetric interval of 50 images holds a true value of 0.1 only 86 to 90 % of the time, and nearly
    always lies below it where it does not. How the error changes is seen in Q, along the direction in
    which images move the value most: by b errors an error, b = Σ Qᵢⱼ dᵢdⱼ / (n ‖d‖³), d = mean - θ₋ᵢ.
    The interval is symmetric on the scale on which it does not change (to first order): its ends are
    θ + error (exp(± b t) - 1) / b, b t held within ±2. With it 94 to 97 % hold 0.1, and as many 0.5 and
    0.99 (`benchmarks/coverage.py` for single images and groups).

    Where features are independent the statistic is degenerate: no such interval holds, and none is
    offered unless a permutation test rejects independence. Images count as independent draws unless
    groups are given: neighbouring frames of one video are not, and would make the interval cover
    nothing of what it says. Groups are left out whole then, and n is their number.

    Sources: Efron and Stein, The jackknife estimate of variance, 1981, section 4; over groups Shao
    and Wu, A general theory for jackknife variance estimation, 1989; for the bend, the quadratic
    coefficient of DiCiccio and Efron, More accurate confidence intervals in exponential families, 1992.

    Args:
        grams_a: Gram matrices [la, n, n].
        grams_b: Gram matrices [lb, n, n] on the same images.
        p: P-values of a `permutation_test` of the same cells, [la, lb] or [l]; cells above 0.05 get
            no interval.
        paired: Whether to compare layer i with layer i only.
        level: Confidence level.
        groups: What each image belongs to [n], as in `cka.cka`; None if all are independent.

    Returns:
        Estimates with intervals within -1..1, [la, lb] or [l]. With fewer than 6 groups there are
        estimates and no intervals: the spread over so few says nothing.

    Raises:
        ValueError: As `cka.cka`, if n is below 6, or if p has another shape than the cells.

    Example:
        Two layers with half of their variance in common, 60 images:

        >>> generator = torch.Generator().manual_seed(0)
        >>> x, y = torch.randn(2, 1, 60, 30, generator=generator, dtype=torch.float64)
        >>> found = jackknife(x @ x.mT, (x + y) @ (x + y).mT, torch.zeros(1, 1))
        >>> [round(end.item(), 2) for end in (found.low, found.value, found.high)]
        [0.47, 0.51, 0.55]
    """
    if groups is not None and count_groups(groups, grams_a.shape[-1]) < FEWEST:
        values = cka(grams_a, grams_b, debiased=True, groups=groups)
        values = values.diagonal() if paired else values
        unknown = torch.full_like(values, torch.nan)
        return Interval(values, unknown, unknown, unknown)
    value, variance, freedom, bend = (
        x if paired else x.view(len(grams_a), -1)
        for x in bent_spread(replicates(grams_a, grams_b, paired, groups))
    )
    if p.shape != value.shape:
        raise ValueError(f"p-values of {list(p.shape)} cells for {list(value.shape)}")
    return _interval(value, variance, freedom, p.to(value) <= SIGNIFICANT, level, bend=bend)


def difference(
    first: tuple[Tensor, Tensor],
    second: tuple[Tensor, Tensor],
    p: tuple[Tensor, Tensor],
    paired: bool = False,
    level: float = 0.95,
    groups: Sequence[Hashable] | None = None,
) -> tuple[Interval, Tensor]:
    """Test whether one pair of networks is more similar than another on the same images.

    Jackknife of the difference of the two debiased values, as in `jackknife`: what the pairs have in
    common cancels image by image.

    Args:
        first: Gram matrices of the first pair, [la, n, n] and [lb, n, n].
        second: Gram matrices of the second pair, as many layers on the same images.
        p: P-values of a `permutation_test` of either pair; a cell where both are above 0.05 gets no
            interval and no p-value.
        paired: Whether to compare layer i with layer i only.
        level: Confidence level.
        groups: As in `jackknife`; at least 6.

    Returns:
        First minus second with intervals, and two-sided p-values of no difference (1 where both
        values are the same without each image too), [la, lb] or [l]. Correct over layers with `holm`.

    Raises:
        ValueError: As `jackknife`, or if the pairs differ in layers or images.

    Example:
        A network is more like one with a little noise than like one with as much noise as signal:

        >>> generator = torch.Generator().manual_seed(0)
        >>> x, y, z = torch.randn(3, 1, 60, 30, generator=generator, dtype=torch.float64)
        >>> a, b, c = (layer @ layer.mT for layer in (x, x + 0.5 * y, x + z))
        >>> found, p = difference((a, b), (a, c), (torch.zeros(1, 1), torch.zeros(1, 1)))
        >>> [round(end.item(), 2) for end in (found.low, found.value, found.high)], p.item() < 0.001
        ([0.27, 0.32, 0.36], True)
    """
    shapes = [(len(a), len(b), a.shape[-1]) for a, b in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"pairs of {shapes[0]} and {shapes[1]} layers and images: compare the same layers on the "
            "same images"
        )
    differences = (
        tuple(x - y for x, y in zip(one, other, strict=True))
        for one, other in zip(
            replicates(*first, paired, groups), replicates(*second, paired, groups), strict=True
        )
    )
    value, variance, freedom = spread(differences)
    if not paired:
        value, variance, freedom = (x.view(len(first[0]), -1) for x in (value, variance, freedom))
    for given in p:
        if given.shape != value.shape:
            raise ValueError(f"p-values of {list(given.shape)} cells for {list(value.shape)}")
    offered = torch.minimum(*p).to(value) <= SIGNIFICANT
    interval = _interval(value, variance, freedom, offered, level, limit=2.0)
    same = value.abs() < _ROUNDING
    ratio = (value / interval.error).where(~same, 0.0)
    chance = _like(2 * student.sf(ratio.abs().cpu(), freedom.cpu()), value)
    return interval, chance.where(offered & ~value.isnan(), torch.nan)


def residual_p(
    residuals_a: Tensor,
    residuals_b: Tensor,
    permuted: Tensor,
    groups: Sequence[Hashable] | None = None,
) -> Tensor:
    """Return p-values of what training added to two networks, layer i of one with layer i of the other.

    Residuals of two networks with one start are products of their changes with that start. Shuffling
    the images of one takes apart what the start alone has in common, so that the permutation test
    rejects far too often: of 20 layers with independent changes and a start of few directions at least
    one in 73 to 88 % of experiments at 0.05. The jackknife knows of no such null. The larger of
    both is returned. Where changes are additive and independent of each other that rejects at most
    5 % of the time. Changes of weights are not: independent random ones turn the start's own
    directions, and do covary over images (any of 8 layers in .04 to .96 of experiments at n = 60 to
    200). What is rejected is chance of images, for these two trainings, and not of training.

    Args:
        residuals_a: `cka.deconfound` of the first network [l, n, n].
        residuals_b: That of the second network, from the same start [l, n, n].
        permuted: `p_corrected` of a paired `permutation_test` of the two [l].
        groups: As in `jackknife`; at least 6.

    Returns:
        One-sided p-values [l], the jackknife's with Holm's correction over the layers; NaN where a
        layer did not change.

    Raises:
        ValueError: As `jackknife`.
    """
    value, variance, freedom = spread(replicates(residuals_a, residuals_b, True, groups))
    if permuted.shape != value.shape:
        raise ValueError(f"p-values of {list(permuted.shape)} cells for {list(value.shape)}")
    chance = _like(student.sf((value / variance.sqrt()).cpu(), freedom.cpu()), value)
    return torch.maximum(holm(chance.where(~value.isnan(), torch.nan)), permuted.to(value))


def leave_one_out(
    grams_a: Tensor,
    grams_b: Tensor,
    paired: bool = False,
    groups: Sequence[Hashable] | None = None,
) -> Tensor:
    """Return the debiased CKA without each image, or each group, in turn.

    Args:
        grams_a: Gram matrices [la, n, n].
        grams_b: Gram matrices [lb, n, n] on the same images.
        paired: Whether to compare layer i with layer i only.
        groups: As in `jackknife`; groups are left out in the order in which they come.

    Returns:
        Values [la, lb, n] or [l, n], float64, of G groups [l, G]. NaN for a constant layer.

    Raises:
        ValueError: As `cka.cka`, if n or G is below 5, or if groups are given and not `paired`.
    """
    if groups is not None:
        if not paired:
            raise ValueError("groups are left out of layer i with layer i only: set paired=True")
        if (units := count_groups(groups, grams_a.shape[-1])) < 5:
            raise ValueError(f"this needs at least 5 groups of images, not {units}")
        return without_one(grams_a, grams_b, groups)
    a, b = prepared(grams_a, grams_b, paired, fewest=5)
    n = a.shape[-1]
    norms_a, norms_b = (_left(x.square().sum(-1), n) for x in (a, b))
    if paired:
        return _left((a * b).sum(-1), n) / (norms_a * norms_b).sqrt()
    # Image by image, the rows of all layers of one network times those of the other
    rows = (a.transpose(0, 1) @ b.permute(1, 2, 0)).permute(1, 2, 0)
    return _left(rows, n) / (norms_a[:, None] * norms_b[None]).sqrt()


def influence(
    grams_a: Tensor,
    grams_b: Tensor,
    paired: bool = False,
    groups: Sequence[Hashable] | None = None,
) -> Tensor:
    """Return what each image, or group, adds to the debiased CKA: the value minus that without it.

    Positive for an image that makes the networks look alike. The difference of two such tensors
    tells which images make the difference between two pairs of networks.

    Args:
        grams_a: Gram matrices [la, n, n].
        grams_b: Gram matrices [lb, n, n] on the same images.
        paired: Whether to compare layer i with layer i only.
        groups: As in `leave_one_out`.

    Returns:
        Influences [la, lb, n] or [l, n], float64, of G groups [l, G].

    Raises:
        ValueError: As `leave_one_out`.

    Example:
        Two layers that know nothing of each other, but that image 3 is an odd one:

        >>> generator = torch.Generator().manual_seed(0)
        >>> x, y = torch.randn(2, 1, 20, 10, generator=generator, dtype=torch.float64)
        >>> x[:, 3] += 3
        >>> y[:, 3] += 3
        >>> added = influence(x @ x.mT, y @ y.mT, paired=True)[0]
        >>> added.argmax().item(), round(added.max().item(), 2), round(added.median().item(), 2)
        (3, 0.15, -0.01)
    """
    without = leave_one_out(grams_a, grams_b, paired, groups)
    a, b = prepared(grams_a, grams_b, paired, fewest=5, groups=groups)
    value = inner(a, b) if paired else a.flatten(1) @ b.flatten(1).T
    return value[..., None] - without


_MOST_BENT = 2.0
"""Change of the error's logarithm over half an interval that is believed: few images tell more than there
is."""

_ROUNDING = 1e-10
"""Differences of similarities below this are rounding."""


def _interval(
    value: Tensor,
    variance: Tensor,
    freedom: Tensor,
    offered: Tensor,
    level: float,
    limit: float = 1.0,
    bend: Tensor | None = None,
) -> Interval:
    error = variance.sqrt().where(offered, torch.nan)
    errors = _like(student.ppf((1 + level) / 2, freedom.cpu()), value)
    if bend is None:
        bend = torch.zeros_like(value)
    bent = (bend * errors).clamp(-_MOST_BENT, _MOST_BENT)
    # (exp(x) - 1) / x, which is 1 at 0
    down, up = (torch.where(x == 0, 1.0, x.expm1() / x) for x in (-bent, bent))
    low, high = value - down * errors * error, value + up * errors * error
    return Interval(value, low.clamp(-limit, limit), high.clamp(-limit, limit), error)


def _left(rows: Tensor, n: int) -> Tensor:
    """Return ⟨Ã, B̃⟩ without each image from the sums of its row, Σⱼ Ã_kj B̃_kj: [..., n]."""
    return rows.sum(-1, keepdim=True) - 2 * (n - 2) / (n - 3) * rows


def _like(values: np.ndarray, other: Tensor) -> Tensor:
    return torch.as_tensor(values).to(other)
