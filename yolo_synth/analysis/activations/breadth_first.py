"""Runs a network that says its plan breadth-first: each layer over all images, then the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from yolo_synth.analysis.activations.layers import IMAGE, Layer
from yolo_synth.analysis.activations.plan import Plan


class Piece(NamedTuple):
    """Some or all features of one layer, for all images.

    Attributes:
        layer: The layer's place among those asked for.
        chunks: Consecutive groups of images, together all of them: each [images of the group, ...].
            They are the network's working memory: read them before the next piece, and do not
            change them.
    """

    layer: int
    chunks: Sequence[Tensor]


class Batch(NamedTuple):
    """A group of images that become a network's input when they are needed.

    Attributes:
        images: [b, 3, H, W], float in 0..1, or uint8, on the network's device.
        dtype: Of the input.
        memory_format: Of the input.
    """

    images: Tensor
    dtype: torch.dtype
    memory_format: torch.memory_format = torch.channels_last

    def rows(self, rows: slice = slice(None)) -> Tensor:
        """Return a copy of some rows as [b, 3, rows, W] in 0..1."""
        part = self.images[:, :, rows]
        part = part.float() / 255 if part.dtype == torch.uint8 else part
        return part.to(self.dtype, memory_format=self.memory_format, copy=True)


def run_breadth_first(plan: Plan, batches: Sequence[Batch]) -> Iterator[Piece]:
    """Run all layers over all images once; each number of each output is handed out once.

    Args:
        plan: Of a network in eval mode.
        batches: All images, in groups of at least as many as the plan's layers run on at once.
    """
    outputs: dict[int, deque[Tensor]] = {}
    if plan.striped:
        yield from _run_on_stripes(plan, batches, outputs)
    for layer in plan.layers[plan.striped :]:
        outputs[layer.index] = deque(_run_whole(plan, layer, batches, outputs))
        yield Piece(layer.index, outputs[layer.index])
        if plan.last_use[layer.index] == layer.index:
            del outputs[layer.index]


def _run_on_stripes(
    plan: Plan, batches: Sequence[Batch], outputs: dict[int, deque[Tensor]]
) -> Iterator[Piece]:
    """Run the first layers on stripes, and put into `outputs` what later layers read of them."""
    layers = plan.layers[: plan.striped]
    running = {layer.index: layer.start_stripes(batches[0].dtype, len(batches)) for layer in layers}
    for layer in plan.exits:
        outputs[layer.index] = deque(_empty(layer, batch) for batch in batches)
    done = dict.fromkeys(outputs, 0)
    for stripe in plan.stripes:
        given = {IMAGE: [batch.rows(stripe) for batch in batches]}
        for layer in layers:
            index = layer.index
            sources = zip(*(given[source] for source in layer.sources), strict=True)
            given[index] = [
                run(*rows, last=stripe.stop == plan.height)
                for run, rows in zip(running[index], sources, strict=True)
            ]
            if given[index][0].shape[2]:
                yield Piece(index, given[index])
            if index in done:
                new = slice(done[index], done[index] + given[index][0].shape[2])
                for whole, rows in zip(outputs[index], given[index], strict=True):
                    whole[:, :, new] = rows
                done[index] = new.stop
            for source in set(layer.sources):
                if plan.last_use[source] == index:
                    del given[source]


def _empty(layer: Layer, batch: Batch) -> Tensor:
    """Return memory for a layer's whole output, with the channels last."""
    shape = (len(batch.images), *layer.shape)
    return torch.empty(
        shape,
        dtype=batch.dtype,
        device=batch.images.device,
        memory_format=torch.channels_last,
    )


def _run_whole(
    plan: Plan, layer: Layer, batches: Sequence[Batch], outputs: dict[int, deque[Tensor]]
) -> Iterator[Tensor]:
    """Yield a layer's output group by group, and free what it is the last to read."""
    module = layer.prepared(batches[0].dtype, plan.images, batches[0].memory_format)
    size = 0 if layer.is_view else plan.group(layer)
    sources = []
    for place, source in enumerate(layer.sources):
        chunks: Iterator[Tensor]
        if source == IMAGE:
            chunks = (batch.rows() for batch in batches)
        elif plan.last_use[source] == layer.index and source not in layer.sources[place + 1 :]:
            chunks = _emptied(outputs.pop(source))
        else:
            chunks = iter(outputs[source])
        sources.append(_regrouped(chunks, size))
    for inputs in zip(*sources, strict=True):
        yield module(*inputs)


def _emptied(chunks: deque[Tensor]) -> Iterator[Tensor]:
    while chunks:
        yield chunks.popleft()


def _regrouped(chunks: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    """Join chunks to groups of `size` images, or split them; 0 leaves them as they are."""
    group: list[Tensor] = []
    for chunk in chunks:
        group.append(chunk)
        if sum(map(len, group)) >= size:
            yield from _split(group, size)
            group = []
    if group:
        yield from _split(group, size)


def _split(group: list[Tensor], size: int) -> Sequence[Tensor]:
    whole = group[0] if len(group) == 1 else torch.cat(group)
    return torch.split(whole, size) if 0 < size < len(whole) else (whole,)
