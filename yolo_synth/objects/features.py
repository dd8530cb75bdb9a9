"""What a network makes of a box: the mean of the map that answers for it, over the box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from yolo_synth.analysis.activations.blocks import choose_layers
from yolo_synth.analysis.activations.hooks import hooked
from yolo_synth.analysis.activations.inputs import evaluating, example_of
from yolo_synth.networks.contract import Network
from yolo_synth.objects.rows import Rows

CELLS: Final = 4.0
"""Cells of a map on a side of a box that it answers for, about, in a network that does not say it."""

BATCH: Final = 16
"""Pictures that run together."""


class Features(NamedTuple):
    """What a network makes of n boxes.

    Attributes:
        levels: Names of the modules whose maps answer, the coarsest first.
        level: Which of them each box is of, int64 [n].
        values: Of each level, float32 [boxes of it, channels], in the boxes' order.
    """

    levels: list[str]
    level: Tensor
    values: list[Tensor]


def box_features(network: nn.Module, rows: Rows) -> Features:
    """Pool the map that answers for each box over it.

    A `Network` says which maps answer and for which boxes (YOLOv3 by its anchors). Of any other the last
    map of each size is taken, and of these the one of which about `CELLS` cells are a box's side.

    Args:
        network: Any detector; it is run in eval mode and left as it was.
        rows: The boxes.

    Raises:
        ValueError: If the network has no map.
    """
    images, weight = rows.images, example_of(network)
    side = images.shape[-1]
    with evaluating(network):
        levels, strides = _levels(network, images, side)
    sizes = rows.boxes[:, 2:] - rows.boxes[:, :2]
    if isinstance(network, Network) and network.levels:
        level = network.level_of(sizes)
    else:
        wanted = torch.log(rows.sides.clamp(min=1e-6) / CELLS)
        level = (wanted[:, None] - torch.tensor(strides).log()).abs().argmin(1)
    values: list[Tensor] = [torch.zeros(0)] * len(levels)
    found: list[list[Tensor]] = [[] for _ in levels]
    maps: dict[str, Tensor] = {}

    def keep(name: str, tensors: list[Tensor]) -> None:
        maps[name] = next(x for x in tensors if x.dim() == 4)

    with evaluating(network), torch.inference_mode(), hooked(network, levels, keep):
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH].to(weight.device, weight.dtype)
            network(batch / 255 if images.dtype == torch.uint8 else batch)
            here = (rows.picture >= start) & (rows.picture < start + BATCH)
            for number, name in enumerate(levels):
                chosen = here & (level == number)
                places = torch.cat([rows.picture[chosen, None] - start, rows.boxes[chosen]], 1)
                pooled = roi_align(
                    maps[name].float(),
                    places.to(maps[name].device),
                    1,
                    maps[name].shape[-1] / side,
                    sampling_ratio=4,
                    aligned=True,
                )
                found[number].append(pooled.flatten(1).cpu())
    values = [torch.cat(some) for some in found]
    return Features(levels, level, values)


def _levels(network: nn.Module, images: Tensor, side: int) -> tuple[list[str], list[float]]:
    """Return the modules whose maps answer, the coarsest first, and the pixels of a cell of each."""
    if isinstance(network, Network) and network.levels:
        return list(network.levels), []
    outputs = choose_layers(network, images[:2]).outputs
    last = {out.shape[1:]: out.module for out in outputs if len(out.shape) == 3 and out.of == 1}
    sides = sorted(shape for shape in last if min(shape) > 1)
    if not sides:
        raise ValueError(f"{type(network).__name__} has no maps that boxes could be pooled from")
    return [last[shape] for shape in sides], [side / shape[1] for shape in sides]


def gram_of(features: Features, chosen: Sequence[int]) -> Tensor:
    """Return the products of some boxes' features, float64 [1, n, n].

    Boxes of two levels have no channel in common: their product is 0. Each level is centred and brought
    to a mean square of 1, so that neither which levels there are nor their units make boxes alike.

    Args:
        features: Of all boxes.
        chosen: Which boxes, in this order.
    """
    index = torch.as_tensor(list(chosen), dtype=torch.int64)
    gram = torch.zeros(len(index), len(index), dtype=torch.float64)
    for number, values in enumerate(features.values):
        place = torch.full((len(features.level),), -1)
        place[features.level == number] = torch.arange(len(values))
        here = torch.nonzero(features.level[index] == number)[:, 0]
        if len(here) < 2:
            continue
        x = values[place[index[here]]].double()
        x = x - x.mean(0)
        x = x / x.square().sum(1).mean().sqrt().clamp(min=1e-30)
        gram[here[:, None], here] = x @ x.mT
    return gram[None]
