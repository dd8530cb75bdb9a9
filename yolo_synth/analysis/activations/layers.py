"""The layers of a network that says its plan, and what each of them does.

Such a network says its `layers`, and for each the `sources` it reads. What else a plan needs to know -
an output's shape, whether a layer can run on stripes, whether its Gram matrix follows from others -
is found by trying the layer, so that it holds for layers of any class.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import prod
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from yolo_synth.analysis.activations.stripes import (
    ConvolutionStripes,
    RowwiseStripes,
    Stripes,
    padding,
    reach,
)

IMAGE: Final = -1
"""The source index that stands for the images."""

PIXELWISE: Final = (
    nn.Identity,
    nn.ReLU,
    nn.LeakyReLU,
    nn.ReLU6,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardswish,
)
"""Activations that act on each number alone."""


class Planned(Protocol):
    """A network that says how its layers are joined.

    Attributes:
        layers: Its modules, in an order in which they can be called.
        sources: For each, the layers whose outputs it is called with; -1 is the images.
    """

    layers: nn.ModuleList
    sources: Sequence[tuple[int, ...]]


def is_planned(network: nn.Module) -> bool:
    """Tell whether a network says how its layers are joined.

    Attributes are asked for as any reader would: a module's `layers` is none that `isinstance` with a
    protocol finds from Python 3.12 on.

    Raises:
        ValueError: If it names `sources` without the `layers` whose they are.
    """
    if not hasattr(network, "sources"):
        return False
    if not hasattr(network, "layers"):
        raise ValueError(
            f"{type(network).__name__} has `sources` but no `layers` whose they are: a plan takes both"
        )
    return True


class Chain(NamedTuple):
    """Modules applied one after the other."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d | None
    activation: nn.Sequential

    def folded(
        self, dtype: torch.dtype, memory_format: torch.memory_format = torch.channels_last
    ) -> nn.Conv2d:
        """Return a convolution in `dtype` that does what convolution and norm do in eval mode."""
        weight, bias, norm = self.convolution.weight, self.convolution.bias, self.norm
        if norm is not None and norm.running_mean is not None and norm.running_var is not None:
            scale = (norm.running_var + norm.eps).rsqrt()
            scale = scale if norm.weight is None else scale * norm.weight
            mean = norm.running_mean if bias is None else norm.running_mean - bias
            weight = weight * scale.view(-1, 1, 1, 1)
            bias = -mean * scale if norm.bias is None else norm.bias.addcmul(mean, scale, value=-1)
        folded = copy.copy(self.convolution)
        if bias is not None and bias.dtype != dtype:
            bias = bias.to(dtype)
        if weight.dtype != dtype or not weight.is_contiguous(memory_format=memory_format):
            weight = weight.to(dtype=dtype, memory_format=memory_format)
        folded._parameters = {"weight": weight, "bias": bias}  # type: ignore[dict-item]
        return folded


@dataclass(frozen=True)
class Layer:
    """One layer of a network that says its plan.

    Attributes:
        index: Its place.
        module: What is called with the sources' outputs; in eval mode.
        sources: Which layers' outputs it reads; `IMAGE` is the input.
        inputs: Shape of each source for one image.
        shape: Shape of the output for one image.
        chain: What the layer does, if that is a convolution, maybe batch norm, then activations.
    """

    index: int
    module: nn.Module
    sources: tuple[int, ...]
    inputs: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]
    chain: Chain | None

    @cached_property
    def features(self) -> int:
        """Numbers in one image's output."""
        return prod(self.shape)

    @cached_property
    def widest(self) -> int:
        """Numbers in one image's output or one of its sources, whichever is largest."""
        return max(self.features, *map(prod, self.inputs))

    @cached_property
    def can_stripe(self) -> bool:
        """Whether the layer can run on stripes."""
        if self.chain:
            conv = self.chain.convolution
            return (
                not isinstance(conv.padding, str)
                and (conv.padding_mode == "zeros" or padding(conv) == (0, 0))
                and conv.stride[0] <= reach(conv)
            )
        sizes = {shape[1:] for shape in (*self.inputs, self.shape)}
        if not self._is_stateless or len(self.shape) != 3 or len(sizes) > 1 or self.shape[1] < 2:
            return False
        probes = _random(*self.inputs)
        cut = self.shape[1] // 2
        upper = self.module(*(x[:, :, :cut] for x in probes))
        lower = self.module(*(x[:, :, cut:] for x in probes))
        return torch.equal(torch.cat([upper, lower], dim=2), self.module(*probes))

    @cached_property
    def is_view(self) -> bool:
        """Whether the output is the source's own memory, all of it."""
        if not self._is_stateless or len(self.sources) > 1:
            return False
        if prod(self.inputs[0]) != self.features:
            return False
        (x,) = _random(*self.inputs)
        output = self.module(x)
        return bool(output.numel() == x.numel() and output.data_ptr() == x.data_ptr())

    @cached_property
    def gram_factor(self) -> int:
        """Factor on the sum of the sources' Gram matrices that gives this layer's; 0 if none does.

        1 where the output is the source in another shape, or the sources joined along the channels;
        s^2 where it repeats each value of its source s times along rows and columns. The images have
        no Gram matrix of which one could follow.
        """
        if IMAGE in self.sources:
            return 0
        if self.is_view:
            return 1
        if not self._is_stateless or {len(s) for s in (*self.inputs, self.shape)} != {3}:
            return 0
        joins = sum(shape[0] for shape in self.inputs) == self.shape[0]
        if len(self.inputs) > 1 and not joins:
            return 0
        probes = _random(*self.inputs)
        output = self.module(*probes)
        if len({shape[1:] for shape in self.inputs}) == 1:
            if joins and torch.equal(output, torch.cat(probes, dim=1)):
                return 1
            scale = self.shape[1] // self.inputs[0][1]
            repeated = probes[0].repeat_interleave(scale, 2).repeat_interleave(scale, 3)
            if len(probes) == 1 and torch.equal(output, repeated):
                return scale**2
        return 0

    @property
    def _is_stateless(self) -> bool:
        return not any(True for _ in chain(self.module.parameters(), self.module.buffers()))

    def prepared(
        self, dtype: torch.dtype, images: int, memory_format: torch.memory_format
    ) -> nn.Module:
        """Return a module that computes the layer in `dtype`, made for speed, sharing what it can.

        Batch norm is folded into the convolution where that costs less than it saves: some passes
        over the weights once, against one over the output of every image.
        """
        if self._is_stateless:
            return self.module
        if self.chain and images * self.features > 4 * self.chain.convolution.weight.numel():
            return nn.Sequential(self.chain.folded(dtype, memory_format), self.chain.activation)
        if all(value.dtype == dtype for value in self.module.parameters()):
            return self.module
        return copy.deepcopy(self.module).to(dtype=dtype)

    def start_stripes(self, dtype: torch.dtype, groups: int) -> list[Stripes]:
        """Return the layer above the first row, once for each group of images."""
        if self.chain is None:
            return [RowwiseStripes(self.module) for _ in range(groups)]
        folded = self.chain.folded(dtype)
        return [ConvolutionStripes(folded, self.chain.activation) for _ in range(groups)]


def read_layers(network: Planned, image: Sequence[int]) -> list[Layer]:
    """Read a network's own plan and find each layer's shape, without computing anything.

    Args:
        network: In eval mode.
        image: Shape of one image, (3, H, W).

    Raises:
        ValueError: If a layer reads one that comes later, does not take what it reads or changes
            it, or does not return one tensor of the images.
    """
    shapes = {IMAGE: tuple(image)}
    layers = []
    for index, (module, sources) in enumerate(zip(network.layers, network.sources, strict=True)):
        if any(source not in shapes for source in sources):
            raise ValueError(f"layer {index} reads {sources}, of which not all come before it")
        inputs = tuple(shapes[source] for source in sources)
        with torch.inference_mode(mode=False), torch.no_grad():  # where tensors count their changes
            probes = [torch.empty(2, *shape, device="meta") for shape in inputs]
        try:
            output, chain = _try(module, *probes)
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"layer {index} does not take outputs of {list(inputs)}, which follow from images "
                f"of {list(image)}: {str(error).splitlines()[0]}"
            ) from error
        if not isinstance(output, Tensor) or output.dim() < 2 or len(output) != 2:
            raise ValueError(f"layer {index} must return one tensor of all images: {type(module)}")
        if any(probe._version for probe in probes):
            raise ValueError(
                f"layer {index} changes what it reads: set inplace=False in {module}, or name the "
                "layers to be run with hooks"
            )
        shapes[index] = tuple(output.shape[1:])
        layers.append(Layer(index, module, tuple(sources), inputs, shapes[index], chain))
    return layers


def _try(module: nn.Module, *inputs: Tensor) -> tuple[object, Chain | None]:
    """Call a module on tensors without memory, and see whether it calls its parts in a row."""
    calls: list[tuple[nn.Module, object, object]] = []

    def note(part: nn.Module, given: tuple[object, ...], returned: object) -> None:
        calls.append((part, given[0] if given else None, returned))

    leaves = [part for part in module.modules() if not list(part.children())]
    hooks = [part.register_forward_hook(note) for part in leaves]
    # their output has the shape of their input: to run them on meta tensors would be most of the time
    shaped = [part for part in leaves if type(part) in (nn.BatchNorm2d, *PIXELWISE)]
    state = {
        name: torch.empty_like(value, dtype=torch.float32, device="meta")
        for name, value in _state(module, without=shaped)
    }
    try:
        for part in shaped:
            in_place = getattr(part, "inplace", False)
            part.forward = torch.zero_ if in_place else torch.empty_like
        output = functional_call(module, state, inputs)
    finally:
        for part in shaped:
            part.__dict__.pop("forward", None)
        for hook in hooks:
            hook.remove()
    passed_on = [inputs[0], *(returned for _, _, returned in calls)]
    in_a_row = all(given is before for (_, given, _), before in zip(calls, passed_on, strict=False))
    parts = [part for part, _, _ in calls]
    if len(inputs) > 1 or not in_a_row or passed_on[-1] is not output:
        return output, None
    # Subclasses are not taken for their base: they may do something else.
    if not parts or type(convolution := parts.pop(0)) is not nn.Conv2d:
        return output, None
    norm: nn.BatchNorm2d | None = None
    if parts and type(second := parts[0]) is nn.BatchNorm2d and second.running_mean is not None:
        norm = second
        parts.pop(0)
    if any(type(part) not in PIXELWISE for part in parts):
        return output, None
    return output, Chain(convolution, norm, nn.Sequential(*parts))


def _state(module: nn.Module, without: Sequence[nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """Yield the names and values of parameters and buffers, but for those of some modules inside."""
    for name, part in module.named_modules():
        if not any(part is other for other in without):
            own = chain(
                part.named_parameters(name, recurse=False), part.named_buffers(name, recurse=False)
            )
            yield from own


def _random(*shapes: Sequence[int]) -> list[Tensor]:
    """Draw one image's worth of each shape, without touching the global random state.

    Of both signs, small and large, so that no activation leaves all of them as they are.
    """
    generator = torch.Generator().manual_seed(0)
    return [100 * torch.randn(1, *shape, generator=generator) for shape in shapes]
