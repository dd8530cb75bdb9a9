"""The device that networks run on where no Trainer chooses one."""

from __future__ import annotations

import torch


def fastest() -> torch.device:
    """Return the first CUDA device, or the processor if there is none.

    `CUDA_VISIBLE_DEVICES` names others, or with an empty value none.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
