"""Trainings that are cut off and go on: killed, moved, told to stop; and what stays of them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers import equal, fit, fit_arguments, weights, with_wandb
from report.run_folders import write_run

from yolo_synth import files
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
        # a shell that runs this suite in the background leaves SIGINT ignored, and that is inherited
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )


def wait_until_it_listens(process: subprocess.Popen[str]) -> None:
    """Wait until a process has said what SIGTERM does, which it does before its imports."""
    caught = re.compile(r"^SigCgt:\s*(\w+)$", re.MULTILINE)
    status = Path(f"/proc/{process.pid}/status")
    while not int(caught.findall(status.read_text())[0], 16) >> (signal.SIGTERM - 1) & 1:
        time.sleep(0.01)


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
    process = start(arguments, WANDB_MODE="offline")
    wait_for(run / "last.ckpt", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (run / "summary.json").exists()
    with with_wandb():
        assert main(arguments) == 0
    assert_same(run, whole)
    ids = {path.name.rpartition("-")[2] for path in (run / "wandb").glob("offline-run-*")}
    assert len(ids) == 1  # one run of W&B, gone on with


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


def test_a_run_that_was_moved_keeps_its_best_score(tiny_root, tmp_path, monkeypatch, whole):
    cut(monkeypatch, fit_arguments(tiny_root, tmp_path / "a", "BDD100K", *OPTIONS), 7)
    shutil.move(tmp_path / "a", tmp_path / "b")
    monkeypatch.chdir(tmp_path)
    assert main(fit_arguments(tiny_root, Path("b"), "BDD100K", *OPTIONS)) == 0
    assert_same(tmp_path / "b/U-Real/0", whole)


def test_places_workers_and_what_comes_after_may_change_but_nothing_that_trains(
    tiny_root, tmp_path, monkeypatch, whole, capsys
):
    arguments = fit_arguments(tiny_root, tmp_path / "runs", "BDD100K", *OPTIONS)
    cut(monkeypatch, arguments, 7)
    shutil.copytree(tiny_root, tmp_path / "scenes")
    moved = fit_arguments(tmp_path / "scenes", tmp_path / "runs", "BDD100K", *OPTIONS)
    (tmp_path / "scenes/splits/bdd100k/train.txt").write_text("aaaa0001\n")
    assert main([*moved, "--data.batch_size=4"]) == 2
    assert "another data.init_args.batch_size" in capsys.readouterr().err
    shutil.copytree(tiny_root / "splits", tmp_path / "scenes/splits", dirs_exist_ok=True)
    further = ("--data.num_workers=1", f"--data.cache={tmp_path}/cache")
    assert main([*moved, *further[:2], "--pictures.every=3", "--similarity.size=64"]) == 0
    assert_same(tmp_path / "runs/U-Real/0", whole)


def test_a_run_that_was_killed_when_early_stopping_ended_it_does_not_train_on(tiny_root, tmp_path):
    options = ("--model.lr=0", "--early_stopping.patience=2", "--trainer.max_epochs=9")
    arguments = fit_arguments(tiny_root, tmp_path, "BDD100K", *options)
    assert main(arguments) == 0
    run = tmp_path / "U-Real/0"
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    (run / "summary.json").unlink()
    assert main(arguments) == 0
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_run_that_never_came_to_a_checkpoint_does_not_protect_its_folder(
    tiny_root, tmp_path, monkeypatch, caplog
):
    cut(monkeypatch, fit_arguments(tiny_root, tmp_path), 1)
    run = tmp_path / "U-Real/0"
    assert (run / "initial.ckpt").is_file()
    (run / "config.yaml").write_text("model: {")  # as of a kill, before files were written whole
    fit(tiny_root, tmp_path, "BDD100K", "--data.batch_size=4")
    assert "ended before a first checkpoint; it begins anew" in caplog.text


def test_a_folder_in_which_a_process_trains_is_refused_to_others(tiny_root, tmp_path, capsys):
    arguments = fit_arguments(tiny_root, tmp_path, "BDD100K", "--trainer.max_epochs=500")
    process = start(arguments)
    run = tmp_path / "U-Real/0"
    wait_for(run / "last.ckpt", process)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert f"{run}: process {process.pid} on" in said
    assert process.poll() is None
    process.kill()  # the claim of one that was killed holds nobody up
    process.communicate()
    assert main([*arguments, "--trainer.max_steps=0"]) == 2
    assert "another trainer.max_steps" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_training_in_order_and_says_how_to_go_on(
    tiny_root, tmp_path, whole, number, code
):
    arguments = fit_arguments(tiny_root, tmp_path, "BDD100K", *OPTIONS)
    process = start(arguments)
    run = tmp_path / "U-Real/0"
    wait_for(run / "last.ckpt", process)
    os.kill(process.pid, number)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == code, said
    assert f"stopped by {number.name}" in said
    assert "the same command goes on from last.ckpt" in said
    assert "Traceback" not in said
    assert not (run / ".claim").exists()
    assert main(arguments) == 0
    assert_same(run, whole)


def test_a_signal_while_the_program_starts_is_answered_in_a_line(tiny_root, tmp_path):
    process = start(fit_arguments(tiny_root, tmp_path))
    wait_until_it_listens(process)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 130
    assert said.splitlines()[0] == "yolo-synth: stopped by SIGINT"
    assert "Traceback" not in said


ANSWERED = """
import signal
from yolo_synth import cli
from yolo_synth.__main__ import run
from yolo_synth.commands import stopping

def interrupted(_):
    stopping.started()
    exec("signal.raise_signal(signal.SIGINT)")

if {moment!r} == "listening":
    listen = stopping.listen
    stopping.listen = lambda **given: (listen(**given), signal.raise_signal(signal.SIGINT))
cli._run = interrupted
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
run()
"""


SWALLOWED = """
import signal, sys
from contextlib import suppress
from yolo_synth.__main__ import run

class Swallowing:  # as some of the modules that bring PyTorch do
    def find_spec(name, *_):
        if name == "torch":
            with suppress(BaseException):
                signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Swallowing)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
run()
"""


def test_a_signal_while_a_verb_imports_what_it_works_with_is_not_lost(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED, "compare", "a", "b"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130
    assert done.stderr.splitlines()[0] == "yolo-synth: stopped by SIGINT"


@pytest.mark.parametrize("moment", ["listening", "in code compiled from text"])
def test_a_signal_at_any_moment_is_answered_by_its_exit_code(moment, tmp_path):
    """Also where Python would end by the signal itself, as it does after -m and code compiled from text."""
    (tmp_path / "answered.py").write_text(ANSWERED.format(moment=moment))
    done = subprocess.run(
        [sys.executable, "-m", "answered"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130
    assert done.stderr.splitlines()[0] == "yolo-synth: stopped by SIGINT"
    assert "Traceback" not in done.stderr


def test_a_similarity_of_more_images_than_there_are_uses_them_all(tiny_root, tmp_path, caplog):
    fit(tiny_root, tmp_path, "BDD100K", "--similarity.images=200")
    assert "split 'test' has 8 images, not 200: all are used" in caplog.text
    [table] = tmp_path.glob("U-Real/0/similarity/*/images.csv")
    assert len(table.read_text().splitlines()) == 9


def test_what_fails_after_training_leaves_a_finished_run_and_is_made_up(
    tiny_root, tmp_path, monkeypatch, capsys, caplog
):
    def fails(*_, **__):
        raise RuntimeError("no memory\nleft")

    arguments = fit_arguments(tiny_root, tmp_path, "BDD100K", "--similarity.images=8")
    with monkeypatch.context() as patched:
        patched.setattr("yolo_synth.callbacks.similarity.compare", fails)
        assert main(arguments) == 0
    assert "similarity: no memory left. The training in" in caplog.text
    run = tmp_path / "U-Real/0"
    assert (run / "summary.json").is_file()
    trained = (run / "last.ckpt").read_bytes()
    assert not list(run.glob("similarity/*"))
    assert main(arguments) == 0
    assert "this run is finished" in capsys.readouterr().out
    [made] = run.glob("similarity/*/similarity.npz")
    when = made.stat().st_mtime_ns
    assert main(arguments) == 0
    assert made.stat().st_mtime_ns == when
    assert (run / "last.ckpt").read_bytes() == trained


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--similarity.reference={}/nowhere", "not a run folder"),
        ("--similarity.split=tests", "there is no split 'tests'"),
        ("--similarity.reference={}/wide/U-Real/0", "is a YOLOv3 of width 0.125 with 5 classes"),
    ],
)
def test_what_is_needed_after_training_is_looked_at_before(
    tiny_root, tmp_path, capsys, option, message
):
    if "wide" in option:
        fit(tiny_root, tmp_path / "wide", "BDD100K", "--model.width=0.125")
    options = ("--similarity.images=8", option.format(tmp_path))
    assert main(fit_arguments(tiny_root, tmp_path / "runs", "BDD100K", *options)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


DIES_WRITING = (
    "import os, signal, sys\n"
    "from yolo_synth import files\n"
    "from yolo_synth.cli import main\n"
    "put, left = files._put, [int(sys.argv[1])]\n"
    "def dies(file, content):\n"
    "    put(file, content)\n"
    "    left[0] -= 1\n"
    "    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
    "files._put = dies\n"
    "main(sys.argv[2:])\n"
)


@pytest.mark.parametrize(
    ("verb", "file"),
    [("compare U-Real/0 U-Real/0 --images 6 --out out", 50), ("evaluate .", 1)],
)
def test_a_verb_that_is_killed_while_it_writes_leaves_the_same_files_in_the_end(
    tiny_root, tmp_path, monkeypatch, verb, file
):
    start, work = tmp_path / "start", tmp_path / "work"
    write_run(start, "U-Real", 0, tiny_root)

    def begin():
        shutil.copytree(start, work)
        monkeypatch.chdir(work)

    begin()
    assert main(verb.split()) == 0
    work.rename(tmp_path / "undisturbed")
    begin()
    code = [sys.executable, "-c", DIES_WRITING, str(file), *verb.split()]
    one = os.environ | {"OMP_NUM_THREADS": "1"}  # as in this process: sums are rounded alike
    done = subprocess.run(code, check=False, capture_output=True, env=one)
    assert done.returncode == -signal.SIGKILL
    assert list(work.rglob("*.draft"))
    monkeypatch.setattr(files, "_swept", set())  # as in a process that begins
    assert main(verb.split()) == 0
    assert contents(work) == contents(tmp_path / "undisturbed")


def contents(folder: Path) -> dict[str, bytes]:
    """Return what all files below a folder hold."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
