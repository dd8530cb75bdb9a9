"""A short training of some of a network's modules on a few pictures."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import nn

from yolo_synth.advice.choices import Choice
from yolo_synth.advice.pictures import Few
from yolo_synth.networks.contract import Network

BATCH: Final = 8
"""Pictures of a step, as in the paper."""

CLIPPED: Final = 10.0
"""Norm of the gradients above which they are scaled down to it."""

log = logging.getLogger(__name__)


class Schedule(NamedTuple):
    """How long and how fast: Adam, whose rate goes up to its peak and down to nothing (`one_cycle`).

    Attributes:
        steps: Number of steps.
        rate: The peak.
    """

    steps: int
    rate: float

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.steps} steps at {self.rate:g}"


def fit(
    network: Network,
    choice: Choice,
    few: Few,
    shown: Sequence[int],
    schedule: Schedule,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> Network | None:
    """Train a copy of a network; all that is not chosen stays as it is, batch norms' statistics included.

    Order and augmentation of the pictures follow from the seed and which are shown, not from the choice.

    Args:
        network: Where it is to be trained; it is left as it is.
        choice: What is trained.
        few: The pictures.
        shown: Numbers of those to train on.
        schedule: How long and how fast.
        seed: Of order and augmentation.
        progress: Is called after each step.

    Returns:
        The trained copy in eval mode; None if the loss grew without bounds, which is said.
    """
    device = next(network.parameters()).device
    trained = copy.deepcopy(network).requires_grad_(False).eval()
    modules = [trained.get_submodule(name) for name in choice.modules]
    for module in modules:
        module.train()
        module.requires_grad_(True)
    weights = list({id(p): p for module in modules for p in module.parameters()}.values())
    optimizer = torch.optim.Adam(weights, lr=schedule.rate, fused=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.rate, total_steps=max(2, schedule.steps)
    )
    generator = np.random.default_rng((seed, *shown))
    queue: list[int] = []
    finite = True
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)  # of dropout
        for _ in range(schedule.steps):
            progress()
            if not finite:
                continue  # so that the progress bar comes to its end
            while len(queue) < min(BATCH, len(shown)):
                queue += generator.permutation(np.asarray(shown)).tolist()
            batch, queue = queue[:BATCH], queue[BATCH:]
            images, targets = few.batch(batch, generator, device)
            terms = trained.losses(images, targets)
            loss = torch.stack(list(terms.values())).sum()
            if trained.nominal_batch is not None:
                loss = loss * (len(images) / trained.nominal_batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(weights, CLIPPED)
            finite = bool(torch.isfinite(norm))
            if finite:
                optimizer.step()
                cycle.step()
    if not finite:
        log.warning("%s, %s: the loss grew without bounds; it counts as 0", choice.name, schedule)
        return None
    return trained.requires_grad_(False).eval()
