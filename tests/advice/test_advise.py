"""`yolo-synth advise` as a user calls it."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
import yaml
from helpers import layers, weights
from references import anybodys
from report.run_folders import write_run

from yolo_synth.cli import main
from yolo_synth.detector import load_checkpoint
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.probe import Subject
from yolo_synth.runs import read_run


@pytest.fixture(scope="module")
def real(tiny_root, tmp_path_factory):
    options = {"root": str(tiny_root / "bdd100k"), "splits": str(tiny_root / "splits/bdd100k")}
    options |= {"num_workers": 0, "image_size": 64}
    file = tmp_path_factory.mktemp("data") / "real.yaml"
    file.write_text(yaml.safe_dump({"class_path": "yolo_synth.BDD100K", "init_args": options}))
    return str(file)


@pytest.fixture(scope="module")
def run(tiny_root, tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs"), "U-Synthetic", 0, tiny_root)


def test_a_run_is_advised_saved_and_goes_on_from_what_was_saved(run, real, tmp_path, capsys):
    saved, table = tmp_path / "advised.ckpt", tmp_path / "table.csv"
    given = ["advise", str(run), "--real", real, "--images=6", "--folds=2", "--steps=[2]"]
    given += ["--rates=[0.001]", f"--save={saved}", f"--out={table}", f"--synthetic={real}"]
    assert main(given) == 0
    said, errors = capsys.readouterr()
    assert "18 of other splits are left for a test" in errors.replace("\n", " ") or "left" in errors
    names = ["as it is", "statistics", "everything", "head", "batch norms", "layers 12-36"]
    rows = pd.read_csv(table, index_col=0)
    assert set(names) < set(rows.index)
    assert len(rows) == 13
    assert all(name in said for name in names)
    assert "no better than thawing everything" in said  # random weights find nothing
    assert "--freezing.mode none" in said
    assert "for its yolov3: freeze=[]" in said
    assert "test images: 0.0" in said
    kept = json.loads((run / "advise/advise.json").read_text())
    assert [row["trained"] for row in kept["candidates"]] == list(rows.index)
    assert [row["map50"] for row in kept["candidates"]] == pytest.approx(list(rows["map50"]))
    assert (kept["network"], kept["domain"], kept["pictures"]) == ("U-Synthetic/0", "Real", 6)
    assert kept["weights"] == [Subject(read_run(run)).weights]
    assert not kept["better"]
    assert kept["yardstick"] == "everything"
    assert set(kept["settings"]) <= set(said.splitlines())
    network = YOLOv3(width=0.0625)
    load_checkpoint(network, saved)
    before = weights(run, "best.ckpt")
    assert not all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_the_saved_network_is_trained_in_the_advised_layers_alone(run, real, tmp_path, monkeypatch):
    from yolo_synth.advice.verdict import Verdict

    # Whether to believe the folds is the verdict's; here it is what follows that is looked at.
    monkeypatch.setattr(Verdict, "is_better", property(lambda self: True))
    saved = tmp_path / "advised.ckpt"
    monkeypatch.setattr("yolo_synth.commands.advising.judge", _in_favour_of("layers 12-36"))
    given = ["advise", str(run), "--real", real, "--images=5", "--folds=2", "--steps=[2]"]
    assert main([*given, f"--save={saved}"]) == 0
    before, after = weights(run, "best.ckpt"), weights(tmp_path, "advised.ckpt")
    for first, last in ((0, 11), (37, 106)):
        frozen = layers(before, first, last)
        assert all(torch.equal(after[key], value) for key, value in frozen.items())
    assert any(not torch.equal(after[key], value) for key, value in layers(before, 12, 36).items())


def _in_favour_of(name):
    from dataclasses import replace

    from yolo_synth.advice.verdict import judge

    def biased(*given):
        return replace(judge(*given), best=name)

    return biased


def test_a_network_without_losses_is_told_of_its_batch_norms_alone(real, tmp_path, capsys):
    network = anybodys.program(tmp_path, 0)
    saved = tmp_path / "x.ckpt"
    given = ["advise", network, "--real", real, "--images=5", "--size=64", "--trust"]
    assert main([*given, f"--save={saved}"]) == 0
    said = capsys.readouterr().out
    assert "no losses here, so only its batch norms' statistics are tried" in said
    table = [line.split("  ")[0] for line in said.splitlines()]
    assert "statistics" in table
    assert "everything" not in table


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "advise needs --real"),
        (["--images=4"], "--images is 5 to 500 of the"),
        (["--folds=1"], "--folds is at least 2, not 1"),
        (["--steps=[1]"], "--steps are at least 2"),
        (["--steps=[4,8]", "--rates=[0.1]"], "give each length a rate"),
        (["--save=x.pt"], "name a file that ends in .ckpt"),
    ],
)
def test_mistakes_are_answered_in_a_line(run, real, options, words, capsys):
    given = ["--real", real] if options else []
    assert main(["advise", str(run), *given, *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in error


def test_four_pictures_are_too_few_and_the_remedy_is_named(tiny_root, run, tmp_path, capsys):
    lists = tmp_path / "lists"
    lists.mkdir()
    names = (tiny_root / "splits/bdd100k/train.txt").read_text().splitlines()[:8]
    for name, part in (("train", names[:4]), ("valid", names[4:6]), ("test", names[6:])):
        (lists / f"{name}.txt").write_text("\n".join(part) + "\n")
    options = {"root": str(tiny_root / "bdd100k"), "splits": str(lists), "num_workers": 0}
    file = tmp_path / "few.yaml"
    file.write_text(yaml.safe_dump({"class_path": "yolo_synth.BDD100K", "init_args": options}))
    assert main(["advise", str(run), "--real", str(file)]) == 2
    assert "--split all takes the 4 of the other splits too" in capsys.readouterr().err
