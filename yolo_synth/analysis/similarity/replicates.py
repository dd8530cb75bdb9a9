"""Similarities without one image or group and without two, in closed form, and their spread.

Two kinds of cell: every layer with every layer, or with `paired=True` layer i with layer i only.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yolo_synth.analysis.similarity.centring import (
    check_pairs,
    check_same_images,
    checked,
    count_groups,
    embedded,
    group_means,
    group_weights,
    in_cache,
    numbered,
    u_center,
    unit,
    without_diagonal,
)

FEWEST = 6
"""Images or groups of images that an interval needs."""

_BLOCK = 8
"""Layers worked on at a time."""

Triple = tuple[Tensor, Tensor, Tensor]
"""Values of all images, without one and without two: [m], [m, G] and [m, G, G]."""


@dataclass(frozen=True)
class Parts:
    """U-centred matrices of norm 1 in the three parts that leaving groups out treats differently.

    See `centring.embedded`. Without groups the first is all there is.

    Attributes:
        means: Of pairs of groups, or all where images are alone: [l, G, G].
        singles: What an image's mean with another group has beyond that, times the root of the
            image's weight [l, n, G].
        pairs: What a pair of images has beyond both, times the roots of their weights [l, n, n].
        member: One column a group, 1 for its images: [n, G].
    """

    means: Tensor
    singles: Tensor | None = None
    pairs: Tensor | None = None
    member: Tensor | None = None

    def __getitem__(self, layers: int | slice) -> Parts:
        """Return some of the layers."""
        if self.singles is None or self.pairs is None:
            return Parts(self.means[layers])
        return Parts(self.means[layers], self.singles[layers], self.pairs[layers], self.member)

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.means)


def parts(grams: Tensor, groups: Sequence[Hashable] | None) -> Parts:
    """U-centre Grams [l, n, n], scale them to norm 1, and take them apart."""
    grams = checked(grams)
    member = numbered(groups, grams.shape[-1])
    if member is None:
        return Parts(torch.cat([unit(u_center(layers)) for layers in in_cache(grams)]))
    member = member.to(grams.device)
    root = group_weights(member).sqrt()
    stacks: tuple[list[Tensor], ...] = ([], [], [])
    for layers in in_cache(grams):
        whole = u_center(layers, groups)
        whole = whole / torch.linalg.matrix_norm(embedded(whole, groups), keepdim=True)
        rows, means = group_means(whole, member)
        across, own = rows[..., member], means[:, member]
        pairs = whole - across - across.mT + own[..., member]
        singles = (rows - own) * root[:, None]
        for stack, part in zip(stacks, (means, singles, pairs * root[:, None] * root), strict=True):
            stack.append(part)
    columns = torch.nn.functional.one_hot(member).double()
    means, singles, pairs = map(torch.cat, stacks)
    return Parts(means, singles, pairs, columns)


def replicates(
    grams_a: Tensor,
    grams_b: Tensor,
    paired: bool,
    groups: Sequence[Hashable] | None = None,
) -> Iterator[Triple]:
    """Yield debiased CKA of all images, without one and without two, cells in order.

    Of images in groups, without one and two groups: G is the number of groups, or of images.

    Yields:
        Values [m], without one [m, G], and without two [m, G, G] (its diagonal means nothing),
        of one layer of a and m layers of b: the same one if paired, else a few at a time, so that
        the intermediate results stay in the processor's cache.

    Raises:
        ValueError: If there are fewer than 6 images or groups, or as `cka.cka`.
    """
    check_same_images(grams_a, grams_b)
    check_pairs(grams_a, grams_b, paired)
    _check_units(groups, grams_a.shape[-1])
    a, b = parts(grams_a, groups), parts(grams_b, groups)
    own_a, own_b = _products(a, a), _products(b, b)
    cells = [
        (layer, slice(start, start + _BLOCK))
        for layer in range(len(a))
        for start in range(0, len(b), _BLOCK)
    ]
    if paired:
        cells = [(layer, slice(layer, layer + 1)) for layer in range(len(a))]
    for layer, others in cells:
        norms_a, norms_b = (
            [x[cells] for x in own] for own, cells in ((own_a, layer), (own_b, others))
        )
        yield _normalized(_products(a[layer], b[others]), norms_a, norms_b)


def of_pairs(
    stacks: Sequence[Tensor],
    pairs: Sequence[tuple[int, int]],
    groups: Sequence[Hashable] | None = None,
) -> Iterator[dict[tuple[int, int], Triple]]:
    """Yield the same of layer i with layer i, for many pairs of networks at once.

    What a network's own products are is worked out once and not again in each of its pairs: of eight
    networks that takes a third of the time.

    Args:
        stacks: Gram matrices of each network [l, n, n], on the same images.
        pairs: Which networks to compare, by their places among `stacks`.
        groups: As in `replicates`; at least 6.

    Yields:
        For each layer in order, pair by pair: value [1], without one [1, G], without two [1, G, G].

    Raises:
        ValueError: As `replicates`.
    """
    for other in stacks:
        check_same_images(stacks[0], other)
        check_pairs(stacks[0], other, paired=True)
    _check_units(groups, stacks[0].shape[-1])
    for layers in zip(*stacks, strict=True):
        networks = [parts(layer[None], groups) for layer in layers]
        own = [_products(network, network) for network in networks]
        yield {
            (i, j): _normalized(_products(networks[i], networks[j]), own[i], own[j])
            for i, j in pairs
        }


def _check_units(groups: Sequence[Hashable] | None, n: int) -> None:
    if (units := count_groups(groups, n)) < FEWEST:
        what = "images" if groups is None else "groups of images"
        raise ValueError(f"this needs at least {FEWEST} {what}, not {units}")


def _normalized(cross: Triple, own_a: Sequence[Tensor], own_b: Sequence[Tensor]) -> Triple:
    value, one, two = (
        products / (x * y).sqrt() for products, x, y in zip(cross, own_a, own_b, strict=True)
    )
    return value, one, two


def without_one(grams_a: Tensor, grams_b: Tensor, groups: Sequence[Hashable] | None) -> Tensor:
    """Return debiased CKA of layer i with layer i without each group in turn [l, G]."""
    a, b = parts(grams_a, groups), parts(grams_b, groups)
    cross, norms_a, norms_b = (_products(x, y, two=False)[1] for x, y in ((a, b), (a, a), (b, b)))
    return cross / (norms_a * norms_b).sqrt()


def _products(a: Parts, b: Parts, two: bool = True) -> Triple:
    """Return inner products of U-centred matrices, and those left without one and two groups.

    Each part is left without a group in closed form: its entries are centred, so that what remains
    is centred again by the sums over what is left out only. The parts are then put together with the
    divisors that so many groups have (see `centring.embedded`).
    """
    total, one, without = _means_products(a.means, b.means, two)
    if a.singles is None or b.singles is None or a.pairs is None or b.pairs is None:
        return total, one, without
    assert a.member is not None
    g = a.means.shape[-1]
    single = _singles_products(a.singles, b.singles, a.member, two)
    pair = _pairs_products(a.pairs, b.pairs, a.member)
    total, one, without = (
        means + 2 * (m - 3) / (m - 2) * singles + (m - 3) / (m - 1) * pairs
        for m, means, singles, pairs in zip(
            (g, g - 1, g - 2), (total, one, without), single, pair, strict=True
        )
    )
    return total, one, without


def _means_products(a: Tensor, b: Tensor, two: bool) -> tuple[Tensor, Tensor, Tensor]:
    n = a.shape[-1]
    entries = a * b
    rows = entries.sum(-1)
    total = rows.sum(-1)
    one = rows.sum(-1, keepdim=True) - 2 * (n - 2) / (n - 3) * rows
    if not two:
        return total, one, entries
    both = rows[..., :, None] + rows[..., None, :]
    crossed = a @ b
    remaining_rows = both + crossed + crossed.mT - 2 * entries
    without = (
        total[..., None, None]
        - 2 * (both - entries)
        - 2 / (n - 4) * remaining_rows
        + 4 / ((n - 3) * (n - 4)) * entries
    )
    return total, one, without


def _singles_products(
    a: Tensor, b: Tensor, member: Tensor, two: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Do it for [..., n, G] whose rows sum to zero over the groups that the image is not of."""
    g = a.shape[-1]
    entries = member.mT @ (a * b)  # groups of images by other groups
    rows, columns = entries.sum(-1), entries.sum(-2)
    total = rows.sum(-1)
    one = total[..., None] - rows - (g - 1) / (g - 2) * columns
    if not two:
        return total, one, entries
    crossed = a.mT @ b
    left_out = columns[..., :, None] + columns[..., None, :] - entries - entries.mT
    without = (
        total[..., None, None]
        - (rows[..., :, None] + rows[..., None, :])
        - (g - 2) / (g - 3) * left_out
        - (crossed + crossed.mT) / (g - 3)
    )
    return total, one, without


def _pairs_products(a: Tensor, b: Tensor, member: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Do it for [..., n, n], of which only rows and columns are left out."""
    entries = member.mT @ (a * b) @ member
    rows = entries.sum(-1)
    total = rows.sum(-1)
    both = rows[..., :, None] + rows[..., None, :]
    return total, total[..., None] - 2 * rows, total[..., None, None] - 2 * (both - entries)


def spread(cells: Iterable[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return values, variances and degrees of freedom of all cells in a row; see `jackknife.jackknife`."""
    value, variance, freedom, _ = bent_spread(cells)
    return value, variance, freedom


def bent_spread(cells: Iterable[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the same, and by how many errors the error grows where the value grows by one.

    Weigh the images along their influences d, so that the value moves with the least effort: after a way
    of x errors it is θ + error (x + b x² / 2), and the error has grown by b x. b = Σ Qᵢⱼ dᵢdⱼ / (n ‖d‖³).
    """
    results: list[tuple[Tensor, ...]] = []
    for value, one, two in cells:
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
        # Less the mean over pairs, of which there are none of an image with itself
        pulled = (interaction @ deviation[..., None])[..., 0] * deviation
        bend = (pulled.sum(-1) + mean * deviation.square().sum(-1)) / n / (n * second).pow(1.5)
        results.append(
            (
                value,
                variance,
                freedom.nan_to_num(n - 1.0).clamp(1.0, n - 1.0),
                bend.nan_to_num(0.0, 0.0, 0.0),
            )
        )
    value, variance, freedom, bend = (torch.cat(column) for column in zip(*results, strict=True))
    return value, variance, freedom, bend
