"""Similarity of layers from their Gram matrices: centred kernel alignment (CKA) and its relatives.

A Gram matrix K = X Xᵀ holds the inner products of n images' outputs X [n, p] of one layer. It has
n² entries however large the layer is, and every measure here is a function of it. Grams come as
stacks [layers, n, n], centred or not, the same n images in the same order for both networks. All
arithmetic is float64.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

ROUNDING = 1e-12
"""A centred Gram below this fraction of the Gram is rounding noise: the layer is constant."""

FLOAT32_ROUNDING = 3e-5
"""A residual below this fraction of the Gram is no change: two float32 runs of one network, with hooks
and by its plan, differ by up to a third of it."""


def center(grams: Tensor) -> Tensor:
    """Centre the features of each layer: K ↦ H K H with H = 1 - 1/n.

    Centring twice changes nothing. A layer that is the same for all images becomes exactly zero.

    Args:
        grams: Gram matrices [..., n, n].

    Returns:
        Centred Gram matrices [..., n, n], float64.

    Raises:
        ValueError: If the matrices are not square or an entry is not finite.
    """
    grams = checked(grams)
    rows = grams.mean(-1, keepdim=True)
    centered = grams - rows - rows.mT + rows.mean(-2, keepdim=True)
    return _without_noise(centered, grams)


def u_center(grams: Tensor) -> Tensor:
    """U-centre each Gram: the centring whose inner products are free of bias.

    With the diagonal set to zero, subtract the row and column sums / (n-2), add the total /
    ((n-1)(n-2)), and set the diagonal to zero again. Rows then sum to zero without the diagonal, so
    that U-centring twice, or after `center`, changes nothing, and ⟨Ũ(K), Ũ(L)⟩ / (n(n-3)) is the
    unbiased estimate of the Hilbert-Schmidt independence criterion.

    Source: Székely and Rizzo, Partial distance correlation with methods for dissimilarities, 2014.

    Args:
        grams: Gram matrices [..., n, n], n at least 4.

    Returns:
        U-centred matrices [..., n, n], float64. Zero where a layer is constant, or where all images
        are equally far from each other.

    Raises:
        ValueError: If the matrices are not square, n is below 4, or an entry is not finite.
    """
    centered = center(grams)
    n = centered.shape[-1]
    if n < 4:
        raise ValueError(f"debiased similarity needs at least 4 images, not {n}")
    hollow = without_diagonal(centered)
    rows = hollow.sum(-1, keepdim=True) / (n - 2)
    total = hollow.sum((-2, -1), keepdim=True) / ((n - 1) * (n - 2))
    return _without_noise(without_diagonal(hollow - rows - rows.mT + total), centered)


def cka(grams_a: Tensor, grams_b: Tensor, debiased: bool = False) -> Tensor:
    """Compare every layer of one network with every layer of another by CKA.

    CKA = ⟨K, L⟩ / (‖K‖ ‖L‖) of the centred Grams, which equals ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) on centred
    features, the paper's Eq. 2. Debiased, K and L are U-centred instead: the plain figure is
    inflated where a layer has far more features than there are images (independent noise with
    p = 50,000 and n = 200 has 0.996), the debiased one is near 0 there and can be negative.

    Both are invariant to rotations and permutations of the features and to isotropic scaling.

    Sources: Kornblith et al., Similarity of neural network representations revisited, 2019; for the
    debiased form Székely and Rizzo 2014.

    Args:
        grams_a: Gram matrices of the first network [la, n, n].
        grams_b: Gram matrices of the second network on the same images [lb, n, n].
        debiased: Whether to take the debiased figure.

    Returns:
        CKA [la, lb], float64, in 0..1, debiased in -1..1. NaN in the row or column of a constant
        layer, which has no similarity to anything.

    Raises:
        ValueError: If the stacks are not of square matrices of one size, an entry is not finite, or
            n is below 4 for the debiased figure.
    """
    check_same_images(grams_a, grams_b)
    a, b = normalized(grams_a, debiased), normalized(grams_b, debiased)
    return a.flatten(1) @ b.flatten(1).T


def normalized(grams: Tensor, debiased: bool) -> Tensor:
    """Centre Grams [layers, n, n], or U-centre them, and scale each to norm 1: inner products are CKA.

    One layer at a time, which stays in the processor's cache: three times as fast as all at once.
    """
    project = u_center if debiased else center
    result = torch.empty_like(grams, dtype=torch.float64)
    for layer, target in zip(checked(grams), result, strict=True):
        target.copy_(unit(project(layer)))
    return result


def prepared(
    grams_a: Tensor, grams_b: Tensor, paired: bool, fewest: int, debiased: bool = True
) -> tuple[Tensor, Tensor]:
    """Return both stacks centred and of norm 1."""
    check_same_images(grams_a, grams_b)
    if paired and len(grams_a) != len(grams_b):
        raise ValueError(f"{len(grams_a)} and {len(grams_b)} layers make no pairs: give as many")
    if grams_a.shape[-1] < fewest:
        raise ValueError(f"this needs at least {fewest} images, not {grams_a.shape[-1]}")
    return normalized(grams_a, debiased), normalized(grams_b, debiased)


def deconfound(grams: Tensor, initial: Tensor) -> Tensor:
    """Regress the initial state's Gram out of each layer's: what training added.

    Ũ(K) - β Ũ(K₀) with β = ⟨Ũ(K), Ũ(K₀)⟩ / ‖Ũ(K₀)‖², by ordinary least squares over the pairs of
    images. The result is U-centred: the debiased `cka` of two such stacks is the partial CKA, and
    `jackknife.jackknife` and `residual_p` tell how sure it is.

    Source: Cui et al., Deconfounded representation similarity for comparison of neural networks,
    NeurIPS 2022, in the U-centred form of Székely and Rizzo 2014.

    Args:
        grams: Gram matrices after training [l, n, n].
        initial: Gram matrices of the same layers before training [l, n, n], or one for all, such as
            the Gram of the images themselves [1, n, n].

    Returns:
        Residual matrices [l, n, n], float64, U-centred. Zero where the layer is what it was before
        training, up to float32's rounding: a frozen layer.

    Raises:
        ValueError: As `cka`, or if the number of layers differs.
    """
    check_same_images(grams, initial)
    if len(initial) not in (1, len(grams)):
        raise ValueError(
            f"{len(grams)} layers have {len(initial)} initial ones: give as many, or one for all"
        )
    trained, start = u_center(grams), u_center(initial)
    overlap, energy = inner(trained, start), inner(start, start)
    # A start that is constant explains nothing
    slope = torch.where(energy > 0, overlap / energy, 0.0)[..., None, None]
    return _without_noise(trained - slope * start, trained, FLOAT32_ROUNDING)


def partial_cka(
    grams_a: Tensor, grams_b: Tensor, initial_a: Tensor, initial_b: Tensor | None = None
) -> Tensor:
    """Compare what training added to two networks: debiased CKA with the initial state removed.

    Two networks that start from one backbone and change independently have a debiased CKA near 1
    and a partial CKA near 0. Sources and form: see `deconfound`.

    Args:
        grams_a: Gram matrices of the first network [la, n, n].
        grams_b: Gram matrices of the second network [lb, n, n].
        initial_a: Gram matrices of the first network before training [la, n, n] or [1, n, n].
        initial_b: Those of the second network [lb, n, n] or [1, n, n]; None if both began alike.

    Returns:
        Partial CKA [la, lb], float64, in -1..1. NaN where a layer is constant or unchanged.

    Raises:
        ValueError: As `deconfound`.
    """
    initial_b = initial_a if initial_b is None else initial_b
    return cka(deconfound(grams_a, initial_a), deconfound(grams_b, initial_b), debiased=True)


def rbf(grams: Tensor, threshold: float = 1.0) -> Tensor:
    """Turn linear Grams into Grams of a radial basis function, to be compared by `cka`.

    k(x, y) = exp(-‖x - y‖² / (2 t² m)), m the median of ‖x - y‖² over all n² pairs, an image with
    itself included.

    Source: Kornblith et al. 2019 and the notebook published with it.

    Args:
        grams: Linear Gram matrices [..., n, n].
        threshold: Bandwidth t as a fraction of the median distance.

    Returns:
        Gram matrices [..., n, n], float64, uncentred, in 0..1; all ones for a constant layer.

    Raises:
        ValueError: As `center`, or if the median distance is zero though the layer is not constant.
    """
    squared = squared_distances(grams)
    flat = squared.flatten(-2)
    # torch takes the lower of the two middle values; with its mirror image this is their mean
    median = ((flat.median(-1).values - (-flat).median(-1).values) / 2)[..., None, None]
    if ((median == 0) & (squared > 0)).any():
        raise ValueError("more than half of the images have the same output: no RBF bandwidth")
    return (-squared / (2 * threshold**2 * median.where(median > 0, 1.0))).exp()


def rsa(grams_a: Tensor, grams_b: Tensor, rank: bool = True) -> Tensor:
    """Compare every layer with every layer by representational similarity analysis.

    The correlation, over all pairs of images, of the squared Euclidean distances within either
    layer: Spearman's, or Pearson's with `rank=False`. Invariant to rotations and isotropic scaling.

    Source: Kriegeskorte, Mur and Bandettini, Representational similarity analysis, 2008.

    Args:
        grams_a: Gram matrices [la, n, n].
        grams_b: Gram matrices [lb, n, n] on the same images.
        rank: Whether to correlate ranks (ties get their mean rank) rather than distances.

    Returns:
        Correlations [la, lb], float64, in -1..1. NaN where all distances of a layer are equal.

    Raises:
        ValueError: As `cka`; n must be at least 3.
    """
    check_same_images(grams_a, grams_b)
    n = grams_a.shape[-1]
    if n < 3:
        raise ValueError(f"RSA needs at least 3 images, not {n}")

    def dissimilarities(grams: Tensor) -> Tensor:
        pairs = squared_distances(grams)[:, *np.triu_indices(n, k=1)]
        if rank:
            pairs = torch.from_numpy(rankdata(pairs.cpu().numpy(), axis=-1)).to(pairs)
        deviation = pairs - pairs.mean(-1, keepdim=True)
        deviation = deviation.where(pairs.amax(-1, True) > pairs.amin(-1, True), 0.0)
        length: Tensor = torch.linalg.vector_norm(deviation, dim=-1, keepdim=True)
        return deviation / length

    return dissimilarities(grams_a) @ dissimilarities(grams_b).T


def squared_distances(grams: Tensor) -> Tensor:
    """Return squared Euclidean distances ‖x - y‖² = K_xx + K_yy - 2 K_xy: [..., n, n], float64."""
    centered = center(grams)
    norms = centered.diagonal(dim1=-2, dim2=-1)
    squared = norms[..., :, None] + norms[..., None, :] - 2 * centered
    return without_diagonal(squared.clamp_min(0))


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


def _norm(matrices: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(matrices, dim=(-2, -1), keepdim=True)
    return norm


def _without_noise(projected: Tensor, original: Tensor, fraction: float = ROUNDING) -> Tensor:
    """Set projections to exactly zero that are only the rounding of the subtraction."""
    norm = _norm(projected)
    reference = _norm(original)
    return projected.masked_fill(norm <= fraction * reference, 0.0)
