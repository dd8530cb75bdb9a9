"""What freezing does to similarity, from run folders and in words."""

from __future__ import annotations

import numpy as np
import pytest
from report.made import STRUCTURE, findings, label
from report.run_folders import write_run
from test_findings import added, pair, said, scores

from yolo_synth.analysis.activations.run import gram_matrices
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.report.panels import freezing
from yolo_synth.report.panels.freezing import Contrast, Freezing
from yolo_synth.report.study import Study
from yolo_synth.runs import read_run, run_folders


def contrast(nearer: int, farther: int) -> Contrast:
    value = np.r_[np.full(nearer, 0.2), np.full(107 - nearer, -0.1)]
    p = np.full(107, np.nan)
    p[:nearer] = p[107 - farther :] = 0.01
    names = map(label, ("U-Real/0", "F-Synthetic/0", "U-Synthetic/0"))
    series = LayerSeries(value, value - 0.05, value + 0.05, p=p)
    return Contrast(*names, "Real", 200, 32, STRUCTURE, series)


def test_it_is_the_difference_of_two_similarities(tiny_root, tmp_path, monkeypatch):
    for model, seed in (("U-Real", 0), ("F-Synthetic", 0), ("U-Synthetic", 0), ("U-Real", 1)):
        write_run(tmp_path, model, seed, tiny_root)
    runs = {run.name: run for run in map(read_run, run_folders(tmp_path))}
    data = runs["U-Real/0"].data()
    images, names = data.probe("test", 8, 32)
    rides = data.groups(names)
    assert 4 <= len(set(rides)) < 8
    study = Study(str(tmp_path), tmp_path / "kept", images=8)
    found, _ = freezing.compute(study).contrasts  # by real and by synthetic images
    assert tuple(map(str, (found.third, found.first, found.second))) == (
        *("U-Real/0", "F-Synthetic/0", "U-Synthetic/0"),
    )
    third, first, second = (
        gram_matrices(runs[str(name)].network(), images)
        for name in (found.third, found.first, found.second)
    )
    similarities = [
        cka(third, other, debiased=True, groups=rides).diagonal() for other in (first, second)
    ]
    np.testing.assert_allclose(found.series.value, similarities[0] - similarities[1], atol=1e-9)
    offered = np.isfinite(found.series.low)
    assert (found.series.low <= found.series.value)[offered].all()
    assert (found.series.value <= found.series.high)[offered].all()
    monkeypatch.setattr(freezing, "difference", None)
    again, _ = freezing.compute(study).contrasts
    np.testing.assert_array_equal(again.series.p, found.series.p)


def test_layers_that_differ_are_counted():
    made = contrast(nearer=40, farther=7)
    assert (made.nearer, made.farther) == (40, 7)
    table, layers = freezing.tables(Freezing([], None, [], [made]))
    row = table.frame.loc[("Real", 32, "U-Real/0", "F-Synthetic/0", "U-Synthetic/0")]
    assert row["layers, first more alike"] == 40
    assert row["layers, second more alike"] == 7
    assert row["difference, backbone"] == pytest.approx((40 * 0.2 - 35 * 0.1) / 75)
    assert len(layers.frame) == 107
    assert list(freezing.tables(Freezing([], None, [], []))) == []


def test_the_sentence_says_what_a_frozen_backbone_is_where_all_began_alike():
    two = [pair(), pair(second="F-Synthetic/0", head=0.5)]
    words = "Freezing the backbone on Synthetic changed the mean debiased CKA"
    plain = said(findings(scores(U0=0.5), two, contrasts=[contrast(40, 7)]), words)
    assert "nearer in 40 and farther in 7 of 107 layers (F-Synthetic/0)" in plain
    assert "started from" not in plain
    two[1] = added(two[1], np.full(107, 0.1))
    alike = said(findings(scores(U0=0.5), two, contrasts=[contrast(40, 7)]), words)
    assert "Its backbone is what all started from" in alike
    assert "On the same images" not in said(findings(scores(U0=0.5), two), words)
