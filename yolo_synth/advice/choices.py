"""What of a network can be trained: about eight blocks, each alone, and the usual wholes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from yolo_synth.networks.contract import Network

STAGES: Final = 8
"""Blocks that are tried alone, at most."""

EVERYTHING: Final = "everything"
HEAD: Final = "head"
NORMS: Final = "batch norms"

Ranges = list[tuple[int, int]]
"""First and last of neighbouring blocks, both counted in."""


@dataclass(frozen=True)
class Choice:
    """What is trained, while all else stays as it is to the bit.

    Attributes:
        name: As it is printed.
        modules: Names of the modules that are trained.
        thawed: The same as numbers of the network's blocks; None for batch norms, which are no blocks.
    """

    name: str
    modules: tuple[str, ...]
    thawed: range | None = None

    def frozen(self, network: Network) -> Ranges:
        """Return the blocks that `freezing.mode` has to name for the same; none for everything.

        Raises:
            ValueError: If no blocks say it.
        """
        if self.thawed is None:
            raise ValueError(f"no blocks to freeze leave only the {self.name} to be trained")
        first, last = self.thawed[0], self.thawed[-1]
        rest = [(0, first - 1), (last + 1, len(network.blocks) - 1)]
        return [(begin, end) for begin, end in rest if begin <= end]


def choices(network: Network, image: Tensor) -> list[Choice]:
    """Return everything, the stages, the head and the batch norms, as far as the network has them.

    Args:
        network: In eval mode.
        image: float [1, 3, H, W] that it takes.
    """
    blocks = network.blocks
    found = [Choice(EVERYTHING, ("",), range(len(blocks)))]
    cut = stages(network, image)
    found += [_of_blocks(f"layers {r[0]}-{r[-1]}", blocks, r) for r in cut if len(cut) > 1]
    head = range(len(network.backbone), len(blocks))
    if 0 < len(head) < len(blocks) and head not in cut:
        found.append(_of_blocks(HEAD, blocks, head))
    if norms := norms_of(network):
        found.append(Choice(NORMS, norms))
    return found


def _of_blocks(name: str, blocks: Sequence[str], thawed: range) -> Choice:
    return Choice(name, tuple(blocks[i] for i in thawed), thawed)


def norms_of(network: nn.Module) -> tuple[str, ...]:
    """Return the names of the batch norms."""
    return tuple(
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    )


@torch.no_grad()
def stages(network: Network, image: Tensor) -> list[range]:
    """Cut a network's blocks where the backbone ends and where the sides of their outputs change.

    Of more than `STAGES`, and of those without weights, the lightest joins the lighter of its neighbours.

    Args:
        network: In eval mode.
        image: float [1, 3, H, W] that it takes.
    """
    blocks = network.blocks
    sides = _sides(network, image)
    ends = len(network.backbone)
    cuts = [
        number
        for number in range(1, len(blocks))
        if number == ends or sides[number] != sides[number - 1]
    ]
    found = [range(a, b) for a, b in zip([0, *cuts], [*cuts, len(blocks)], strict=True)]
    weights = [_weights(network.get_submodule(name)) for name in blocks]

    def heavy(stage: range) -> int:
        return sum(weights[i] for i in stage)

    while len(found) > 1:
        number = min(range(len(found)), key=lambda i: heavy(found[i]))
        if len(found) <= STAGES and heavy(found[number]):
            break
        beside = [i for i in (number - 1, number + 1) if 0 <= i < len(found)]
        other = min(beside, key=lambda i: heavy(found[i]))
        first, second = sorted((number, other))
        found[first : second + 1] = [range(found[first].start, found[second].stop)]
    return found


def _sides(network: Network, image: Tensor) -> list[tuple[int, ...]]:
    """Return height and width of each block's first map; a block without one has those of before."""
    seen: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:  # noqa: ANN401 - a hook
        def hook(_: nn.Module, __: object, output: object) -> None:
            if isinstance(output, Tensor) and output.dim() == 4:
                seen.setdefault(name, tuple(output.shape[2:]))

        return hook

    hooks = [network.get_submodule(b).register_forward_hook(note(b)) for b in network.blocks]
    try:
        network(image)
    finally:
        for handle in hooks:
            handle.remove()
    sides: list[tuple[int, ...]] = []
    for block in network.blocks:
        sides.append(seen.get(block, sides[-1] if sides else ()))
    return sides


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
