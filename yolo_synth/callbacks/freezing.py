"""Freezing: layers that training leaves exactly as they are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from yolo_synth.networks.contract import Network

Freeze = Literal["none", "backbone"] | tuple[int, int] | list[tuple[int, int]]


class Freezing(Callback):
    """Keep layers bit-identical during training, their batch-norm statistics included.

    The paper's code base only switched the gradients off, so the statistics of its "frozen" backbone
    went on moving; here nothing in a frozen layer changes.
    """

    def __init__(self, mode: Freeze = "none", thaw_epoch: int | None = None) -> None:
        """Choose the layers.

        Args:
            mode: `none`, `backbone` (YOLOv3's layers 0-74), or the first and the last of the network's
                blocks (YOLOv3's layers), as `[0, 36]`, or several such, as `[[0, 11], [37, 106]]`.
            thaw_epoch: Epoch, counted from 0, from which the layers train after all; None never.

        Raises:
            ValueError: If a range ends before it starts, or the epoch is negative.
        """
        if not mode or not all(0 <= first <= last for first, last in _ranges(mode)):
            raise ValueError(
                "freezing.mode takes none, backbone, two layers [first, last] or several such, not "
                f"{mode}"
            )
        self.mode = mode
        if thaw_epoch is not None and thaw_epoch < 0:
            raise ValueError(f"freezing.thaw_epoch counts epochs from 0, not {thaw_epoch}")
        self.thaw_epoch = thaw_epoch

    def check(self, network: Network) -> None:
        """Refuse what the network has not.

        Raises:
            ValueError: If a range goes beyond its blocks, or it has no backbone.
        """
        frozen_blocks(network, self.mode)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Freeze before the optimizer is made and before any process is told of the gradients."""
        if stage != "fit" or self.mode == "none":
            return
        # Lightning warns of modules in eval mode at the start of training; here they are meant to be
        warnings.filterwarnings("ignore", message=r".*module\(s\) in eval mode", module="lightning")
        self._set_frozen(pl_module, frozen=True)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if frozen layers hold random weights; a resumed run has its own."""
        frozen = frozen_blocks(_network(pl_module), self.mode)
        pretrained = getattr(pl_module, "pretrained_layers", frozen)
        random = [layer for layer in frozen if layer not in pretrained]
        if random and trainer.ckpt_path is None:
            warnings.warn(
                f"layers {random[0]}-{random[-1]} are frozen at random weights: give pre-trained ones "
                "with model.backbone, or freezing.mode=none",
                stacklevel=2,
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Thaw at the chosen epoch."""
        if self.mode != "none" and self.thaw_epoch is not None:
            self._set_frozen(pl_module, frozen=trainer.current_epoch < self.thaw_epoch)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Average the gradients of thawed layers over all devices.

        DistributedDataParallel does so for the layers alone that were trained when it started.
        """
        if trainer.world_size == 1 or self.thaw_epoch is None:
            return
        parameters = (p for layer in self._layers(pl_module) for p in layer.parameters())
        gradients = [p.grad for p in parameters if p.grad is not None]
        if gradients:
            mean = trainer.strategy.reduce(torch.cat([g.flatten() for g in gradients]))
            assert isinstance(mean, Tensor)
            for gradient, part in zip(
                gradients, torch.split(mean, [g.numel() for g in gradients]), strict=True
            ):
                gradient.copy_(part.view(gradient.shape))

    def _set_frozen(self, pl_module: LightningModule, *, frozen: bool) -> None:
        for layer in self._layers(pl_module):
            layer.requires_grad_(not frozen)
            layer.train(not frozen)

    def _layers(self, pl_module: LightningModule) -> list[nn.Module]:
        network = _network(pl_module)
        blocks = network.blocks
        return [network.get_submodule(blocks[i]) for i in frozen_blocks(network, self.mode)]


def _network(pl_module: LightningModule) -> Network:
    network = pl_module.network
    assert isinstance(network, Network)
    return network


def _ranges(mode: Freeze) -> list[tuple[int, int]]:
    """Return the ranges that a mode names; none of one in words."""
    if isinstance(mode, str):
        return []
    return [(first, last) for first, last in (mode if isinstance(mode[0], Sequence) else [mode])]


def frozen_blocks(network: Network, mode: Freeze) -> Sequence[int]:
    """Return which of a network's blocks a mode freezes.

    Raises:
        ValueError: If a range goes beyond its blocks, or it has no backbone.
    """
    if mode == "none":
        return range(0)
    if mode == "backbone":
        if not network.backbone:
            raise ValueError(f"freezing.mode: {network.description} says no backbone; give none")
        return range(len(network.backbone))
    ranges = _ranges(mode)
    if any(last >= len(network.blocks) for _, last in ranges):
        raise ValueError(
            "freezing.mode takes none, backbone or layers [first, last] within "
            f"0-{len(network.blocks) - 1} of {network.description}, not {list(mode)}"
        )
    return sorted({block for first, last in ranges for block in range(first, last + 1)})
