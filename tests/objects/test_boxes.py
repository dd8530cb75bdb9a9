"""Rows that are boxes: which they are, what is pooled, and what is said where a change is planted."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from report.run_folders import write_run
from torch import nn

from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.boxes import iou
from yolo_synth.cli import main
from yolo_synth.data.source import data_module
from yolo_synth.networks.torchvision import RetinaNet
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.objects.features import Features, box_features, gram_of
from yolo_synth.objects.likeness import box_table, joined, likeness
from yolo_synth.objects.rows import APART, BACKGROUND, Rows, take_rows
from yolo_synth.objects.study import Objects
from yolo_synth.report.panels import objects as panel


def benchmark():
    path = Path(__file__).parents[2] / "benchmarks" / "objects.py"
    spec = importlib.util.spec_from_file_location("objects_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(tiny_root, tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("data"), {}
    for name, lists in (("BDD100K", "bdd100k"), ("GTAV", "gtav")):
        options = {"root": str(tiny_root / lists), "splits": str(tiny_root / "splits" / lists)}
        options |= {"num_workers": 0, "image_size": 64}
        made[name] = folder / f"{name}.yaml"
        made[name].write_text(
            yaml.safe_dump({"class_path": f"yolo_synth.{name}", "init_args": options})
        )
    return made


@pytest.fixture(scope="module")
def rows(files):
    config = yaml.safe_load(files["GTAV"].read_text())
    return take_rows(data_module(config), "Synthetic", split="train")


def test_background_boxes_have_a_true_boxs_size_and_touch_none(rows):
    true = rows.labels != BACKGROUND
    assert 20 < int((~true).sum()) <= int(true.sum())
    for number in range(len(rows.images)):
        here = rows.picture == number
        front, back = (rows.boxes[here & kind].double().numpy() for kind in (true, ~true))
        assert len(front)
        sizes = (front[:, 2:] - front[:, :2]).tolist()
        for box in back:
            assert any(np.allclose(box[2:] - box[:2], size, atol=1e-3) for size in sizes)
            grown = front + np.array([-APART, -APART, APART, APART])
            assert (iou(grown, box) < 1e-6).all()
            # 16:9 scenes in a square: nothing lies in the grey bars
            assert box[1] >= 14 - 1e-3
            assert box[3] <= 50 + 1e-3


def test_a_box_is_pooled_from_the_map_whose_anchors_answer_for_it():
    network = YOLOv3(width=0.0625)
    assert network.levels == ["layers.80", "layers.92", "layers.104"]
    sizes = torch.tensor([[300.0, 300], [60.0, 50], [12.0, 12]])
    assert network.level_of(sizes).tolist() == [0, 1, 2]


class Ramp(nn.Module):
    """A map whose value is the x of its cell's centre."""

    def __init__(self):
        super().__init__()
        self.map = nn.Conv2d(3, 1, 1)

    def forward(self, images):
        return self.map(nn.functional.avg_pool2d(images, 4))


def made_rows(images, boxes):
    picture = torch.arange(len(boxes)) // (len(boxes) // len(images))
    names = [str(i) for i in range(len(images))]
    return Rows(images, names, picture, boxes, torch.zeros(len(boxes)).long(), ("a",), "A")


def test_what_is_pooled_is_the_mean_under_the_box():
    network = Ramp()
    with torch.no_grad():
        network.map.weight[:] = 1 / 3
        network.map.bias[:] = 0
    images = (torch.arange(64.0) / 64).expand(2, 3, 64, 64).contiguous()
    boxes = torch.tensor(
        [[8.0, 8, 24, 24], [32.0, 4, 48, 20], [8.0, 30, 24, 60], [40.0, 8, 56, 40]]
    )
    found = box_features(network, made_rows(images, boxes))
    centres = (boxes[:, 0] + boxes[:, 2]) / 2
    assert torch.allclose(found.values[0][:, 0], (centres - 0.5) / 64, atol=1e-4)


def test_the_product_of_boxes_of_two_levels_is_nothing_and_levels_weigh_alike(rows):
    torch.manual_seed(0)
    found = box_features(YOLOv3(width=0.0625), rows)
    for number, values in enumerate(found.values):
        assert len(values) == int((found.level == number).sum())
    chosen = torch.nonzero(rows.labels != BACKGROUND)[:, 0].tolist()
    gram, level = gram_of(found, chosen)[0], found.level[chosen]
    assert (gram[level[:, None] != level] == 0).all()
    for number in level.unique():
        if int((level == number).sum()) > 1:
            assert gram.diagonal()[level == number].mean() == pytest.approx(1)


def test_a_network_is_as_it_sees_itself_and_boxes_keep_their_features(rows):
    torch.manual_seed(0)
    network = RetinaNet(num_classes=5, backbone="resnet18")
    found = box_features(network, rows)
    table = likeness(found, found, rows).set_index("of")
    assert table.loc["foreground", "cka"] == pytest.approx(1)
    boxes = box_table(rows, found, "R")
    for number in (0, 5, len(boxes) - 1):
        level = found.levels.index(boxes["level"][number])
        place = int((found.level[:number] == level).sum())
        assert np.array_equal(boxes["features"][number], found.values[level][place].numpy())


def test_the_likeness_is_that_of_boxes_of_different_groups_and_lies_in_its_interval(rows):
    generator = torch.Generator().manual_seed(0)
    level = torch.zeros(len(rows.labels)).long()
    a = torch.randn(len(level), 8, generator=generator)
    b = a + torch.randn(len(level), 8, generator=generator)
    rows = rows._replace(belongs=())
    first, second = (Features(["map"], level, [x]) for x in (a, b))
    row = likeness(first, second, rows).set_index("of").loc["foreground"]
    true = torch.nonzero(rows.labels != BACKGROUND)[:, 0].tolist()
    grams = (gram_of(found, true) for found in (first, second))
    groups = [rows.groups[i] for i in true]
    assert len(set(groups)) < len(groups)
    assert row["cka"] == pytest.approx(cka(*grams, debiased=True, groups=groups).item())
    assert row["low"] < row["cka"] < row["high"]


def test_a_planted_texture_of_objects_is_found_in_them_and_not_in_the_background():
    tool = benchmark()
    torch.set_num_threads(1)
    told = [tool.verdicts(tool.small_network(seed), 60, 20.0, seed, 200) for seed in range(3)]
    assert [front for front, _ in told] == [True] * 3
    assert [back for _, back in told] == [True] * 3
    same = [tool.verdicts(tool.small_network(seed), 60, 60.0, seed, 200)[0] for seed in range(3)]
    assert not any(same)


def test_classes_of_two_sets_are_joined_by_name(rows):
    other = rows._replace(classes=("truck", "tram", "car", "bus", "cycle"), domain="Other")
    both = joined([rows, other])
    names = [both.classes[i] for i in both.labels.tolist() if i != BACKGROUND]
    own = [rows.classes[i] for i in rows.labels.tolist() if i != BACKGROUND]
    assert names[: len(own)] == own
    assert names[len(own) :] == [other.classes[rows.classes.index(name)] for name in own]


def test_objects_are_compared_by_two_runs_on_two_sets(tiny_root, files, tmp_path, capsys):
    runs = [
        write_run(tmp_path / "runs", f"U-{name}", 0, tiny_root) for name in ("Real", "Synthetic")
    ]
    out = tmp_path / "out"
    given = ["objects", *map(str, runs), f"--out={out}", "--boxes=20"]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "How alike networks see boxes" in said
    table = pd.read_csv(out / "objects.csv")
    assert {"foreground", "background"} <= set(table["of"])
    assert set(table["measure"]) == {"CKA", "gap"}
    boxes = pd.read_parquet(out / "boxes.parquet")
    assert set(boxes["network"]) == {"U-Real/0", "U-Synthetic/0"}
    assert set(boxes["domain"]) == {"Real", "Synthetic"}
    assert {len(one) for one in boxes.loc[boxes["level"] == "layers.104", "features"]} == {16}
    assert main(["objects", str(runs[0]), "--boxes=3"]) == 2
    assert main(["objects", str(runs[0]), str(runs[0])]) == 2
    assert "name each once" in capsys.readouterr().err


def told(front, back):
    rows = [
        {"network": "N", "on": "A and B", "part": "all", "of": of, "value": v, "floor": 0.1, "p": p}
        for of, (v, p) in (("foreground", front), ("background", back))
    ]
    found = Objects(pd.DataFrame(), pd.DataFrame(rows), pd.DataFrame())
    return next(iter(panel.sentences(found)))


def test_the_panel_says_what_parts_and_no_more():
    assert list(panel.sentences(None)) == list(panel.tables(None)) == []
    high, low, unsure = (0.5, 0.01), (0.05, 0.5), (0.5, 0.2)
    assert "objects lie apart" in told(high, low)
    assert "the background is not shown to" in told(high, low)
    assert "and so does the background" in told(high, high)
    assert "objects are not shown to" in told(unsure, high)
    assert "neither objects" in told(low, unsure)
