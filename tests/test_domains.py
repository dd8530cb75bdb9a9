"""Mixtures, conditions and other data sets through every verb, as a user calls them."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
import torch
import yaml
from helpers import equal, fit_arguments, weights

from yolo_synth.cli import main
from yolo_synth.detector import Detector
from yolo_synth.report import report as reporting


@pytest.fixture(scope="module")
def files(tiny_root, tmp_path_factory):
    """Write data files: a mixture, BDD100K's nights and, under another name, GTAV by sequences."""
    folder = tmp_path_factory.mktemp("data")
    real = {"root": str(tiny_root / "bdd100k"), "splits": str(tiny_root / "splits/bdd100k")}
    game = {"root": str(tiny_root / "gtav"), "splits": str(tiny_root / "splits/gtav")}
    common = {"image_size": 64, "num_workers": 0}
    parts = {
        "real": {"class_path": "yolo_synth.BDD100K", "init_args": real},
        "synthetic": {"class_path": "yolo_synth.GTAV", "init_args": game},
    }
    night = real | common | {"where": {"timeofday": ["night", "dawn/dusk"]}}
    other = game | common | {"splits": None, "split_by": "group", "domain": "Sequences"}
    for name, kind, settings in (
        ("mixed", "Mixed", {"parts": parts, "shares": {"real": 1, "synthetic": 2}, **common}),
        ("night", "BDD100K", night),
        ("sequences", "GTAV", other),
        (
            "shuffled",
            "BDD100K",
            real | common | {"splits": None, "split_by": "image", "domain": "Shuffled"},
        ),
    ):
        text = yaml.dump({"class_path": f"yolo_synth.{kind}", "init_args": settings})
        (folder / f"{name}.yaml").write_text(text)
    return folder


def fit(tiny_root, out, data, *options):
    """Train on what a data file names."""
    arguments = [a for a in fit_arguments(tiny_root, out) if not a.startswith("--data")]
    assert main([*arguments, f"--data={data}", *options]) == 0


@pytest.fixture(scope="module")
def runs(tiny_root, files, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    fit(tiny_root, out, files / "mixed.yaml", "--similarity.images=8", "--trainer.max_epochs=2")
    fit(tiny_root, out, files / "night.yaml", "--similarity.images=4")
    return out


def test_runs_are_named_by_mixture_and_condition(runs):
    similarity = "similarity/initial-state_"
    assert (runs / f"U-Mixed/0/{similarity}Mixed-test_32/layers.csv").is_file()
    assert (runs / f"U-Real-night+dawn_dusk/0/{similarity}Real-night-dawn_dusk-test_32").is_dir()
    steps = pd.read_csv(runs / "U-Mixed/0/metrics.csv")["train/loss"].notna().sum()
    assert steps == 2 * 5  # 12 of 24 real and all 24 synthetic images in batches of 8, two epochs


def test_the_same_fit_goes_on_with_a_mixture_that_was_cut_off(tiny_root, files, tmp_path, runs):
    step, options = Detector.training_step, ("--trainer.max_epochs=2", "--similarity.images=8")

    def dies(self, batch, batch_idx):
        if self.global_step == 6:  # in the second epoch
            raise RuntimeError("power cut")
        return step(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Detector, "training_step", dies)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(tiny_root, tmp_path, files / "mixed.yaml", *options)
    fit(tiny_root, tmp_path, files / "mixed.yaml", *options)
    assert equal(*(weights(folder / "U-Mixed/0") for folder in (runs, tmp_path)))


def test_evaluation_measures_on_a_mixtures_parts_and_on_what_files_name(runs, files, capsys):
    further = f"--data=[{files}/sequences.yaml]"
    assert main(["evaluate", str(runs), further]) == 0
    table = pd.read_csv(runs / "table_2.csv", header=[0, 1], index_col=0)
    assert [domain for domain, _ in table.columns] == [
        "Real", "Real-night+dawn_dusk", "Sequences", "Synthetic"
    ]  # fmt: skip
    assert set(table.index) == {"U-Mixed", "U-Real-night+dawn_dusk"}
    assert table.notna().all(axis=None)
    kept = json.loads((runs / "U-Mixed/0/test/Sequences.json").read_text())
    assert kept["data"]["init_args"]["split_by"] == "group"
    capsys.readouterr()
    assert main(["evaluate", str(runs), f"--data={files}/night.yaml"]) == 2
    assert "there are Real-night+dawn_dusk test images already" in capsys.readouterr().err


def test_two_runs_are_compared_on_the_images_that_meet_a_condition(runs, files):
    command = ["compare", str(runs / "U-Mixed/0"), str(runs / "U-Real-night+dawn_dusk/0")]
    assert main([*command, f"--data={files}/night.yaml", "--images=4"]) == 0
    name = "U-Real-night-dawn_dusk-0_Real-night-dawn_dusk-test_32"
    assert (runs / "U-Mixed/0/similarity" / name / "similarity.npz").is_file()
    assert main([*command, "--images=8"]) == 0
    assert (runs / "U-Mixed/0/similarity/U-Real-night-dawn_dusk-0_Mixed-test_32").is_dir()


def test_a_mixture_predicts_and_is_measured(runs):
    run = f"--config={runs}/U-Mixed/0/config.yaml"
    for verb in ("test", "predict"):
        assert main([verb, run, f"--runs={runs}"]) == 0
    found = pd.read_csv(runs / "U-Mixed/0/predictions.csv")
    assert set(found["image"].str.partition("/")[0]) <= {"real", "synthetic"}


def test_fine_tuning_starts_from_another_runs_best_weights(tiny_root, files, tmp_path, runs):
    start = runs / "U-Mixed/0/best.ckpt"
    options = (f"--model.weights={start}", "--name=Tuned")
    fit(tiny_root, tmp_path, files / "night.yaml", *options)
    before, after = (weights(tmp_path / "Tuned/0", f"{name}.ckpt") for name in ("initial", "last"))
    assert equal(before, weights(start.parent, "best.ckpt"))
    assert not torch.equal(before["layers.0.conv.weight"], after["layers.0.conv.weight"])


def test_the_report_shows_a_mixture_on_both_domains_and_on_what_files_name(
    runs, files, tmp_path, monkeypatch
):
    monkeypatch.setattr(reporting, "write_figures", lambda *_: None)  # drawn in test_report
    few = tmp_path / "runs"
    shutil.copytree(runs / "U-Mixed/0", few / "U-Mixed/0")
    further = f"--data=[{files}/sequences.yaml, {files}/shuffled.yaml]"
    options = [f"--out={tmp_path}/out", "--images=6", "--sizes=[32]", further]
    assert main(["report", str(few), *options]) == 0
    text = (tmp_path / "out/tables/table_2.md").read_text()
    assert "U-Mixed" in text
    for domain in ("Real", "Sequences", "Shuffled", "Synthetic"):
        assert f" {domain} " in text
    assert "Mixed test images" not in (tmp_path / "out/findings.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.where={timeofday: [midnight]}"], "no image has timeofday 'midnight'; there are"),
        (["--data.where={time: [night]}"], "'time' is no attribute of an image"),
        (["--data.split_by=group"], "are both given: choose one"),
        (["--data.split_by=sequence"], "split_by"),
    ],
)
def test_a_wrong_option_is_answered_in_one_line(tiny_root, tmp_path, options, message, capsys):
    assert main(fit_arguments(tiny_root, tmp_path / "runs", "BDD100K", *options)) == 2
    [error] = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert message in error
    assert len(error) < 300, "the reason alone, without all other options"
    assert not (tmp_path / "runs").exists()
