"""Two devices: trainings by two processes, one of which dies."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pandas as pd
import pytest
import torch
from helpers import equal, fit_arguments, weights

from yolo_synth.cli import main

PROGRAM = """
import os, signal, sys, torch
from pathlib import Path
from yolo_synth.cli import main
from yolo_synth.detector import Detector

step, dying = Detector.training_step, os.environ["SECOND_PROCESS"] == "dies"

def train(self, batch, batch_idx):
    if dying and self.global_rank == 1 and self.global_step == 4:  # in the second epoch
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)

def keep(self):
    file = Path(self.trainer.default_root_dir).parent / f"rank_{self.global_rank}.pt"
    torch.save(dict(self.network.named_parameters()), file)

Detector.training_step, Detector.on_train_end = train, keep
sys.exit(main())
"""


@pytest.fixture(scope="module")
def run(tiny_root, tmp_path_factory):
    """Return what was printed by a training whose second process died, by it again, and its folder.

    Two epochs of three steps; the first process validates a batch more than the second. The backbone
    is frozen when the processes begin and thaws at once.
    """
    out = tmp_path_factory.mktemp("devices")
    splits, program = out / "splits", out / "program.py"
    program.write_text(PROGRAM)
    splits.mkdir()
    names = sorted(path.name for path in (tiny_root / "bdd100k").rglob("*.jpg"))
    for split, part in (("train", names[:24]), ("valid", names[24:33]), ("test", names[33:])):
        (splits / f"{split}.txt").write_text("\n".join(part) + "\n")
    options = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=2")
    data = (f"--data.splits={splits}", "--data.batch_size=4", "--pictures.images=1")
    thawing = ("--name=U-Real", "--freezing.mode=backbone", "--freezing.thaw_epoch=0")
    arguments = fit_arguments(tiny_root, out, "BDD100K", *options, *data, *thawing)
    ends = []
    for what in ("dies", "lives"):
        end = subprocess.run(
            [sys.executable, str(program), *arguments],
            env={**os.environ, "SECOND_PROCESS": what, "WANDB_MODE": "offline"},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        ends.append(end)
    return *ends, out / "U-Real" / "0"


def test_a_process_that_dies_ends_the_run_which_goes_on_later(run):
    cut, whole, folder = run
    assert cut.returncode == 1, cut.stderr
    assert "the same command goes on from last.ckpt" in cut.stderr
    assert whole.returncode == 0, whole.stderr
    assert "going on from its last checkpoint" in whole.stderr
    metrics = pd.read_csv(folder / "metrics.csv")
    assert metrics.loc[metrics["train/loss"].notna(), "step"].tolist() == [0, 1, 2, 3, 4, 5]


def test_the_run_folder_is_written_once(run):
    folder = run[2]
    files = {path.name for path in folder.iterdir()}
    checkpoints = {"best.ckpt", "initial.ckpt", "last.ckpt"}
    assert files == checkpoints | {
        "config.yaml",
        "metrics.csv",
        "summary.json",
        "pictures",
        "wandb",
    }
    assert [path.name for path in (folder / "pictures").iterdir()] == ["epoch_001.png"]
    assert len(list((folder / "wandb").glob("offline-run-*"))) == 2  # one each time
    assert pd.read_csv(folder / "metrics.csv")["val/map50"].notna().sum() == 2


def test_all_processes_train_the_same_network_thawed_layers_too(run):
    """DistributedDataParallel would leave the gradients of those to each process."""
    first, second = (torch.load(run[2].parent / f"rank_{rank}.pt") for rank in (0, 1))
    assert equal(first, second)
    start = weights(run[2], "initial.ckpt")
    assert not [name for name, value in first.items() if value.equal(start[name])]


def test_one_process_measures_what_two_measured(run, capsys):
    """Nine images in batches of four: three batches of one process, two and one of two."""
    folder = run[2]
    best = pd.read_csv(folder / "metrics.csv")["val/map50"].max()
    config, checkpoint = f"--config={folder}/config.yaml", f"--ckpt_path={folder}/best.ckpt"
    devices = ("--trainer.devices=1", "--trainer.strategy=auto")
    assert main(["validate", config, checkpoint, *devices]) == 0
    found = re.search(r"val/map50\s+│?\s*([\d.e-]+)", capsys.readouterr().out)
    assert best > 0
    assert float(found[1]) == pytest.approx(best, abs=1e-6)
