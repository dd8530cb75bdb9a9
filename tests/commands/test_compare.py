"""`yolo-synth compare`: what it says, writes and keeps, against the matrices' own computation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from report.run_folders import write_run

from yolo_synth import probe
from yolo_synth.analysis.activations.run import gram_matrices
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.opinions import opinion
from yolo_synth.cli import main
from yolo_synth.runs import read_run


@pytest.fixture(scope="module")
def runs(tiny_root, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    for model, seed in (("U-Real", 0), ("F-Synthetic", 0), ("U-Real", 1)):
        write_run(folder, model, seed, tiny_root)
    return folder


def compare(runs: Path, second: str, *options: str) -> int:
    given = ["--images=8", *options]
    return main(["compare", f"{runs}/U-Real/0", f"{runs}/{second}", *given])


def test_debiased_first_and_what_training_added_beside_it(runs, tmp_path, capsys):
    assert compare(runs, "F-Synthetic/0", f"--out={tmp_path}") == 0
    said = capsys.readouterr().out
    order = ["mean debiased CKA all", "given the common start all", "; biased CKA all"]
    places = [said.index(words) for words in order]
    assert places == sorted(places)
    table = pd.read_csv(tmp_path / "layers.csv")
    assert table["cka_partial"][:75].isna().all()  # F-Synthetic's backbone is what it started from
    assert table["cka_partial"][75:].notna().any()
    offered = table["low"].notna()
    assert (table["low"] <= table["cka_debiased"] + 1e-9)[offered].all()
    assert (table["p"] <= 0.05)[offered].all()


def test_an_images_influence_is_what_the_similarity_loses_without_it(runs, tmp_path):
    assert compare(runs, "F-Synthetic/0", f"--out={tmp_path}") == 0
    table = pd.read_csv(tmp_path / "images.csv")
    with np.load(tmp_path / "similarity.npz") as kept:
        names, influence, debiased = (kept[key] for key in ("image_names", "influence", "debiased"))
    assert table["image"].tolist() == list(names)
    assert (tmp_path / "images.png").is_file()
    run = read_run(runs / "U-Real/0")
    other = read_run(runs / "F-Synthetic/0")
    images, drawn = run.data().probe("test", 8, 32)
    rides = run.data().groups(drawn)
    ride = rides[list(drawn).index(names[3])]
    rest = torch.tensor([other != ride for other in rides])
    left = [other for other in rides if other != ride]
    grams = (gram_matrices(r.network(), images[rest]) for r in (run, other))
    without = cka(*grams, debiased=True, groups=left)
    expected = (np.diag(debiased) - without.diagonal().numpy()) / rides.count(ride)
    np.testing.assert_allclose(influence[:, 3], expected, atol=1e-6)
    head = expected[75:][np.isfinite(influence[75:]).all(1)]
    assert table["influence_head"][3] == pytest.approx(head.mean(), abs=1e-6)


def test_the_images_are_of_the_split_that_is_asked_for(runs, tmp_path, capsys):
    assert compare(runs, "F-Synthetic/0", "--split=train", f"--out={tmp_path}") == 0
    assert "8 Real train images at 32x32" in capsys.readouterr().out
    shown = set(pd.read_csv(tmp_path / "images.csv")["image"])
    data = read_run(runs / "U-Real/0").data()
    assert shown <= set(data.names("train"))
    assert not shown & set(data.names("test"))


def test_runs_of_other_seeds_have_no_common_start(runs, tmp_path, capsys):
    assert compare(runs, "U-Real/1", f"--out={tmp_path}") == 0
    assert "common start" not in capsys.readouterr().out
    assert "cka_partial" not in pd.read_csv(tmp_path / "layers.csv")


def test_measures_that_are_asked_for_have_interval_chance_and_a_figure(runs, tmp_path, capsys):
    assert compare(runs, "F-Synthetic/0", "--measures=rsa,angle", f"--out={tmp_path}") == 0
    said = capsys.readouterr().out
    assert re.search(r"; rsa all \S+, backbone \S+, head \S+, beyond chance in \d+ of 107 la", said)
    table = pd.read_csv(tmp_path / "layers.csv")
    data = read_run(runs / "U-Real/0").data()
    images, names = data.probe("test", 8, 32)
    networks = [read_run(runs / name).network() for name in ("U-Real/0", "F-Synthetic/0")]
    grams = [gram_matrices(network, images) for network in networks]
    for name in ("rsa", "angle"):
        expected = opinion(name, *grams, data.groups(names)).series
        np.testing.assert_allclose(table[name], expected.value, atol=1e-4)
        for row in ("floor", "null", "p"):
            np.testing.assert_allclose(table[f"{name}_{row}"], getattr(expected, row), atol=1e-3)
        assert {f"{name}_low", f"{name}_high"} <= set(table)
        assert (tmp_path / f"{name}.png").is_file()
    assert "neighbours" not in table


def test_bfloat16_names_its_measured_error_and_warns_of_small_images(
    runs, tmp_path, capsys, caplog
):
    assert compare(runs, "F-Synthetic/0", f"--out={tmp_path / 'exact'}") == 0
    assert "errs" not in capsys.readouterr().out
    fast = ("--precision=bfloat16", f"--out={tmp_path / 'fast'}")
    assert compare(runs, "F-Synthetic/0", *fast) == 0
    said = capsys.readouterr().out
    with (
        np.load(tmp_path / "exact/similarity.npz") as a,
        np.load(tmp_path / "fast/similarity.npz") as b,
    ):
        assert str(b["precision"]) == "bfloat16"
        errors = [np.abs(a[name] - b[name]) for name in ("biased", "debiased")]
        # All 8 images are among those that the error is measured on
        assert b["error"][:2] == pytest.approx([np.nanmean(errors), np.nanmax(errors)])
        worst = np.nan_to_num(errors).max(0)
        row, column = np.unravel_index(worst.argmax(), worst.shape)
    cell = f"{worst.max():.1e} at most (layer {row} with layer {column})"
    assert f"bfloat16 errs by {np.nanmean(errors):.1e} on average and {cell}" in said
    (warning,) = [r.getMessage() for r in caplog.records if "bfloat16" in r.getMessage()]
    assert cell in warning
    assert "at 32x32" in warning
    assert "below 64 pixels compare in float32" in warning

    caplog.clear()
    assert compare(runs, "F-Synthetic/0", "--size=64", *fast) == 0
    assert "errs by" in capsys.readouterr().out
    assert "bfloat16" not in caplog.text


def test_grams_are_kept_and_little_memory_goes_block_by_block(runs, tmp_path, monkeypatch):
    small = ("--size=64", "--memory=0.0199", f"--out={tmp_path / 'blocks'}")
    with pytest.warns(UserWarning, match="8 images do not fit into 20 MiB at once"):
        assert compare(runs, "F-Synthetic/0", *small) == 0
    monkeypatch.setattr(probe, "gram_matrices", None)
    assert compare(runs, "F-Synthetic/0", "--size=64", f"--out={tmp_path / 'again'}") == 0
    values = [np.load(tmp_path / name / "similarity.npz")["biased"] for name in ("blocks", "again")]
    assert np.array_equal(*values, equal_nan=True)


@pytest.mark.parametrize(
    "option", ["--images=3", "--size=33", "--memory=0", "--precision=half", "--measures=angel"]
)
def test_what_cannot_be_is_refused(runs, option, capsys):
    assert compare(runs, "U-Real/1", option) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
