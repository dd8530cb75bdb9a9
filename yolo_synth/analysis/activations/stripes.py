"""Layers that run on a few rows of their input at a time.

An image's upper rows are enough for the upper rows of a convolution's output. So the first layers of
a network, whose outputs are the large ones, can pass on horizontal stripes: each layer takes the new
rows of its sources, gives the rows of its output they are enough for, and keeps the few rows that it
will need again. Nothing is computed twice, and the rows given add up to the whole output.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Stripes(Protocol):
    """One layer on one group of images, fed from the top row to the bottom."""

    def __call__(self, *sources: Tensor, last: bool) -> Tensor:
        """Take the next rows of each source and return the next rows of the output.

        Args:
            sources: For each source the next rows [b, c, rows, w], maybe none.
            last: That these are the last rows.

        Returns:
            The rows [b, c, rows, w] of the output that the rows up to here are enough for, maybe none.
        """


class ConvolutionStripes:
    """A convolution, then a module that acts on each pixel alone."""

    def __init__(self, convolution: nn.Conv2d, pixelwise: nn.Module) -> None:
        """Start above the first row.

        Args:
            convolution: Pads with zeros, by a number, and steps no further than its kernel reaches.
            pixelwise: Takes and returns [b, c, rows, w]; it may work in place.
        """
        self.convolution = convolution
        self.pixelwise = pixelwise
        self._kept: Tensor | None = None

    def __call__(self, *sources: Tensor, last: bool) -> Tensor:
        """Return the rows whose whole neighbourhood has come; see `Stripes`."""
        (rows,) = sources
        conv = self.convolution
        pad, pad_sideways = padding(conv)
        zeros = _copied(rows.new_zeros(*rows.shape[:2], pad, rows.shape[3]))
        window = _joined(zeros if self._kept is None else self._kept, rows, *[zeros] * last)
        # Too few rows for one of output: padded only so that conv2d runs, and what it gives is cut off
        missing = max(0, reach(conv) - window.shape[2])
        count = 0 if missing else (window.shape[2] - reach(conv)) // conv.stride[0] + 1
        self._kept = _copied(window[:, :, count * conv.stride[0] :])
        output = F.conv2d(
            F.pad(window, (0, 0, 0, missing)) if missing else window,
            conv.weight,
            conv.bias,
            conv.stride,
            (0, pad_sideways),
            conv.dilation,
            conv.groups,
        )
        return self.pixelwise(output[:, :, :count])  # type: ignore[no-any-return]


class RowwiseStripes:
    """A layer whose output row depends on the same row of its sources and on nothing else."""

    def __init__(self, module: nn.Module) -> None:
        """Start above the first row."""
        self.module = module
        self._kept: tuple[Tensor, ...] = ()

    def __call__(self, *sources: Tensor, last: bool) -> Tensor:
        """Return the rows that every source has given by now; see `Stripes`."""
        if self._kept:
            sources = tuple(map(_joined, self._kept, sources))
        count = min(rows.shape[2] for rows in sources)
        self._kept = tuple(_copied(rows[:, :, count:]) for rows in sources)
        return self.module(*(rows[:, :, :count] for rows in sources))  # type: ignore[no-any-return]


def reach(convolution: nn.Conv2d) -> int:
    """Return how many rows of input one row of output depends on."""
    return int(convolution.dilation[0] * (convolution.kernel_size[0] - 1) + 1)


def padding(convolution: nn.Conv2d) -> tuple[int, int]:
    """Return the rows and columns of zeros that the convolution adds on each side."""
    return int(convolution.padding[0]), int(convolution.padding[1])


def _copied(rows: Tensor) -> Tensor:
    """Copy rows with the channels last: joined to rows in another order, all would be copied again."""
    return rows.clone(memory_format=torch.channels_last)


def _joined(*parts: Tensor) -> Tensor:
    """Join along the rows, without a copy where only one part has any."""
    filled = [part for part in parts if part.shape[2]] or [parts[-1]]
    return filled[0] if len(filled) == 1 else torch.cat(filled, dim=2)
