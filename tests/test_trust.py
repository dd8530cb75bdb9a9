"""What a stranger's run folder names is neither imported nor run, unless it is trusted."""

from __future__ import annotations

import sys

import pytest
import torch
import yaml

from yolo_synth.cli import main
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.runs import read_run

NETWORK = {"num_classes": 10, "width": 0.0625, "confidence": 0.1, "iou": 0.5}


def write_run(folder, data, network=None):
    folder.mkdir(parents=True)
    config = {"seed_everything": 0, "name": folder.name, "freezing": {"mode": "none"}}
    config |= {"data": data, "model": NETWORK | {"network": network}}
    (folder / "config.yaml").write_text(yaml.dump(config))
    (folder / "summary.json").write_text("{}")
    state = YOLOv3(10, 0.0625).state_dict()
    kept = {"state_dict": {f"network.{name}": value for name, value in state.items()}}
    for name in ("best.ckpt", "initial.ckpt"):
        torch.save(kept, folder / name)
    return folder


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a folder with a module that says that it was imported and run."""
    (tmp_path / "own_things.py").write_text(
        "from yolo_synth import GTAV\n"
        "class Data(GTAV):\n"
        "    def __init__(self, root: str, image_size: int = 64, batch_size: int = 1):\n"
        "        raise ValueError('own was built')\n"
        "def Network(num_classes: int): raise ValueError('own was built')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_things", raising=False)
    return tmp_path


@pytest.mark.parametrize("verb", ["compare", "compare with data", "evaluate", "report"])
def test_a_strangers_data_set_runs_in_no_verb_unless_it_is_trusted(verb, own, tiny_root, capsys):
    strange = {"class_path": "own_things.Data", "init_args": {"root": str(own), "image_size": 64}}
    ours = {"root": str(tiny_root / "gtav"), "image_size": 64}
    (own / "data.yaml").write_text(yaml.dump(strange))
    data = {"class_path": "yolo_synth.GTAV", "init_args": ours}
    runs = own / "runs"
    run = write_run(runs / "A", data if verb == "compare with data" else strange)
    arguments = {
        "compare": ["compare", run, run],
        "compare with data": ["compare", run, run, "--data", own / "data.yaml"],
        "evaluate": ["evaluate", runs],
        "report": ["report", runs, "--out", own / "report"],
    }[verb]
    assert main([str(argument) for argument in arguments]) == 2
    assert "'own_things.Data' is no data set of ours" in capsys.readouterr().err
    assert "own_things" not in sys.modules
    assert main([*(str(argument) for argument in arguments), "--trust"]) == 2
    assert "own was built" in capsys.readouterr().err


def test_a_strangers_network_is_built_only_if_it_is_trusted(own):
    run = write_run(
        own / "runs/A", {"class_path": "yolo_synth.GTAV"}, {"class_path": "own_things.Network"}
    )
    with pytest.raises(ValueError, match="give --trust"):
        read_run(run).network()
    assert "own_things" not in sys.modules
    with pytest.raises(ValueError, match="no Network"):
        read_run(run, trust=True).network()
    assert "own_things" in sys.modules
