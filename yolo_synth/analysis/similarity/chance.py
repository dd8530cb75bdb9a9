"""Levels and corrections of p-values."""

from __future__ import annotations

import torch
from torch import Tensor

SIGNIFICANT = 0.05
"""P-value above which a layer pair counts as independent, and has no interval."""


def holm(p: Tensor) -> Tensor:
    """Correct p-values for their number: Holm's step-down procedure, valid for dependent ones.

    Args:
        p: P-values of any shape; NaN stays NaN and is not counted.

    Returns:
        Corrected p-values, in 0..1.

    Example:
        >>> [round(p, 2) for p in holm(torch.tensor([0.01, 0.04, 0.03])).tolist()]
        [0.03, 0.06, 0.06]
    """
    counted = ~p.isnan()
    ordered, order = p[counted].sort()
    factors = torch.arange(len(ordered), 0, -1, device=p.device)
    raised = (ordered * factors).cummax(0).values.clamp_max(1) if len(ordered) else ordered
    corrected = torch.full_like(p, torch.nan)
    corrected[counted] = torch.empty_like(raised).scatter(0, order, raised)
    return corrected
