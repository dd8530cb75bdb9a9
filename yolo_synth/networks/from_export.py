"""`FILE.pt2`: a program of torch.export, whose modules are put together again."""

from __future__ import annotations

import logging
from typing import Final

import torch
from torch import Tensor, nn

from yolo_synth.networks.references import Loader, Preprocessing, Reference, existing


def _load(text: str) -> Reference:
    path = existing(text)
    log = logging.getLogger("torch.export")
    before = log.level
    log.setLevel(logging.CRITICAL)  # what it warns of is in the error
    try:
        program = torch.export.load(str(path))
    except Exception as error:  # those of zip, pickle and schemas have no common class
        raise ValueError(f"{text}: no program of torch.export, or a damaged one") from error
    finally:
        log.setLevel(before)
    shape = _input_shape(program, text)
    network = torch.export.unflatten(program)
    fixed = isinstance(shape[2], int)
    preprocessing = Preprocessing(size=int(shape[2]) if fixed else None, fixed=fixed, multiple=32)
    return Reference(path.stem, _Program(network), preprocessing)


class _Program(nn.Module):
    """A program under its modules' own names; whether it is to be in eval mode was decided before."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, images: Tensor) -> object:
        return self.program(images)

    def train(self, mode: bool = True) -> _Program:
        return self


def _input_shape(program: torch.export.ExportedProgram, text: str) -> torch.Size:
    """Return the shape of the images that a program takes.

    Raises:
        ValueError: If it takes something else, or only a certain number of them.
    """
    inputs = program.graph_signature.user_inputs
    nodes = {node.name: node for node in program.graph.nodes}
    values = [nodes[str(name)].meta["val"] for name in inputs if str(name) in nodes]
    if len(values) != 1 or not isinstance(values[0], Tensor) or values[0].dim() != 4:
        raise ValueError(f"{text}: takes {len(values)} inputs, not images [n, 3, H, W] alone")
    shape = values[0].shape
    if isinstance(shape[0], int):
        raise ValueError(
            f"{text}: takes {shape[0]} images at a time only: export it with "
            'dynamic_shapes=({0: torch.export.Dim("n")},)'
        )
    return shape


LOADER: Final = Loader(
    "a program of torch.export (.pt2)",
    lambda text: text.lower().endswith(".pt2"),
    _load,
    runs="a .pt2, which may hold a pickle,",
)
