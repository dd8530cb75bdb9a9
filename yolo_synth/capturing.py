"""A training step's forward and backward pass, captured once by a CUDA device and replayed.

At the paper's batch of 8 a step of YOLOv3 is bound by the launches of its kernels; a replayed graph has
one. It has fixed shapes, so targets are filled up to `BOXES`, and what does not fit runs as without it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, cast

import torch
from torch import Tensor, nn

from yolo_synth.boxes import NO_BOX, Target
from yolo_synth.networks.contract import Network

BOXES: Final = 128
"""Boxes of an image that a captured step has room for; BDD100K's fullest image has 91."""

_log = logging.getLogger(__name__)


class CapturedLosses:
    """A network's losses; of full batches from a captured graph, else computed as ever."""

    def __init__(self, network: Network) -> None:
        """Capture nothing yet.

        Raises:
            ValueError: If the network's losses cannot be captured.
        """
        if not network.fixed_shapes:
            raise ValueError(
                f"{type(network).__name__} has losses that wait for the device: set model.captured to false"
            )
        self._network = network
        self._losses: nn.Module | None = None
        self._names: list[str] = []
        self._batch = 0
        self._seen: tuple[object, ...] = ()

    def __call__(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return what `Network.losses` returns.

        The first full batch, which says what a batch is, and the first after layers were frozen or
        thawed run as ever; the next one of the kind is captured.
        """
        fits = all(len(target["labels"]) <= BOXES for target in targets)
        if not self._names or images.shape[0] < self._batch or not fits:
            return self._as_ever(images, targets)
        given = (images, *filled_up(targets))
        state = self._state(images)
        if state != self._seen:
            self._losses, self._seen = None, state
            return self._as_ever(images, targets)
        if self._losses is None:
            self._losses = captured(self._network, given)
            _log.info("the training step of %d images is captured and replayed", len(images))
        return dict(zip(self._names, self._losses(*given).unbind(), strict=True))

    def _as_ever(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        terms = self._network.losses(images, targets)
        if not self._names:
            self._names, self._batch = list(terms), images.shape[0]
        return terms

    def _state(self, images: Tensor) -> tuple[object, ...]:
        """Return what a graph holds for: shape, precision, and what of the network is trained."""
        trained = [value.requires_grad for value in self._network.parameters()]
        modes = [module.training for module in self._network.modules()]
        casting = torch.is_autocast_enabled(images.device.type)
        dtype = torch.get_autocast_dtype(images.device.type) if casting else images.dtype
        return tuple(images.shape), images.dtype, dtype, tuple(trained), tuple(modes)


class FixedLosses(nn.Module):
    """A network's losses, from tensors of fixed shapes alone."""

    def __init__(self, network: Network) -> None:
        """Take the network."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Return the terms of the loss in one tensor.

        Args:
            images: [B, 3, H, W].
            boxes: [B, m, 4].
            labels: [B, m], `NO_BOX` where there is none.
        """
        targets = [
            cast(Target, {"boxes": box, "labels": label})
            for box, label in zip(boxes.unbind(), labels.unbind(), strict=True)
        ]
        return torch.stack(list(self.network.losses(images, targets).values()))


def filled_up(targets: Sequence[Target], boxes: int = BOXES) -> tuple[Tensor, Tensor]:
    """Return boxes [B, m, 4] and labels [B, m] of targets that have at most m each."""
    first = targets[0]["boxes"]
    corners = first.new_zeros(len(targets), boxes, 4)
    labels = targets[0]["labels"].new_full((len(targets), boxes), NO_BOX)
    for target, box, label in zip(targets, corners, labels, strict=True):
        box[: len(target["boxes"])] = target["boxes"]
        label[: len(target["labels"])] = target["labels"]
    return corners, labels


def captured(network: Network, given: tuple[Tensor, ...]) -> nn.Module:
    """Capture the losses' forward and backward pass on a CUDA device; the network stays as it was.

    PyTorch warms up by some passes, which batch norm's statistics must not count.
    """
    before = [value.clone() for value in network.buffers()]
    kind = given[0].device.type
    # what autocast keeps from step to step would be captured as it was in the first
    with torch.autocast(
        kind,
        torch.get_autocast_dtype(kind),
        enabled=torch.is_autocast_enabled(kind),
        cache_enabled=False,
    ):
        losses = torch.cuda.make_graphed_callables(
            FixedLosses(network), tuple(tensor.clone() for tensor in given), allow_unused_input=True
        )
    for value, old in zip(network.buffers(), before, strict=True):
        value.copy_(old)
    return cast(nn.Module, losses)
