from __future__ import annotations

import numpy as np
import pytest
import yaml
from survey.scenes import data_file, write_scenes

from yolo_synth.cli import main
from yolo_synth.data.source import open_data
from yolo_synth.networks.yolov3.architecture import ANCHORS
from yolo_synth.survey.fitting import fit_anchors
from yolo_synth.survey.sizes import best_iou


@pytest.fixture(scope="module")
def sizes():
    """Return sizes as of boxes in street images: many small ones, few large ones, of all shapes."""
    rng = np.random.default_rng(0)
    side, aspect = np.exp(rng.normal(3.2, 0.9, 2000)), np.exp(rng.normal(0.2, 0.5, 2000))
    return np.stack([side * np.sqrt(aspect), side / np.sqrt(aspect)], axis=1)


def test_anchors_find_the_clusters_that_there_are():
    centres = np.array([[12, 30], [40, 40], [200, 90]])
    rng = np.random.default_rng(1)
    boxes = centres[rng.integers(3, size=900)] * np.exp(rng.normal(0, 0.03, (900, 2)))
    assert np.abs(fit_anchors(boxes, 3) - centres).max() <= 2


def test_anchors_fit_better_than_the_networks_own_and_better_the_more_there_are(sizes):
    fits = [best_iou(sizes, fit_anchors(sizes, count)).mean() for count in (1, 3, 6, 9)]
    assert fits == sorted(fits)
    assert fits[-1] > best_iou(sizes, ANCHORS).mean() + 0.02
    nine = fit_anchors(sizes, 9)
    assert (nine == np.rint(nine)).all()
    assert (np.diff(nine.prod(axis=1)) >= 0).all()


def test_the_same_seed_gives_the_same_anchors(sizes):
    assert (fit_anchors(sizes, 6, seed=3) == fit_anchors(sizes, 6, seed=3)).all()
    fits = [best_iou(sizes, fit_anchors(sizes, 6, seed)).mean() for seed in range(4)]
    assert max(fits) - min(fits) < 0.01


def test_what_is_printed_is_yaml(tiny_root, tmp_path, capsys):
    (tmp_path / "gtav").symlink_to(tiny_root / "gtav")
    (tmp_path / "splits").symlink_to(tiny_root / "splits")
    file = data_file(tmp_path, "GTAV")
    assert main(["data", "anchors", file, "--count=4", "--size=96"]) == 0
    out = capsys.readouterr().out
    found = yaml.safe_load(out)
    assert found["yolov3"] == [list(anchor) for anchor in ANCHORS]
    assert len(found["anchors"]) == 4
    assert max(max(anchor) for anchor in found["anchors"]) <= 96
    module = open_data(file)
    used = module.table[module.table["dropped"] == ""]
    train = used["image"].isin(module.names("train")).sum()
    assert f"pixels at 96 x 96; {train} boxes of" in out
    assert train < len(used)


def test_more_anchors_than_boxes_are_refused_in_one_line(tmp_path, capsys):
    file = data_file(write_scenes(tmp_path), "BDD100K")
    assert main(["data", "anchors", file]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "9 anchors cannot be fitted to boxes of 1 different sizes" in error
