"""Every shipped experiment is one that the command line takes, and the sweep's grid is W&B's."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from yolo_synth.cli import main
from yolo_synth.commands.grid import trials
from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import data_module, read_data
from yolo_synth.devices import visible
from yolo_synth.runs import domain_name

PROJECT = Path(__file__).parent.parent
SWEEPS = [f"experiments/{name}.yaml" for name in ("sweep", "tiny_sweep", "tiny_retinanet_sweep")]
EXPERIMENTS = sorted(
    str(path.relative_to(PROJECT))
    for path in (PROJECT / "experiments").glob("*.yaml")
    if "sweep" not in path.name
)


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch):
    monkeypatch.chdir(PROJECT)


def parsed(arguments: list[str], capsys) -> dict:
    """Return the configuration that a training would have, without starting it."""
    with pytest.raises(SystemExit) as ending:
        main([*arguments, "--print_config"])
    assert ending.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_there_is_an_experiment_for_each_model_of_the_paper():
    names = {Path(name).stem for name in EXPERIMENTS}
    models = {"u_real", "u_synthetic", "f_synthetic"}
    assert models | {f"tiny_{model}" for model in models} <= names


@pytest.mark.parametrize("file", EXPERIMENTS)
def test_every_experiment_is_one_the_command_takes(file, capsys):
    config = parsed(["fit", "--config", file], capsys)
    given = yaml.safe_load((PROJECT / file).read_text())
    model = given.get("model", {})
    network = model.pop("network", None)
    assert model.items() <= config["model"].items()
    if network is not None:
        assert config["model"]["network"]["class_path"] == network["class_path"]
        assert network["init_args"].items() <= config["model"]["network"]["init_args"].items()
    assert config["seed_everything"] == given["seed_everything"]
    assert config["early_stopping"]["monitor"] == "val/map50"


@pytest.mark.parametrize(
    "file", sorted(path.name for path in (PROJECT / "experiments/data").glob("*.yaml"))
)
def test_every_data_file_is_one_the_command_takes_and_reads_back(file, capsys):
    config = parsed(["fit", f"--data=experiments/data/{file}"], capsys)["data"]
    given = read_data(f"experiments/data/{file}")
    assert config["class_path"] == given["class_path"]
    for key in set(given["init_args"]) - {"parts", "shares"}:
        assert config["init_args"][key] == given["init_args"][key]
    module = data_module(config)
    assert isinstance(module, DetectionData)
    assert domain_name(config) == domain_name(given)


def test_the_papers_settings_are_the_defaults(capsys):
    config = parsed(["fit", "--config", "experiments/f_synthetic.yaml"], capsys)
    assert config["model"]["lr"] == 1e-4
    assert config["trainer"]["max_epochs"] == 100
    assert config["early_stopping"]["patience"] == 10
    assert config["early_stopping"]["mode"] == "max"
    assert config["freezing"]["mode"] == "backbone"
    assert config["similarity"] == {"images": 200, "size": 32, "split": "test", "reference": None}
    data = config["data"]["init_args"]
    assert (data["image_size"], data["batch_size"], data["resize"]) == (416, 8, "letterbox")
    assert data["min_area"] == 100


@pytest.mark.parametrize("file", SWEEPS)
def test_the_local_grid_is_what_a_wandb_agent_would_run(file, capsys):
    config = yaml.safe_load(Path(file).read_text())
    grid = {name: parameter["values"] for name, parameter in config["parameters"].items()}
    points = [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]
    ours = trials(file, "somewhere")
    assert [trial.parameters for trial in ours] == points
    for trial, point in zip(ours, points, strict=True):
        filled = create_sweep_command_args({"args": {k: {"value": v} for k, v in point.items()}})
        agents = [
            word
            for part in config["command"]
            for word in (filled["args"] if part == "${args}" else [part])
        ]
        assert agents[0] == "yolo-synth"
        assert trial.command == [
            *(sys.executable, "-m", "yolo_synth"),
            *agents[1:],
            "--runs=somewhere",
        ]
        parsed_point = parsed(agents[1:], capsys)
        assert parsed_point["seed_everything"] == point["seed_everything"]
        assert parsed_point["freezing"]["mode"] == point.get("freezing.mode", "none")
        named = yaml.safe_load(Path(point["data"]).read_text())
        assert parsed_point["data"]["class_path"] == named["class_path"]
        assert parsed_point["data"]["init_args"]["root"] == named["init_args"]["root"]


def test_a_sweep_trains_a_run_on_each_device_at_a_time(tmp_path, monkeypatch):
    program = (
        "import os, time; start = time.time(); time.sleep(0.3);"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], start, time.time())"
    )
    sweep = {
        "parameters": {"seed_everything": {"values": [0, 1, 2, 3]}},
        "command": [sys.executable, "-c", program, "${args}"],
    }
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.dump(sweep))
    monkeypatch.setattr("yolo_synth.commands.trainings.visible", lambda: ["2", "5"])
    assert main(["sweep", str(file), f"--runs={tmp_path}/runs"]) == 0
    taken: dict[str, list[tuple[float, float]]] = {}
    for log in (tmp_path / "runs/logs").iterdir():
        device, start, end = log.read_text().split()
        taken.setdefault(device, []).append((float(start), float(end)))
    assert sorted(taken) == ["2", "5"]
    for times in map(sorted, taken.values()):
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))
    (first, _), (second, _) = (min(times) for times in taken.values())
    assert abs(first - second) < 0.3  # at the same time


@pytest.mark.parametrize(
    ("given", "found"), [(None, ["0", "1"]), ("3,GPU-8f2e", ["3", "GPU-8f2e"])]
)
def test_visible_devices_are_named_as_they_were_given(given, found, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible() == found


def test_no_device_is_visible_on_a_processor_alone():
    assert visible() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such sweep file"),
        ("parallel", "--parallel is at least 1, not 0"),
        ("method: grid", "parameters is missing"),
        ("{parameters: {lr: {distribution: uniform}}, command: []}", "lr has neither value"),
    ],
)
def test_a_file_that_is_no_grid_is_refused(text, message, tmp_path, capsys):
    file = tmp_path / "sweep.yaml"
    if text is not None:
        file.write_text(text)
    options = ["--parallel=0"] if text == "parallel" else []
    assert main(["sweep", str(file), *options]) == 2
    assert message in capsys.readouterr().err
