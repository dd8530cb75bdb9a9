"""Distances between images within one layer, and what is made of them: RBF kernels and RSA."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from yolo_synth.analysis.similarity.centring import center, check_same_images, without_diagonal


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

    Example:
        Three images at 0, 1 and 3:

        >>> x = torch.tensor([[0.0], [1], [3]])
        >>> [round(value, 2) for value in rbf(x @ x.mT)[0].tolist()]
        [1.0, 0.61, 0.01]
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

    Example:
        Distances 1, 3 and 2 of three images, and 2, 3 and 1:

        >>> x, y = torch.tensor([[0.0], [1], [3]]), torch.tensor([[0.0], [2], [3]])
        >>> a, b = (x @ x.mT)[None], (y @ y.mT)[None]
        >>> [round(rsa(a, b, rank).item(), 2) for rank in (True, False)]
        [0.5, 0.72]
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
