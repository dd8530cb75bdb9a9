"""A network made ready to detect quickly: norms folded, memory in the device's order, bfloat16 if asked.

On a processor the weights of bfloat16 convolutions are laid out once as oneDNN multiplies them, and not in
every pass: a twelfth of its time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d

log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]

_NORMS: Final = (nn.BatchNorm2d, FrozenBatchNorm2d)
_SAME: Final = 1e-2
"""How far a folded network's output may be from what it was, over the greatest value (rounding: 1e-5)."""
_ROUNDED: Final = 0.1
"""The same of bfloat16, whose sums are rounded in another order."""


_Weights = tuple[nn.Parameter, nn.Parameter | None]


class _Pair(NamedTuple):
    """A convolution and the norm after it, with what they were."""

    conv: nn.Conv2d
    norm: Any  # one of `_NORMS`, which have the same attributes
    weight: nn.Parameter
    bias: nn.Parameter | None


def make_quick(network: nn.Module, images: Tensor, precision: Precision = "float32") -> int:
    """Change a network, for good, into one that detects the same and runs faster.

    Args:
        network: In eval mode; it is changed.
        images: float [B, 3, H, W] in 0..1, on the network's device, to try it with.
        precision: bfloat16 rounds the convolutions' weights; `casting` has to be around its passes.

    Returns:
        How many norms were folded.
    """
    folded = fold_norms(network, images)
    lay_out(network)
    if precision == "bfloat16":
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.to(torch.bfloat16)
        if images.device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
            _pack(network, images)
    return folded


def lay_out(network: nn.Module) -> nn.Module:
    """Lay the weights of convolutions out channels last; tensors of five dimensions cannot be."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(memory_format=torch.channels_last)
    return network


class _Packed(nn.Module):
    """A convolution whose weights lie as oneDNN multiplies them."""

    def __init__(self, conv: nn.Conv2d, size: Sequence[int]) -> None:
        """Lay out the weights of a convolution.

        Args:
            conv: Of bfloat16.
            size: Of its input [B, C, H, W]; others are taken too.
        """
        super().__init__()
        self.given = list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight, *self.given, size)
        self.bias = conv.bias

    def forward(self, images: Tensor) -> Tensor:
        """Return what the convolution returns."""
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            images.to(torch.bfloat16), self.weight, self.bias, *self.given, "none", [], ""
        )
        return result


@torch.no_grad()
def _pack(network: nn.Module, images: Tensor) -> None:
    """Put packed convolutions in the place of those that run, if the network then answers as before."""
    sizes: dict[nn.Module, list[int]] = {}

    def sees(module: nn.Module, given: tuple[Any, ...]) -> None:
        sizes[module] = list(given[0].shape)

    convs = [module for module in network.modules() if type(module) is nn.Conv2d]
    hooks = [conv.register_forward_pre_hook(sees) for conv in convs]
    try:
        with casting(images.device, "bfloat16"):
            before = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    packed: dict[nn.Module, nn.Module] = {
        conv: _Packed(conv, sizes[conv])
        for conv in convs
        if conv in sizes and conv.padding_mode == "zeros" and isinstance(conv.padding, tuple)
    }
    places = [place for place in _children(network) if place[2] in packed]
    for parent, name, conv in places:
        setattr(parent, name, packed[conv])
    try:
        with casting(images.device, "bfloat16"):
            alike = _alike(before, network(images), _ROUNDED)
    except (AttributeError, TypeError, RuntimeError):  # it asks its convolutions for more
        alike = False
    if not alike:
        for parent, name, conv in places:
            setattr(parent, name, conv)
        log.info("%s: its convolutions stay as they are", type(network).__name__)


def casting(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which a network runs in a precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@torch.no_grad()
def fold_norms(network: nn.Module, images: Tensor) -> int:
    """Fold every batch norm that follows a convolution into its weights.

    Which one follows which is seen in a pass over images. If what the network then returns is not what it
    returned before, all is put back.

    Returns:
        How many were folded.
    """
    pairs, before = _pairs(network, images)
    places = {id(child): (parent, name) for parent, name, child in _children(network)}
    for conv, norm, weight, bias in pairs:
        conv.weight, conv.bias = fuse_conv_bn_weights(
            weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        parent, name = places[id(norm)]
        setattr(parent, name, nn.Identity())
    if pairs and not _alike(before, network(images)):
        for conv, norm, weight, bias in pairs:
            conv.weight, conv.bias = weight, bias
            parent, name = places[id(norm)]
            setattr(parent, name, norm)
        log.info("%s: its norms are not folded, since it answers otherwise", type(network).__name__)
        return 0
    return len(pairs)


def _pairs(network: nn.Module, images: Tensor) -> tuple[list[_Pair], Any]:
    """Run a network, and return the convolutions whose output goes into a norm, and what it returned."""
    of_output: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    runs: dict[int, int] = {}
    found: list[_Pair] = []

    def ran(module: nn.Module, _: Any, output: Any) -> None:  # noqa: ANN401
        runs[id(module)] = runs.get(id(module), 0) + 1
        if isinstance(module, nn.Conv2d):
            of_output[id(output)] = (module, output)  # kept, so that no other has its place

    def runs_next(module: nn.Module, given: tuple[Any, ...]) -> None:
        conv, output = of_output.get(id(given[0]), (None, None))
        if conv is not None and given[0] is output:
            found.append(_Pair(conv, module, *cast(_Weights, (conv.weight, conv.bias))))

    hooks = []
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, *_NORMS)):
            hooks.append(module.register_forward_hook(ran))
        if isinstance(module, _NORMS):
            hooks.append(module.register_forward_pre_hook(runs_next))
    try:
        returned = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    once = [pair for pair in found if runs[id(pair.conv)] == runs[id(pair.norm)] == 1]
    return [pair for pair in once if getattr(pair.norm, "running_mean", None) is not None], returned


def _children(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for parent in network.modules():
        for name, child in parent.named_children():
            yield parent, name, child


def _alike(before: Any, after: Any, error: float = _SAME) -> bool:  # noqa: ANN401
    one, other = list(_tensors(before)), list(_tensors(after))
    return [x.shape for x in one] == [x.shape for x in other] and all(
        bool(((x - y).abs() <= error * x.abs().max().clamp(min=1e-6)).all())
        for x, y in zip(one, other, strict=True)
        if x.numel() and x.is_floating_point()
    )


def _tensors(value: Any) -> Iterator[Tensor]:  # noqa: ANN401
    """Yield all tensors in what a network returned."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            yield from _tensors(one)
