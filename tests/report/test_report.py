"""The report over a folder of runs: the paper's structural facts, what is left out, what is kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from report.run_folders import save, write_run

from yolo_synth import evaluation, probe
from yolo_synth import runs as run_folders
from yolo_synth.analysis.similarity import judging, trainings
from yolo_synth.analysis.similarity.gaps import participation_ratio
from yolo_synth.analysis.similarity.series import SHARED, WORDS
from yolo_synth.commands.report import report
from yolo_synth.data.source import data_module
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.report import report as reporting
from yolo_synth.report import study
from yolo_synth.report.panels import freezing, gap, outputs, similarity_figures
from yolo_synth.report.selection import select


def fail(*_, **__):
    raise AssertionError("computed again")


@pytest.fixture
def matrices(out):
    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(out / "matrices" / f"{name}.npz") as file:
            return dict(file)

    return load


def table_bytes(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").iterdir())}


def test_everything_is_written(out):
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert {"report.html", "findings.md", "figures/share.png", "figures/share.svg"} <= names
    for table in ("table_2", "table_2_classes", "table_3", "table_4", "table_5", "scorecard"):
        assert {f"tables/{table}.{ending}" for ending in ("csv", "md", "tex")} <= names
    for number, images in ((3, "real"), (3, "synthetic"), (4, "real"), (4, "synthetic")):
        assert f"tables/table_{number}_layers_{images}.csv" in names
    assert {
        "figures/figure_4_seed_0_real_32.svg",
        "figures/figure_6_seeds_0_1_same_model_real_32_debiased.png",
        "figures/figure_7_U-Real-0_vs_U-Real-0_real_32.png",
        "figures/figure_9_U-Real-0_vs_F-Synthetic-0_real_32.svg",
        "figures/ribbon_seed_0_real_32.png",
    } <= names
    assert not [name for name in names if "draft" in name]


def test_detection_layers_are_as_alike_as_the_convolutions_before_them(matrices):
    pair = matrices("U-Real-0_vs_F-Synthetic-0_real_32")
    for values in (pair["biased"], pair["debiased"]):
        for layer in (82, 94, 106):
            np.testing.assert_allclose(values[layer], values[layer - 1], atol=1e-12)
            np.testing.assert_allclose(values[:, layer], values[:, layer - 1], atol=1e-12)
    assert 0 < pair["biased"][82, 82] < 0.999


def test_self_similarity_is_symmetric_with_unit_diagonal(matrices):
    for name in ("U-Real-0_vs_U-Real-0_real_32", "F-Synthetic-0_vs_F-Synthetic-0_synthetic_32"):
        pair = matrices(name)
        for values in (pair["biased"], pair["debiased"]):
            np.testing.assert_allclose(values, values.T, atol=1e-12)
            np.testing.assert_allclose(np.diag(values), 1, atol=1e-12)


def test_a_frozen_backbone_is_its_initial_state(matrices):
    frozen = matrices("F-Synthetic-0_vs_initial-state_synthetic_32")
    free = matrices("U-Real-0_vs_initial-state_synthetic_32")
    np.testing.assert_allclose(np.diag(frozen["biased"])[:75], 1, atol=1e-9)
    np.testing.assert_allclose(np.diag(frozen["debiased"])[:75], 1, atol=1e-9)
    assert np.diag(frozen["debiased"])[76:82].max() < 0.999
    assert np.diag(free["debiased"])[1:75].max() < 0.999


def test_pairs_with_a_common_start_have_a_partial_value_where_training_changed_them(matrices):
    partial = matrices("U-Real-0_vs_F-Synthetic-0_real_32")["cka_partial"]
    assert np.isnan(partial[:75]).all()
    assert np.isfinite(partial[75:]).all()
    assert "cka_partial" not in matrices("U-Real-0_vs_U-Real-1_real_32")


def test_the_ceiling_is_what_two_seeds_of_a_model_reach(matrices):
    seeds = matrices("U-Real-0_vs_U-Real-1_real_32")
    pair = matrices("U-Real-0_vs_F-Synthetic-0_real_32")
    reached = np.diag(seeds["debiased"])
    np.testing.assert_allclose(pair["ceiling"], np.where(reached > 0, reached, np.nan))
    across = np.diag(matrices("F-Synthetic-0_vs_U-Real-1_real_32")["debiased"])
    ratio = (np.diag(pair["debiased"]) + across) / 2 / pair["ceiling"]
    np.testing.assert_allclose(pair["ratio"], np.where(ratio > 0, ratio, np.nan), rtol=1e-6)
    assert ("ceiling" in seeds, "ratio" in seeds) == (False, False)


def test_the_domains_part_as_the_definition_says(runs, out):
    """MMD² of one layer by its definition, on the features of a plain forward pass in float64."""
    chosen = [subject.run for subject in select(str(runs)).subjects]
    run = next(run for run in chosen if run.name == "U-Real/0")
    domains = {domain: data for run in chosen for domain, data in run.test_domains.items()}
    network, layer = run.network().double(), 81
    kept: list[torch.Tensor] = []
    rides: list[list[str]] = []
    network.layers[layer].register_forward_hook(lambda _, __, x: kept.append(x.flatten(1)))
    for domain in ("Real", "Synthetic"):
        data = data_module(domains[domain])
        images, names = data.probe("test", min(200, len(data.names("test"))), 32)
        groups = data.groups(names)
        rides.append(groups if len(set(groups)) >= 4 else names)  # too few count as images
        with torch.no_grad():
            network(images.double() / 255)
    a, b = (features - torch.cat(kept).mean(0) for features in kept)

    def within(x: torch.Tensor) -> torch.Tensor:
        return (x.sum(0).square().sum() - x.square().sum()) / (len(x) * (len(x) - 1))

    def grouped(x: torch.Tensor, groups: list[str]) -> torch.Tensor:
        rows = [torch.tensor([g == name for g in groups]) for name in dict.fromkeys(groups)]
        return torch.stack([x[row].mean(0) for row in rows])

    means = [grouped(x, groups) for x, groups in zip((a, b), rides, strict=True)]
    squares = [
        grouped(x.square().sum(1, keepdim=True), groups).mean()
        for x, groups in zip((a, b), rides, strict=True)
    ]
    distance = sum(map(within, means)) - 2 * means[0].mean(0) @ means[1].mean(0)
    variance = sum(s - within(m) for s, m in zip(squares, means, strict=True)) / 2
    table = pd.read_csv(out / "tables" / "gap_layers.csv").set_index("layer")
    given = table["Real and Synthetic U-Real/0 gap"]
    assert given[layer] == pytest.approx(float(distance / variance), rel=1e-4)
    directions = table["Real and Synthetic U-Real/0 dimensions of Real"][layer]
    assert directions == pytest.approx(participation_ratio(a @ a.T, rides[0]).item(), rel=1e-4)


def test_pairs_of_one_seed_have_a_second_opinion_and_a_verdict(out, matrices):
    pair = matrices("U-Real-0_vs_F-Synthetic-0_real_32")
    assert ((pair["angle"] >= 0) & (pair["angle"] <= np.pi / 2)).all()
    assert ((pair["match"] >= 0) & (pair["match"] < 107)).all()
    assert "angle" not in matrices("F-Synthetic-0_vs_U-Real-1_real_32")
    table = pd.read_csv(out / "tables" / "verdicts.csv").set_index(["probe images", "pair"])
    counts = table.loc[("Real", "U-Real/0 vs F-Synthetic/0")]
    assert counts[[*WORDS, SHARED]].sum() == 107
    assert "within 10 % of that" in (out / "tables" / "verdicts.md").read_text()
    assert (out / "tables" / "second_opinion.csv").is_file()


def test_broken_and_unfinished_runs_are_named_and_the_rest_is_done(out):
    text = (out / "findings.md").read_text()
    assert "U-Synthetic/0 is not finished" in text
    assert "F-Real/0/best.ckpt: not a checkpoint" in text
    assert "garbled/0/config.yaml: not YAML" in text
    assert "wandb" not in text
    assert "shown to the networks instead of 200" in text
    table = pd.read_csv(out / "tables" / "table_2.csv")
    assert list(table["model"]) == ["U-Real", "F-Synthetic"]
    assert "The Real data are not the paper's" in (out / "tables" / "scorecard.md").read_text()


def test_probes_are_never_pooled(out):
    table = pd.read_csv(out / "tables" / "table_5.csv")
    assert list(table["probe images"]) == ["Real", "Synthetic"]
    values = table["debiased CKA all seed 0"]
    assert values[0] != values[1]


def test_a_second_call_computes_nothing_again_and_prints_the_card(runs, out, monkeypatch, capsys):
    before = {path: path.stat().st_mtime_ns for path in (out / "figures").iterdir()}
    tables = table_bytes(out)
    for module, name in (
        (probe, "gram_matrices"),
        (probe, "load_grams"),
        (judging, "permutation_test"),
        (trainings, "of_pairs"),
        (study, "untrained_similarity"),
        (gap, "gap_test"),
        (freezing, "between_test"),
        (outputs, "each_layer"),
        (evaluation, "test_scores"),
        (similarity_figures, "heatmap"),
    ):
        monkeypatch.setattr(module, name, fail)
    report(str(runs), str(out), images=200, sizes=(32,))
    assert table_bytes(out) == tables
    assert {path: path.stat().st_mtime_ns for path in (out / "figures").iterdir()} == before
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("1. F-Synthetic has mAP@0.5 ")


def test_grams_are_kept_with_the_runs_and_not_with_the_report(runs, out, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "gram_matrices", fail)
    monkeypatch.setattr(reporting, "write_figures", lambda *_: None)
    report(str(runs), str(tmp_path / "elsewhere"), images=200, sizes=(32,))
    assert table_bytes(tmp_path / "elsewhere") == table_bytes(out)


def test_the_same_runs_give_the_same_bytes_of_tables(runs, out, tmp_path, monkeypatch):
    copy = tmp_path / "runs"
    caches = shutil.ignore_patterns("grams", "statistics")
    shutil.copytree(runs, copy, ignore=caches)
    monkeypatch.setattr(reporting, "write_figures", lambda *_: None)
    report(str(copy), str(tmp_path / "report"), images=200, sizes=(32,))
    assert table_bytes(tmp_path / "report") == table_bytes(out)


def test_a_run_trained_again_is_computed_again(runs, out, tmp_path, tiny_root):
    kept = select(str(runs)).subjects[0]
    write_run(tmp_path / "again", "U-Real", 2, tiny_root)
    again = select(str(tmp_path / "again")).subjects[0]
    assert kept.weights != again.weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0.125}, "more than one width cannot be mixed: .* has 0.0625, .* has 0.125"),
        ({"size": 96}, "more than one image size cannot be mixed"),
    ],
)
def test_runs_of_other_architecture_are_refused(tiny_root, tmp_path, change, message):
    write_run(tmp_path, "U-Real", 0, tiny_root)
    write_run(tmp_path, "U-Synthetic", 0, tiny_root, **change)
    with pytest.raises(ValueError, match=message):
        report(str(tmp_path), str(tmp_path / "report"))
    assert not (tmp_path / "report").exists()


def test_runs_of_other_classes_are_refused(tiny_root, tmp_path):
    write_run(tmp_path, "U-Real", 0, tiny_root)
    second = write_run(tmp_path, "U-Synthetic", 0, tiny_root)
    config = yaml.safe_load((second / "config.yaml").read_text())
    config["model"]["num_classes"] = 80
    (second / "config.yaml").write_text(yaml.safe_dump(config))
    save(YOLOv3(80, 0.0625), second / "best.ckpt")
    with pytest.raises(ValueError, match="more than one number of classes"):
        select(str(tmp_path))


def test_two_folders_of_one_run_are_not_both_used(tiny_root, tmp_path):
    write_run(tmp_path / "a", "U-Real", 0, tiny_root)
    write_run(tmp_path / "b", "U-Real", 0, tiny_root)
    subjects, _, notes = select(str(tmp_path))
    assert [subject.run.folder.parts[-3] for subject in subjects] == ["a"]
    assert "U-Real/0 is in" in notes[0]


def test_a_run_without_its_start_is_used_and_named(tiny_root, tmp_path):
    (write_run(tmp_path, "U-Real", 0, tiny_root) / "initial.ckpt").unlink()
    subjects, starts, notes = select(str(tmp_path))
    assert len(subjects) == 1
    assert not starts
    assert "nothing is said of U-Real/0's start" in notes[0]


def test_nothing_to_report_on_is_an_error(runs, tmp_path):
    with pytest.raises(FileNotFoundError, match="no run folder"):
        report(str(tmp_path))
    with pytest.raises(ValueError, match=r"no finished run to report on.*not finished"):
        report(str(runs / "U-Synthetic"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 5}, "--images is at least 6, not 5"),
        ({"sizes": ()}, "--sizes names no side"),
        ({"margin": 1.5}, "--margin is a fraction between 0 and 1, not 1.5"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        report("anywhere", **options)


def test_sizes_that_the_networks_do_not_take_are_refused(runs, tmp_path):
    with pytest.raises(ValueError, match="each of --sizes is a multiple of 32, not 33"):
        report(str(runs), str(tmp_path), sizes=(32, 33))


def test_the_papers_figures_are_drawn_and_all_when_asked_for(runs, out, tmp_path, monkeypatch):
    drawn = {path.stem for path in (out / "figures").iterdir()}
    assert len(drawn) < 30
    assert not [name for name in drawn if "synthetic_32" in name or name.startswith("heatmap")]
    asked = []
    monkeypatch.setattr(reporting, "write_figures", lambda drawings, _: asked.extend(drawings))
    report(str(runs), str(out), images=200, sizes=(32,), figures="all")
    names = {drawing.name for drawing in asked}
    assert drawn < names
    assert {"heatmap_F-Synthetic-0_vs_F-Synthetic-0_synthetic_32"} <= names
    assert len(names) == len(asked)


def test_each_checkpoint_is_read_once(runs, out, monkeypatch):
    read = []
    network = run_folders.Run.network

    def counted(run, checkpoint=run_folders.BEST):
        read.append((run.folder, checkpoint))
        return network(run, checkpoint)

    monkeypatch.setattr(run_folders.Run, "network", counted)
    report(str(runs), str(out), images=200, sizes=(32,))
    assert len(read) == len(set(read)) == 3 * 2 + 1  # and the one that is cut off


def test_a_result_of_an_older_program_is_not_used(runs, out, tmp_path):
    """A file without the format's number, as older versions kept, does not answer for a new one."""
    copy = shutil.copytree(out, tmp_path / "report")
    path = copy / "matrices" / "gap_u-real-0_real-and-synthetic_32.npz"
    with np.load(path) as file:
        arrays = dict(file)
    whole = arrays["gap"].copy()
    np.savez(
        path, **{name: row for name, row in arrays.items() if name != "format"} | {"gap": 9 + whole}
    )
    report(str(runs), str(copy), images=200, sizes=(32,))
    with np.load(path) as file:
        np.testing.assert_array_equal(file["gap"], whole)
