"""The devices that networks run on where no Trainer chooses one."""

from __future__ import annotations

import os

import torch


def fastest() -> torch.device:
    """Return the first CUDA device, or the processor if there is none.

    `CUDA_VISIBLE_DEVICES` names others, or with an empty value none.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def visible() -> list[str]:
    """Return the CUDA devices, by the names that `CUDA_VISIBLE_DEVICES` takes."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count))))
    return named.split(",")[:count]
