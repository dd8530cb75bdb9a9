"""A network is adapted to pictures without labels: its batch norms' statistics are estimated on them anew.

A norm in eval mode subtracts the mean and divides by the deviation of the pictures that it was trained on.
Where those of other pictures are others, all that follows sees what it never saw in training. Source: Li
et al., Revisiting Batch Normalization For Practical Domain Adaptation, 2016.
"""

from __future__ import annotations

from contextlib import ExitStack
from copy import deepcopy
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from yolo_synth.analysis.activations.inputs import check_images, evaluating, example_of

PIXELS: Final = 2**22
"""Pixels of the pictures that are run together, about; so many that statistics are no longer noisy."""

TOGETHER: Final = 32
"""Pictures that are run together at least, however large."""

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


def batch_norms(network: nn.Module) -> dict[str, _BatchNorm]:
    """Return a network's batch norms that keep statistics, by their names; frozen ones are none."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def recalibrated(network: AnyNetwork, pictures: Tensor, mix: float = 1.0) -> AnyNetwork:
    """Return a copy of a network with the batch norms' statistics of some pictures.

    Takes and raises what `recalibrated_statistics` does.
    """
    found = deepcopy(network)
    found.load_state_dict(recalibrated_statistics(network, pictures, mix), strict=False)
    return found


def recalibrated_statistics(
    network: nn.Module, pictures: Tensor, mix: float = 1.0
) -> dict[str, Tensor]:
    """Return the batch norms' means and variances for some pictures, as parts of a state dict.

    The network runs in eval mode, and each norm already has its new statistics when what follows runs.
    More pictures than fit run in batches, each by its own statistics, and what the norms saw is pooled.

    Args:
        network: Is left as it is.
        pictures: uint8, or float in 0..1, [n, 3, H, W].
        mix: Share of the pictures' statistics; the rest are the old ones.

    Raises:
        ValueError: If the network has no batch norms, there are no pictures, or the share is none.
    """
    check_images(pictures)
    norms = batch_norms(network)
    if not norms:
        raise ValueError(f"{type(network).__name__} has no batch norms to recalibrate")
    if not 0 <= mix <= 1:
        raise ValueError(f"the new statistics' share is 0 to 1, not {mix}")
    seen = {name: _Seen(norm, mix) for name, norm in norms.items()}
    weight = example_of(network)
    size = max(TOGETHER, PIXELS // (pictures.shape[-2] * pictures.shape[-1]))
    with ExitStack() as stack, evaluating(network), torch.no_grad():
        for name, norm in norms.items():
            handle = norm.register_forward_pre_hook(seen[name].take)
            stack.callback(handle.remove)
            stack.callback(seen[name].put_back)
        for batch in torch.split(pictures, size):
            for each in seen.values():
                each.begin()
            images = batch.to(weight.device, weight.dtype)
            network(images / 255 if batch.dtype == torch.uint8 else images)
    return {
        f"{name}.{part}": value
        for name, each in seen.items()
        for part, value in zip(("running_mean", "running_var"), each.mixed(each.all), strict=True)
    }


class _Moments:
    """Count, mean and sum of squared deviations of each channel, float64, of values that come in parts."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, values: Tensor) -> None:
        """Add values [n, C, ...] (Chan, Golub and LeVeque's formula)."""
        of_channel = [axis for axis in range(values.dim()) if axis != 1]
        count = values.numel() // values.shape[1]
        variance, mean = (
            x.double() for x in torch.var_mean(values.float(), of_channel, correction=0)
        )
        apart = mean - self.mean
        total = self.count + count
        self.squares = self.squares + variance * count + apart**2 * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total


class _Seen:
    """What one norm saw: of the batch that is run, and of all."""

    def __init__(self, norm: _BatchNorm, mix: float) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self._mix = mix
        self._kept = norm.running_mean, norm.running_var
        self._old = norm.running_mean.clone(), norm.running_var.clone()
        self._batch = _Moments()
        self.all = _Moments()

    def begin(self) -> None:
        """Forget the last batch; a norm that runs several times in one pools what it sees there."""
        self._batch = _Moments()

    def take(self, norm: nn.Module, given: tuple[Any, ...]) -> None:
        """Look at what a norm gets, and set its statistics before it runs."""
        self._batch.add(given[0])
        self.all.add(given[0])
        self._set(self.mixed(self._batch))

    def put_back(self) -> None:
        """Give the norm its old statistics again."""
        self._set(self._old)

    def mixed(self, moments: _Moments) -> tuple[Tensor, Tensor]:
        """Return mean and unbiased variance, mixed with the old ones; of a norm that never ran the old."""
        if not moments.count or self._mix == 0:
            return self._old
        new = moments.mean, moments.squares / max(moments.count - 1, 1)
        mean, variance = (
            ((1 - self._mix) * old.double() + self._mix * value).to(old.dtype)
            for old, value in zip(self._old, new, strict=True)
        )
        return mean, variance

    def _set(self, values: tuple[Tensor, Tensor]) -> None:
        for kept, value in zip(self._kept, values, strict=True):
            kept.copy_(value)
