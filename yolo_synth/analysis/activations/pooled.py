"""Gram matrices of pooled features: one pass, any number of images, networks of any input sizes.

Exact Gram matrices need all numbers of an output for all images at once, so a network without a plan
passes several times where they do not fit. Pooled, each channel keeps 17 numbers an image: its means
over a grid of 4 x 4 cells, and over the whole map. That is another statistic than the exact one: it
does not see what lies inside a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yolo_synth.analysis.activations.blocks import LayerChoice, choose, named_blocks, say_left_out
from yolo_synth.analysis.activations.grams import Gram
from yolo_synth.analysis.activations.hooks import Part, catch
from yolo_synth.analysis.activations.inputs import (
    batches_of,
    check_images,
    evaluating,
    example_of,
)
from yolo_synth.analysis.activations.layers import Planned, is_planned, read_layers
from yolo_synth.analysis.activations.policy import PROCESSOR
from yolo_synth.analysis.activations.precision import full_float32

GRID: Final = 4
"""Cells of the grid on a side."""


def pool(output: Tensor) -> Tensor:
    """Return each channel's means over the cells of a grid and over the whole map.

    Args:
        output: A map [b, channels, h, w], or tokens [b, tokens, channels], of which `GRID` x `GRID`
            runs of neighbours take the cells' place; anything else stays as it is.

    Returns:
        float32 [b, features]. Cells of a side that is no multiple of `GRID` overlap by a row or
        column: cell i goes from floor(i h / 4) to ceil((i + 1) h / 4).
    """
    values = output.float()
    if values.dim() == 4:
        cells = F.adaptive_avg_pool2d(values, GRID).flatten(1)
        return torch.cat([cells, values.mean((2, 3))], 1)
    if values.dim() == 3:
        cells = F.adaptive_avg_pool1d(values.mT, GRID * GRID).flatten(1)
        return torch.cat([cells, values.mean(1)], 1)
    return values.flatten(1)


@full_float32()
@torch.inference_mode()
def pooled_gram_matrices(
    network: nn.Module, images: Tensor, *, layers: str | Sequence[LayerChoice] | None = None
) -> Tensor:
    """Compute the Gram matrix of every layer's pooled features, in one pass over the images.

    Args:
        network: Any; it is run in eval mode and left as it was.
        images: [n, 3, H, W], float in 0..1, or uint8, which is divided by 255. Of two networks that
            are compared they may have different sizes.
        layers: As in `gram_matrices`; names are those of `layer_names`.

    Returns:
        float64 [layers, n, n], not centred, on the processor.

    Raises:
        ValueError: As `gram_matrices`.
    """
    check_images(images)
    weight = example_of(network)
    if layers is None and is_planned(network):
        layers = [
            f"layers.{layer.index}"
            for layer in read_layers(cast(Planned, network), images.shape[1:])
        ]
    elif layers is None:
        layers = named_blocks(network)
    batches = batches_of(images, weight.device, weight.dtype, PROCESSOR)
    with evaluating(network):
        chosen = choose(network, batches[0].rows()[:2], layers)
        say_left_out(network, chosen)
        sizes = [pool(torch.empty(1, *out.kept, device="meta")).shape[1] for out in chosen.outputs]
        parts = [Part(layer, slice(0, size)) for layer, size in enumerate(sizes)]
        inputs = (batch.rows() for batch in batches)
        pooled = catch(network, inputs, chosen.outputs, parts, len(images), torch.float32, pool)
    result = torch.empty(len(pooled), len(images), len(images), dtype=torch.float64)
    for layer, rows in enumerate(pooled):
        gram = Gram(len(images), chosen.outputs[layer].name, rows.device)
        gram.add([rows])
        result[layer] = gram.matrix()
    return result
