"""What a pair's intervals, chance and two seeds of one model allow to say, layer by layer."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from yolo_synth.analysis.similarity.jackknife import Interval
from yolo_synth.analysis.similarity.verdicts import calibrate, verdict
from yolo_synth.report.results import Pair, Values

WORDS: Final = ("not told from two seeds", "between", "not told from chance", "undecided")
"""Verdicts, from most alike to least; `verdicts.verdict` says what they mean."""


def verdicts(pair: Pair) -> NDArray[np.str_]:
    """Return one of `WORDS` a layer, or `constant` [L]; of a pair with intervals."""
    unknown = np.full(len(pair.debiased), np.nan)
    value, low, high, null, ceiling = (
        torch.from_numpy(unknown if row is None else row)
        for row in (np.diag(pair.debiased).copy(), pair.low, pair.high, pair.null, pair.ceiling_low)
    )
    return verdict(Interval(value, low, high, (high - low) / 2), null, ceiling)


def calibrated(pair: Pair) -> Values:
    """Return each layer's place between permuted images (0) and two seeds of one model (1) [L].

    NaN without two seeds, and where those do not lie above the permuted images.
    """
    if pair.floor is None or pair.ceiling is None:
        return np.full(len(pair.debiased), np.nan)
    rows = (np.diag(pair.debiased).copy(), pair.floor, pair.ceiling)
    return calibrate(*map(torch.from_numpy, rows)).numpy()
