"""Two commands in one place at once, and things that change while a training runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from helpers import fit, fit_arguments
from test_going_on import cut, start, wait_for

from yolo_synth import files
from yolo_synth.claims import CLAIM, claimed, new_folder
from yolo_synth.cli import main

LONG = ("--trainer.max_epochs=900", "--early_stopping.patience=900")

HOLD = (
    "import sys, time\n"
    "from yolo_synth.claims import claimed\n"
    "with claimed(sys.argv[1], 'works'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(float(sys.argv[2]))\n"
)


def holder(folder, seconds: float) -> subprocess.Popen[str]:
    """Hold a folder from another process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_one_is_refused_or_waits_and_the_first_goes_on(tmp_path):
    process = holder(tmp_path / "a", 60)
    with pytest.raises(ValueError, match=f"process {process.pid} on .* works here since"):
        claimed(tmp_path / "a", "works").__enter__()
    assert process.poll() is None
    threading.Timer(1, process.kill).start()
    begun = time.monotonic()
    with claimed(tmp_path / "a", "works", patience=60):
        assert 0.5 < time.monotonic() - begun < 50
    process.communicate()
    assert not (tmp_path / "a" / CLAIM).exists()


def test_a_new_folder_is_made_by_one_and_appears_whole(tmp_path):
    process = holder(tmp_path / "new.draft", 60)
    (tmp_path / "new.draft/half").mkdir()
    with (
        pytest.raises(ValueError, match="choose another folder"),
        new_folder(tmp_path / "new", "writes"),
    ):
        pass
    process.kill()  # what it left is removed
    process.communicate()
    with new_folder(tmp_path / "new", "writes") as draft:
        assert not (tmp_path / "new").exists()
        (draft / "file").write_text("whole")
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "file"]
    with pytest.raises(ValueError, match="new exists already"), new_folder(tmp_path / "new", "w"):
        pass
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "other", "writes") as draft:
        (draft / "half/written").write_text("half")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]


def test_two_reports_into_one_folder_are_not_mixed(tiny_root, tmp_path, capsys):
    fit(tiny_root, tmp_path / "runs", "BDD100K")
    process = holder(tmp_path / "report", 60)
    arguments = ["report", str(tmp_path / "runs"), "--out", str(tmp_path / "report")]
    assert main([*arguments, "--images", "6", "--sizes", "[32]"]) == 2
    assert f"{tmp_path}/report: process {process.pid}" in capsys.readouterr().err
    process.kill()
    process.communicate()
    assert [path.name for path in (tmp_path / "report").iterdir()] == [CLAIM]


def test_two_sweeps_at_once_train_once_and_both_end_well(tiny_root, tmp_path):
    _, *options = fit_arguments(tiny_root, tmp_path / "runs", "BDD100K", "--trainer.max_epochs=3")
    sweep = tmp_path / "sweep.yaml"
    command = ["yolo-synth", "fit", *options[1:], "${args}"]
    seeds = {"seed_everything": {"values": [0]}}
    sweep.write_text(yaml.dump({"method": "grid", "parameters": seeds, "command": command}))
    arguments = ["sweep", str(sweep), "--runs", str(tmp_path / "runs")]
    first = start(arguments)
    wait_for(tmp_path / "runs/U-Real/0/initial.ckpt", first)
    first.kill()  # alone: its training lives on
    first.wait()
    first.stdout.close()
    assert main(arguments) == 0
    run = tmp_path / "runs/U-Real/0"
    assert json.loads((run / "summary.json").read_text())["epochs"] == 3
    assert not (run / CLAIM).exists()
    assert "Traceback" not in (tmp_path / "runs/logs/0.log").read_text()


def test_a_sweep_whose_command_does_not_exist_ends(tmp_path, capsys):
    sweep = tmp_path / "sweep.yaml"
    seeds = {"seed_everything": {"values": [0, 1, 2]}}
    command = [str(tmp_path / "nothing"), "${args}"]
    sweep.write_text(yaml.dump({"method": "grid", "parameters": seeds, "command": command}))
    assert main(["sweep", str(sweep), "--runs", str(tmp_path / "runs")]) == 2
    assert f"{tmp_path}/nothing: no such file" in capsys.readouterr().err


def test_a_report_while_a_run_trains_and_a_folder_that_is_renamed_meanwhile(
    tiny_root, tmp_path, capsys
):
    runs = tmp_path / "runs"
    fit(tiny_root, runs, "BDD100K")
    arguments = fit_arguments(tiny_root, runs, "BDD100K", *LONG, "--seed_everything=1")
    arguments += ["--pictures.images=1", "--pictures.every=1"]
    process = start(arguments)
    run = runs / "U-Real/1"
    wait_for(run / "last.ckpt", process)
    report = ["report", str(runs), "--out", str(tmp_path / "report"), "--images", "6"]
    assert main([*report, "--sizes", "[32]"]) == 0
    assert "U-Real/1" in (tmp_path / "report/findings.md").read_text()
    assert "not finished" in capsys.readouterr().out
    assert process.poll() is None
    run.rename(runs / "elsewhere")
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 2, said
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"yolo-synth: error: {run}: was moved or removed while this training")
    assert not list(run.rglob("*.ckpt"))  # a picture that was just being written may be there
    shutil.rmtree(run, ignore_errors=True)
    (runs / "elsewhere").rename(run)
    # with other options it would begin anew; here it is told that it is the run of before
    assert main([*arguments, "--trainer.max_epochs=1"]) == 2
    assert "holds an unfinished run with another trainer.max_epochs" in capsys.readouterr().err


def test_a_folder_that_is_moved_while_a_checkpoint_is_written_is_named(
    tiny_root, tmp_path, monkeypatch, capsys
):
    put = files._put

    def moves_it(file, content):
        put(file, content)
        if Path(file.name).name.startswith(".last.ckpt"):
            (tmp_path / "runs/U-Real/0").rename(tmp_path / "elsewhere")

    monkeypatch.setattr(files, "_put", moves_it)
    arguments = fit_arguments(tiny_root, tmp_path / "runs", "BDD100K")
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"yolo-synth: error: {tmp_path}/runs/U-Real/0: was moved or removed")


def test_a_data_set_that_changes_is_noticed_when_the_training_goes_on(
    tiny_root, tmp_path, monkeypatch, capsys
):
    scenes = tmp_path / "scenes"
    shutil.copytree(tiny_root, scenes)
    arguments = fit_arguments(scenes, tmp_path / "runs", "BDD100K", "--trainer.max_epochs=3")
    cut(monkeypatch, arguments, 4)
    before = (tmp_path / "runs/U-Real/0/last.ckpt").read_bytes()
    [labels] = (scenes / "bdd100k/labels").glob("*train.json")
    whole = labels.read_text()
    frames = json.loads(whole)
    boxes = [label["box2d"] for frame in frames for label in frame["labels"] if "box2d" in label]
    boxes[0]["x1"] -= 1
    labels.write_text(json.dumps(frames))
    assert main(arguments) == 2
    assert "the data set is another one than when this training was cut off" in (
        capsys.readouterr().err
    )
    assert (tmp_path / "runs/U-Real/0/last.ckpt").read_bytes() == before
    labels.write_text(whole)
    assert main(arguments) == 0
