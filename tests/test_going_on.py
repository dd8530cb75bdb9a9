"""Trainings that are cut off and go on: killed, moved, told to stop; and what stays of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import equal, fit, fit_arguments, weights

from yolo_synth.callbacks.record import WholeCheckpoints
from yolo_synth.cli import main
from yolo_synth.detector import Detector

WORKERS = ("--data.num_workers=2", "--data.augment=true", "--data.mosaic=true")
OPTIONS = (*WORKERS, "--trainer.max_epochs=4", "--model.schedule=one_cycle")


@pytest.fixture(scope="module")
def whole(tiny_root, tmp_path_factory) -> Path:
    """Return the run folder of a training with workers that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    fit(tiny_root, out, "BDD100K", *OPTIONS)
    return out / "U-Real" / "0"


def state_of(run: Path, checkpoint: str = "last.ckpt") -> dict[str, torch.Tensor]:
    """Return all numbers of a checkpoint by their place, paths of files left out."""
    found: dict[str, torch.Tensor] = {}

    def gather(value: object, place: str) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                gather(part, f"{place}/{Path(key).name if isinstance(key, str) else key}")
        elif isinstance(value, list | tuple):
            for number, part in enumerate(value):
                gather(part, f"{place}/{number}")
        elif isinstance(value, torch.Tensor | int | float):
            found[place] = torch.as_tensor(value)

    gather(torch.load(run / checkpoint, weights_only=True), "")
    return found


def assert_same(run: Path, other: Path) -> None:
    """Compare weights, optimizer, early stopping, loops and metrics, to the bit."""
    for checkpoint in ("initial.ckpt", "best.ckpt", "last.ckpt"):
        assert equal(weights(run, checkpoint), weights(other, checkpoint)), checkpoint
    ours, theirs = state_of(run), state_of(other)
    # How often a process started is not of the training.
    differing = {k for k in ours if k not in theirs or not torch.equal(ours[k], theirs[k])}
    assert not {place for place in differing if "callbacks" in place or "optimizer" in place}
    assert (run / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
    assert (run / "summary.json").read_bytes() == (other / "summary.json").read_bytes()


def cut(monkeypatch, arguments: list[str], step: int) -> None:
    """Let a training die in a step."""
    training_step = Detector.training_step

    def dies(self, batch, batch_idx):
        if self.global_step == step:
            raise RuntimeError("power cut")
        return training_step(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(Detector, "training_step", dies)
        with pytest.raises(RuntimeError, match="power cut"):
            main(arguments)


def start(arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    """Run the command line in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "yolo_synth", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,  # as in this process
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not path.is_file():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.02)


def test_the_first_epoch_that_a_training_goes_on_with_is_its_own(
    tiny_root, tmp_path, monkeypatch, whole
):
    arguments = fit_arguments(tiny_root, tmp_path, "BDD100K", *OPTIONS)
    cut(monkeypatch, arguments, 7)  # in the third epoch
    assert main(arguments) == 0
    assert_same(tmp_path / "U-Real" / "0", whole)


def test_a_training_that_is_killed_ends_as_one_that_was_not(tiny_root, tmp_path, whole):
    arguments = fit_arguments(tiny_root, tmp_path, "BDD100K", *OPTIONS)
    run = tmp_path / "U-Real" / "0"
    process = start(arguments)
    wait_for(run / "last.ckpt", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (run / "summary.json").exists()
    assert main(arguments) == 0
    assert_same(run, whole)


def test_checkpoints_are_written_beside_their_place(tiny_root, tmp_path, monkeypatch):
    """Nothing passes through TMPDIR, which may be another disk, or full."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr("tempfile.tempdir", None)
    path = tmp_path / "run" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"step": 1}, path)

    class Broken:
        def __reduce__(self):
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        WholeCheckpoints().save_checkpoint({"step": 2, "more": Broken()}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_a_training_writes_its_checkpoints_so(tiny_root, tmp_path, monkeypatch):
    written = []
    save = WholeCheckpoints.save_checkpoint

    def saves(self, checkpoint, path, storage_options=None):
        written.append(Path(path).name)
        save(self, checkpoint, path, storage_options)

    monkeypatch.setattr(WholeCheckpoints, "save_checkpoint", saves)
    fit(tiny_root, tmp_path)
    assert written == ["best.ckpt", "last.ckpt"]
