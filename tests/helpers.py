"""What several tests do: call the command line, read a run's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from yolo_synth.cli import main


def no_target():
    """Return the target of an image without objects."""
    return {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


DATA = {"BDD100K": "bdd100k", "GTAV": "gtav", "YOLO": "yolo"}


def fit_arguments(scenes: Path, out: Path, data: str = "BDD100K", *options: str) -> list[str]:
    """Return the arguments of a training that takes about two seconds."""
    arguments = {
        "--runs": out,
        "--data": f"yolo_synth.{data}",
        "--data.root": scenes / DATA[data],
        "--data.splits": scenes / "splits" / DATA[data],
        "--data.image_size": 64,
        "--data.num_workers": 0,
        "--model.width": 0.0625,
        "--model.lr": 0.001,
        "--trainer.accelerator": "cpu",
        "--trainer.max_epochs": 1,
        "--trainer.enable_progress_bar": False,
        "--trainer.enable_model_summary": False,
        "--trainer.log_every_n_steps": 1,
        "--similarity.images": 0,
        "--pictures.images": 0,
    }
    return ["fit", *(f"{name}={value}" for name, value in arguments.items()), *options]


def fit(scenes: Path, out: Path, data: str = "BDD100K", *options: str) -> None:
    """Train and expect it to go well."""
    assert main(fit_arguments(scenes, out, data, *options)) == 0


@contextmanager
def with_wandb() -> Iterator[None]:
    """Have trainings log to Weights & Biases, offline as by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        yield


def weights(run: Path, checkpoint: str = "last.ckpt") -> dict[str, torch.Tensor]:
    """Return the network's state in a checkpoint, batch-norm statistics included."""
    state = torch.load(run / checkpoint, weights_only=True)["state_dict"]
    return {k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Tell whether two states are the same to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def layers(state: dict[str, torch.Tensor], first: int, last: int) -> dict[str, torch.Tensor]:
    """Return the part of a state that belongs to some layers."""
    return {k: v for k, v in state.items() if first <= int(k.split(".")[1]) <= last}
