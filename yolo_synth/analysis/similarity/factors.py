"""Gram matrices taken apart: eigenvalues, factors, singular values."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_synth.analysis.similarity.centring import ROUNDING, center, checked


def check_same_images(grams_a: Tensor, grams_b: Tensor) -> None:
    """Refuse stacks [..., n, n] of other numbers of images.

    Raises:
        ValueError: If they are, or are not square or finite.
    """
    if checked(grams_a).shape[-1] != checked(grams_b).shape[-1]:
        raise ValueError(
            f"Gram matrices of {grams_a.shape[-1]} and of {grams_b.shape[-1]} images: compare "
            "networks on the same images"
        )


def eigen(grams: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues [..., n], largest first, rounding noise as zero, and eigenvectors."""
    values, vectors = torch.linalg.eigh(center(grams))
    values, vectors = values.flip(-1), vectors.flip(-1)
    return values.masked_fill(values <= ROUNDING * values[..., :1], 0.0), vectors


def factor(grams: Tensor) -> Tensor:
    """Return F [..., n, n] with F Fᵀ the centred Gram: the layer in its principal axes."""
    values, vectors = eigen(grams)
    return vectors * values.sqrt()[..., None, :]


def singular_values(matrices: Tensor) -> Tensor:
    """Return singular values [..., n]; NaN where the matrix holds one, which LAPACK refuses."""
    finite = matrices.isfinite().all(-1).all(-1)[..., None]
    values: Tensor = torch.linalg.svdvals(matrices.where(finite[..., None], 0.0))
    return values.where(finite, torch.nan)
