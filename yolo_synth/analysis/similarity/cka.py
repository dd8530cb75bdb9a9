"""Similarity of layers from their Gram matrices: centred kernel alignment (CKA).

A Gram matrix K = X Xᵀ holds the inner products of n images' outputs X [n, p] of one layer. It has
n² entries however large the layer is, and every measure here is a function of it. Grams come as
stacks [layers, n, n], centred or not, the same n images in the same order for both networks. All
arithmetic is float64.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

import torch
from torch import Tensor

from yolo_synth.analysis.similarity.centring import (
    center,
    check_pairs,
    check_same_images,
    embedded,
    inner,
    normalized,
    u_center,
    without_noise,
)

FLOAT32_ROUNDING: Final = 3e-5
"""A layer whose residual is below this fraction of its Gram matrix has not changed: float32's rounding
makes up to 1e-5 between one network's Gram matrices with hooks and by its plan."""


def cka(
    grams_a: Tensor,
    grams_b: Tensor,
    debiased: bool = False,
    groups: Sequence[Hashable] | None = None,
) -> Tensor:
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
        groups: What each image belongs to (its sequence, its ride) [n]; the debiased figure leaves
            out pairs of one group, which are alike whatever the networks, and weighs groups equally.
            None if all images are independent.

    Returns:
        CKA [la, lb], float64, in 0..1, debiased in -1..1. NaN in the row or column of a constant
        layer, which has no similarity to anything.

    Raises:
        ValueError: If the stacks are not of square matrices of one size, an entry is not finite, or
            n, or the number of groups, is below 4 for the debiased figure.

    Example:
        Independent noise, more features than images: only the debiased figure knows it.

        >>> generator = torch.Generator().manual_seed(0)
        >>> x, y = torch.randn(2, 1, 20, 3000, generator=generator, dtype=torch.float64)
        >>> [round(cka(x @ x.mT, y @ y.mT, debiased).item(), 1) for debiased in (False, True)]
        [1.0, 0.0]
    """
    check_same_images(grams_a, grams_b)
    a, b = normalized(grams_a, debiased, groups), normalized(grams_b, debiased, groups)
    return a.flatten(1) @ b.flatten(1).T


def deconfound(grams: Tensor, initial: Tensor, groups: Sequence[Hashable] | None = None) -> Tensor:
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
        groups: As in `cka`; then hand them on to what takes the residuals.

    Returns:
        Residual matrices [l, n, n], float64, U-centred. Zero where the layer is what it was before
        training, up to float32's rounding: a frozen layer.

    Raises:
        ValueError: As `cka`, or if the number of layers differs.

    Example:
        Two networks that changed independently have their start in common, and nothing else.

        >>> generator = torch.Generator().manual_seed(0)
        >>> start, a, b = torch.randn(3, 1, 40, 500, generator=generator, dtype=torch.float64)
        >>> start, a, b = (x @ x.mT for x in (start, start + a, start + b))
        >>> plain = cka(a, b, debiased=True)
        >>> added = cka(deconfound(a, start), deconfound(b, start), debiased=True)
        >>> round(plain.item(), 2), round(added.item(), 1)
        (0.26, 0.0)
    """
    check_same_images(grams, initial)
    if len(initial) not in (1, len(grams)):
        raise ValueError(
            f"{len(grams)} layers have {len(initial)} initial ones: give as many, or one for all"
        )
    trained, start = u_center(grams, groups), u_center(initial, groups)
    weighed = embedded(start, groups)
    overlap, energy = inner(embedded(trained, groups), weighed), inner(weighed, weighed)
    # A start that is constant explains nothing
    slope = torch.where(energy > 0, overlap / energy, 0.0)[..., None, None]
    return without_noise(trained - slope * start, trained, FLOAT32_ROUNDING)


def same_start(initial_a: Tensor, initial_b: Tensor) -> Tensor:
    """Return in which layers two networks began as the same function of the images, bool [l].

    Two seeds that share a pretrained backbone and not the head do so in the backbone. Elsewhere
    nothing is common to be taken out, and a partial value means nothing.

    Args:
        initial_a: Gram matrices of the first network before training [l, n, n].
        initial_b: Those of the second [l, n, n] on the same images.

    Raises:
        ValueError: As `cka`, or if the number of layers differs.
    """
    check_same_images(initial_a, initial_b)
    check_pairs(initial_a, initial_b, paired=True)
    first, second = center(initial_a), center(initial_b)
    return (without_noise(first - second, first, FLOAT32_ROUNDING) == 0).all(-1).all(-1)
