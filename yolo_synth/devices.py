"""The devices that networks run on where no Trainer chooses one."""

from __future__ import annotations

import logging
import os
from functools import cache

import torch

log = logging.getLogger(__name__)


def fastest() -> torch.device:
    """Return the first CUDA device, or the processor if there is none.

    `CUDA_VISIBLE_DEVICES` names others, or with an empty value none.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def for_similarity(device: torch.device | str | None = None) -> torch.device:
    """Return where similarities are computed: on a device, by default the fastest, that has float64.

    Apple's has none, so theirs are computed on the processor. Where other programs hold most of a CUDA
    device's memory a line says so.
    """
    found = fastest() if device is None else torch.device(device)
    if found.type == "mps":
        return torch.device("cpu")
    if found.type == "cuda":
        _say_what_others_hold(found)
    return found


@cache
def _say_what_others_hold(device: torch.device) -> None:
    free, there = torch.cuda.mem_get_info(device)
    others = there - free - torch.cuda.memory_reserved(device)
    if others > there / 2:
        log.warning(
            "%s: other programs hold %.1f of %.1f GiB; what is left is used, which can be slow. "
            "CUDA_VISIBLE_DEVICES names another device",
            *(torch.cuda.get_device_name(device), others / 2**30, there / 2**30),
        )


def visible() -> list[str]:
    """Return the CUDA devices, by the names that `CUDA_VISIBLE_DEVICES` takes."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count))))
    return named.split(",")[:count]
