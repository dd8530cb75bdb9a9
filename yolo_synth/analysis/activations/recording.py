"""What every module of a network does in one pass: how often it runs and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from yolo_synth.analysis.activations.hooks import hooked

_SORTING: Final = (
    torch.ops.aten.topk.default,
    torch.ops.aten.sort.default,
    torch.ops.aten.sort.stable,
)
"""What brings things into an order that follows from their values."""


MOST_AT_ONCE: Final = 5
"""Tensors that a block returns at once: a pyramid's maps."""


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
        sets: Which of the tensors are sets of queries, [images, queries, ...]: there are as many as the
            network chose or sorted by their scores before.
        by_image: Which of the tensors had a row more when there was an image more.
    """

    module: nn.Module
    children: list[str]
    places: list[str]
    calls: int = 0
    tensors: list[Tensor] | None = None
    order: int = 0
    leaves: int = 0
    sets: list[bool] = field(default_factory=list)
    by_image: list[bool] = field(default_factory=list)

    def problems(self, images: int) -> list[str | None]:
        """Return for each tensor why it is no layer, or None if it is one."""
        pairs = zip_longest(self.tensors or (), self.by_image[: len(self.tensors or ())])
        return [
            problem(tensor, images)
            or (None if follows else f"has no row of numbers for each of {images} images")
            for tensor, follows in pairs
        ]

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
        whys = self.problems(images)
        odd = [tensor for tensor, why in zip(tensors, whys, strict=True) if why]
        return tuple((odd or tensors)[0].shape) if tensors else None

    @property
    def is_all(self) -> bool:
        """Whether it hands out so much at once that it is rather the whole network than a block."""
        return self.calls > 0 and len(self.tensors or ()) > MOST_AT_ONCE * self.calls

    @property
    def is_ambiguous(self) -> bool:
        """Whether its name says one of several places where it is called."""
        return self.calls > 1 and len(self.places) > 1


def record(network: nn.Module, images: Tensor) -> dict[str, Recorded]:
    """Run a network with a hook on every module, by whose first names they are returned.

    It runs a second time with one image more: what has two rows for two images may be two of something
    else.
    """
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
        chosen = [t.dim() > 2 and t.shape[1] in sorting.lengths for t in tensors]
        rows = any(t.dim() == 3 and is_set for t, is_set in zip(tensors, chosen, strict=True))
        module.sets += [rows and is_set for is_set in chosen]  # a map may have as many channels

    sorting = _Sorting(len(images))
    with hooked(network, set(modules), note), torch.inference_mode(), sorting:
        network(images)
    more = torch.cat([images, images[:1]])

    def note_rows(name: str, tensors: list[Tensor]) -> None:
        modules[name].by_image += [tensor.shape[:1] == (len(more),) for tensor in tensors]

    with hooked(network, set(modules), note_rows), torch.inference_mode():
        network(more)
    for module in reversed(modules.values()):  # children stand behind what they are in
        leaves = sum(modules[child].leaves for child in module.children)
        is_layer = None in module.problems(len(images)) and not module.is_ambiguous
        module.leaves = leaves or int(is_layer)
    return modules


class _Sorting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's are untyped
    """Notes how many things of each image a network has chosen or sorted by their values so far."""

    def __init__(self, images: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.images = images
        self.lengths: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Leave the compiler alone, which takes seconds to import and is not used here."""
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operation returns
        found = func(*args, **(kwargs or {}))
        if func in _SORTING:
            places = found[-1] if isinstance(found, tuple) else found
            if places.dim() == 2 and len(places) == self.images:
                self.lengths.add(places.shape[1])
        return found


def problem(tensor: Tensor, images: int) -> str | None:
    """Return why a tensor is no row of floating numbers for each image, if it is none."""
    if not tensor.is_floating_point():
        return f"returns {str(tensor.dtype).removeprefix('torch.')}, not floating numbers"
    if tensor.dim() < 2 or len(tensor) != images or not tensor.numel():
        return f"has no row of numbers for each of {images} images"
    return None
