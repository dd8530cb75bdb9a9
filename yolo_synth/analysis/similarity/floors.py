"""How far a network holds two sets of images apart, beside what halves of one set give."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from yolo_synth.analysis.similarity.gaps import gap_test
from yolo_synth.analysis.similarity.series import LayerSeries

HALVES: Final = 200
"""Random divisions of a set into halves."""

FEWEST_IN_HALVES: Final = 4
"""Images, or clusters, of a set that can be halved."""


def gap_with_floor(
    grams: Tensor,
    first: int,
    draws: int = 1000,
    clusters: Sequence[Hashable] | None = None,
) -> LayerSeries:
    """Return MMD² over the variance within, layer by layer, with the floor of halves of one set.

    Args:
        grams: Gram matrices [l, n, n] of the images of both sets, one set after the other.
        first: How many are of the first set.
        draws: Random divisions of all images, for the p-value.
        clusters: As in `gap_test`.

    Returns:
        The series: `p` is that of images that change sets, corrected over the layers; `null` is the
        95 % point of the gap between two random halves of one set, of the set where it is higher;
        NaN if neither has four images or clusters. Halves are smaller than sets, so they scatter more.

    Raises:
        ValueError: As `gap_test`.
    """
    n = grams.shape[-1]
    test = gap_test(grams, torch.arange(n) < first, draws, clusters=clusters)
    floors = [
        floor
        for part in (slice(0, first), slice(first, n))
        if (floor := _floor(grams[:, part, part], clusters[part] if clusters else None)) is not None
    ]
    nothing = np.full(len(grams), np.nan)
    null = np.fmax.reduce(floors) if floors else nothing
    return LayerSeries(test.value.numpy(), null=null, p=test.p_corrected.numpy())


def _floor(grams: Tensor, clusters: Sequence[Hashable] | None) -> np.ndarray | None:
    """Return the 95 % point of the gap between random halves of one set."""
    named = list(clusters) if clusters else list(range(grams.shape[-1]))
    order = list(dict.fromkeys(named))
    if len(order) < FEWEST_IN_HALVES:
        return None
    half = set(order[: len(order) // 2])
    test = gap_test(grams, torch.tensor([one in half for one in named]), HALVES, clusters=clusters)
    return np.asarray(test.null_quantile().numpy())
