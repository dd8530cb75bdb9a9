"""Trainings by the command line: what is frozen, what the seed decides, what a killed run becomes."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
import torch
import wandb_log
from helpers import equal, fit, fit_arguments, layers, weights, with_wandb

from yolo_synth.cli import main
from yolo_synth.data.bdd100k import BDD100K
from yolo_synth.detector import Detector


@pytest.fixture(scope="module")
def u_real(tiny_root, tmp_path_factory):
    """Return the run folder of one short training with everything switched on."""
    out = tmp_path_factory.mktemp("runs")
    options = ("--similarity.images=8", "--pictures.images=2", "--trainer.max_epochs=2")
    with with_wandb():
        fit(tiny_root, out, "BDD100K", *options)
    return out / "U-Real" / "0"


def test_a_run_folder_holds_what_later_verbs_need(u_real):
    files = {str(path.relative_to(u_real)) for path in u_real.rglob("*") if path.is_file()}
    similarity = "similarity/initial-state_Real-test_32"
    assert {
        *("config.yaml", "initial.ckpt", "best.ckpt", "last.ckpt", "metrics.csv", "summary.json"),
        *(
            f"{similarity}/{name}"
            for name in ("similarity.npz", "layers.csv", "images.csv", "curves.png")
        ),
        *(f"{similarity}/{name}" for name in ("heatmap_biased.png", "heatmap_debiased.png")),
        "pictures/epoch_001.png",
    } <= files
    assert json.loads((u_real / "summary.json").read_text())["epochs"] == 2


def test_own_anchors_train_and_measure_alike(tiny_root, tmp_path, capsys):
    sizes = [[4 * n, 3 * n] for n in range(1, 10)]
    fit(tiny_root, tmp_path, "BDD100K", f"--model.anchors={sizes}")
    run = tmp_path / "U-Real/0"
    assert main(["test", f"--config={run}/config.yaml"]) == 0
    said = re.findall(r"test/map50\s+([\d.e-]+)", capsys.readouterr().out)
    assert main(["evaluate", str(tmp_path)]) == 0
    scores = json.loads((run / "test/Real.json").read_text())["scores"]
    assert scores["map50"] == pytest.approx(float(said[0]), rel=1e-6)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("anchors:", "others:"))
    (run / "test/Real.json").unlink()
    assert main(["evaluate", str(tmp_path)]) == 0
    others = json.loads((run / "test/Real.json").read_text())["scores"]
    assert others["map50"] != scores["map50"]


def test_metrics_name_losses_and_average_precisions(u_real):
    metrics = pd.read_csv(u_real / "metrics.csv")
    steps = metrics["train/loss"].notna()
    terms = metrics.loc[steps, ["train/box", "train/objectness", "train/class"]]
    assert steps.sum() == 6  # 24 images in batches of 8, two epochs
    assert ((terms.sum(axis=1) * 8 / 64 - metrics.loc[steps, "train/loss"]).abs() < 1e-4).all()
    assert metrics["val/map50"].notna().sum() == 2
    assert metrics["val/map50"].dropna().between(0, 1).all()


def test_offline_wandb_run_holds_metrics_config_and_similarity(u_real):
    history, config, run = wandb_log.read(u_real)
    keys = set().union(*history)
    assert {"train/loss", "val/map50", "val/boxes", "epoch"} <= keys
    assert {"val/diagnosis", "val/best/f1", "val/best/confidence"} <= keys
    assert config["seed_everything"] == 0
    assert config["freezing"]["mode"] == "none"
    assert config["data"]["class_path"].endswith("BDD100K")
    assert (run.display_name, run.run_group) == ("U-Real/0", "U-Real")
    logged = {key: row[key] for row in history for key in row if key.startswith("similarity/")}
    matrix = logged["similarity/initial state/debiased"]
    assert (matrix["_type"], matrix["nrows"], matrix["ncols"]) == ("table-file", 107, 108)
    assert logged["similarity/initial state/layers"]["nrows"] == 107
    heatmap = logged["similarity/initial state/heatmap_biased"]
    [media] = (u_real / "wandb").glob(f"offline-run-*/files/{heatmap['filenames'][0]}")
    assert media.stat().st_size > 10_000


def test_frozen_backbone_stays_bit_identical(tiny_root, tmp_path, u_real):
    backbone = tmp_path / "backbone.conv.74"
    assert main(["export", str(u_real), str(backbone), "--last_layer=74"]) == 0
    fit(tiny_root, tmp_path, "GTAV", "--freezing.mode=backbone", f"--model.backbone={backbone}")
    run = tmp_path / "F-Synthetic" / "0"
    before, after = weights(run, "initial.ckpt"), weights(run)
    assert any("running_var" in name for name in layers(before, 0, 74))
    assert equal(layers(before, 0, 74), layers(after, 0, 74))
    moved = layers(after, 75, 106)
    still = [name for name, value in moved.items() if value.equal(before[name])]
    assert not still
    trained = layers(weights(u_real, "best.ckpt"), 0, 74)
    counters = {name for name in trained if name.endswith("num_batches_tracked")}
    assert all(after[name].equal(trained[name]) for name in trained if name not in counters)


def test_a_range_of_layers_thaws_at_its_epoch(tiny_root, tmp_path):
    options = ("--freezing.mode=[0, 36]", "--trainer.max_epochs=2")
    with pytest.warns(UserWarning, match="layers 0-36 are frozen at random weights"):
        fit(tiny_root, tmp_path, "BDD100K", *options, "--name=frozen")
    with pytest.warns(UserWarning, match="layers 0-36 are frozen at random weights"):
        fit(tiny_root, tmp_path, "BDD100K", *options, "--name=thawed", "--freezing.thaw_epoch=1")
    start = weights(tmp_path / "frozen" / "0", "initial.ckpt")
    frozen, thawed = (weights(tmp_path / name / "0") for name in ("frozen", "thawed"))
    assert equal(layers(frozen, 0, 36), layers(start, 0, 36))
    assert not equal(layers(thawed, 0, 4), layers(start, 0, 4))


def test_the_seed_decides_weights_and_the_data_do_not_decide_the_start(tiny_root, tmp_path):
    for folder, data, seed in (("a", "BDD100K", 0), ("b", "BDD100K", 0), ("c", "BDD100K", 1)):
        fit(tiny_root, tmp_path / folder, data, f"--seed_everything={seed}")
    fit(tiny_root, tmp_path / "d", "GTAV")
    first = tmp_path / "a" / "U-Real" / "0"
    again, other = tmp_path / "b" / "U-Real" / "0", tmp_path / "c" / "U-Real" / "1"
    synthetic = tmp_path / "d" / "U-Synthetic" / "0"
    assert equal(weights(first), weights(again))
    assert not equal(weights(first, "initial.ckpt"), weights(other, "initial.ckpt"))
    assert equal(weights(first, "initial.ckpt"), weights(synthetic, "initial.ckpt"))
    assert not equal(weights(first), weights(synthetic))


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tiny_root, tmp_path, monkeypatch, capsys):
    options = ("--trainer.max_epochs=3", "--model.schedule=one_cycle")
    fit(tiny_root, tmp_path / "whole", "BDD100K", *options)
    step = Detector.training_step

    def dies(self, batch, batch_idx):
        if self.global_step == 7:  # in the third epoch
            raise RuntimeError("power cut")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Detector, "training_step", dies)
    arguments = fit_arguments(tiny_root, tmp_path / "cut", "BDD100K", *options)
    with pytest.raises(RuntimeError, match="power cut"):
        main(arguments)
    monkeypatch.setattr(Detector, "training_step", step)
    assert main([*arguments, "--model.lr=0.5"]) == 2
    assert "unfinished run with another model.lr" in capsys.readouterr().err
    assert main(arguments) == 0
    whole, cut = (tmp_path / name / "U-Real" / "0" for name in ("whole", "cut"))
    assert equal(weights(whole), weights(cut))
    assert equal(weights(whole, "best.ckpt"), weights(cut, "best.ckpt"))
    pd.testing.assert_frame_equal(
        pd.read_csv(whole / "metrics.csv"), pd.read_csv(cut / "metrics.csv"), check_like=True
    )
    assert main(arguments) == 0
    assert "this run is finished" in capsys.readouterr().out
    assert main([*arguments, "--model.lr=0.5"]) == 2
    assert "holds a finished run with another model.lr" in capsys.readouterr().err


def test_workers_do_not_change_the_result(tiny_root, tmp_path):
    for workers in (0, 2):
        fit(tiny_root, tmp_path / str(workers), "BDD100K", f"--data.num_workers={workers}")
    none, two = (weights(tmp_path / str(workers) / "U-Real" / "0") for workers in (0, 2))
    assert equal(none, two)


def test_training_stops_when_the_score_does_not_rise(tiny_root, tmp_path, u_real):
    options = ("--model.lr=0", "--early_stopping.patience=2", "--trainer.max_epochs=9")
    fit(tiny_root, tmp_path, "GTAV", *options)
    summary = json.loads((tmp_path / "U-Synthetic/0/summary.json").read_text())
    assert summary["stopped_early"]
    assert summary["epochs"] == 3


def test_a_reference_run_is_what_the_similarity_is_with(tiny_root, tmp_path, u_real):
    fit(tiny_root, tmp_path, "GTAV", "--similarity.images=8", f"--similarity.reference={u_real}")
    folder = tmp_path / "U-Synthetic/0/similarity/U-Real-0_Synthetic-test_32"
    table = pd.read_csv(folder / "layers.csv")
    assert list(table["layer"]) == list(range(107))
    pairs = {81: 82, 93: 94, 105: 106}  # a detection layer hands on what its convolution says
    for convolution, detection in pairs.items():
        assert table["cka_biased"][convolution] == pytest.approx(
            table["cka_biased"][detection], nan_ok=True
        )
    assert table["cka_biased"].dropna().between(0, 1 + 1e-9).all()
    assert table["cka_biased"].notna().sum() > 90


def test_predictions_are_boxes_in_the_original_pixels(tiny_root, tmp_path, u_real):
    run = f"--config={u_real}/config.yaml"
    checkpoint = f"--ckpt_path={u_real}/best.ckpt"
    assert main(["predict", run, checkpoint, f"--runs={tmp_path}"]) == 0
    table = pd.read_csv(tmp_path / "U-Real/0/predictions.csv")
    assert set(table.columns) == {"image", "label", "score", "x1", "y1", "x2", "y2"}
    names = (tiny_root / "splits/bdd100k/test.txt").read_text().split()
    assert set(table["image"]) <= set(names)
    assert table["x2"].max() > 64  # native images are wider than the network's input
    assert table["score"].between(0, 1).all()
    assert (table[["x1", "y1"]] >= 0).all(axis=None)  # cut off at the image's border
    sizes = BDD100K(tiny_root / "bdd100k").table.drop_duplicates("image").set_index("image")
    assert (table["x2"].to_numpy() <= sizes.loc[table["image"], "width"].to_numpy()).all()
    assert (table["y2"].to_numpy() <= sizes.loc[table["image"], "height"].to_numpy()).all()


@pytest.mark.parametrize(
    ("verb", "checkpoint", "options", "message"),
    [
        ("test", "damaged.ckpt", (), "not a checkpoint, or a damaged one"),
        ("predict", "damaged.ckpt", (), "not a checkpoint, or a damaged one"),
        ("fit", "damaged.ckpt", (), "not a checkpoint, or a damaged one"),
        ("fit", "best.ckpt", (), "holds weights alone"),
        ("validate", "best.ckpt", ("--model.width=0.125",), "a YOLOv3 of width 0.125"),
        ("fit", "last.ckpt", ("--model.width=0.125",), "a YOLOv3 of width 0.125"),
        ("predict", "best.ckpt", ("--trainer.accelerator=gpu",), "gpu"),
    ],
)
def test_a_checkpoint_that_does_not_serve_is_answered_in_one_line(
    tiny_root, tmp_path, u_real, capsys, verb, checkpoint, options, message
):
    if "gpu" in message and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    file = tmp_path / checkpoint
    file.write_bytes((u_real / checkpoint.replace("damaged", "best")).read_bytes())
    if "damaged" in checkpoint:
        file.write_bytes(file.read_bytes()[:-1000])
    fit = fit_arguments(tiny_root, tmp_path / "runs", "BDD100K", *options, f"--ckpt_path={file}")
    assert main([verb, *fit[1:]]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line.lower()]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "runs").exists()
