"""What the figures have to know of a network: its layers' kinds, sources and resolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from yolo_synth.analysis.activations.blocks import (
    LayerChoice,
    choose,
    choose_layers,
    named_blocks,
)
from yolo_synth.analysis.activations.hooks import Output
from yolo_synth.analysis.activations.inputs import evaluating
from yolo_synth.analysis.activations.layers import is_planned

IMAGE: Final = -1
"""The source index that stands for the network's input."""

_SHORT: Final = {"convolutional": "conv", "yolo": "detection"}


@dataclass(frozen=True)
class Structure:
    """The layers of a network, numbered from 0, without their weights.

    Attributes:
        kinds: What each layer is, such as `convolutional`, `shortcut`, `route`, `upsample`, `yolo`.
        sources: For each layer, the layers whose outputs it reads; `IMAGE` (-1) is the input.
        strides: For each layer, image pixels per cell of its output, along one side.
        backbone_end: The head's first layer; the number of layers if there is no head.
        names: Of the layers, where numbers and kinds do not say enough; else none.
    """

    kinds: tuple[str, ...]
    sources: tuple[tuple[int, ...], ...]
    strides: tuple[int, ...]
    backbone_end: int
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that all parts speak of the same layers.

        Raises:
            ValueError: If they do not.
        """
        counts = len(self.kinds), len(self.sources), len(self.strides)
        if len(set(counts)) > 1 or not self.kinds:
            raise ValueError(
                f"a structure has one kind, one row of sources and one stride per layer, not {counts}"
            )
        if not 0 < self.backbone_end <= len(self):
            raise ValueError(
                f"backbone_end is the head's first layer, 1 to {len(self)}, not {self.backbone_end}"
            )
        if self.names and len(self.names) != len(self):
            raise ValueError(f"a structure of {len(self)} layers has no {len(self.names)} names")
        for layer, row in enumerate(self.sources):
            if not all(IMAGE <= source < layer for source in row):
                raise ValueError(f"layer {layer} reads {row}: sources come before their layer")
        if min(self.strides) < 1:
            raise ValueError(f"strides are 1 or more, not {min(self.strides)}")

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.kinds)

    @property
    def backbone(self) -> range:
        """Return the backbone's layers."""
        return range(self.backbone_end)

    @property
    def head(self) -> range:
        """Return the head's layers; empty if there is none."""
        return range(self.backbone_end, len(self))

    @property
    def called(self) -> tuple[str, ...]:
        """Return what to call each layer beside its number: its name if it has one, or its kind."""
        return self.names or self.kinds

    @property
    def parts(self) -> dict[str, range]:
        """Return the layers of backbone and head; nothing if it has no parts."""
        return {"backbone": self.backbone, "head": self.head} if self.head else {}

    @property
    def regions(self) -> tuple[range, ...]:
        """Return the scale regions: the longest runs of layers of one stride."""
        starts = [
            layer
            for layer in range(len(self))
            if layer == 0 or self.strides[layer] != self.strides[layer - 1]
        ]
        return tuple(range(start, end) for start, end in pairwise([*starts, len(self)]))

    @property
    def skips(self) -> tuple[tuple[int, int], ...]:
        """Return (source, layer) for each output that is read by another than the next layer."""
        return tuple(
            (source, layer)
            for layer, row in enumerate(self.sources)
            for source in row
            if source not in (layer - 1, IMAGE)
        )

    def side(self, layer: int, image_size: int) -> int:
        """Return the side of a layer's output in cells, for square images of `image_size` pixels."""
        return math.ceil(image_size / self.strides[layer])

    def labels(self, image_size: int) -> list[str]:
        """Return a label per layer, such as `62 conv 13x13`, for images of `image_size` pixels."""
        sides = [self.side(layer, image_size) for layer in range(len(self))]
        what = self.names or [_SHORT.get(kind, kind) for kind in self.kinds]
        return [
            f"{layer} {name} {side}x{side}"
            for layer, (name, side) in enumerate(zip(what, sides, strict=True))
        ]


def structure_of(
    network: nn.Module, backbone_end: int | None = None, image_size: int = 416
) -> Structure:
    """Read the structure of a network that says its layers and their sources, or its blocks.

    Of the first only shapes are computed, on no device. The second is run once, on two black images:
    how its blocks are joined is not known, so they stand in a row, each reading the one before it. The
    network is left as it is.

    Args:
        network: Has `layers`, a sequence of modules, and `sources`, for each the layers that it reads
            (-1 is the image); or `blocks`, names of modules. Without `kinds`, a layer's kind is its
            class's name in lower case.
        backbone_end: The head's first layer; by default the network's attribute of that name, or the
            first that is not one of the blocks named in its `backbone`.
        image_size: A side of the input, in pixels, that the network takes. Strides are read off
            the outputs' sides, rounded; a layer whose output is not [n, c, h, w] has its first
            source's stride.

    Returns:
        The structure.

    Raises:
        ValueError: If the network does not say its layers, sources or where the head starts.
    """
    name = type(network).__name__
    layers = list(getattr(network, "layers", ()))
    sources = tuple(tuple(row) for row in getattr(network, "sources", ()))
    blocks = named_blocks(network)
    if blocks and not sources:
        return _structure_of_blocks(network, blocks, backbone_end, image_size)
    if not layers or len(layers) != len(sources):
        raise ValueError(
            f"{name} has {len(layers)} layers and {len(sources)} rows of sources: "
            "give it `layers` and one row of `sources` for each, or names of `blocks`"
        )
    if backbone_end is None:
        backbone_end = getattr(network, "backbone_end", None)
    if backbone_end is None and blocks:
        backbone_end = len(getattr(network, "backbone", ()))
    if backbone_end is None:
        raise ValueError(f"{name} does not say where its head starts: give backbone_end")
    kinds = getattr(network, "kinds", None) or [type(layer).__name__.lower() for layer in layers]
    strides = _strides(layers, sources, image_size)
    return Structure(tuple(kinds), sources, strides, backbone_end)


def structure_of_layers(
    network: nn.Module, images: Tensor, layers: str | Sequence[LayerChoice] | None = None
) -> Structure:
    """Read the structure of what `gram_matrices` compares of any network, from its module tree.

    How its blocks are joined is not known, so they stand in a row, in the order in which they run,
    unless the network says its layers and sources. The head begins with the first block after those
    whose path has a `backbone` in it; without such it has none.

    The arguments and errors are as in `each_layer`; images are square, and two of them are used.
    """
    if layers is None and is_planned(network):
        return structure_of(network)
    outputs = choose_layers(network, images, layers).outputs
    said = getattr(network, "backbone", None)
    names = said if isinstance(said, list) else [o.module for o in outputs if _is_backbone(o)]
    return _in_a_row(network, outputs, images.shape[-1], _after(outputs, names))


def _is_backbone(output: Output) -> bool:
    return "backbone" in output.module.split(".")


def _structure_of_blocks(
    network: nn.Module, blocks: list[str], backbone_end: int | None, image_size: int
) -> Structure:
    """Run a network once and read off what its blocks return."""
    weight = next(network.parameters())
    black = torch.zeros(2, 3, image_size, image_size, dtype=weight.dtype, device=weight.device)
    with evaluating(network), torch.inference_mode():
        outputs = choose(network, black, blocks).outputs
    if backbone_end is None:
        inside = set(getattr(network, "backbone", ()))
        head = [layer for layer, output in enumerate(outputs) if output.module not in inside]
        backbone_end = head[0] if head else len(outputs)
    return _in_a_row(network, outputs, image_size, backbone_end)


def _after(outputs: Sequence[Output], names: Sequence[str]) -> int:
    """Return the first layer after the last one of some modules; all of them if that is none."""
    inside = [layer for layer, output in enumerate(outputs) if output.module in set(names)]
    return inside[-1] + 1 if inside else len(outputs)


def _in_a_row(
    network: nn.Module, outputs: Sequence[Output], image_size: int, backbone_end: int
) -> Structure:
    strides: list[int] = []
    for output in outputs:
        is_map = len(output.shape) == 3
        before = strides[-1] if strides else 1
        strides.append(max(1, round(image_size / output.shape[1])) if is_map else before)
    modules = [network.get_submodule(output.module) for output in outputs]
    return Structure(
        tuple(type(module).__name__.lower() for module in modules),
        tuple((layer - 1,) for layer in range(len(outputs))),
        tuple(strides),
        backbone_end,
        tuple(output.name for output in outputs),
    )


def _strides(
    layers: Sequence[nn.Module], sources: Sequence[tuple[int, ...]], image_size: int
) -> tuple[int, ...]:
    # Two images: batch normalisation in training mode refuses a single value per channel.
    outputs = {IMAGE: torch.empty(2, 3, image_size, image_size, device="meta")}
    strides = {IMAGE: 1}
    for index, layer in enumerate(layers):
        row = sources[index]
        outputs[index] = _shape_only(layer, [outputs[source] for source in row])
        strides[index] = (
            max(1, round(image_size / outputs[index].shape[-2]))
            if outputs[index].dim() == 4
            else strides[row[0]]
        )
    return tuple(strides[index] for index in range(len(layers)))


def _shape_only(layer: nn.Module, inputs: list[Tensor]) -> Tensor:
    """Run a layer on shapes, with weights and buffers that hold no values."""
    state = {
        name: value.to("meta")
        for name, value in [*layer.named_parameters(), *layer.named_buffers()]
    }
    with torch.no_grad():
        output: Tensor = torch.func.functional_call(layer, state, tuple(inputs))
    return output
