"""Inside one layer: how many directions it fills, and how far apart it holds two groups of images."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

from yolo_synth.analysis.similarity.centring import (
    center,
    count_groups,
    embedded,
    group_means,
    inner,
    numbered,
    u_center,
    without_diagonal,
)
from yolo_synth.analysis.similarity.distances import squared_distances
from yolo_synth.analysis.similarity.permutation import PermutationTest

MEASURE: Final = "MMD\N{SUPERSCRIPT TWO} / variance within"
"""What `gap_test` measures, in words."""


def participation_ratio(grams: Tensor, groups: Sequence[Hashable] | None = None) -> Tensor:
    """Return how many dimensions the outputs fill: (tr Σ)² / tr Σ², Σ the features' covariance.

    Both are estimated free of bias by U-statistics: of D, half the squared distances, tr Σ is the
    mean, and (tr Σ)² the mean of D_ij D_kl over four different images; tr Σ² is the unbiased HSIC of
    the layer with itself. The plain ratio of the Gram matrix can not exceed n-1, and of 50 equal
    directions it sees 27 at n = 60.

    Sources: Gao et al., A theory of multineuronal dimensionality, 2017; Chen, Zhang and Zhong, Tests
    for high-dimensional covariance matrices, 2010.

    Args:
        grams: Gram matrices [..., n, n].
        groups: What each image belongs to [n], at least 4; only images of different groups are
            compared, and groups weigh the same. None if all images are independent.

    Returns:
        Values [...], at least about 1: 1 for outputs on a line. NaN for a constant layer, and where
        all images are equally far from each other.

    Raises:
        ValueError: If the matrices are not square or not finite, or n or the groups are below 4.

    Example:
        Fifty equal directions, seen by 60 images:

        >>> generator = torch.Generator().manual_seed(1)
        >>> x = torch.randn(60, 50, generator=generator, dtype=torch.float64)
        >>> round(participation_ratio(x @ x.mT).item())
        50
    """
    centred = embedded(u_center(grams, groups), groups)
    half = squared_distances(grams) / 2
    n = half.shape[-1]
    member = numbered(groups, n)
    m = count_groups(groups, n)
    if member is not None:
        half = without_diagonal(group_means(half, member.to(half.device))[1])
    rows = half.sum(-1)
    total = rows.sum(-1).square() - 4 * rows.square().sum(-1) + 2 * inner(half, half)
    squared = inner(centred, centred) / (m * (m - 3))
    ratio = total / (m * (m - 1) * (m - 2) * (m - 3)) / squared
    return ratio.where(squared > 0, torch.nan)


def mmd2(
    grams: Tensor,
    first: Tensor,
    relative: bool = True,
    clusters: Sequence[Hashable] | None = None,
) -> Tensor:
    """Return the unbiased squared distance between the means of two groups of images (MMD²).

    mean K_xx' + mean K_yy' - 2 mean K_xy with x ≠ x', y ≠ y': for linear Grams the unbiased estimate
    of ‖E x - E y‖². Unlike the Fréchet distance it has no bias at a few hundred images. Source:
    Gretton et al., A kernel two-sample test, 2012, Eq. 3.

    Args:
        grams: Gram matrices [..., n, n] of the images of both groups.
        first: Which images belong to the first group, bool [n]; at least two clusters in either.
        relative: Whether to divide by the mean variance within the groups, so that layers of
            different scale compare: 1 is a gap as large as the spread within.
        clusters: What each image belongs to (sequence, ride) [n]; x and x' are then of different
            clusters, as frames of one are alike, and clusters weigh the same. None if all images
            are independent.

    Returns:
        MMD², negative where the groups differ less than by chance. NaN for a constant layer, and
        relative also where all images of either group are alike.

    Raises:
        ValueError: If the matrices are not square or not finite, `first` is not [n], or a group has
            fewer than two images or clusters.

    Example:
        Means of 1 and 6: a distance of 25, less what two images each scatter; each group has variance 2.

        >>> x, first = torch.tensor([[0.0], [2], [5], [7]]), torch.tensor([True, True, False, False])
        >>> [mmd2(x @ x.mT, first, relative).item() for relative in (False, True)]
        [23.0, 11.5]
    """
    n = grams.shape[-1]
    if first.shape != (n,) or not 2 <= int(first.sum()) <= n - 2:
        raise ValueError(
            f"MMD² needs two groups of at least 2 of the {n} images, not {int(first.sum())} in the "
            f"first of {list(first.shape)}"
        )
    member, side = _sides(first, clusters)
    distance, variance, _ = _gaps(grams, side[None].double(), member)
    return (distance / variance if relative else distance)[..., 0]


def gap_test(
    grams: Tensor,
    first: Tensor,
    draws: int = 1000,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
) -> PermutationTest:
    """Find the layers of one network that tell two groups of images apart.

    `mmd2` of the two groups against that of groups drawn at random. Images that come in clusters
    (sequence, ride) are drawn by whole clusters, each averaged to one vector: frames of one video are
    alike, so that ten of them say little more of a domain than one.

    Means of six frames scatter less than single images, so that clusters of two domains can not
    simply change places. Each draw is therefore divided by its own squared standard error, the
    variances of the cluster means by their numbers, and multiplied by that of the observed groups.
    Source: Chung and Romano, Exact and asymptotically robust permutation tests, 2013.

    Args:
        grams: Gram matrices [l, n, n] of the images of both groups.
        first: Which images belong to the first group, bool [n].
        draws: Number of random divisions.
        seed: Seed of the divisions.
        clusters: What each image belongs to, [n], each within one of the groups; None if all images
            are independent.

    Returns:
        The test, cells [l]: `p_corrected` is corrected over the layers.

    Raises:
        ValueError: As `mmd2`, or if the clusters are not one an image, or one of them lies in both
            groups.

    Example:
        Two layers of 40 images, of which the second shifts half of them by half their spread:

        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.randn(2, 40, 20, generator=generator, dtype=torch.float64)
        >>> first = torch.arange(40) < 20
        >>> x[1, first] += 0.5
        >>> test = gap_test(x @ x.mT, first, draws=99)
        >>> [round(value, 2) for value in test.value.tolist()], test.p_corrected.tolist()
        ([-0.06, 0.27], [1.0, 0.01])
    """
    value = mmd2(grams, first, clusters=clusters)
    member, side = _sides(first, clusters)
    _, variance, error = _gaps(grams, side[None].double(), member)
    divisions = torch.stack(list(_divisions(side, draws, seed))).double()
    null = []
    for start in range(0, draws, 100):
        distance, _, own = _gaps(grams, divisions[start : start + 100], member)
        null.append(distance / own * (error / variance))
    return PermutationTest(value, torch.cat(null, dim=-1).mT)


def _gaps(grams: Tensor, sides: Tensor, member: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return MMD², the variance of images and the squared standard error, for divisions [d, m].

    Args:
        grams: Gram matrices [..., n, n].
        sides: 1 for an image, or cluster, of the first group and 0 for the others [d, m].
        member: Cluster of each image [n]; None if all images are independent.

    Returns:
        Each [..., d], NaN for a constant layer.
    """
    centered = center(grams)
    norms = centered.diagonal(dim1=-2, dim2=-1)
    constant = norms.sum(-1, keepdim=True) == 0
    if member is not None:
        member = member.to(centered.device)
        columns = torch.nn.functional.one_hot(member).double()
        norms = (norms @ columns) / columns.sum(0)
        centered = group_means(centered, member)[1]
    first = sides.to(centered)
    own = centered.diagonal(dim1=-2, dim2=-1)
    within, images, error = [], [], torch.zeros(())
    for group in (first, 1 - first):
        size = group.sum(-1)
        whole = ((group @ centered) * group).sum(-1)
        diagonal = own @ group.T
        within.append((whole - diagonal) / (size * (size - 1)))
        images.append(norms @ group.T / size - within[-1])
        error = error + (diagonal / size - within[-1]) / size
    across = ((first @ centered) * (1 - first)).sum(-1)
    cross = across / (first.sum(-1) * (1 - first).sum(-1))
    distance = within[0] + within[1] - 2 * cross
    variance = (images[0] + images[1]) / 2
    nothing = torch.nan
    return (
        distance.masked_fill(constant, nothing),
        variance.masked_fill(constant, nothing),
        error.masked_fill(constant, nothing),
    )


def _sides(first: Tensor, clusters: Sequence[Hashable] | None) -> tuple[Tensor | None, Tensor]:
    """Return each image's cluster, None if each is alone, and which clusters are of the first group."""
    first = first.cpu()
    if clusters is not None and len(clusters) != len(first):
        raise ValueError(f"{len(clusters)} clusters for {len(first)} images: give one an image")
    member = numbered(clusters, len(first))
    if member is None:
        return None, first
    side = torch.zeros(int(member.max()) + 1, dtype=torch.bool)
    side[member[first]] = True
    if not torch.equal(side[member], first):
        raise ValueError("a cluster has images of both groups: give one to each group")
    if not 2 <= int(side.sum()) <= len(side) - 2:
        raise ValueError(
            f"MMD² needs two groups of at least 2 clusters, not {int(side.sum())} and "
            f"{int((~side).sum())}"
        )
    return member, side


def _divisions(side: Tensor, number: int, seed: int) -> Iterator[Tensor]:
    """Yield divisions like `side` [m] of images or clusters that change places."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(number):
        yield side[torch.randperm(len(side), generator=generator)]
