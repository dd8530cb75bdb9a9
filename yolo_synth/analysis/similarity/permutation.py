"""Chance: similarities, and gaps between groups of images, of images in another order.

All of it follows from the Gram matrices of the same n images, without the networks. Two kinds of
cell are understood throughout: every layer with every layer, [la, lb], or with `paired=True` layer i
with layer i only, [l].
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import pearson3
from torch import Tensor

from yolo_synth.analysis.similarity.centring import check_same_images, prepared


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
        # Standardised, since else the cell with the widest null alone would make the maximum
        value, draws = self._standardised()
        largest = draws.flatten(1).amax(-1)
        return _p_value(value, largest.view(-1, *[1] * value.ndim)).where(
            ~self.value.isnan(), torch.nan
        )

    @property
    def p_fitted(self) -> Tensor:
        """`p_corrected` from the tail of a gamma distribution with the moments of the maxima [*cells].

        For a test of few draws: a p-value near .05 is surer, and one far out smaller than 1 / (1 + draws)
        allows, down to 1 / 1001. Source: Winkler et al., Faster permutation inference in brain imaging,
        2016.
        """
        value, draws = self._standardised()
        largest = draws.flatten(1).amax(-1).cpu().numpy()
        if not (self.value.isfinite().any() and largest.std() > 0):
            return self.p_corrected
        tail = _gamma_tail(value.cpu().numpy(), largest)
        return _like(tail, self.value).where(~self.value.isnan(), torch.nan)

    @property
    def null_mean(self) -> Tensor:
        """Mean of the null in each cell [*cells]: the floor of the similarity."""
        return self.draws.mean(0)

    def null_quantile(self, level: float = 0.95) -> Tensor:
        """Return a quantile of the null in each cell [*cells]."""
        return _like(np.quantile(self.draws.cpu().numpy(), level, axis=0), self.value)

    def best_match(self) -> tuple[Tensor, Tensor]:
        """Find for each layer of the first network the most similar one of the second.

        The p-value knows that the best of all was picked: it is that of `p_fitted`, corrected over the
        cells of all rows. One layer can be the best match of many: a row's best says little if it is
        every row's (see `without_means`).

        Returns:
            Indices [la] of the best-matching layers, by the observed value, -1 for a constant layer,
            and their p-values [la].

        Raises:
            ValueError: If the test was of pairs of layers.
        """
        if self.value.ndim != 2:
            raise ValueError("best matches need a test of every layer with every layer")
        none = self.value.isnan().all(-1)
        best = self.value.nan_to_num(-torch.inf).argmax(-1)
        p = self.p_fitted.gather(-1, best[:, None])[:, 0]
        return best.masked_fill(none, -1), p.masked_fill(none, torch.nan)

    def without_means(self) -> PermutationTest:
        """Return the test of what the cells [la, lb] have beyond the means of their row and column.

        A layer that is much like all others is everybody's best match. What is left without the means,
        in the observed values and each draw, is what two layers have to do with each other.
        """
        return PermutationTest(_without_means(self.value), _without_means(self.draws))

    def _standardised(self) -> tuple[Tensor, Tensor]:
        # The observed value counts as one more draw: by the hypothesis it is one
        together = torch.cat([self.value[None], self.draws])
        deviation = together.std(0)
        scores = (together - together.mean(0)) / deviation.where(deviation > 0, 1.0)
        # A cell without a value is never the largest
        scores = scores.nan_to_num(-torch.inf)
        return scores[0], scores[1:]


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
        ValueError: As `cka.cka`, or if the groups are not one an image, or none of them has
            two images.

    Example:
        A layer with itself, and with a layer of which it knows nothing.

        >>> generator = torch.Generator().manual_seed(0)
        >>> x, y = torch.randn(2, 1, 30, 20, generator=generator, dtype=torch.float64)
        >>> one, other = x @ x.mT, y @ y.mT
        >>> [round(permutation_test(one, grams, 99).p.item(), 2) for grams in (one, other)]
        [0.01, 0.22]
    """
    check_same_images(grams_a, grams_b)
    n = grams_a.shape[-1]
    a, b = prepared(grams_a, grams_b, paired, fewest=4, debiased=debiased)
    # The first is the observed value
    every = torch.stack([torch.arange(n), *orders(n, draws, seed, groups)]).to(a.device)
    # Both matrices are symmetric: the lower triangle counts twice, the diagonal once
    rows, columns = torch.tril_indices(n, n, device=a.device)
    left = a[:, rows, columns] * torch.where(rows == columns, 1.0, 2.0).to(a)
    shuffle = _shuffled_pairs if paired else _shuffled_stacks
    values = torch.cat(
        [
            shuffle(left, b, part[:, rows] * n + part[:, columns])
            # Fifty orders at a time: their places [50, n (n + 1) / 2] stay small
            for part in (every[start : start + 50] for start in range(0, len(every), 50))
        ]
    )
    return PermutationTest(values[0], values[1:])


_ROUNDING = 1e-10
"""Differences of similarities below this are rounding."""


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


def orders(
    n: int, number: int, seed: int, groups: Sequence[Hashable] | None = None
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
        # Group number plus a number below 1: sorting shuffles within groups and mixes none
        keys = member + torch.rand(n, generator=generator, dtype=torch.float64)
        order = torch.empty_like(places)
        order[places] = keys.argsort()
        yield order


def _without_means(values: Tensor) -> Tensor:
    """Subtract from [..., la, lb] the means of rows and columns, cells without a value left out."""
    rows, columns = values.nanmean(-1, keepdim=True), values.nanmean(-2, keepdim=True)
    return values - rows - columns + values.flatten(-2).nanmean(-1)[..., None, None]


def _gamma_tail(values: np.ndarray, maxima: np.ndarray) -> np.ndarray:
    """Return how often the fitted maximum reaches each value, at least 1 / 1001."""
    spread = maxima.std(ddof=1)
    skew = ((maxima - maxima.mean()) ** 3).mean() / maxima.std() ** 3
    tail = pearson3.sf((values - maxima.mean()) / spread, skew)
    return np.asarray(np.clip(tail, 1 / 1001, 1.0))


def _p_value(value: Tensor, draws: Tensor) -> Tensor:
    # A permutation that changes nothing must count as at least as large, whatever its rounding
    reached = (draws >= value - _ROUNDING).sum(0).double()
    return ((1 + reached) / (1 + len(draws))).where(~value.isnan(), torch.nan)


def _like(values: np.ndarray, other: Tensor) -> Tensor:
    return torch.as_tensor(values).to(other)
