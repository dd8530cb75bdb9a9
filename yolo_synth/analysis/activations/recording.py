"""What every module of a network does in one pass: how often it runs and what it returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from yolo_synth.analysis.activations.hooks import hooked


@dataclass
class Recorded:
    """A module and what it did in one pass.

    Attributes:
        module: Itself.
        children: Names of the modules in it, shared ones where they stand first.
        places: Where it stands: several names if it is shared.
        calls: How often it was called.
        tensors: What it returned, without values.
        order: When it returned first.
        leaves: How many of the modules in it that have none inside can be compared.
    """

    module: nn.Module
    children: list[str]
    places: list[str]
    calls: int = 0
    tensors: list[Tensor] | None = None
    order: int = 0
    leaves: int = 0

    def problems(self, images: int) -> list[str | None]:
        """Return for each tensor why it is no layer, or None if it is one."""
        return [problem(tensor, images) for tensor in self.tensors or ()]

    def reason(self, images: int) -> str | None:
        """Return why the module as a whole is no layer, or None if it is one."""
        if not self.calls:
            return "does not run"
        if not self.tensors:
            return "returns no tensor"
        if self.is_ambiguous:
            return f"is one module at {len(self.places)} places, which its name does not tell apart"
        return next((why for why in self.problems(images) if why), None)

    def shape(self, images: int) -> tuple[int, ...] | None:
        """Return the shape of the first tensor that is no layer, or else of the first, if any."""
        tensors = self.tensors or []
        odd = [tensor for tensor in tensors if problem(tensor, images)]
        return tuple((odd or tensors)[0].shape) if tensors else None

    @property
    def is_ambiguous(self) -> bool:
        """Whether its name says one of several places where it is called."""
        return self.calls > 1 and len(self.places) > 1


def record(network: nn.Module, images: Tensor) -> dict[str, Recorded]:
    """Run a network with a hook on every module, by whose first names they are returned."""
    modules = {
        name: Recorded(
            module, [f"{name}.{child}".lstrip(".") for child, _ in module.named_children()], []
        )
        for name, module in network.named_modules()
    }
    first = {id(module.module): name for name, module in modules.items()}
    for name, module in modules.items():
        module.children = [child for child in module.children if child in modules]
        for child, inside in module.module._modules.items():
            if inside is not None:
                modules[first[id(inside)]].places.append(f"{name}.{child}".lstrip("."))
    order = 0

    def note(name: str, tensors: list[Tensor]) -> None:
        nonlocal order
        order += 1
        module = modules[name]
        module.order = module.order or order
        module.calls += 1
        module.tensors = [*(module.tensors or ()), *(tensor.to("meta") for tensor in tensors)]

    with hooked(network, set(modules), note), torch.inference_mode():
        network(images)
    for module in reversed(modules.values()):  # children stand behind what they are in
        leaves = sum(modules[child].leaves for child in module.children)
        is_layer = None in module.problems(len(images)) and not module.is_ambiguous
        module.leaves = leaves or int(is_layer)
    return modules


def problem(tensor: Tensor, images: int) -> str | None:
    """Return why a tensor is no row of floating numbers for each image, if it is none."""
    if not tensor.is_floating_point():
        return f"returns {str(tensor.dtype).removeprefix('torch.')}, not floating numbers"
    if tensor.dim() < 2 or len(tensor) != images or not tensor.numel():
        return f"has no row of numbers for each of {images} images"
    return None
