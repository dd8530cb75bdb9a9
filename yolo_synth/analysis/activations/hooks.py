"""Layers of any network, caught by forward hooks as they return.

What a layer returned is copied on the spot, so a later in-place activation does not change it. Each
tensor that a module returns is a layer of its own: a module that is called several times, or returns
several tensors, gives `name:0`, `name:1` and so on, in the order in which they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Output(NamedTuple):
    """One tensor that a module returns.

    Attributes:
        name: The module's name, and `:i` if it returns several.
        module: The module's name.
        place: Which of the tensors that the module returns in a forward pass.
        shape: For one image.
        of: How many tensors the module returns in a forward pass; some may be no layers.
        is_set: Whether it is queries in an order that follows from their scores. Its features are then
            the queries' means, which do not depend on that order.
    """

    name: str
    module: str
    place: int
    shape: tuple[int, ...]
    of: int
    is_set: bool = False

    @property
    def kept(self) -> tuple[int, ...]:
        """Shape of what is compared of one image."""
        return self.shape[1:] if self.is_set else self.shape

    @property
    def features(self) -> int:
        """Numbers of one image that are compared."""
        return prod(self.kept)


class Part(NamedTuple):
    """Some of an output's flattened features.

    Attributes:
        layer: The output's place among all.
        features: Which.
    """

    layer: int
    features: slice


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
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> list[Tensor]:
    """Run a network over all images and keep some features of its layers.

    Args:
        network: In eval mode.
        batches: Its inputs, in order.
        outputs: What the chosen layers return.
        parts: Which features to keep, at most one part of an output.
        images: How many images the batches hold together.
        dtype: Of what is kept.
        reduce: What to make of an output [b, ...] before its features are counted.

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
    modules = {output.module: output.of for output in targets}
    expected = {(output.module, output.place): output for output in outputs}
    missing: set[Output] = set()
    calls: dict[str, int] = {}
    batch = slice(0, 0)

    def keep(module: str, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            place = calls[module] = calls.get(module, -1) + 1
            if place >= modules[module]:
                raise ValueError(
                    f"layer {module} returns more tensors for some images than for others"
                )
            if (output := expected.get((module, place))) is None:
                continue
            _check(output, tensor, batch.stop - batch.start)
            if output in targets:
                part, rows = targets[output]
                values = tensor.mean(1) if output.is_set else tensor
                values = reduce(values) if reduce else values
                rows[batch] = values.flatten(1)[:, part.features]
                missing.remove(output)

    with hooked(network, modules, keep):
        for inputs in batches:
            batch = slice(batch.stop, batch.stop + len(inputs))
            calls.clear()
            missing.update(targets)
            network(inputs)
            if missing:
                raise ValueError(f"layer {missing.pop().name} does not run for all images")
    return kept


@contextmanager
def hooked(
    network: nn.Module, modules: Iterable[str], act: Callable[[str, list[Tensor]], None]
) -> Iterator[None]:
    """Call `act` with the name of a module and the tensors that it returns, as it returns."""

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        return lambda module, inputs, returned: act(name, list(_tensors(returned)))

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
