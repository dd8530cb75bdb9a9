"""`data describe`: its numbers against the files themselves, and that there is something to see."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from survey.scenes import data_file

from yolo_synth.boxes import place
from yolo_synth.cli import main
from yolo_synth.data.bdd100k_labels import BDD100K_LABELS
from yolo_synth.labels import CLASSES
from yolo_synth.networks.yolov3.architecture import ANCHORS, STRIDES
from yolo_synth.networks.yolov3.targets import assign, level_anchors
from yolo_synth.survey import counts as counting
from yolo_synth.survey.heat import coverage
from yolo_synth.survey.sizes import best_iou, network_sizes

FIGURES = ("overview", "anchors", "places")


@pytest.fixture(scope="module")
def described(tiny_root, tmp_path_factory):
    """Describe the tiny scenes of both styles; the folder of each one's tables and figures."""
    folder = tmp_path_factory.mktemp("described")
    for data in ("BDD100K", "GTAV"):
        name = {"BDD100K": "bdd100k", "GTAV": "gtav"}[data]
        file = folder / f"{name}.yaml"
        root, splits = tiny_root / name, tiny_root / "splits" / name
        file.write_text(
            f"class_path: yolo_synth.{data}\ninit_args:\n  root: {root}\n  splits: {splits}\n"
        )
        assert main(["data", "describe", str(file), f"--out={folder / data}"]) == 0
    return folder


def read(described: Path, data: str, name: str) -> pd.DataFrame:
    return pd.read_csv(described / data / f"{name}.csv", keep_default_na=False, na_values=[""])


def bdd100k_frames(tiny_root: Path) -> dict[str, dict]:
    files = (tiny_root / "bdd100k/labels").glob("*.json")
    return {frame["name"]: frame for file in files for frame in json.loads(file.read_text())}


def test_counts_are_those_of_the_files(tiny_root, described):
    frames = bdd100k_frames(tiny_root)
    splits = read(described, "BDD100K", "splits").set_index("split")
    classes = read(described, "BDD100K", "classes").set_index(["split", "class"])
    whole: Counter[str] = Counter()
    for split in ("train", "valid", "test"):
        names = (tiny_root / f"splits/bdd100k/{split}.txt").read_text().split()
        counts: Counter[str] = Counter()
        empty = 0
        for name in names:
            labels = [x for x in frames.get(name, {}).get("labels", []) if "box2d" in x]
            kinds = [BDD100K_LABELS[x["category"]] for x in labels]
            counts["label"] += kinds.count(None)
            used = [
                CLASSES[kind]
                for kind, label in zip(kinds, labels, strict=True)
                if kind is not None and label["box2d"]["x2"] > label["box2d"]["x1"]
            ]
            counts["degenerate"] += len(kinds) - kinds.count(None) - len(used)
            counts.update(used)
            empty += not used
        row = splits.loc[split]
        assert (row["images"], row["empty images"]) == (len(names), empty)
        assert row["boxes"] == sum(counts[name] for name in CLASSES)
        for reason in ("label", "degenerate"):
            assert row[f"dropped: {reason}"] == counts[reason]
        for name in CLASSES:
            assert classes.loc[(split, name), "boxes"] == counts[name]
        whole += counts
    assert whole["degenerate"] > 0
    assert splits.loc["all", "boxes"] == sum(whole[name] for name in CLASSES)


def test_sizes_and_anchors_are_those_of_the_files(tiny_root, described):
    sizes = [
        (416 / 256 * (box["x2"] - box["x1"]), 416 / 256 * (box["y2"] - box["y1"]))
        for frame in bdd100k_frames(tiny_root).values()
        for label in frame["labels"]
        if BDD100K_LABELS[label["category"]] is not None
        for box in [label.get("box2d")]
        if box and box["x2"] > box["x1"]
    ]
    rows = read(described, "BDD100K", "classes").set_index(["split", "class"])
    row = rows.loc[("all", "all")]
    assert row["boxes"] == len(sizes)
    sides = [(w * h) ** 0.5 for w, h in sizes]
    large = sum(side >= 96 for side in sides) / len(sides)
    assert (row["small"], row["large"]) == pytest.approx((0, large), abs=1e-5)
    assert row["medium"] == pytest.approx(1 - large, abs=1e-5)
    assert row["side 50 %"] == pytest.approx(np.median(sides), rel=1e-5)
    assert row["aspect 95 %"] == pytest.approx(
        np.quantile([w / h for w, h in sizes], 0.95), rel=1e-5
    )
    fits = []
    for w, h in sizes:
        overlaps = [(min(w, a) * min(h, b), w * h + a * b) for a, b in ANCHORS]
        fits.append(max(overlap / (both - overlap) for overlap, both in overlaps))
    assert row["mean IoU"] == pytest.approx(np.mean(fits), rel=1e-5)


def test_recall_is_the_share_of_boxes_that_the_assignment_gives_an_anchor():
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(0, np.log(400), (300, 2)))
    corners = torch.tensor(np.concatenate([np.zeros((300, 2)), sizes], axis=1))
    target = {"boxes": corners.float(), "labels": torch.zeros(300, dtype=torch.int64)}
    levels = zip(level_anchors(torch.device("cpu")), STRIDES, strict=True)
    answers = [assign([target], anchors, s, (13, 13)).answers.any(dim=0) for anchors, s in levels]
    answered = torch.stack(answers).any(dim=0).float().mean().item()
    row = counting._sizes(pd.DataFrame({"w": sizes[:, 0], "h": sizes[:, 1], "image": "a"}))
    assert 0.3 < answered < 0.9
    assert row["recall"] == pytest.approx(answered)


def test_conditions_are_those_of_the_files(tiny_root, described):
    counts = Counter(
        (name, value)
        for frame in bdd100k_frames(tiny_root).values()
        for name, value in frame["attributes"].items()
    )
    table = read(described, "BDD100K", "attributes").set_index(["attribute", "value"])
    told = table.sum(axis=1).drop("not said", level="value")
    assert told.to_dict() == counts
    assert len(read(described, "GTAV", "attributes")) == 0


def test_what_was_dropped_is_told_for_each_sequence(tiny_root, described):
    groups = read(described, "GTAV", "groups")
    assert groups["group"].map(int).isin(range(1, 78)).all()
    frames = Counter(path.parent.name for path in (tiny_root / "gtav/train/img").glob("*/*.jpg"))
    assert dict(zip(groups["group"].map("{:03}".format), groups["images"], strict=True)) == frames
    hoods = groups["dropped: hood"]
    assert ((hoods == groups["images"]) | (hoods == 0)).all()  # a hood is there in a whole drive
    assert 0 < (hoods > 0).sum() < len(groups)
    lost = groups[["dropped: hood", "dropped: area", "dropped: degenerate"]].sum(axis=1)
    assert lost.is_monotonic_decreasing
    splits = read(described, "GTAV", "splits").set_index("split")
    for reason in ("hood", "area", "label"):
        assert groups[f"dropped: {reason}"].sum() == splits.loc["all", f"dropped: {reason}"] > 0


def test_figures_have_something_to_see(described):
    for data in ("BDD100K", "GTAV"):
        for name in FIGURES:
            pixels = cv2.imread(str(described / data / f"{name}.png"))
            assert pixels.shape[1] == 1800
            assert len(np.unique(pixels.astype(np.int32) @ [1, 256, 65536])) > 50


def test_it_prints_the_tables_and_tells_of_images_in_no_list(tiny_root, tmp_path, capsys):
    lists = tmp_path / "splits/bdd100k"
    lists.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        names = (tiny_root / f"splits/bdd100k/{split}.txt").read_text().split()
        (lists / f"{split}.txt").write_text("\n".join(names[:4]))
    (tmp_path / "bdd100k").symlink_to(tiny_root / "bdd100k")
    file = data_file(tmp_path, "BDD100K", image_size=96)
    assert main(["data", "describe", file, f"--out={tmp_path / 'out'}"]) == 0
    out = capsys.readouterr().out
    head, images = out.splitlines()[:2]
    assert head.split() == ["train", "valid", "test", "unused", "all"]
    assert images.split() == ["images", "4", "4", "4", "28", "40"]
    assert "Boxes at 96 x 96, letterbox" in out
    assert "Images by condition" in out


def test_sizes_are_those_of_the_network_input():
    boxes = pd.DataFrame(
        {
            "width": [1280, 1920, 1280],
            "height": [720, 1080, 720],
            "x1": [0.0, -100.0, 10.0],
            "y1": [0.0, 0.0, 10.0],
            "x2": [1280.0, 960.0, 11.0],
            "y2": [720.0, 1200.0, 30.0],
        }
    )
    native = [(1280, 720), (960, 1080), (1, 20)]
    for resize in ("letterbox", "stretch"):
        found = network_sizes(boxes, 416, resize)
        for row, (width, height), size in zip(
            boxes.itertuples(), native, found.tolist(), strict=True
        ):
            spot = place(row.width, row.height, 416, resize)
            assert size == pytest.approx([width * spot.scale_x, height * spot.scale_y])
    assert network_sizes(boxes, 416)[0].tolist() == [416, 234]


def test_the_best_iou_is_the_best_of_all_pairs():
    rng = np.random.default_rng(0)
    sizes, anchors = rng.uniform(1, 300, (50, 2)), rng.uniform(1, 300, (5, 2))
    for (w, h), found in zip(sizes, best_iou(sizes, anchors), strict=True):
        overlaps = [(min(w, a) * min(h, b), a * b) for a, b in anchors]
        assert found == pytest.approx(max(o / (w * h + area - o) for o, area in overlaps))


def test_the_map_of_places_counts_the_boxes_over_each_cell():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 37, (20, 2, 2)), axis=1)
    boxes = pd.DataFrame(corners.reshape(20, 4), columns=["x1", "y1", "x2", "y2"]).astype(float)
    boxes["width"], boxes["height"] = 64, 36  # so a cell is a pixel
    boxes.loc[0, ["x1", "y1", "x2", "y2"]] = (-50, -50, 500, 500)
    expected = np.zeros((36, 64))
    for box in boxes.clip(lower=0).itertuples():
        expected[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)] += 1 / 20
    assert np.allclose(coverage(boxes), expected)
