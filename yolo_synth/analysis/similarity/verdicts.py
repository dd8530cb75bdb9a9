"""What intervals and chance allow to say of a similarity."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from yolo_synth.analysis.similarity.jackknife import Interval


def calibrate(value: Tensor, floor: Tensor, ceiling: Tensor) -> Tensor:
    """Place similarities between chance and the same training repeated.

    Args:
        value: Similarities.
        floor: Mean of the permutation null in the same cells.
        ceiling: Similarity of two seeds of one model in the same cells.

    Returns:
        (value - floor) / (ceiling - floor): 0 is chance, 1 is two seeds. NaN where the ceiling is not
        above the floor.
    """
    span = ceiling - floor
    return (value - floor) / span.where(span > 0, torch.nan)


def verdict(interval: Interval, null_high: Tensor, ceiling_low: Tensor) -> np.ndarray:
    """Say what the intervals allow to say: what a similarity cannot be told from.

    The fewer the images, the wider the intervals, and the less can be told.

    Args:
        interval: Similarities with their intervals.
        null_high: Upper 95 % quantile of the permutation null in the same cells.
        ceiling_low: Lower end of the interval of two seeds of one model in the same cells.

    Returns:
        Words, in the shape of the cells: "not told from chance" where there is no interval or it
        reaches down to the null, "not told from two seeds" where it reaches up to the ceiling,
        "undecided" where it does both or there is no ceiling, "between" where it does neither, and
        "constant" where there is no value.
    """
    chance = ~(interval.low > null_high).cpu().numpy()
    seeds = (interval.high >= ceiling_low).cpu().numpy()
    words = np.where(chance, np.where(seeds, "undecided", "not told from chance"), "between")
    words = np.where(seeds & ~chance, "not told from two seeds", words)
    words = np.where(ceiling_low.isnan().cpu().numpy() & ~chance, "undecided", words)
    return np.where(interval.value.isnan().cpu().numpy(), "constant", words)
