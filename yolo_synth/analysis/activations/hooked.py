"""Makes ready to run a network without a plan, with hooks, once for as many features as fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from yolo_synth.analysis.activations.blocks import LayerChoice, choose, say_left_out
from yolo_synth.analysis.activations.breadth_first import Piece
from yolo_synth.analysis.activations.collecting import Layers
from yolo_synth.analysis.activations.hooks import Part, catch, pack
from yolo_synth.analysis.activations.inputs import batches_of, evaluating, example_of
from yolo_synth.analysis.activations.tuning import ways_to_run


def prepare_hooks(
    network: nn.Module,
    images: Tensor,
    layers: str | Sequence[LayerChoice] | None,
    memory: int,
    dtype: torch.dtype,
    most: int,
) -> Layers:
    """Choose the layers, say what is left out, and make ready to run; as in `each_layer`.

    Args:
        network: Without a plan, or of which these layers are asked for.
        images: Its input.
        layers: Which.
        memory: Bytes of the outputs that are kept.
        dtype: Of the outputs.
        most: Images of which the memory holds the outputs.
    """
    weight = example_of(network)
    ways = ways_to_run(weight.device, len(images), dtype, memory)
    way = ways[-2:][0]  # on no more images at once than stripes take
    batches = batches_of(images, weight.device, weight.dtype, way)
    casting = torch.autocast(weight.device.type, dtype, enabled=dtype == torch.bfloat16)
    with evaluating(network), torch.inference_mode(), casting:
        chosen = choose(network, batches[0].rows()[:2], layers)
    say_left_out(network, chosen)
    outputs = chosen.outputs
    capacity = int(way.hooked * memory) // (most * dtype.itemsize)
    if not capacity:
        raise ValueError(f"{memory} bytes of memory do not hold one feature of {most} images")

    def kept(parts: Sequence[Part]) -> list[Tensor]:
        with evaluating(network), torch.inference_mode(), casting:
            inputs = (batch.rows() for batch in batches)
            return catch(network, inputs, outputs, parts, len(images), dtype)

    def pieces() -> Iterator[Piece]:
        for parts in pack(outputs, capacity):
            for part, rows in zip(parts, kept(parts), strict=True):
                yield Piece(part.layer, [rows])

    names = [output.name for output in outputs]
    features = [output.features for output in outputs]
    return Layers(names, features, [(0, ())] * len(outputs), pieces(), way)
