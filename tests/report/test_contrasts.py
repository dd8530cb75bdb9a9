"""What freezing does to similarity, from run folders and in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from report.run_folders import write_run
from test_findings import pair, said, scores

from yolo_synth.analysis.activations.run import gram_matrices
from yolo_synth.analysis.activations.structure import structure_of
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.comparison import Probe
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.report import contrasts as module
from yolo_synth.report.contrasts import contrasts
from yolo_synth.report.findings import findings
from yolo_synth.report.results import Contrast
from yolo_synth.report.tables_beyond import contrast_tables
from yolo_synth.runs import find_runs


@pytest.fixture(scope="module")
def structure():
    return structure_of(YOLOv3(width=0.0625), backbone_end=75)


def contrast(nearer: int, farther: int) -> Contrast:
    value = np.r_[np.full(nearer, 0.2), np.full(107 - nearer, -0.1)]
    p = np.full(107, np.nan)
    p[:nearer] = p[107 - farther :] = 0.01
    names = ("U-Real/0", "F-Synthetic/0", "U-Synthetic/0", "Real")
    return Contrast(*names, 200, 32, value, value - 0.05, value + 0.05, p)


def test_it_is_the_difference_of_two_similarities(tiny_root, tmp_path, monkeypatch):
    for model, seed in (("U-Real", 0), ("F-Synthetic", 0), ("U-Synthetic", 0), ("U-Real", 1)):
        write_run(tmp_path, model, seed, tiny_root)
    runs = {run.name: run for run in find_runs(tmp_path)}
    images, names = runs["U-Real/0"].data().probe("test", 8, 32)
    probe = Probe(images, names, "Real")
    (found,) = contrasts(list(runs.values()), [probe], tmp_path / "kept")
    assert (found.third, found.first, found.second) == (
        *("U-Real/0", "F-Synthetic/0", "U-Synthetic/0"),
    )
    third, first, second = (
        gram_matrices(runs[name].network(), images)
        for name in (found.third, found.first, found.second)
    )
    similarities = [cka(third, other, debiased=True).diagonal() for other in (first, second)]
    np.testing.assert_allclose(found.value, similarities[0] - similarities[1], atol=1e-9)
    offered = np.isfinite(found.low)
    assert (found.low <= found.value)[offered].all()
    assert (found.value <= found.high)[offered].all()
    monkeypatch.setattr(module, "difference", None)
    (again,) = contrasts(list(runs.values()), [probe], tmp_path / "kept")
    np.testing.assert_array_equal(again.p, found.p)


def test_layers_that_differ_are_counted(structure):
    made = contrast(nearer=40, farther=7)
    assert (made.nearer, made.farther) == (40, 7)
    table, layers = contrast_tables([made], structure)
    row = table.frame.loc[("Real", 32, "U-Real/0", "F-Synthetic/0", "U-Synthetic/0")]
    assert row["layers, first more alike"] == 40
    assert row["layers, second more alike"] == 7
    assert row["difference, backbone"] == pytest.approx((40 * 0.2 - 35 * 0.1) / 75)
    assert len(layers.frame) == 107
    assert contrast_tables([], structure) == []


def test_the_sentence_says_what_a_frozen_backbone_is_where_all_began_alike(structure):
    two = [pair(), pair(second="F-Synthetic/0", head=0.5)]
    words = "Freezing the backbone on Synthetic changed the mean debiased CKA"
    plain = said(findings(scores(U0=0.5), two, structure, contrasts=[contrast(40, 7)]), words)
    assert "nearer in 40 and farther in 7 of 107 layers (F-Synthetic/0)" in plain
    assert "started from" not in plain
    two[1] = replace(two[1], partial=np.full(107, 0.1))
    alike = said(findings(scores(U0=0.5), two, structure, contrasts=[contrast(40, 7)]), words)
    assert "Its backbone is what all started from" in alike
    assert "On the same images" not in said(findings(scores(U0=0.5), two, structure), words)
