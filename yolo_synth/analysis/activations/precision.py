"""Keeps PyTorch from computing in less than the declared precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Final

import torch

_BACKENDS: Final = tuple(
    attrgetter(name)(torch.backends)
    for name in ("cuda.matmul", "cudnn.conv", "mkldnn.matmul", "mkldnn.conv")
)


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute products and convolutions of float32 in float32, and leave the settings as they were.

    On CUDA cuDNN's convolutions of float32 are in TensorFloat-32 by default, with 10 bits of
    mantissa, and `torch.set_float32_matmul_precision`, which is good for training, does the like to
    products on all devices.
    """
    before = [backend.fp32_precision for backend in _BACKENDS]
    try:
        for backend in _BACKENDS:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(_BACKENDS, before, strict=True):
            backend.fp32_precision = precision
