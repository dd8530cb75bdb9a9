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
from typing import Final, NamedTuple

import torch
from torch import Tensor

from yolo_synth.analysis.similarity.canonical import mean_squared_cca, pwcca, svcca
from yolo_synth.analysis.similarity.centring import inner, u_center, unit
from yolo_synth.analysis.similarity.distances import rbf, rsa, squared_distances
from yolo_synth.analysis.similarity.factors import check_same_images, factor, singular_values

Compare = Callable[[Tensor, Tensor], Tensor]
"""Gram matrices [..., n, n] of two stacks of layers → a value a layer [...]."""

NEIGHBOURS: Final = 10
"""Nearest neighbours of an image that are looked at, and at most a quarter of the other images: of 10
images the 9 nearest are the same in every network."""


def procrustes_distance(grams_a: Tensor, grams_b: Tensor) -> Tensor:
    """Return the distance of two layers after the best scaling and rotation.

    min over orthogonal Q of ‖X/‖X‖ - (Y/‖Y‖) Q‖ = √(2 - 2s), s = ‖XᵀY‖₊ / (‖X‖ ‖Y‖) with ‖·‖₊ the
    sum of singular values, on centred features. Source: Ding, Denain and Steinhardt, Grounding
    representation similarity with statistical testing, 2021 (who square it).

    Few images of many features can be turned onto each other whatever they show: independent noise
    of 20,000 features has an angle of .04 at 60 images. What chance gives stands beside the value in
    `opinions.opinion`, and only what is beyond it says that layers agree.

    Returns:
        Distances in 0..√2; 0 for layers that are one up to rotation and scale.

    Raises:
        ValueError: If the matrices are not square, of different n, or not finite.
    """
    check_same_images(grams_a, grams_b)
    return (2 - 2 * _aligned(factor(grams_a), factor(grams_b))).clamp_min(0).sqrt()


def procrustes_angle(grams_a: Tensor, grams_b: Tensor) -> Tensor:
    """Return the angular Procrustes distance arccos s, s as in `procrustes_distance`.

    A metric. Source: Williams et al., Generalized shape metrics on neural representations, 2021.

    Returns:
        Angles in 0..π/2 radians.

    Raises:
        ValueError: As `procrustes_distance`.
    """
    check_same_images(grams_a, grams_b)
    return _angle(factor(grams_a), factor(grams_b))


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
    check_same_images(grams_a, grams_b)
    a, b = factor(grams_a), factor(grams_b)
    energy_a, energy_b = inner(a, a), inner(b, b)
    squared = 1 - 2 * _nuclear_norm(a.mT @ b) / (energy_a + energy_b)
    constant = (energy_a == 0) | (energy_b == 0)
    return squared.clamp_min(0).sqrt().masked_fill(constant, torch.nan)


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
    check_same_images(grams_a, grams_b)
    return _shared(_neighbours(grams_a, k), _neighbours(grams_b, k))


def _neighbours(grams: Tensor, k: int) -> Tensor:
    """Return [..., n, n] with 1 for the k images nearest to that of the row; NaN for a constant layer."""
    squared = squared_distances(grams)
    constant = squared.amax((-2, -1), keepdim=True) == 0
    squared.diagonal(dim1=-2, dim2=-1).fill_(torch.inf)
    nearest = squared.topk(k, largest=False).indices
    return torch.zeros_like(squared).scatter(-1, nearest, 1.0).masked_fill(constant, torch.nan)


def _shared(first: Tensor, second: Tensor) -> Tensor:
    return inner(first, second) / first[..., 0, :].sum(-1) / first.shape[-1]


def _number(grams: Tensor) -> int:
    return max(1, min(NEIGHBOURS, (grams.shape[-1] - 1) // 4))


def _nuclear_norm(matrices: Tensor) -> Tensor:
    return singular_values(matrices).sum(-1)


def _angle(a: Tensor, b: Tensor, norm: Callable[[Tensor], Tensor] = _nuclear_norm) -> Tensor:
    return _aligned(a, b, norm).clamp(0, 1).acos()


def _aligned(a: Tensor, b: Tensor, norm: Callable[[Tensor], Tensor] = _nuclear_norm) -> Tensor:
    """Return ‖XᵀY‖₊ / (‖X‖ ‖Y‖) of factors [..., n, r], rows an image, centred here."""
    a, b = (x - x.mean(-2, keepdim=True) for x in (a, b))
    return norm(a.mT @ b) / (inner(a, a) * inner(b, b)).sqrt()


def _quick_norm(matrices: Tensor) -> Tensor:
    """Return the nuclear norm to 1e-8 of it, in two thirds of the time."""
    squared = matrices.mT @ matrices
    finite = squared.isfinite().all(-1).all(-1)[..., None]
    values: Tensor = torch.linalg.eigvalsh(squared.where(finite[..., None], 0.0))
    return values.clamp_min(0).sqrt().sum(-1).where(finite[..., 0], torch.nan)


class Prepared(NamedTuple):
    """A measure in two steps, what depends on one network first.

    Attributes:
        prepare: Gram matrices [..., n, n] → what is compared of them.
        compare: Of two such the value [...].
        rows: Whether it is a row an image, so that some images are some rows; else it has a row and a
            column an image, and none can be left out.
    """

    prepare: Callable[[Tensor], Tensor]
    compare: Compare
    rows: bool


class Measure(NamedTuple):
    """A measure as commands, tables and files know it: a row of `MEASURES`.

    Attributes:
        of: The measure, of Gram matrices [..., n, n].
        title: What it is in words.
        agree: Its value for a layer with itself: 1 of a similarity, 0 of a distance.
        prepared: The same in two steps, where many orders of the images then cost less.
    """

    of: Compare
    title: str
    agree: float = 1.0
    prepared: Prepared | None = None


def _rsa(grams_a: Tensor, grams_b: Tensor) -> Tensor:
    return rsa(grams_a, grams_b).diagonal()


def _rbf_cka(grams_a: Tensor, grams_b: Tensor) -> Tensor:
    return inner(unit(u_center(rbf(grams_a))), unit(u_center(rbf(grams_b))))


MEASURES: Final[Mapping[str, Measure]] = {
    "angle": Measure(
        procrustes_angle,
        "angular Procrustes distance in radians, at most 1.57",
        0.0,
        Prepared(factor, lambda a, b: _angle(a, b, _quick_norm), rows=True),
    ),
    "neighbours": Measure(
        lambda a, b: mutual_neighbours(a, b, _number(a)),
        "share of an image's nearest neighbours that both networks agree on",
        prepared=Prepared(lambda a: _neighbours(a, _number(a)), _shared, rows=False),
    ),
    "procrustes": Measure(procrustes_distance, "Procrustes distance, at most 1.41", 0.0),
    "euclidean": Measure(
        euclidean_distance, "relative Euclidean distance after rotation, at most 1", 0.0
    ),
    "rsa": Measure(_rsa, "representational similarity analysis, Spearman's"),
    "rbf": Measure(_rbf_cka, "debiased CKA of radial basis functions at the median distance"),
    "cca": Measure(mean_squared_cca, "mean squared canonical correlation"),
    "svcca": Measure(svcca, "canonical correlation of 99 % of the variance"),
    "pwcca": Measure(pwcca, "projection-weighted canonical correlation"),
}
"""What can be asked beside CKA, under the names that commands, tables and files have. A new one is a
function and a row here."""
