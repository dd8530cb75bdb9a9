"""Further measures on Gram matrices, layer by layer: a second opinion beside CKA.

Each takes Gram matrices [..., n, n] of the same n images, centres them, and returns one float64
figure a layer, [...]. Leading dimensions broadcast: `measure(a, b)` compares layer i with layer i,
`measure(a[i], b)` layer i of one network with every layer of the other. A constant layer has NaN.
All are invariant to rotations and permutations of the features, none to permutations of the images
of one network alone.

Example:
    Four images on the unit circle, and the same stretched to twice the height.

    >>> x = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    >>> y = x * torch.tensor([1.0, 2])
    >>> a, b = x @ x.mT, y @ y.mT
    >>> for measure in (procrustes_distance, procrustes_angle, euclidean_distance):
    ...     print(f"{measure.__name__:<20} {measure(a, b).item():.3f}")
    procrustes_distance  0.320
    procrustes_angle     0.322
    euclidean_distance   0.378
    >>> for measure in (mean_squared_cca, svcca, pwcca):
    ...     print(f"{measure.__name__:<20} {measure(a, b).item():.3f}")
    mean_squared_cca     1.000
    svcca                1.000
    pwcca                1.000
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from yolo_synth.analysis.similarity.centring import ROUNDING, center, checked, inner
from yolo_synth.analysis.similarity.distances import squared_distances

Measure = Callable[[Tensor, Tensor], Tensor]
"""Gram matrices [..., n, n] of two stacks of layers → a value a layer [...]."""

NEIGHBOURS: Final = 10
"""Nearest neighbours of an image that the second opinion looks at, where there are as many."""

FLOAT32_NOISE = 1e-6
"""Directions with less than this fraction of the largest one's variance are float32's rounding: canonical
correlations, which count all directions alike, would be made of it."""


def procrustes_distance(grams_a: Tensor, grams_b: Tensor) -> Tensor:
    """Return the distance of two layers after the best scaling and rotation.

    min over orthogonal Q of ‖X/‖X‖ - (Y/‖Y‖) Q‖ = √(2 - 2s), s = ‖XᵀY‖₊ / (‖X‖ ‖Y‖) with ‖·‖₊ the
    sum of singular values, on centred features. Source: Ding, Denain and Steinhardt, Grounding
    representation similarity with statistical testing, 2021 (who square it).

    Returns:
        Distances in 0..√2; 0 for layers that agree up to rotation and scale.

    Raises:
        ValueError: If the matrices are not square, of different n, or not finite.
    """
    return (2 - 2 * _aligned(grams_a, grams_b)).clamp_min(0).sqrt()


def procrustes_angle(grams_a: Tensor, grams_b: Tensor) -> Tensor:
    """Return the angular Procrustes distance arccos s, s as in `procrustes_distance`.

    A metric. Source: Williams et al., Generalized shape metrics on neural representations, 2021.

    Returns:
        Angles in 0..π/2 radians.

    Raises:
        ValueError: As `procrustes_distance`.
    """
    return _aligned(grams_a, grams_b).clamp(0, 1).acos()


def euclidean_distance(grams_a: Tensor, grams_b: Tensor) -> Tensor:
    """Return the relative Euclidean distance of two layers after the best rotation.

    min over orthogonal Q of ‖X - Y Q‖ / √(‖X‖² + ‖Y‖²) = √(1 - 2‖XᵀY‖₊ / (‖X‖² + ‖Y‖²)), on centred
    features. Unlike all the others it sees the scale of the outputs. The plain ‖X - Y‖ is no
    function of the Grams and calls two networks different whose channels only stand in another
    order; this is its smallest value over all rotations.

    Returns:
        Distances in 0..1; 1 where the layers have nothing in common.

    Raises:
        ValueError: As `procrustes_distance`.
    """
    _check_same_images(grams_a, grams_b)
    a, b = _factor(grams_a), _factor(grams_b)
    energy_a, energy_b = inner(a, a), inner(b, b)
    squared = 1 - 2 * _nuclear_norm(a.mT @ b) / (energy_a + energy_b)
    constant = (energy_a == 0) | (energy_b == 0)
    return squared.clamp_min(0).sqrt().masked_fill(constant, torch.nan)


def mean_squared_cca(grams_a: Tensor, grams_b: Tensor) -> Tensor:
    """Return the mean squared canonical correlation Σ ρᵢ² / k, k the smaller of the two ranks.

    ρᵢ are the singular values of UᵀV, U and V orthonormal bases of the centred features' columns,
    without directions that are float32's rounding (`FLOAT32_NOISE`).
    It is invariant to every invertible linear map, and therefore 1 for any two layers of rank n-1:
    it says nothing where there are more features than images. Source: Kornblith et al. 2019.

    Returns:
        Values in 0..1.

    Raises:
        ValueError: As `procrustes_distance`.
    """
    _check_same_images(grams_a, grams_b)
    (u, _), (v, _) = _basis(grams_a, 1.0), _basis(grams_b, 1.0)
    correlations = _singular_values(u.mT @ v)
    return correlations.square().sum(-1) / _smaller_rank(u, v)


def svcca(grams_a: Tensor, grams_b: Tensor, kept: float = 0.99) -> Tensor:
    """Return the mean canonical correlation of the leading principal components (SVCCA).

    Each layer is reduced to the fewest principal components that hold the fraction `kept` of its
    variance, then Σ ρᵢ / k over the k = smaller number of components. Source: Raghu et al., SVCCA,
    2017, with the 99 % of variance of their text.

    Args:
        grams_a: Gram matrices [..., n, n].
        grams_b: Gram matrices [..., n, n].
        kept: Fraction of each layer's variance to keep, in 0..1.

    Returns:
        Values in 0..1.

    Raises:
        ValueError: As `procrustes_distance`.
    """
    _check_same_images(grams_a, grams_b)
    (u, _), (v, _) = _basis(grams_a, kept), _basis(grams_b, kept)
    correlations = _singular_values(u.mT @ v)
    return correlations.sum(-1) / _smaller_rank(u, v)


def pwcca(grams_a: Tensor, grams_b: Tensor, kept: float = 0.99) -> Tensor:
    """Return the projection-weighted canonical correlation Σ αᵢ ρᵢ / Σ αᵢ (PWCCA).

    αᵢ = Σⱼ |⟨hᵢ, xⱼ⟩| is how much of the first layer its i-th canonical variate hᵢ accounts for. The
    original sums over channels xⱼ, which depends on the channels' axes and is no function of the
    Gram; here xⱼ are the first layer's principal components. Not symmetric. Source: Morcos, Raghu
    and Bengio, Insights on representational similarity in neural networks, 2018.

    Args:
        grams_a: Gram matrices [..., n, n] of the layer that gives the weights.
        grams_b: Gram matrices [..., n, n].
        kept: Fraction of each layer's variance to keep first, as in SVCCA; with 1, and more features
            than images, the value is always 1.

    Returns:
        Values in 0..1.

    Raises:
        ValueError: As `procrustes_distance`.
    """
    _check_same_images(grams_a, grams_b)
    (u, scale), (v, _) = _basis(grams_a, kept), _basis(grams_b, kept)
    product = u.mT @ v
    finite = product.isfinite().all(-1).all(-1)[..., None, None]
    directions, correlations, _ = torch.linalg.svd(product.where(finite, 0.0))
    weights: Tensor = (directions.abs() * scale[..., :, None]).sum(-2)
    rank = _smaller_rank(u, v)
    weights = weights * (torch.arange(weights.shape[-1], device=rank.device) < rank[..., None])
    weighted: Tensor = (weights * correlations).sum(-1)
    return weighted / weights.sum(-1)


def mutual_neighbours(grams_a: Tensor, grams_b: Tensor, k: int = 10) -> Tensor:
    """Return the mean share of an image's k nearest neighbours that two layers have in common.

    By Euclidean distance; chance is k / (n-1), and more where many distances are equal. Source: Huh
    et al., The platonic representation hypothesis, 2024.

    Args:
        grams_a: Gram matrices [..., n, n].
        grams_b: Gram matrices [..., n, n].
        k: Number of neighbours, an image itself not counted; 1 to n-1.

    Returns:
        Values in 0..1.

    Raises:
        ValueError: As `procrustes_distance`, or if k is not in 1..n-1.

    Example:
        Of four images in a row the second network swaps the last two.

        >>> a, b = torch.tensor([[0.0], [1], [3], [7]]), torch.tensor([[0.0], [1], [7], [3]])
        >>> mutual_neighbours(a @ a.mT, b @ b.mT, k=1).item()
        0.5
    """
    n = grams_a.shape[-1]
    if not 1 <= k < n:
        raise ValueError(f"{n} images have 1 to {n - 1} neighbours, not {k}")
    _check_same_images(grams_a, grams_b)

    def neighbours(grams: Tensor) -> Tensor:
        squared = squared_distances(grams)
        constant = squared.amax((-2, -1), keepdim=True) == 0
        squared = squared + torch.diag(torch.full((n,), torch.inf)).to(squared)
        nearest = squared.topk(k, largest=False).indices
        return torch.zeros_like(squared).scatter(-1, nearest, 1.0).masked_fill(constant, torch.nan)

    return inner(neighbours(grams_a), neighbours(grams_b)) / (n * k)


def _check_same_images(grams_a: Tensor, grams_b: Tensor) -> None:
    if checked(grams_a).shape[-1] != checked(grams_b).shape[-1]:
        raise ValueError(
            f"Gram matrices of {grams_a.shape[-1]} and of {grams_b.shape[-1]} images: compare "
            "networks on the same images"
        )


def _eigen(grams: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues [..., n], largest first, rounding noise as zero, and eigenvectors."""
    values, vectors = torch.linalg.eigh(center(grams))
    values, vectors = values.flip(-1), vectors.flip(-1)
    return values.masked_fill(values <= ROUNDING * values[..., :1], 0.0), vectors


def _factor(grams: Tensor) -> Tensor:
    """Return F [..., n, n] with F Fᵀ the centred Gram: the layer in its principal axes."""
    values, vectors = _eigen(grams)
    return vectors * values.sqrt()[..., None, :]


def _basis(grams: Tensor, kept: float) -> tuple[Tensor, Tensor]:
    """Return the principal directions that hold a share of the variance, and their scales.

    Directions are the columns of [..., n, n], those beyond the share zero; NaN for a constant layer.
    """
    values, vectors = _eigen(grams)
    total = values.sum(-1, keepdim=True)
    used = (values > FLOAT32_NOISE * values[..., :1]) & (values.cumsum(-1) - values < kept * total)
    vectors = (vectors * used[..., None, :]).masked_fill(total[..., None] == 0, torch.nan)
    return vectors, values.sqrt() * used


def _smaller_rank(u: Tensor, v: Tensor) -> Tensor:
    # Columns are of length one or zero
    return torch.minimum(inner(u, u), inner(v, v)).round()


def _aligned(grams_a: Tensor, grams_b: Tensor) -> Tensor:
    _check_same_images(grams_a, grams_b)
    a, b = _factor(grams_a), _factor(grams_b)
    return _nuclear_norm(a.mT @ b) / (inner(a, a) * inner(b, b)).sqrt()


def _nuclear_norm(matrices: Tensor) -> Tensor:
    return _singular_values(matrices).sum(-1)


def _singular_values(matrices: Tensor) -> Tensor:
    """Return singular values [..., n]; NaN where the matrix holds one, which LAPACK refuses."""
    finite = matrices.isfinite().all(-1).all(-1)[..., None]
    values: Tensor = torch.linalg.svdvals(matrices.where(finite[..., None], 0.0))
    return values.where(finite, torch.nan)


MEASURES: Final[Mapping[str, Measure]] = {
    "angle": procrustes_angle,
    "neighbours": lambda a, b: mutual_neighbours(a, b, min(NEIGHBOURS, a.shape[-1] - 1)),
}
"""What is asked as a second opinion, under the names that tables and files have."""
