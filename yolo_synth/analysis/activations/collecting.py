"""Sums up the Gram matrices of the layers that a network's run hands out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from yolo_synth.analysis.activations.breadth_first import Piece
from yolo_synth.analysis.activations.grams import LEAST, Gram, completed, far_off
from yolo_synth.analysis.activations.policy import Policy


class Layers(NamedTuple):
    """The layers of a network, about to be run.

    Attributes:
        names: Of the layers, in order.
        features: Numbers in each layer's output for one image.
        gram_sources: For each layer a factor and layers before it: its Gram matrix is the factor
            times the sum of theirs. Factor 0 where it does not follow from others.
        pieces: Runs the network.
        policy: In which pieces.
    """

    names: list[str]
    features: list[int]
    gram_sources: list[tuple[int, tuple[int, ...]]]
    pieces: Iterator[Piece]
    policy: Policy


def collect(
    layers: Layers,
    result: Tensor,
    done: set[int],
    save: Callable[[int], None],
    progress: Callable[[float], object],
    group: dist.ProcessGroup | None,
) -> bool:
    """Run a network and put the Gram matrices of its layers into the result.

    Args:
        layers: The network's.
        result: float64 [layers, n, n], on the processor.
        done: Layers whose matrices are there already; it grows.
        save: Called with each layer whose matrix has been put there.
        progress: Called with the share of the features done.
        group: As in `gram_matrices`.

    Returns:
        Whether all is there. If not, an activation was not finite, all of a layer's so small that
        products underflow, or the first image is far from all others: a run with a policy that looks
        after each piece says where, scales them, or subtracts another image.

    Raises:
        ValueError: If an activation is not finite, where the policy looks after each piece.
    """
    sums: dict[int, Gram] = {}
    features = [0] * len(layers.names)
    at_the_end = layers.policy.at_the_end and group is None

    def finish(layer: int) -> None:
        factor, sources = layers.gram_sources[layer]
        if factor:
            torch.sum(result[list(sources)], 0, out=result[layer]).mul_(factor)
        done.add(layer)
        save(layer)

    for layer, chunks in layers.pieces if len(done) < len(layers.names) else ():
        features[layer] += prod(chunks[0].shape[1:])
        follows = bool(layers.gram_sources[layer][0])
        if layer not in done and not follows:
            if layer not in sums:
                sums[layer] = Gram(
                    len(result[0]), layers.names[layer], chunks[0].device, group, layers.policy
                )
            sums[layer].add(chunks)
        if layer not in done and features[layer] == layers.features[layer] and not at_the_end:
            if not follows:
                result[layer] = sums.pop(layer).matrix()
            finish(layer)
        progress(sum(features) / sum(layers.features))
    if sums:
        parts = [(gram.sums, gram.reference) for gram in sums.values()]
        stacked = (torch.stack(part) for part in zip(*parts, strict=True))
        matrices = completed(*stacked).cpu()
        largest = matrices.diagonal(dim1=-2, dim2=-1).amax(-1)
        if not matrices.sum().isfinite() or (largest < LEAST).any() or far_off(matrices):
            return False
        result[list(sums)] = matrices
    for layer in sorted(set(range(len(result))) - done):
        finish(layer)
    return True
