"""How sure a similarity is: intervals, tests and the images that make it.

All of it follows from the Gram matrices of the same n images, without the networks. Two kinds of
cell are understood throughout: every layer with every layer, [la, lb], or with `paired=True` layer i
with layer i only, [l]. To ask about what training added, hand in `similarity.deconfound`'s stacks,
and judge them by `residual_p`.

A bootstrap over images is not offered: an image drawn twice is a pair of similarity 1, which raises
CKA by 0.09 to 0.28 at n = 200. The jackknife leaves images out instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from yolo_synth.analysis.similarity.cka import (
    check_same_images,
    inner,
    normalized,
    without_diagonal,
)
from yolo_synth.analysis.similarity.measures import gaps, mmd2

SIGNIFICANT = 0.05
"""P-value above which a layer pair counts as independent, and has no interval."""


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


@dataclass(frozen=True)
class PermutationTest:
    """Values and what they are when the images of one side are shuffled.

    A p-value is (1 + number of draws at least as large) / (1 + number of draws), one-sided, and so
    never zero. Corrected p-values use the maximum statistic over all cells of the test (Westfall and
    Young, 1993): the largest cell of each draw, each cell standardised by the mean and standard
    deviation it has over the draws and the observed value together. They hold for however dependent
    cells, such as neighbouring layers. Cells that are NaN have NaN and count for nothing.

    Attributes:
        value: Observed values [*cells].
        draws: Values of the shuffled images [number, *cells].
    """

    value: Tensor
    draws: Tensor

    @property
    def p(self) -> Tensor:
        """P-value of each cell by itself [*cells]."""
        return _p_value(self.value, self.draws)

    @property
    def p_corrected(self) -> Tensor:
        """P-value of each cell corrected over all cells [*cells], by the maximum statistic."""
        value, draws = self._standardised()
        largest = draws.flatten(1).amax(-1)
        return _p_value(value, largest.view(-1, *[1] * value.ndim)).where(
            ~self.value.isnan(), torch.nan
        )

    @property
    def p_whole(self) -> float:
        """P-value of the hypothesis that no cell differs from the null, by the maximum statistic."""
        corrected = self.p_corrected
        return float(corrected[~corrected.isnan()].min()) if (~corrected.isnan()).any() else np.nan

    @property
    def null_mean(self) -> Tensor:
        """Mean of the null in each cell [*cells]: the floor of the similarity."""
        return self.draws.mean(0)

    def null_quantile(self, level: float = 0.95) -> Tensor:
        """Return a quantile of the null in each cell [*cells]."""
        return _like(np.quantile(self.draws.cpu().numpy(), level, axis=0), self.value)

    def best_match(self) -> tuple[Tensor, Tensor]:
        """Find for each layer of the first network the most similar one of the second.

        The p-value knows that the best of many was picked: it compares the layer that was with the
        largest of the row in each draw, cells standardised as in `p_corrected`.

        Returns:
            Indices [la] of the best-matching layers, by the observed value, -1 for a constant layer,
            and their p-values [la].

        Raises:
            ValueError: If the test was of pairs of layers.
        """
        if self.value.ndim != 2:
            raise ValueError("best matches need a test of every layer with every layer")
        value, draws = self._standardised()
        none = self.value.isnan().all(-1)
        best = self.value.nan_to_num(-torch.inf).argmax(-1)
        p = _p_value(value.gather(-1, best[:, None])[:, 0], draws.amax(-1))
        return best.masked_fill(none, -1), p.masked_fill(none, torch.nan)

    def _standardised(self) -> tuple[Tensor, Tensor]:
        together = torch.cat([self.value[None], self.draws])
        deviation = together.std(0)
        scores = (together - together.mean(0)) / deviation.where(deviation > 0, 1.0)
        scores = scores.nan_to_num(-torch.inf)
        return scores[0], scores[1:]


def jackknife(
    grams_a: Tensor, grams_b: Tensor, p: Tensor, paired: bool = False, level: float = 0.95
) -> Interval:
    """Give the debiased CKA with a confidence interval over images.

    Value ± t · error. The error comes from the values without one image, θ₋ᵢ, whose spread counts the
    interaction of two images twice (with many more features than images that doubles the variance).
    The values without two images, θ₋ᵢⱼ, show that part, and it is taken off once, though never more
    than half of the whole, which is all it can be:

        V = (n-1)/n Σ (θ₋ᵢ - mean)²,  Qᵢⱼ = n θ - (n-1)(θ₋ᵢ + θ₋ⱼ) + (n-2) θ₋ᵢⱼ
        error² = max(V - Σ (Qᵢⱼ - mean)² / (n(n-1)) over i < j, V/2)

    t is Student's quantile with Satterthwaite's degrees of freedom, 2 n (error²/V)² / (κ-1), κ the
    kurtosis of θ₋ᵢ. On Gaussian features with a true value of 0.26 to 0.9 and 10 to 500 features the
    95 % interval holds it 93.7 to 95.8 % of the time at n = 100 (without the correction up to 99 %),
    93.5 to 96.7 % at n = 50; of deconfounded stacks 94.7 to 95.6 % at n = 100.

    Where features are independent the statistic is degenerate: no such interval holds, and none is
    offered unless a permutation test rejects independence. Images count as independent draws:
    neighbouring frames of one video are not, and make the interval too short.

    Source: Efron and Stein, The jackknife estimate of variance, 1981, section 4.

    Args:
        grams_a: Gram matrices [la, n, n].
        grams_b: Gram matrices [lb, n, n] on the same images.
        p: P-values of a `permutation_test` of the same cells, [la, lb] or [l]; cells above 0.05 get
            no interval.
        paired: Whether to compare layer i with layer i only.
        level: Confidence level.

    Returns:
        Estimates with intervals within -1..1, [la, lb] or [l].

    Raises:
        ValueError: As `similarity.cka`, if n is below 6, or if p has another shape than the cells.
    """
    value, variance, freedom = _spread(_replicates(grams_a, grams_b, paired))
    if not paired:
        value, variance, freedom = (x.view(len(grams_a), -1) for x in (value, variance, freedom))
    if p.shape != value.shape:
        raise ValueError(f"p-values of {list(p.shape)} cells for {list(value.shape)}")
    return _interval(value, variance, freedom, p.to(value) <= SIGNIFICANT, level)


def difference(
    first: tuple[Tensor, Tensor],
    second: tuple[Tensor, Tensor],
    p: tuple[Tensor, Tensor],
    paired: bool = False,
    level: float = 0.95,
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

    Returns:
        First minus second with intervals, and two-sided p-values of no difference (1 where both
        values agree for whatever images), [la, lb] or [l]. Correct over layers with `holm`.

    Raises:
        ValueError: As `jackknife`, or if the pairs differ in layers or images.
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
            _replicates(*first, paired), _replicates(*second, paired), strict=True
        )
    )
    value, variance, freedom = _spread(differences)
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


def residual_p(residuals_a: Tensor, residuals_b: Tensor, permuted: Tensor) -> Tensor:
    """Return p-values of what training added to two networks, layer i of one with layer i of the other.

    Residuals of two networks with one start are products of their changes with that start. Shuffling
    the images of one takes apart what the start alone has in common, so that the permutation test
    rejects far too often: of 20 layers with independent changes and a start of few directions at least
    one in 73 to 88 % of experiments at 0.05. The jackknife knows of no such null. The larger of
    both is returned, with which it is at most 5 %.

    Args:
        residuals_a: `similarity.deconfound` of the first network [l, n, n].
        residuals_b: That of the second network, from the same start [l, n, n].
        permuted: `p_corrected` of a paired `permutation_test` of the two [l].

    Returns:
        One-sided p-values [l], the jackknife's with Holm's correction over the layers; NaN where a
        layer did not change.

    Raises:
        ValueError: As `jackknife`.
    """
    value, variance, freedom = _spread(_replicates(residuals_a, residuals_b, paired=True))
    if permuted.shape != value.shape:
        raise ValueError(f"p-values of {list(permuted.shape)} cells for {list(value.shape)}")
    chance = _like(student.sf((value / variance.sqrt()).cpu(), freedom.cpu()), value)
    return torch.maximum(holm(chance.where(~value.isnan(), torch.nan)), permuted.to(value))


def leave_one_out(grams_a: Tensor, grams_b: Tensor, paired: bool = False) -> Tensor:
    """Return the debiased CKA without each image in turn.

    Args:
        grams_a: Gram matrices [la, n, n].
        grams_b: Gram matrices [lb, n, n] on the same images.
        paired: Whether to compare layer i with layer i only.

    Returns:
        Values [la, lb, n] or [l, n], float64. NaN for a constant layer.

    Raises:
        ValueError: As `similarity.cka`, or if n is below 5.
    """
    a, b = _prepared(grams_a, grams_b, paired, fewest=5)
    n = a.shape[-1]
    norms_a, norms_b = (_without_one(x.square().sum(-1), n) for x in (a, b))
    if paired:
        return _without_one((a * b).sum(-1), n) / (norms_a * norms_b).sqrt()
    # Image by image, the rows of all layers of one network times those of the other
    rows = (a.transpose(0, 1) @ b.permute(1, 2, 0)).permute(1, 2, 0)
    return _without_one(rows, n) / (norms_a[:, None] * norms_b[None]).sqrt()


def influence(grams_a: Tensor, grams_b: Tensor, paired: bool = False) -> Tensor:
    """Return what each image adds to the debiased CKA: the value minus that without the image.

    Positive for an image that makes the networks look alike. The difference of two such tensors
    tells which images make the difference between two pairs of networks.

    Args:
        grams_a: Gram matrices [la, n, n].
        grams_b: Gram matrices [lb, n, n] on the same images.
        paired: Whether to compare layer i with layer i only.

    Returns:
        Influences [la, lb, n] or [l, n], float64.

    Raises:
        ValueError: As `leave_one_out`.
    """
    without = leave_one_out(grams_a, grams_b, paired)
    a, b = _prepared(grams_a, grams_b, paired, fewest=5)
    value = inner(a, b) if paired else a.flatten(1) @ b.flatten(1).T
    return value[..., None] - without


def permutation_test(
    grams_a: Tensor,
    grams_b: Tensor,
    draws: int = 1000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
    paired: bool = False,
    debiased: bool = True,
) -> PermutationTest:
    """Compare CKA with that of shuffled images: is there more in common than by chance?

    All cells of a draw share one permutation of the second network's images, so that the draws hold
    the joint null of all layers. Images that come in groups (domain, sequence, ride) are shuffled
    within them: two networks that merely tell two domains apart would otherwise pass as similar.

    Args:
        grams_a: Gram matrices [la, n, n].
        grams_b: Gram matrices [lb, n, n] on the same images.
        draws: Number of permutations; the smallest possible p-value is 1 / (1 + draws).
        seed: Seed of the permutations.
        groups: Group of each image, [n]; None shuffles freely.
        paired: Whether to compare layer i with layer i only.
        debiased: Whether to take the debiased figure.

    Returns:
        The test, cells [la, lb] or [l].

    Raises:
        ValueError: As `similarity.cka`, or if the groups are not one an image, or none of them has
            two images.
    """
    check_same_images(grams_a, grams_b)
    n = grams_a.shape[-1]
    a, b = _prepared(grams_a, grams_b, paired, fewest=4, debiased=debiased)
    # The first is the observed value
    orders = torch.stack([torch.arange(n), *_permutations(n, draws, seed, groups)]).to(a.device)
    # Both matrices are symmetric: the lower triangle counts twice, the diagonal once
    rows, columns = torch.tril_indices(n, n, device=a.device)
    left = a[:, rows, columns] * torch.where(rows == columns, 1.0, 2.0).to(a)
    shuffle = _shuffled_pairs if paired else _shuffled_stacks
    values = torch.cat(
        [
            shuffle(left, b, part[:, rows] * n + part[:, columns])
            for part in (orders[start : start + 50] for start in range(0, len(orders), 50))
        ]
    )
    return PermutationTest(values[0], values[1:])


def shuffle_groups(groups: Sequence[str] | None) -> list[str] | None:
    """Return within which groups images are shuffled; None if they can be shuffled freely.

    Images that are alone in their group, as most of BDD100K's are in their ride, are independent of
    the others: they are shuffled among themselves.

    Args:
        groups: What each image belongs to, such as its sequence; None if that is not known.
    """
    if groups is None:
        return None
    counts = Counter(groups)
    merged = [group if counts[group] > 1 else "" for group in groups]
    return merged if len(set(merged)) > 1 else None


def gap_test(
    grams: Tensor,
    first: Tensor,
    draws: int = 1000,
    seed: int = 0,
    relative: bool = True,
    clusters: Sequence[Hashable] | None = None,
) -> PermutationTest:
    """Find the layers of one network that tell two groups of images apart.

    `measures.mmd2` of the two groups against that of groups drawn at random. Images that come in
    clusters (sequence, ride) are drawn by whole clusters: frames of one video are alike, so that ten
    of them say little more of a domain than one.

    Args:
        grams: Gram matrices [l, n, n] of the images of both groups.
        first: Which images belong to the first group, bool [n].
        draws: Number of random divisions.
        seed: Seed of the divisions.
        relative: As in `measures.mmd2`.
        clusters: What each image belongs to, [n], each within one of the groups; None if all images
            are independent.

    Returns:
        The test, cells [l]: `p_corrected` is corrected over the layers.

    Raises:
        ValueError: As `measures.mmd2`, or if the clusters are not one an image, or one of them lies
            in both groups.
    """
    value = mmd2(grams, first, relative)
    memberships = torch.stack(list(_divisions(first.cpu(), draws, seed, clusters))).double()
    null = [gaps(grams, memberships[i : i + 100], relative) for i in range(0, draws, 100)]
    return PermutationTest(value, torch.cat(null, dim=-1).mT)


def holm(p: Tensor) -> Tensor:
    """Correct p-values for their number: Holm's step-down procedure, valid for dependent ones.

    Args:
        p: P-values of any shape; NaN stays NaN and is not counted.

    Returns:
        Corrected p-values, in 0..1.
    """
    counted = ~p.isnan()
    ordered, order = p[counted].sort()
    factors = torch.arange(len(ordered), 0, -1, device=p.device)
    raised = (ordered * factors).cummax(0).values.clamp_max(1) if len(ordered) else ordered
    corrected = torch.full_like(p, torch.nan)
    corrected[counted] = torch.empty_like(raised).scatter(0, order, raised)
    return corrected


def calibrate(value: Tensor, floor: Tensor, ceiling: Tensor) -> Tensor:
    """Place similarities between chance and the same training repeated.

    Args:
        value: Similarities.
        floor: Mean of the permutation null in the same cells.
        ceiling: Similarity of two seeds of one model in the same cells.

    Returns:
        (value - floor) / (ceiling - floor): 0 is chance, 1 is two seeds. NaN where the ceiling is not
        above the floor.
    """
    span = ceiling - floor
    return (value - floor) / span.where(span > 0, torch.nan)


def verdict(interval: Interval, null_high: Tensor, ceiling_low: Tensor) -> np.ndarray:
    """Say what the intervals allow to say: what a similarity cannot be told from.

    The fewer the images, the wider the intervals, and the less can be told.

    Args:
        interval: Similarities with their intervals.
        null_high: Upper 95 % quantile of the permutation null in the same cells.
        ceiling_low: Lower end of the interval of two seeds of one model in the same cells.

    Returns:
        Words, in the shape of the cells: "not told from chance" where there is no interval or it
        reaches down to the null, "not told from two seeds" where it reaches up to the ceiling,
        "undecided" where it does both or there is no ceiling, "between" where it does neither, and
        "constant" where there is no value.
    """
    chance = ~(interval.low > null_high).cpu().numpy()
    seeds = (interval.high >= ceiling_low).cpu().numpy()
    words = np.where(chance, np.where(seeds, "undecided", "not told from chance"), "between")
    words = np.where(seeds & ~chance, "not told from two seeds", words)
    words = np.where(ceiling_low.isnan().cpu().numpy() & ~chance, "undecided", words)
    return np.where(interval.value.isnan().cpu().numpy(), "constant", words)


_ROUNDING = 1e-10
"""Differences of similarities below this are rounding."""

_BLOCK = 8
"""Layers worked on at a time."""


def _prepared(
    grams_a: Tensor, grams_b: Tensor, paired: bool, fewest: int, debiased: bool = True
) -> tuple[Tensor, Tensor]:
    """Return both stacks centred and of norm 1."""
    check_same_images(grams_a, grams_b)
    if paired and len(grams_a) != len(grams_b):
        raise ValueError(f"{len(grams_a)} and {len(grams_b)} layers make no pairs: give as many")
    if grams_a.shape[-1] < fewest:
        raise ValueError(f"this needs at least {fewest} images, not {grams_a.shape[-1]}")
    return normalized(grams_a, debiased), normalized(grams_b, debiased)


def _replicates(
    grams_a: Tensor, grams_b: Tensor, paired: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield debiased CKA of all images, without one and without two, cells in order.

    Yields:
        Values [m], without one image [m, n], and without two [m, n, n] (its diagonal means nothing),
        of one layer of a and m layers of b: the same one if paired, else a few at a time, so that
        the intermediate results stay in the processor's cache.
    """
    a, b = _prepared(grams_a, grams_b, paired, fewest=6)
    own_a, own_b = _products(a, a), _products(b, b)
    cells = [
        (layer, slice(start, start + _BLOCK))
        for layer in range(len(a))
        for start in range(0, len(b), _BLOCK)
    ]
    if paired:
        cells = [(layer, slice(layer, layer + 1)) for layer in range(len(a))]
    for layer, others in cells:
        value, one, two = (
            cross / (x[layer] * y[others]).sqrt()
            for cross, x, y in zip(_products(a[layer], b[others]), own_a, own_b, strict=True)
        )
        yield value, one, two


def _products(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return inner products of U-centred matrices, and those left without one and two images.

    Leaving images out of a U-centred matrix and U-centring what remains takes the sums over the
    images left out only, since the rows of the whole sum to zero.
    """
    n = a.shape[-1]
    entries = a * b
    rows = entries.sum(-1)
    total = rows.sum(-1)
    both = rows[..., :, None] + rows[..., None, :]
    crossed = a @ b
    remaining_rows = both + crossed + crossed.mT - 2 * entries
    two = (
        total[..., None, None]
        - 2 * (both - entries)
        - 2 / (n - 4) * remaining_rows
        + 4 / ((n - 3) * (n - 4)) * entries
    )
    return total, _without_one(rows, n), two


def _without_one(rows: Tensor, n: int) -> Tensor:
    """Return ⟨Ã, B̃⟩ without each image from the sums of its row, Σⱼ Ã_kj B̃_kj: [..., n]."""
    return rows.sum(-1, keepdim=True) - 2 * (n - 2) / (n - 3) * rows


def _spread(replicates: Iterable[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return values, variances and degrees of freedom of all cells in a row; see `jackknife`."""
    results: list[tuple[Tensor, Tensor, Tensor]] = []
    for value, one, two in replicates:
        n = one.shape[-1]
        deviation = one - one.mean(-1, keepdim=True)
        second = deviation.square().mean(-1)
        first_order = (n - 1) * second
        interaction = without_diagonal(
            n * value[..., None, None]
            - (n - 1) * (one[..., :, None] + one[..., None, :])
            + (n - 2) * two
        )
        # Each pair stands twice in the symmetric matrix
        mean = interaction.sum((-2, -1)) / (n * (n - 1))
        twice = (interaction.square().sum((-2, -1)) / (n * (n - 1)) - mean.square()) / 2
        variance = torch.maximum(first_order - twice, first_order / 2)
        kurtosis = deviation.pow(4).mean(-1) / second.square()
        freedom = 2 * n * (variance / first_order).square() / (kurtosis - 1)
        results.append((value, variance, freedom.nan_to_num(n - 1.0).clamp(1.0, n - 1.0)))
    value, variance, freedom = (torch.cat(column) for column in zip(*results, strict=True))
    return value, variance, freedom


def _interval(
    value: Tensor,
    variance: Tensor,
    freedom: Tensor,
    offered: Tensor,
    level: float,
    limit: float = 1.0,
) -> Interval:
    error = variance.sqrt().where(offered, torch.nan)
    reach = _like(student.ppf((1 + level) / 2, freedom.cpu()), value) * error
    low, high = (value - reach).clamp(-limit, limit), (value + reach).clamp(-limit, limit)
    return Interval(value, low, high, error)


def _shuffled_pairs(left: Tensor, right: Tensor, places: Tensor) -> Tensor:
    """Return Σ left · right[places], layer by layer, for d choices of m places.

    Args:
        left: [l, m].
        right: [l, n, n].
        places: Flat indices into n x n [d, m].

    Returns:
        Sums [d, l].
    """
    pairs = zip(left, right.flatten(1), strict=True)
    flat = places.flatten()  # index_select gathers six times as fast as y[places]
    return torch.stack([y.index_select(0, flat).view(places.shape) @ x for x, y in pairs], dim=-1)


def _shuffled_stacks(left: Tensor, right: Tensor, places: Tensor) -> Tensor:
    """Do the same for every layer with every layer: [d, la, lb]."""
    # One row a pair of images, so that whole rows are gathered
    by_place = right.flatten(1).T.contiguous()
    moved = by_place[: left.shape[-1]].clone()
    results: list[Tensor] = []
    for chosen in places:
        torch.index_select(by_place, 0, chosen, out=moved)
        results.append(left @ moved)
    return torch.stack(results)


def _permutations(
    n: int, number: int, seed: int, groups: Sequence[Hashable] | None
) -> Iterator[Tensor]:
    """Yield permutations of n images that leave each image in its group."""
    given = [0] * n if groups is None else groups
    labels: dict[Hashable, int] = {}
    member = torch.tensor([labels.setdefault(g, len(labels)) for g in given])
    if len(member) != n:
        raise ValueError(f"{len(member)} group labels for {n} images: give one an image")
    if len(labels) == n:
        raise ValueError(
            f"each of the {n} images is a group of its own, nothing can be shuffled: give coarser "
            "groups, or none"
        )
    generator = torch.Generator().manual_seed(seed)
    places = member.argsort(stable=True)
    for _ in range(number):
        keys = member + torch.rand(n, generator=generator, dtype=torch.float64)
        order = torch.empty_like(places)
        order[places] = keys.argsort()
        yield order


def _divisions(
    first: Tensor, number: int, seed: int, clusters: Sequence[Hashable] | None
) -> Iterator[Tensor]:
    """Yield divisions of n images like `first` [n], whole clusters moved, two images at least a side."""
    labels: dict[Hashable, int] = {}
    given = range(len(first)) if clusters is None else clusters
    member = torch.tensor([labels.setdefault(cluster, len(labels)) for cluster in given])
    if len(member) != len(first):
        raise ValueError(f"{len(member)} clusters for {len(first)} images: give one an image")
    side = torch.zeros(len(labels), dtype=torch.bool)
    side[member[first]] = True
    if not torch.equal(side[member], first):
        raise ValueError("a cluster has images of both groups: give one to each group")
    generator = torch.Generator().manual_seed(seed)
    while number:
        division = side[torch.randperm(len(side), generator=generator)][member]
        if 2 <= int(division.sum()) <= len(first) - 2:
            number -= 1
            yield division


def _p_value(value: Tensor, draws: Tensor) -> Tensor:
    # A permutation that changes nothing must count as at least as large, whatever its rounding
    reached = (draws >= value - _ROUNDING).sum(0).double()
    return ((1 + reached) / (1 + len(draws))).where(~value.isnan(), torch.nan)


def _like(values: np.ndarray, other: Tensor) -> Tensor:
    return torch.as_tensor(values).to(other)
