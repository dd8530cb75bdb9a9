"""What a data module asks of the trainer that it serves, or answers where there is none."""

from __future__ import annotations

import os
from typing import Any

import torch
from lightning.pytorch import Trainer

from yolo_synth.data.listing import cores


def epoch_of(trainer: Trainer | None) -> int:
    """Return the epoch under way, or between two the next; 0 before a checkpoint is read."""
    if trainer is None:
        return 0
    progress: Any = trainer.fit_loop.epoch_progress.current
    return int(progress.processed)


def replicas(trainer: Trainer | None) -> tuple[int, int]:
    """Return the number of processes that train together, and this one's rank."""
    return (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)


def workers_of(trainer: Trainer | None) -> int:
    """Return how many processes load images for each device: its share of the processor cores."""
    devices = 1 if trainer is None else max(1, trainer.num_devices)
    return max(1, cores() // devices)


def dtype_of(trainer: Trainer | None) -> torch.dtype:
    """Return the precision that the network's inputs have."""
    network: Any = None if trainer is None else trainer.lightning_module
    return torch.float32 if network is None else network.dtype


def global_seed() -> int:
    """Return the run's seed, as Lightning's `seed_everything` leaves it; 0 if it was not called."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))
