"""How a network is run and its features are multiplied, chosen from the device and its memory.

A processor is fast on what stays in its cache, so it is given small pieces; a CUDA device waits for
launches, so it is given as much at once as its memory holds. The numbers are the same, but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch


@dataclass(frozen=True)
class Policy:
    """In which pieces a network is run and its features are multiplied.

    Attributes:
        least_group: Images run at once, at least.
        group_bytes: Aim for a layer's output on one group of images.
        whole_bytes: Above this size on the least group of images a layer is run in stripes if it can be.
        stripe_bytes: Aim for a stripe on the least group of images.
        slice_bytes: Features of all images that are multiplied at once.
        block_images: Columns of a Gram matrix that are computed at once, from the diagonal down; 0 for
            all of them, with the features in batches of `batch_features`.
        working: What a layer's output on one group takes to compute, in outputs.
        channels_last: The order of memory that convolutions are fast in.
        hooked: Share of the memory for outputs that hooks keep while the network runs.
        at_the_end: Whether Gram matrices are checked, completed and brought to the processor all at
            once, after the last layer.
    """

    least_group: int
    group_bytes: float
    whole_bytes: float
    stripe_bytes: int
    slice_bytes: int
    block_images: int
    working: int
    channels_last: bool = True
    hooked: float = 1
    at_the_end: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        """The order of memory of the layers' outputs."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


PROCESSOR: Final = Policy(
    least_group=16,  # below, torch leaves 1x1 convolutions to a slower routine
    group_bytes=24 * 2**20,  # the allocator reuses blocks up to 32 MiB
    whole_bytes=64 * 2**20,
    stripe_bytes=16 * 2**20,
    slice_bytes=5 * 2**20,  # it stays in the cache
    block_images=48,
    working=4,
)

MEMORY: Final = 2 * 2**30
"""Bytes that layers' outputs take on a processor, by default; 200 images of 416x416 need 1.3 GiB."""

SHARE: Final = 0.8
"""Of a CUDA device's free memory, what is taken by default: algorithms of convolutions want some too."""


def policies(
    device: torch.device, images: int, dtype: torch.dtype, memory: int
) -> tuple[Policy, ...]:
    """Return how a network can be run on a device, the fastest way first; the last needs least memory.

    Args:
        device: The network's.
        images: How many there are.
        dtype: Of the layers' outputs.
        memory: Bytes that may be taken.
    """
    if device.type != "cuda":
        return (PROCESSOR,)
    last = dtype == torch.bfloat16  # strict float32 has its fast convolutions in the other order
    part = memory // 16
    whole = Policy(images, float("inf"), float("inf"), part, 4 * part, 0, 2, last, at_the_end=True)
    groups = Policy(16, part, float("inf"), part, part, 0, 2, last, at_the_end=True)
    stripes = Policy(min(images, 64), part, 2 * part, part, part, 0, 3, hooked=0.5)
    return whole, groups, stripes, PROCESSOR


def memory_of(device: torch.device) -> int:
    """Return how many bytes are taken on a device where nobody says.

    On CUDA a share of what is free, the memory included that PyTorch holds and does not use.
    """
    if device.type != "cuda":
        return MEMORY
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(SHARE * (torch.cuda.mem_get_info(device)[0] + unused))
