"""Layers of any network, caught by forward hooks as they return.

What a layer returned is copied on the spot, so a later in-place activation does not change it. Each
tensor that a module returns is a layer of its own: a module that is called several times, or returns
several tensors, gives `name:0`, `name:1` and so on, in the order in which they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import chain
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

LayerChoice = str | type[nn.Module]
"""A module's name, a pattern with `*`, `?` or `[...]` for several, or a class of modules."""


class Output(NamedTuple):
    """One tensor that a module returns.

    Attributes:
        name: The module's name, and `:i` if it returns several.
        module: The module's name.
        place: Which of the tensors that the module returns in a forward pass.
        shape: For one image.
    """

    name: str
    module: str
    place: int
    shape: tuple[int, ...]

    @property
    def features(self) -> int:
        """Numbers in one image's output."""
        return prod(self.shape)


class Part(NamedTuple):
    """Some of an output's flattened features.

    Attributes:
        layer: The output's place among all.
        features: Which.
    """

    layer: int
    features: slice


def find_outputs(
    network: nn.Module, images: Tensor, layers: Sequence[LayerChoice] | None
) -> list[Output]:
    """Run a network once and list what the chosen layers return, in the order of their first call.

    Args:
        network: In eval mode.
        images: Its input; two images show which tensors have no image axis.
        layers: Which modules; None for all that have no modules inside.

    Raises:
        ValueError: If a choice stands for no module that runs, or a tensor is not one of images.
    """
    if layers is None:
        modules = {name for name, module in network.named_modules() if not list(module.children())}
    else:
        modules = {name for choice in layers for name in _matching(network, choice)}
    returned: dict[str, list[Tensor]] = {}

    def note(module: str, tensor: Tensor) -> None:
        returned.setdefault(module, []).append(tensor.to("meta"))

    with _hooked(network, modules, note):
        network(images)
    for choice in layers or ():
        if returned.keys().isdisjoint(_matching(network, choice)):
            raise ValueError(f"no module that {choice!r} stands for returns a tensor when it runs")
    outputs = [
        Output(f"{name}:{i}" if len(tensors) > 1 else name, name, i, tuple(tensor.shape[1:]))
        for name, tensors in returned.items()
        for i, tensor in enumerate(tensors)
    ]
    for output, tensor in zip(outputs, chain.from_iterable(returned.values()), strict=True):
        _check(output, tensor, len(images))
    return outputs


def pack(outputs: Sequence[Output], capacity: int) -> Iterator[list[Part]]:
    """Yield groups of parts, in order, that hold at most `capacity` features each."""
    group: list[Part] = []
    room = capacity
    for layer, output in enumerate(outputs):
        start = 0
        while start < output.features:
            if room == 0:
                yield group
                group, room = [], capacity
            stop = min(output.features, start + room)
            group.append(Part(layer, slice(start, stop)))
            room -= stop - start
            start = stop
    if group:
        yield group


def catch(
    network: nn.Module,
    batches: Iterable[Tensor],
    outputs: Sequence[Output],
    parts: Sequence[Part],
    images: int,
    dtype: torch.dtype,
) -> list[Tensor]:
    """Run a network over all images and keep some features of its layers.

    Args:
        network: In eval mode.
        batches: Its inputs, in order.
        outputs: What the chosen layers return.
        parts: Which features to keep, at most one part of an output.
        images: How many images the batches hold together.
        dtype: Of what is kept.

    Returns:
        For each part [images, features of the part].

    Raises:
        ValueError: If a layer does not return in every batch what `outputs` says.
    """
    device = next((weight.device for weight in network.parameters()), None)
    kept = [
        torch.empty(images, part.features.stop - part.features.start, dtype=dtype, device=device)
        for part in parts
    ]
    targets = {outputs[part.layer]: (part, rows) for part, rows in zip(parts, kept, strict=True)}
    modules = {output.module for output in targets}
    expected = {(output.module, output.place): output for output in outputs}
    missing: set[Output] = set()
    calls: dict[str, int] = {}
    batch = slice(0, 0)

    def keep(module: str, tensor: Tensor) -> None:
        place = calls[module] = calls.get(module, -1) + 1
        if (output := expected.get((module, place))) is None:
            raise ValueError(f"layer {module} returns more tensors for some images than for others")
        _check(output, tensor, batch.stop - batch.start)
        if output in targets:
            part, rows = targets[output]
            rows[batch] = tensor.flatten(1)[:, part.features]
            missing.remove(output)

    with _hooked(network, modules, keep):
        for inputs in batches:
            batch = slice(batch.stop, batch.stop + len(inputs))
            calls.clear()
            missing.update(targets)
            network(inputs)
            if missing:
                raise ValueError(f"layer {missing.pop().name} does not run for all images")
    return kept


def _matching(network: nn.Module, choice: LayerChoice) -> list[str]:
    if isinstance(choice, str):
        return [name for name, _ in network.named_modules() if fnmatchcase(name, choice)]
    return [name for name, module in network.named_modules() if isinstance(module, choice)]


@contextmanager
def _hooked(
    network: nn.Module, modules: set[str], act: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Call `act` with the name of a module and each tensor that it returns, as it returns."""

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        def call(module: nn.Module, inputs: object, returned: object) -> None:
            for tensor in _tensors(returned):
                act(name, tensor)

        return call

    handles = [network.get_submodule(name).register_forward_hook(hook(name)) for name in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(returned: object) -> Iterator[Tensor]:
    if isinstance(returned, Tensor):
        yield returned
    elif isinstance(returned, Mapping):
        yield from _tensors(list(returned.values()))
    elif isinstance(returned, list | tuple):
        for item in returned:
            yield from _tensors(item)


def _check(output: Output, tensor: Tensor, images: int) -> None:
    """Refuse a tensor that is not one row of floating numbers for each image."""
    expected = (images, *output.shape)
    if tensor.shape != expected or not tensor.is_floating_point():
        raise ValueError(
            f"layer {output.name} returned {tensor.dtype} {list(tensor.shape)} for {images} images, not "
            f"floating numbers {list(expected)}: choose layers that return as much for every image"
        )
