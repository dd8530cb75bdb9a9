"""Gram matrices X X^T of features that come piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from math import frexp
from typing import Final

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from yolo_synth.analysis.activations.policy import PROCESSOR, Policy

BATCH_FEATURES: Final = 8192
"""Features whose products a device adds up before float64 does, about."""

SAMPLE: Final = 512
"""Features by which the image is chosen that all others are subtracted from, about."""

ODD: Final = 16
"""Rounding grows with the squared distance of the image that is subtracted; so often it may be that of
most images."""

LEAST: Final = 2.0**-64
"""Sums of squares from which on no float32 product that counts is too small for float32."""


class Gram:
    """The Gram matrix X X^T of n images, summed over pieces of their features.

    K_ij is the sum over features f of x_if x_jf, so the features may come in any pieces and any
    order, as long as each piece holds all images.

    What is multiplied is the difference from one of the images, in float32 or bfloat16, and K follows
    from it in float64. Features that hardly differ between images would otherwise lose to rounding
    what centring leaves of them. That image, number r, is the nearest to the mean of all in a sample
    of the first features: with an odd one (all differences from it are large) rounding would reach
    every entry, and whichever image comes first must not matter. The differences stand in the rows of
    a matrix D, image r itself in row r, and K = T (D D^T) T^T with T the identity plus ones in column
    r. Images in another order give the same K in that order, to float32's rounding of its entries.

    Small features are scaled by a power of two before they are multiplied, or their products would
    underflow. With a policy that looks at the end neither is done, which saves launches: r is 0, and
    `collect` finds a layer in which the features are too small, or image 0 is `far_off`.
    """

    def __init__(
        self,
        images: int,
        name: str,
        device: torch.device | None = None,
        group: dist.ProcessGroup | None = None,
        policy: Policy | None = None,
    ) -> None:
        """Start from no features.

        Args:
            images: How many, in all processes together.
            name: Of the layer, for errors.
            device: Of the features.
            group: Processes that each add the features of their `share` of the images. All add the
                same pieces in the same order, and call `matrix` in the same order.
            policy: How many features are multiplied at once; by default a processor's.
        """
        self.images = images
        self.name = name
        self._group = group
        self._turn = 0
        self._policy = PROCESSOR if policy is None else policy
        self._at_the_end = self._policy.at_the_end and group is None
        self._device = device
        self._sums: Tensor | None = None
        self._chosen: Tensor | None = None

    @property
    def reference(self) -> Tensor:
        """Number of the image that is subtracted from all others, int64 [1], on the features' device."""
        if self._chosen is None:
            self._chosen = torch.zeros(1, dtype=torch.int64, device=self._device)
        return self._chosen

    @property
    def sums(self) -> Tensor:
        """D D^T so far, float64 [n, n]; what is above the diagonal may be missing."""
        if self._sums is None:
            shape = self.images, self.images
            self._sums = torch.zeros(shape, dtype=torch.float64, device=self._device)
        return self._sums

    def add(self, chunks: Sequence[Tensor]) -> None:
        """Add the products of some features.

        Args:
            chunks: Consecutive groups of images, together all of this process: each [images of the
                group, ...] with the same features in the same order. No features add nothing.

        Raises:
            ValueError: If the groups do not hold all images, or a product is not finite and the policy
                does not look for that at the end.
        """
        mine = range(self.images)[share(self.images, self._group)]
        if (held := sum(len(chunk) for chunk in chunks)) != len(mine):
            raise ValueError(f"{self.name}: features of {held} images, not of {len(mine)}")
        as_they_lie = self._group is None and all(chunk.is_contiguous() for chunk in chunks)
        rows = [chunk.flatten(1) if as_they_lie else as_rows(chunk) for chunk in chunks]
        features = rows[0].shape[1]
        parts = -(-features * self.images * rows[0].element_size() // self._policy.slice_bytes)
        width = -(-features // max(1, parts))
        for start in range(0, features, max(1, width)):
            part = [row[:, start : start + width] for row in rows] if parts > 1 else rows
            if self._group is None:
                self._multiply(part)
            elif gathered := self._gathered(torch.cat(part), self._group):
                self._multiply(gathered)
        if not self._at_the_end and not self.sums.sum().isfinite():
            every = (row for chunk in rows for row in chunk)
            bad = [i for i, row in zip(mine, every, strict=True) if not row.isfinite().all()]
            raise ValueError(
                f"{self.name}: activations of images {bad} are not finite"
                if bad
                else f"{self.name}: activations are too large to be multiplied in {rows[0].dtype}"
            )

    def _multiply(self, rows: Sequence[Tensor]) -> None:
        """Add D D^T of a few features, what is far above the diagonal left out."""
        if self._chosen is None and rows[0].numel() and not self._at_the_end:
            self._chosen = _nearest_to_mean(rows)
        whole = torch.cat(list(rows)) if len(rows) > 1 else rows[0]
        reference = whole.index_select(0, self.reference)
        differences = whole.sub_(reference) if len(rows) > 1 else whole - reference
        differences.index_copy_(0, self.reference, reference)
        products = self._products(differences)
        if not self._at_the_end and _largest(products) < LEAST:
            differences, exponent = scaled(differences)
            products = [
                product.double().mul_(2.0 ** (2 * exponent))
                for product in self._products(differences)
            ]
        step = self._policy.block_images
        if not step and self._sums is None:
            self._sums = products[0]
            return
        for number, product in enumerate(products):
            start = number * step
            self.sums[start:, start : start + product.shape[1]] += product

    def _products(self, differences: Tensor) -> list[Tensor]:
        """Return D D^T in blocks of columns, each from the diagonal down."""
        step = self._policy.block_images
        if not step:
            return [_in_batches(differences)]
        starts = range(0, self.images, step)
        return [differences[start:] @ differences[start : start + step].T for start in starts]

    def _gathered(self, rows: Tensor, group: dist.ProcessGroup) -> list[Tensor]:
        """Send features to the process whose turn it is; it returns those of all images."""
        most = -(-self.images // group.size())
        padded = F.pad(rows, (0, 0, 0, most - len(rows)))
        mine = group.rank() == self._turn
        received = [torch.empty_like(padded) for _ in range(group.size())] if mine else []
        dist.gather(padded, received or None, group=group, group_dst=self._turn)
        self._turn = (self._turn + 1) % group.size()
        return [torch.cat(received)[: self.images]] if mine else []

    def matrix(self) -> Tensor:
        """Return K, float64 [n, n], symmetric, not centred, on the processor."""
        if self._group is None:
            return completed(self.sums.cpu(), self.reference.cpu())
        whole = completed(self.sums, self.reference)  # each process has a reference of its own
        dist.all_reduce(whole, group=self._group)
        return whole.cpu()


def _nearest_to_mean(rows: Sequence[Tensor]) -> Tensor:
    """Return the number [1] of the image nearest to the mean of all, in a sample of the features."""
    step = -(-rows[0].shape[1] // SAMPLE)
    sample = torch.cat([row[:, ::step] for row in rows]).double()
    return (sample - sample.mean(0)).square().sum(1).argmin(0, keepdim=True)


def _in_batches(differences: Tensor) -> Tensor:
    """Return D D^T of many features, float64: products of as many batches of them in one launch."""
    images, features = differences.shape
    fewest = max(1, features // max(BATCH_FEATURES, 4 * images))
    even = (parts for parts in range(fewest, 2 * fewest) if features % parts == 0)
    parts = next(even, fewest)
    width = features // parts
    batches = differences[:, : parts * width] if parts * width < features else differences
    batches = batches.view(images, parts, width).transpose(0, 1)
    sums = torch.bmm(batches, batches.mT).sum(0, dtype=torch.float64)
    if parts * width < features:
        rest = differences[:, parts * width :]
        sums += rest @ rest.T
    return sums


def _largest(products: Sequence[Tensor]) -> float:
    """Return the largest sum of squares of D D^T in blocks; NaN if one is."""
    return float(torch.stack([product.diagonal().amax() for product in products]).amax())


def scaled(values: Tensor) -> tuple[Tensor, int]:
    """Divide by the power of two that brings the largest magnitude to about one, if it is small.

    That costs no digit. Returns the values and the power's exponent; all zeros stay as they are.
    """
    largest = float(values.abs().amax()) if values.numel() else 0.0
    exponent = max(frexp(largest)[1], -126) if largest else 0
    return values * 2.0**-exponent, exponent


def far_off(matrices: Tensor) -> bool:
    """Return whether the first image is an odd one in any of the layers [l, n, n].

    Its median squared distance from the others is then more than `ODD` times that of most.
    """
    own = matrices.diagonal(dim1=-2, dim2=-1)
    apart = (own[..., None] + own[..., None, :] - 2 * matrices).median(-1).values
    return bool((apart[:, 0] > ODD * apart.median(-1).values.clamp_min(0)).any())


def completed(sums: Tensor, reference: Tensor) -> Tensor:
    """Return K, symmetric, from the lower triangles of D D^T; see `Gram`.

    Args:
        sums: [..., n, n].
        reference: Number of the image that was subtracted [..., 1].
    """
    products = sums.tril()
    products += products.tril(-1).mT
    # From here on as T (D D^T) T^T, written out
    column = reference[..., None].expand(*products.shape[:-1], 1)
    shift = products.gather(-1, column)[..., 0]
    constant = shift.gather(-1, reference)[..., None]
    own = torch.zeros_like(shift, dtype=torch.bool).scatter(-1, reference, value=True)
    shift = shift.masked_fill(own, 0.0)
    products.masked_fill_(own[..., None, :] | own[..., None], 0.0)
    products += shift[..., None, :]
    products += shift[..., None]
    return products.add_(constant)


def gram_bytes(images: int) -> int:
    """Return how large a Gram matrix is while it is summed up."""
    return torch.float64.itemsize * images**2


def share(images: int, group: dist.ProcessGroup | None) -> slice:
    """Return which of the images this process takes: as many as any other, the last ones fewer."""
    if group is None:
        return slice(0, images)
    most = -(-images // group.size())
    return slice(group.rank() * most, min(images, (group.rank() + 1) * most))


def as_rows(chunk: Tensor) -> Tensor:
    """Flatten [b, ...] to [b, features]; maps [b, c, h, w] in the order h, w, c.

    That order costs no copy where a map's channels are stored last, and any fixed order gives the
    same Gram matrix.
    """
    if chunk.dim() == 4:
        chunk = chunk.permute(0, 2, 3, 1)
    return chunk.reshape(len(chunk), -1)
