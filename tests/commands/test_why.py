"""`yolo-synth why`: what it says, writes and keeps."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path
from shutil import ignore_patterns

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers import equal, weights
from report.run_folders import write_run

from yolo_synth.adapting import recalibrated
from yolo_synth.cli import main
from yolo_synth.commands.examining import Looking
from yolo_synth.commands.seeds import pairs_of
from yolo_synth.probe import Subject
from yolo_synth.reasons.swaps import exchange
from yolo_synth.runs import read_run

PLAIN = """
import torch
from torch import nn

def make():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU())
    network.classes = ["car", "person"]
    network.detect = detect
    return network

def detect(images, confidence, iou):
    box = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    found = dict(boxes=box, scores=torch.tensor([0.9]), labels=torch.tensor([0]))
    return [found for _ in images]
"""


@pytest.fixture(scope="module")
def wide(tiny_root, tmp_path_factory) -> Path:
    """Return the scenes, each real one with a single box that fills it: random weights find some."""
    root = tmp_path_factory.mktemp("wide")
    shutil.copytree(tiny_root, root, ignore=ignore_patterns(".yolo_synth"), dirs_exist_ok=True)
    for file in (root / "bdd100k/labels").glob("*.json"):
        scenes = json.loads(file.read_text())
        for scene in scenes:
            for label in scene["labels"]:
                if "box2d" in label:
                    label["box2d"] = {"x1": 4.0, "y1": 4.0, "x2": 252.0, "y2": 140.0}
        file.write_text(json.dumps(scenes))
    return root


@pytest.fixture(scope="module")
def runs(wide, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("why")
    for model, seed in product(("U-Real", "U-Synthetic"), (0, 1)):
        config = write_run(folder, model, seed, wide) / "config.yaml"
        said = yaml.safe_load(config.read_text())
        said["model"]["confidence"] = 0.005  # below, random weights find thousands
        config.write_text(yaml.safe_dump(said))
    return folder


@pytest.fixture(scope="module")
def answer(runs) -> Path:
    """Return the folder of an answer of two seeds; the recalibrated network is beside it."""
    given = [f"{runs}/U-Synthetic", f"--oracle={runs}/U-Real", f"--save={runs}/kept.ckpt"]
    assert main(["why", *given]) == 0
    return runs / "U-Synthetic/0/why"


@pytest.fixture(scope="module")
def data(tiny_root, tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("data")
    for name, kind in (("bdd100k", "BDD100K"), ("gtav", "GTAV")):
        arguments = {"root": str(tiny_root / name), "splits": str(tiny_root / "splits" / name)}
        config = {"class_path": f"yolo_synth.{kind}", "init_args": {**arguments, "image_size": 64}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    return {name: str(folder / f"{name}.yaml") for name in ("bdd100k", "gtav")}


def test_the_card_has_the_gap_first_and_the_page_and_the_tables_stand_beside_it(answer):
    said = json.loads((answer / "why.json").read_text())["sentences"]
    assert said[0].startswith("mAP@0.5 is ")
    page = (answer / "why.html").read_text()
    assert all(sentence.split(":")[0] in page for sentence in said)
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    gap = pd.read_csv(answer / "gap.csv")
    assert list(gap["images"]) == ["Real", "Synthetic"] * 4
    assert list(gap["network"][3:5]) == ["U-Real/0", "U-Synthetic/1"]
    assert not list(answer.glob(".*"))


def test_the_numbers_are_kept_for_other_programs_as_the_tables_have_them(answer, runs):
    kept = json.loads((answer / "why.json").read_text())
    gap = pd.read_csv(answer / "gap.csv")["mAP@0.5"]
    ours = [kept["gap"][name]["value"] for name in ("real", "synthetic", "oracle_real")]
    assert ours == pytest.approx(list(gap[:3]))
    assert kept["gap"]["difference"]["value"] == pytest.approx(gap[1] - gap[0])
    assert (kept["network"], kept["oracle"]) == ("U-Synthetic/0", "U-Real/0")
    assert kept["domains"] == ["Real", "Synthetic"]
    states = [Subject(read_run(runs / name)).weights for name in ("U-Synthetic/0", "U-Real/0")]
    assert kept["weights"] == states
    table = pd.read_csv(answer / "recalibration.csv").iloc[-1]
    gain = [kept["recalibration"]["gain"][name] for name in ("value", "low", "high")]
    named = [table[f"difference real{end}"] for end in ("", " low", " high")]
    assert gain == pytest.approx(named)
    assert kept["recalibration"]["pictures"] == table["pictures"]
    excess = pd.read_csv(answer / "checks.csv")["times the floor"]
    found = [check["excess"] for check in kept["checks"]]
    assert [np.nan if one is None else one for one in found] == pytest.approx(
        list(excess), nan_ok=True
    )


def test_the_kept_checkpoint_is_the_network_with_the_statistics_of_unlabelled_real_pictures(
    answer, runs
):
    run, before = read_run(runs / "U-Synthetic/0"), weights(runs / "U-Synthetic/0", "best.ckpt")
    pictures, _ = (
        read_run(runs / "U-Real/0")
        .data(image_size=run.image_size)
        .probe("train", 24, run.image_size)
    )
    kept = weights(runs, "kept.ckpt")
    expected = recalibrated(run.network(), pictures).state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(kept[name], value, rtol=1e-4, atol=1e-5)
    assert not equal(kept, before)
    assert equal(weights(runs / "U-Synthetic/0", "best.ckpt"), before)
    table = pd.read_csv(answer / "recalibration.csv")
    assert list(table["pictures"]) == [8, 8, 24, 24]
    assert list(table["share of new"]) == [0.5, 1.0] * 2
    gap = pd.read_csv(answer / "gap.csv")
    np.testing.assert_allclose(
        table["real"] - table["difference real"], gap["mAP@0.5"][0], atol=1e-9
    )


def test_with_an_oracle_of_the_same_start_blocks_are_exchanged_and_drawn_under_the_ribbon(answer):
    page = (answer / "why.html").read_text()
    assert "this block of U-Real" in page
    assert "partial CKA" in page
    assert "Real and Synthetic inside U-Synthetic" in page
    assert "Real and Synthetic inside U-Real" in page
    assert page.count("<svg") == 2  # all of these under the ribbon, and the way of weights
    path = pd.read_csv(answer / "path.csv")
    assert path["share of the oracle"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    ends = path["synthetic"][0], path["synthetic"][4]
    chord = np.interp(path["share of the oracle"], [0, 1], ends)
    np.testing.assert_allclose(
        path["synthetic below the line"], chord - path["synthetic"], atol=1e-9
    )
    blocks = pd.read_csv(answer / "blocks.csv")
    alone = blocks[blocks["of the other"] == "one block"]
    assert len(alone) == 2 * (len(blocks) - len(alone)) / 2 + 4


def test_of_two_seeds_each_is_measured_with_the_oracle_of_its_own(answer, runs):
    blocks = pd.read_csv(answer / "blocks.csv")
    each = blocks[["difference real, seed 0", "difference real, seed 1"]]
    np.testing.assert_allclose(blocks["difference real"], each.mean(axis=1), atol=1e-9)
    run, oracle = (read_run(runs / name / "1") for name in ("U-Synthetic", "U-Real"))
    configs = {"Real": oracle.config["data"], "Synthetic": run.config["data"]}
    one = Looking(configs, images=200, unlabelled=96, names=None, size=None, trust=False).at(run)
    halves = [range(75), range(75, 107)]
    place = exchange(one.patient, oracle.network(), one[1:], halves, lambda: None)
    ends = [place.path[side].real.value for side in (0, -1)]
    path = pd.read_csv(answer / "path.csv")["real, seed 1"]
    np.testing.assert_allclose(path[[0, 4]], ends, atol=1e-9)
    backbone = blocks[blocks["layers"] == "layers 0\N{EN DASH}74"]
    found = [place.gain(swap).value for swap in place.swaps if swap.layers == halves[0]]
    np.testing.assert_allclose(backbone["difference real, seed 1"], found, atol=1e-9)


def test_seeds_that_one_of_both_lacks_are_left_out_and_said(runs, capsys):
    pairs = pairs_of(f"{runs}/U-Synthetic", f"{runs}/U-Real/1")
    assert [[one.name for one in pair] for pair in pairs] == [["U-Synthetic/1", "U-Real/1"]]
    assert "U-Synthetic/0: it is left out" in capsys.readouterr().out
    (pair,) = pairs_of(f"{runs}/U-Synthetic/0", f"{runs}/U-Real/1")
    assert [one.name for one in pair] == ["U-Synthetic/0", "U-Real/1"]
    assert [len(pair) for pair in pairs_of(f"{runs}/U-Real", "")] == [1, 1]


def test_a_network_without_batch_norms_is_said_to_have_none(data, tmp_path, capsys):
    (tmp_path / "plain.py").write_text(PLAIN)
    given = [
        f"{tmp_path}/plain.py:make",
        f"--real={data['bdd100k']}",
        f"--synthetic={data['gtav']}",
    ]
    out = f"--out={tmp_path}/out"
    assert main(["why", *given, "--trust", out]) == 0
    assert "This network has no batch norms to recalibrate." in capsys.readouterr().out
    assert main(["why", *given, "--trust", out, f"--save={tmp_path}/kept.ckpt"]) == 2
    assert not (tmp_path / "kept.ckpt").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "why needs --real: a data file"),
        (["--real=nowhere.yaml"], "nowhere.yaml: no such file"),
        (["--real={gtav}"], "--real and --synthetic are both called Synthetic"),
        (["--images=3"], "--images is at least 8, not 3"),
        (["--pictures=0"], "--pictures is at least 1, not 0"),
        (["--oracle=nowhere"], "nowhere: not a run folder"),
        (
            ["--oracle={runs}"],
            "it has runs of 2 models (U-Real, U-Synthetic): name the folder of one",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(options, said, runs, data, capsys):
    given = [option.format(**data, runs=runs) for option in options]
    assert main(["why", f"{runs}/U-Synthetic/0", *given]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    assert said in lines[0]
