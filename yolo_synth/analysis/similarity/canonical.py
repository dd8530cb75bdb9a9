"""Canonical correlations of two layers, from their Gram matrices [..., n, n]: see `measures`."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_synth.analysis.similarity.centring import inner
from yolo_synth.analysis.similarity.factors import check_same_images, eigen, singular_values

FLOAT32_NOISE = 1e-6
"""Directions with less than this fraction of the largest one's variance are float32's rounding: canonical
correlations, which count all directions alike, would be made of it."""


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
    check_same_images(grams_a, grams_b)
    (u, _), (v, _) = _basis(grams_a, 1.0), _basis(grams_b, 1.0)
    correlations = singular_values(u.mT @ v)
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
    check_same_images(grams_a, grams_b)
    (u, _), (v, _) = _basis(grams_a, kept), _basis(grams_b, kept)
    correlations = singular_values(u.mT @ v)
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
    check_same_images(grams_a, grams_b)
    (u, scale), (v, _) = _basis(grams_a, kept), _basis(grams_b, kept)
    product = u.mT @ v
    finite = product.isfinite().all(-1).all(-1)[..., None, None]
    directions, correlations, _ = torch.linalg.svd(product.where(finite, 0.0))
    weights: Tensor = (directions.abs() * scale[..., :, None]).sum(-2)
    rank = _smaller_rank(u, v)
    weights = weights * (torch.arange(weights.shape[-1], device=rank.device) < rank[..., None])
    weighted: Tensor = (weights * correlations).sum(-1)
    return weighted / weights.sum(-1)


def _basis(grams: Tensor, kept: float) -> tuple[Tensor, Tensor]:
    """Return the principal directions that hold a share of the variance, and their scales.

    Directions are the columns of [..., n, n], those beyond the share zero; NaN for a constant layer.
    """
    values, vectors = eigen(grams)
    total = values.sum(-1, keepdim=True)
    used = (values > FLOAT32_NOISE * values[..., :1]) & (values.cumsum(-1) - values < kept * total)
    vectors = (vectors * used[..., None, :]).masked_fill(total[..., None] == 0, torch.nan)
    return vectors, values.sqrt() * used


def _smaller_rank(u: Tensor, v: Tensor) -> Tensor:
    # Columns are of length one or zero
    return torch.minimum(inner(u, u), inner(v, v)).round()
