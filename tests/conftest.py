"""What all tests share: two threads at most, no network, no CUDA, small scenes drawn once."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # figures are those of the processor on every machine
os.environ["WANDB_MODE"] = (
    "disabled"  # `helpers.with_wandb` has it: a run costs as much as a training
)
os.environ["WANDB_SILENT"] = "true"
os.environ["WANDB_ERROR_REPORTING"] = "false"
torch.set_num_threads(1)  # the suite runs in two processes

_COMMON = settings(
    deadline=timedelta(seconds=60),  # a hang is an error; a busy machine is none
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)
# The suite draws the same cases on every machine; `make fuzz` draws others, and more.
settings.register_profile("suite", _COMMON, max_examples=120, derandomize=True)
settings.register_profile("fuzz", _COMMON, max_examples=10_000, print_blob=True)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory) -> Path:
    """Return a folder with 40 drawn scenes of each style in the true formats."""
    from yolo_synth.scenes.formats import write_tiny

    root = tmp_path_factory.mktemp("tiny")
    write_tiny(root / "scenes", images=40)
    return root / "scenes"


@pytest.fixture(scope="session")
def formats(tiny_root, tmp_path_factory) -> dict[str, Path]:
    """Return a folder in each format that is read: the scenes, and GTAV's as COCO and YOLO data."""
    from yolo_synth.data.convert import write_converted
    from yolo_synth.data.gtav import GTAV

    root = tmp_path_factory.mktemp("converted")
    data = GTAV(tiny_root / "gtav", splits=tiny_root / "splits/gtav")
    write_converted(data, "coco", root / "coco", "copy")
    write_converted(data, "yolo", root / "yolo", "copy")
    own = {name: tiny_root / name for name in ("bdd100k", "gtav")}
    return own | {name: root / name for name in ("coco", "yolo")}


@pytest.fixture(autouse=True)
def _no_run_left_open():
    """End a W&B run that a test began: a second logger would go on with it.

    Programs that a later test starts have a W&B process of their own, as on a user's machine.
    """
    yield
    os.environ.pop("WANDB_SERVICE", None)
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()
