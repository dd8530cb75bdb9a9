"""Two devices: trainings by two processes, one of which dies."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest
import torch
from helpers import equal, fit_arguments, weights

from yolo_synth.cli import main

RANK_1_DIES = """
import os, signal, sys
from yolo_synth.cli import main
from yolo_synth.detector import Detector

step = Detector.training_step

def dies(self, batch, batch_idx):
    if self.global_rank == 1 and self.global_step == 4:  # in the second epoch
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)

Detector.training_step = dies
sys.exit(main())
"""


def on_two_devices(scenes, out, *options, program=("-m", "yolo_synth")):
    """Train two epochs of three steps; the first process validates a batch more than the second."""
    splits = out / "splits"
    if not splits.exists():
        splits.mkdir(parents=True)
        for split, count in (("train", 24), ("valid", 7), ("test", 8)):
            names = (scenes / f"splits/bdd100k/{split}.txt").read_text().split()[:count]
            (splits / f"{split}.txt").write_text("\n".join(names) + "\n")
    devices = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=2")
    data = (f"--data.splits={splits}", "--data.batch_size=4", "--pictures.images=1")
    arguments = fit_arguments(scenes, out, "BDD100K", *devices, *data, *options)
    command = [sys.executable, *program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def u_real(tiny_root, tmp_path_factory):
    """Return the run folder of a training by two processes."""
    out = tmp_path_factory.mktemp("devices")
    done = on_two_devices(tiny_root, out)
    assert done.returncode == 0, done.stderr
    return out / "U-Real" / "0"


def test_one_process_measures_what_two_measured(u_real, capsys):
    """Seven images in batches of four: one process has them in two batches, two in one each."""
    metrics = pd.read_csv(u_real / "metrics.csv")
    best = metrics["val/map50"].max()
    config, checkpoint = f"--config={u_real}/config.yaml", f"--ckpt_path={u_real}/best.ckpt"
    devices = ("--trainer.devices=1", "--trainer.strategy=auto")
    assert main(["validate", config, checkpoint, *devices]) == 0
    cells = [line.split("│") for line in capsys.readouterr().out.splitlines()]
    measured = {row[1].strip(): float(row[2]) for row in cells if len(row) == 4 and "/" in row[1]}
    assert measured["val/map50"] == pytest.approx(best, abs=1e-6)


def test_the_run_folder_is_written_once(u_real):
    files = sorted(path.name for path in u_real.iterdir())
    kept = ["best.ckpt", "config.yaml", "initial.ckpt", "last.ckpt", "metrics.csv", "pictures"]
    assert files == [*kept, "summary.json", "wandb"]
    assert [path.name for path in (u_real / "pictures").iterdir()] == ["epoch_001.png"]
    assert len(list((u_real / "wandb").glob("offline-run-*"))) == 1
    metrics = pd.read_csv(u_real / "metrics.csv")
    assert (
        metrics["train/loss"].notna().sum()
        == json.loads((u_real / "summary.json").read_text())["steps"]
    )
    assert metrics["val/map50"].notna().sum() == 2


def test_a_process_that_dies_ends_the_run_which_goes_on_later(tiny_root, tmp_path, u_real):
    """Layers that thaw at once, so that the result is the one of a training without freezing."""
    program = tmp_path / "rank_1_dies.py"
    program.write_text(RANK_1_DIES)
    thawing = ("--name=U-Real", "--freezing.mode=backbone", "--freezing.thaw_epoch=0")
    out = tmp_path / "runs"
    done = on_two_devices(tiny_root, out, *thawing, program=(str(program),))
    assert done.returncode == 1, done.stderr
    assert "the same command goes on from last.ckpt" in done.stderr
    cut = out / "U-Real" / "0"
    assert torch.load(cut / "last.ckpt", weights_only=True)["epoch"] == 0
    assert not (cut / "summary.json").exists()
    done = on_two_devices(tiny_root, out, *thawing)
    assert done.returncode == 0, done.stderr
    assert "going on from its last checkpoint" in done.stderr
    for checkpoint in ("last.ckpt", "best.ckpt"):
        assert equal(weights(cut, checkpoint), weights(u_real, checkpoint))
