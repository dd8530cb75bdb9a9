"""Sweeps: values arrive as they stand in the file, trials have folders of their own, ends are told."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import pytest
import yaml
from helpers import fit_arguments
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from yolo_synth.cli import main
from yolo_synth.commands.grid import trials

FIT = ["yolo-synth", "fit", "${args}"]


def write(folder: Path, parameters: dict, command: list | None = None, **more: object) -> str:
    file = folder / "sweep.yaml"
    parameters = {k: {"values": v} if isinstance(v, list) else v for k, v in parameters.items()}
    file.write_text(
        yaml.dump({"parameters": parameters, "command": command or FIT, **more}, sort_keys=False)
    )
    return str(file)


def parsed(arguments: list[str], capsys) -> dict:
    """Return the configuration that a training would have."""
    with pytest.raises(SystemExit) as ending:
        main([*arguments, "--print_config"])
    assert ending.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_values_arrive_as_they_stand_in_the_file(tmp_path, capsys):
    values = {
        "name": None,
        "data.init_args.domain": "0.5",
        "variant": "größe 1",
        "model.lr": 1e-05,
        "freezing.mode": [0, 36],
        "data.init_args.where": {"timeofday": ["night", "dawn/dusk"], "test": {"scene": "x y"}},
        "data.init_args.cache": None,
        "data.init_args.augment": False,
        "model.anchors": [[n, 2 * n] for n in range(1, 10)],
    }
    file = write(tmp_path, {name: {"value": value} for name, value in values.items()})
    [trial] = trials(file, "runs")
    options = ["--data=yolo_synth.BDD100K", "--data.root=x", "--name=before"]
    config = parsed(["fit", *options, *trial.command[4:]], capsys)
    for option, value in values.items():
        found = config
        for key in option.split("."):
            found = found[key]
        assert found == value, option


def test_arguments_are_filled_in_as_the_agent_of_wandb_does(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", "here")
    point = {"model.lr": 0.5, "data.augment": True, "data.mosaic": False, "name": "a"}
    for form in ("args", "args_no_hyphens", "args_no_boolean_flags", "args_json"):
        agents = create_sweep_command_args({"args": {k: {"value": v} for k, v in point.items()}})
        parameters = {name: {"value": value} for name, value in point.items()}
        [trial] = trials(write(tmp_path, parameters, ["do", f"${{{form}}}"]), "runs")
        ours = [
            word.replace("=true", "=True").replace("=false", "=False") for word in trial.command
        ]
        theirs = agents[form]
        if form == "args_json":
            ours, theirs = trial.command, [theirs] if isinstance(theirs, str) else theirs
        assert ours == ["do", *theirs, "--runs=runs"]
    [trial] = trials(write(tmp_path, {"a": [1]}, ["do", "--x=${envvar:PLACE}"]), "runs")
    assert trial.command[1] == "--x=here"


@pytest.mark.parametrize(
    ("parameters", "more", "message"),
    [
        ({"a": [1, 2]}, {"method": "bayes"}, "method bayes needs W&B's own agent"),
        ({"a": [1, 2]}, {"method": "random"}, "method random never ends: give run_cap"),
        ({"a": [1, 2]}, {"run_cap": "x"}, "run_cap is a number of runs, not 'x'"),
        ({"a": {"values": 3}}, {}, "values of a is a list, not 3"),
        ({"a": [1]}, {"command": ["${args_json_file}"]}, "which is not known here"),
        ({"a": [1]}, {"command": ["${envvar:NO_SUCH}"]}, "NO_SUCH is not set"),
        ({"a": [1]}, {"command": "yolo-synth"}, "command is a list, not 'yolo-synth'"),
    ],
)
def test_what_is_not_done_here_is_refused(parameters, more, message, tmp_path, capsys):
    assert main(["sweep", write(tmp_path, parameters, **more)]) == 2
    assert message in capsys.readouterr().err


def test_a_random_sweep_draws_its_run_cap_and_the_same_ones_again(tmp_path):
    grid = {"a": list(range(20)), "b": [1, 2]}
    file = write(tmp_path, grid, method="random", run_cap=5)
    drawn = [trial.parameters for trial in trials(file, "runs")]
    assert len(drawn) == 5
    assert drawn == [trial.parameters for trial in trials(file, "runs")]
    assert drawn != [t.parameters for t in trials(write(tmp_path, grid, run_cap=5), "runs")]


def test_nested_parameters_are_options_with_dots(tmp_path):
    nested = {"model": {"parameters": {"lr": {"values": [0.1, 0.2]}}}}
    assert [t.parameters for t in trials(write(tmp_path, nested), "r")] == [
        {"model.lr": 0.1},
        {"model.lr": 0.2},
    ]


def folders(file: str) -> list[tuple[str, ...]]:
    """Return what decides each trial's run folder, as its command says it."""
    keys = ("--name", "--variant", "--seed_everything", "--freezing.mode", "--data")
    return [
        tuple(word for word in trial.command if word.startswith(keys))
        for trial in trials(file, "r")
    ]


@pytest.mark.parametrize(
    "parameters",
    [
        {"model.lr": [0.001, 0.003], "model.width": [0.125, 0.25]},
        {"model.weights": ["a/best.ckpt", "b/best.ckpt"]},
        {"freezing.thaw_epoch": [None, 1], "seed_everything": [0, 1]},
        {"model.lr": [0.1, "0.1"]},
        {"model.anchors": [[[n, m] for n in range(1, 10)] for m in range(40, 44)]},
        {"name": ["A", "B"], "freezing.mode": ["none", "backbone"]},
    ],
)
def test_trials_have_folders_of_their_own(parameters, tmp_path):
    found = folders(write(tmp_path, parameters))
    assert len(set(found)) == len(found) > 1
    assert all(any(word.startswith("--variant=") for word in words) for words in found)
    assert all(len(word) < 130 and "/" not in word for words in found for word in words)


def test_two_data_files_of_one_domain_and_a_named_experiment_are_told_apart(tmp_path):
    for name in ("small", "large"):
        (tmp_path / f"{name}.yaml").write_text(
            "class_path: yolo_synth.COCO\ninit_args: {root: x}\n"
        )
    data = {"data": [str(tmp_path / "small.yaml"), str(tmp_path / "large.yaml")]}
    variants = [words[-1] for words in folders(write(tmp_path, data))]
    assert variants == ["--variant=data=small", "--variant=data=large"]
    (tmp_path / "named.yaml").write_text("name: A\n")
    modes = {"freezing.mode": ["none", "backbone"]}
    plain = folders(write(tmp_path, modes))
    assert not any("--variant" in word for words in plain for word in words)
    named = folders(write(tmp_path, modes, [*FIT, f"--config={tmp_path}/named.yaml"]))
    assert [words[-1] for words in named] == ["--variant=mode=none", "--variant=mode=backbone"]


def test_a_sweep_of_learning_rates_trains_two_runs_and_tells_why_others_failed(
    tiny_root, tmp_path, capsys
):
    fit = [word for word in fit_arguments(tiny_root, tmp_path / "runs") if "model.lr" not in word]
    fit.append("--similarity.images=8")
    command = ["yolo-synth", *(w for w in fit if not w.startswith("--runs")), "${args}"]
    lr = {"model.lr": [0.001, 0.003, "fast"]}
    file = write(tmp_path, lr, command)
    arguments = ["sweep", file, f"--runs={tmp_path}/runs", "--parallel=2"]
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert "1 of 3 runs failed (fast: model.lr: a number is expected, not fast" in said.err
    ends = [tmp_path / f"runs/U-Real-lr={rate}/0/summary.json" for rate in (0.001, 0.003)]
    times = [path.stat().st_mtime_ns for path in ends]
    (tmp_path / "runs" / "bad").mkdir()
    (tmp_path / "runs" / "bad" / "config.yaml").write_text("seed_everything: [")
    lr["model.lr"].pop()
    killed, kept = ends[0].parent, [*ends[0].parent.glob("similarity/*/layers.csv")]
    shutil.rmtree(killed / "similarity")
    (killed / ".claim").touch()  # the sweep was killed before its training had compared
    log = (tmp_path / "runs/logs" / "0.001.log").open("a")
    fcntl.flock(log, fcntl.LOCK_EX)  # and that lives
    Timer(2, log.close).start()
    assert main(["sweep", write(tmp_path, lr, command), *arguments[2:]]) == 0
    assert "0.001: trains already; waiting" in capsys.readouterr().out
    assert [*killed.glob("similarity/*/layers.csv")] == kept != []
    assert not (killed / ".claim").exists()
    assert [path.stat().st_mtime_ns for path in ends] == times  # those are not trained again
    assert len(list((tmp_path / "runs").glob("*/0/summary.json"))) == 2


def test_what_ends_a_sweep_ends_its_trainings(tmp_path):
    program = (
        "import os, sys, time; from yolo_synth.commands import stopping; stopping.listen();"
        f"open('{tmp_path}/' + str(os.getpid()), 'w')\n"
        "try: time.sleep(60)\n"
        "except KeyboardInterrupt: sys.exit(stopping.say())"
    )
    file = write(
        tmp_path, {"seed_everything": [0, 1, 2]}, [sys.executable, "-c", program, "${args}"]
    )
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "yolo_synth",
            "sweep",
            file,
            f"--runs={tmp_path}/runs",
            "--parallel=2",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(pids := [path.name for path in tmp_path.iterdir() if path.name.isdigit()]) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 143
    assert "stopped by SIGTERM" in said
    assert "Traceback" not in said
    assert len([path for path in tmp_path.iterdir() if path.name.isdigit()]) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
