"""Centring of Gram matrices, plain and free of bias, for single images and for images in groups."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

FEWEST_GROUPS = 4
"""Images, or groups of images, that U-centring needs."""

ROUNDING = 1e-12
"""A centred Gram below this fraction of the Gram is rounding noise: the layer is constant."""

CACHED = 2**16
"""Entries that are worked on at a time: 512 kB, of which a processor's cache holds a few."""


def center(grams: Tensor) -> Tensor:
    """Centre the features of each layer: K ↦ H K H with H = 1 - 1/n.

    Centring twice changes nothing. A layer that is the same for all images becomes exactly zero.

    Args:
        grams: Gram matrices [..., n, n].

    Returns:
        Centred Gram matrices [..., n, n], float64.

    Raises:
        ValueError: If the matrices are not square or an entry is not finite.

    Example:
        >>> x = torch.tensor([[1.0], [2], [6]])
        >>> center(x @ x.mT).tolist()  # of -2, -1 and 3
        [[4.0, 2.0, -6.0], [2.0, 1.0, -3.0], [-6.0, -3.0, 9.0]]
    """
    grams = checked(grams)
    rows = grams.mean(-1, keepdim=True)
    centered = grams - rows - rows.mT + rows.mean(-2, keepdim=True)
    return without_noise(centered, grams)


def u_center(grams: Tensor, groups: Sequence[Hashable] | None = None) -> Tensor:
    """U-centre each Gram: the centring whose inner products are free of bias.

    With the diagonal set to zero, subtract the row and column sums / (n-2), add the total /
    ((n-1)(n-2)), and set the diagonal to zero again. Rows then sum to zero without the diagonal, so
    that U-centring twice, or after `center`, changes nothing, and ⟨Ũ(K), Ũ(L)⟩ / (n(n-3)) is the
    unbiased estimate of the Hilbert-Schmidt independence criterion (HSIC).

    Images of one group (frames of a sequence) are alike whatever the network: a pair of them is as
    biased as the diagonal. With groups, all pairs within a group are set to zero, and groups take the
    place of images: the means over pairs of groups are U-centred, and so is each image's mean with
    the other groups, so that `embedded` inner products are the U-statistic of HSIC over images of
    four different groups, each group weighing the same.

    Sources: Székely and Rizzo, Partial distance correlation with methods for dissimilarities, 2014;
    for clusters as the units of a U-statistic, Cameron and Miller, 2015.

    Args:
        grams: Gram matrices [..., n, n], n at least 4.
        groups: What each image belongs to, [n], at least 4 different ones; None if all images are
            independent.

    Returns:
        U-centred matrices [..., n, n], float64. Zero where a layer is constant, or where all images
        are equally far from each other.

    Raises:
        ValueError: If the matrices are not square, n or the number of groups is below 4, the groups
            are not one an image, or an entry is not finite.
    """
    centered = center(grams)
    n = centered.shape[-1]
    member = numbered(groups, n)
    count = n if member is None else int(member.max()) + 1
    if count < FEWEST_GROUPS:
        what = "images" if member is None else "groups of images"
        raise ValueError(f"debiased similarity needs at least {FEWEST_GROUPS} {what}, not {count}")
    if member is None:
        hollow = without_diagonal(centered)
        u_centered = without_diagonal(hollow - _margins(hollow))
    else:
        member = member.to(centered.device)
        same = member[:, None] == member[None]
        hollow = centered.masked_fill(same, 0.0)
        rows, means = group_means(hollow, member)
        # How much an image's mean with the other groups differs from that of its group
        own = (rows.sum(-1) - means.sum(-1)[..., member]) / (count - 1)
        margins = _margins(means)[..., member, :][..., member]
        u_centered = hollow - own[..., :, None] - own[..., None, :] - margins
        u_centered = u_centered.masked_fill(same, 0.0)
    return without_noise(u_centered, centered)


def embedded(u_centered: Tensor, groups: Sequence[Hashable] | None = None) -> Tensor:
    """Weigh U-centred matrices so that their inner products are HSIC's up to one factor.

    A U-centred matrix of images in groups is the sum of three orthogonal parts: means of pairs of
    groups, what an image's mean with another group has beyond them, and what a pair of images has
    beyond both. Of G groups they have G(G-3), G(G-2)/2 and G(G-1) as their divisors.

    Args:
        u_centered: As of `u_center`, [..., n, n].
        groups: As there; without groups nothing changes.

    Returns:
        Matrices [..., n, n] whose inner product is G(G-3) times the U-statistic of HSIC.
    """
    member = numbered(groups, u_centered.shape[-1])
    if member is None:
        return u_centered
    member = member.to(u_centered.device)
    weights = group_weights(member)
    count = int(member.max()) + 1
    single, pair = ((count - 3) / (count - 2)) ** 0.5, ((count - 3) / (count - 1)) ** 0.5
    rows, means = group_means(u_centered, member)
    rows, means = rows[..., member], means[..., member, :][..., member]
    weighed = pair * u_centered + (single - pair) * (rows + rows.mT)
    weighed = weighed + (1 - 2 * single + pair) * means
    result: Tensor = weighed * (weights[:, None] * weights).sqrt()
    return result


def numbered(groups: Sequence[Hashable] | None, n: int) -> Tensor | None:
    """Number the groups of n images in the order they come, [n]; None where each image is alone.

    Raises:
        ValueError: If the groups are not one an image.
    """
    if groups is None:
        return None
    labels: dict[Hashable, int] = {}
    member = torch.tensor([labels.setdefault(group, len(labels)) for group in groups])
    if len(member) != n:
        raise ValueError(f"{len(member)} group labels for {n} images: give one an image")
    return None if len(labels) == n else member


def count_groups(groups: Sequence[Hashable] | None, n: int) -> int:
    """Return the number of independent units: groups, or images where there are none."""
    return n if groups is None else len(set(groups))


def group_weights(member: Tensor) -> Tensor:
    """Return 1 / the size of each image's group [n], float64."""
    return 1 / member.bincount().double()[member]


def group_means(matrices: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """Average matrices [..., n, n] over groups: rows [..., n, G], and their means [..., G, G]."""
    averages = torch.nn.functional.one_hot(member).double() * group_weights(member)[:, None]
    rows = matrices @ averages
    return rows, averages.mT @ rows


def between_groups(grams: Tensor, groups: Sequence[Hashable] | None) -> Tensor:
    """Return the Gram matrices of the groups' mean outputs [l, G, G], or those given without groups.

    Whole groups of independent draws can change places, single frames of them cannot: a
    `permutation_test` of these is one of what two networks have in common between groups.
    """
    member = numbered(groups, grams.shape[-1])
    return grams if member is None else group_means(checked(grams), member.to(grams.device))[1]


def within_groups(grams: Tensor, groups: Sequence[Hashable] | None) -> Tensor | None:
    """Return Gram matrices without the groups' mean outputs [l, n, n]; None if each image is alone.

    What is left is how the images of one group differ from each other. They can change places within
    their group: a `permutation_test` of these, with these groups, is one of what two networks have in
    common there.
    """
    member = numbered(groups, grams.shape[-1])
    if member is None:
        return None
    member = member.to(grams.device)
    grams = checked(grams)
    rows, means = group_means(grams, member)
    across = rows[..., member]
    return without_noise(grams - across - across.mT + means[..., member, :][..., member], grams)


def normalized(grams: Tensor, debiased: bool, groups: Sequence[Hashable] | None = None) -> Tensor:
    """Centre Grams [layers, n, n], or U-centre them, and scale each to norm 1: inner products are CKA.

    A few layers at a time, see `in_cache`.
    """
    result = torch.empty_like(grams, dtype=torch.float64)
    for layers, target in zip(in_cache(checked(grams)), in_cache(result), strict=True):
        centered = embedded(u_center(layers, groups), groups) if debiased else center(layers)
        target.copy_(unit(centered))
    return result


def in_cache(grams: Tensor) -> tuple[Tensor, ...]:
    """Split Grams [layers, n, n] into as many layers as the processor's cache holds, at least one.

    Large ones are worked on three times as fast as all at once, and small ones as one by one.
    """
    return torch.split(grams, max(1, CACHED // grams.shape[-1] ** 2))


def prepared(
    grams_a: Tensor,
    grams_b: Tensor,
    paired: bool,
    fewest: int,
    debiased: bool = True,
    groups: Sequence[Hashable] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return both stacks centred and of norm 1, see `normalized`.

    Raises:
        ValueError: If they do not fit together, or hold fewer images than `fewest`.
    """
    check_same_images(grams_a, grams_b)
    check_pairs(grams_a, grams_b, paired)
    if grams_a.shape[-1] < fewest:
        raise ValueError(f"this needs at least {fewest} images, not {grams_a.shape[-1]}")
    return normalized(grams_a, debiased, groups), normalized(grams_b, debiased, groups)


def check_pairs(grams_a: Tensor, grams_b: Tensor, paired: bool) -> None:
    """Refuse stacks that are not of as many layers, if those are to be paired.

    Raises:
        ValueError: If they are not.
    """
    if paired and len(grams_a) != len(grams_b):
        raise ValueError(f"{len(grams_a)} and {len(grams_b)} layers make no pairs: give as many")


def inner(first: Tensor, second: Tensor) -> Tensor:
    """Return the inner products ⟨K, L⟩ = Σ K_ij L_ij of matrices [..., n, n]: [...]."""
    return (first * second).sum((-2, -1))


def unit(matrices: Tensor) -> Tensor:
    """Scale matrices [..., n, n] to Frobenius norm 1; a zero matrix becomes NaN."""
    return matrices / _norm(matrices)


def checked(grams: Tensor) -> Tensor:
    """Return Grams [..., n, n] as float64.

    Raises:
        ValueError: If the matrices are not square or an entry is not finite; names the layer.
    """
    if grams.ndim < 2 or grams.shape[-1] != grams.shape[-2] or grams.shape[-1] < 1:
        raise ValueError(f"Gram matrices are [..., n, n], not {list(grams.shape)}")
    grams = grams.double()
    bad = ~grams.sum((-2, -1)).isfinite()  # in one pass: what is not finite makes the sum so
    if bad.any():
        layers = bad.nonzero().squeeze(-1).tolist() if bad.ndim else "0"
        raise ValueError(f"the Gram matrix of layer {layers} has entries that are not finite")
    return grams


def check_same_images(grams_a: Tensor, grams_b: Tensor) -> None:
    """Refuse stacks that are not [layers, n, n] with one n.

    Raises:
        ValueError: If they are not.
    """
    for grams in (grams_a, grams_b):
        if grams.ndim != 3 or grams.shape[-1] != grams.shape[-2]:
            raise ValueError(f"Gram matrices are [layers, n, n], not {list(grams.shape)}")
    if grams_a.shape[-1] != grams_b.shape[-1]:
        raise ValueError(
            f"Gram matrices of {grams_a.shape[-1]} and of {grams_b.shape[-1]} images: compare "
            "networks on the same images"
        )


def without_diagonal(matrices: Tensor) -> Tensor:
    """Set the diagonals of matrices [..., n, n] to zero."""
    hollow = matrices.clone()
    hollow.diagonal(dim1=-2, dim2=-1).zero_()
    return hollow


def _margins(hollow: Tensor) -> Tensor:
    """Return what U-centring subtracts from matrices [..., m, m] that are zero on the diagonal."""
    m = hollow.shape[-1]
    rows = hollow.sum(-1, keepdim=True) / (m - 2)
    total = hollow.sum((-2, -1), keepdim=True) / ((m - 1) * (m - 2))
    return rows + rows.mT - total


def _norm(matrices: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(matrices, dim=(-2, -1), keepdim=True)
    return norm


def without_noise(projected: Tensor, original: Tensor, fraction: float = ROUNDING) -> Tensor:
    """Set projections to exactly zero that are only the rounding of the subtraction."""
    norm = _norm(projected)
    reference = _norm(original)
    return projected.masked_fill(norm <= fraction * reference, 0.0)
