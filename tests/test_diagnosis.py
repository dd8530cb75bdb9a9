"""The diagnosis against a plain loop over boxes, torchmetrics' calibration error, and planted cases."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from yolo_synth.commands.diagnoses import write_diagnoses
from yolo_synth.diagnosis import CALIBRATED_FROM, CONFIDENCES, diagnose
from yolo_synth.report.panels import diagnosis as panel

CLASSES = ["car", "person", "bus"]


def drawn(images=60, seed=0, skill=0.7):
    """Draw true boxes, and detections near some of them, of some of the class, and elsewhere."""
    rng = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(images):
        n = int(rng.integers(1, 6))
        low = rng.uniform(0, 300, (n, 2))
        boxes = np.hstack([low, low + rng.uniform(8, 140, (n, 2))])
        labels = rng.integers(0, 3, n)
        near = rng.random(n) < skill
        moved = boxes[near] + rng.normal(0, 3, (near.sum(), 4))
        called = np.where(
            rng.random(near.sum()) < 0.85, labels[near], rng.integers(0, 3, near.sum())
        )
        m = int(rng.integers(0, 4))
        corner = rng.uniform(0, 300, (m, 2))
        stray = np.hstack([corner, corner + rng.uniform(8, 140, (m, 2))])
        scores = np.concatenate([rng.beta(4, 2, near.sum()), rng.beta(1.5, 4, m)])
        found.append(
            {
                "boxes": torch.tensor(np.vstack([moved, stray]), dtype=torch.float32),
                "scores": torch.tensor(scores, dtype=torch.float32),
                "labels": torch.tensor(np.concatenate([called, rng.integers(0, 3, m)])),
            }
        )
        truth.append(
            {"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(labels)}
        )
    return found, truth


def overlap(a, b):
    """Return the IoU of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return width * height / (sum(areas) - width * height)


def by_hand(one, target, blind=False, least=0.0):
    """Yield score, class and true box taken (None: nothing) of each detection, the surest first."""
    free = list(range(len(target["labels"])))
    for d in sorted(range(len(one["scores"])), key=lambda d: -one["scores"][d]):
        if one["scores"][d] < least:
            continue
        best, most = None, 0.5
        for t in free:
            same = blind or one["labels"][d] == target["labels"][t]
            value = overlap(one["boxes"][d].tolist(), target["boxes"][t].tolist())
            if same and value >= most:
                best, most = t, value
        if best is not None:
            free.remove(best)
        yield float(one["scores"][d]), int(one["labels"][d]), best


@pytest.fixture(scope="module")
def case():
    found, truth = drawn()
    names = [str(n) for n in range(60)]
    weather = {"weather": ["rain" if n % 3 else "clear" for n in range(60)], "scene": [""] * 60}
    return found, truth, diagnose(found, truth, CLASSES, names, np.full(60, 4.0), weather)


def test_curves_and_the_best_confidence_are_those_of_a_loop(case):
    found, truth, seen = case
    boxes = sum(len(t["labels"]) for t in truth)
    rows = [row for f, t in zip(found, truth, strict=True) for row in by_hand(f, t)]
    f1 = []
    for number, least in enumerate(CONFIDENCES):
        called = [row for row in rows if row[0] >= least]
        right = sum(row[2] is not None for row in called)
        f1.append(2 * right / (len(called) + boxes))
        assert seen.curves["recall"][number] == pytest.approx(right / boxes, abs=1e-5)
        if called:
            assert seen.curves["precision"][number] == pytest.approx(right / len(called), abs=1e-5)
    assert seen.curves["f1"] == pytest.approx(f1, abs=1e-5)
    assert seen.values["confidence"] == pytest.approx(CONFIDENCES[int(np.argmax(f1))])
    assert seen.values["f1"] == pytest.approx(max(f1), abs=1e-5)
    for name in ("f1", "precision", "recall", "confidence", "error"):
        low, high = (seen.values[f"{name}_{end}"] for end in ("low", "high"))
        assert low < high
        assert low <= seen.values[name] <= high or name in ("confidence", "error")


def test_recalls_and_confusion_are_those_of_a_loop(case):
    found, truth, seen = case
    least = seen.values["confidence"]
    counted, matrix = {}, np.zeros((4, 4), int)
    for number, (f, t) in enumerate(zip(found, truth, strict=True)):
        taken = {row[2] for row in by_hand(f, t, least=least)}
        for index, (box, label) in enumerate(
            zip(t["boxes"].tolist(), t["labels"].tolist(), strict=True)
        ):
            area = 4 * (box[2] - box[0]) * (box[3] - box[1])
            size = "small" if area <= 32**2 else "medium" if area <= 96**2 else "large"
            weather = "rain" if number % 3 else "clear"
            for key in (
                ("all", ""),
                ("class", CLASSES[label]),
                ("size", size),
                ("weather", weather),
            ):
                counted.setdefault(key, []).append(index in taken)
        left = set(range(len(t["labels"])))
        for _, label, true in by_hand(f, t, blind=True, least=least):
            matrix[3 if true is None else int(t["labels"][true]), label] += 1
            left -= {true}
        for true in left:
            matrix[int(t["labels"][true]), 3] += 1
    rows = {(row["part"], row["of"]): row for row in seen.recalls}
    assert rows.keys() == counted.keys()
    for key, values in counted.items():
        assert rows[key]["boxes"] == len(values)
        assert rows[key]["recall"] == pytest.approx(np.mean(values), abs=1e-5)
        if rows[key]["low"] is not None:
            assert rows[key]["low"] <= rows[key]["recall"] <= rows[key]["high"]
    assert sum(row["low"] is None for row in rows.values()) <= 1  # few draws have a small box
    assert seen.confusion == matrix.tolist()


def test_the_calibration_error_is_torchmetrics(case):
    found, truth, seen = case
    rows = [row for f, t in zip(found, truth, strict=True) for row in by_hand(f, t)]
    rows = [row for row in rows if row[0] >= CALIBRATED_FROM]
    scores = torch.tensor([row[0] for row in rows])
    right = torch.tensor([row[2] is not None for row in rows]).int()
    wanted = binary_calibration_error(scores, right, n_bins=10, norm="l1")
    assert seen.values["error"] == pytest.approx(float(wanted), abs=1e-4)
    assert sum(row["count"] for row in seen.reliability) == len(rows)


def test_scores_that_are_the_chance_of_being_right_are_calibrated_and_squared_ones_are_not():
    rng = np.random.default_rng(1)
    found, truth, squared = [], [], []
    for _ in range(400):
        score = torch.tensor(rng.uniform(0.05, 1, 6), dtype=torch.float32)
        low = torch.arange(6).float()[:, None] * 50
        boxes = torch.cat([low, low, low + 30, low + 30], 1)
        there = torch.tensor(rng.random(6) < score.numpy())
        labels = torch.zeros(6, dtype=torch.int64)
        found.append({"boxes": boxes, "scores": score, "labels": labels})
        squared.append({"boxes": boxes, "scores": score**2, "labels": labels})
        truth.append({"boxes": boxes[there], "labels": labels[there]})
    names = [str(n) for n in range(400)]
    good, bad = (diagnose(each, truth, ["car"], names) for each in (found, squared))
    assert good.values["error"] < 0.03
    assert bad.values["error_low"] > 0.1
    assert all(row["low"] - 0.03 <= row["score"] <= row["high"] + 0.03 for row in good.reliability)


def test_the_interval_of_recall_holds_the_true_one_in_19_of_20_draws_also_with_few_groups():
    held, tries = 0, 80
    for seed in range(tries):
        rng = np.random.default_rng(seed)
        found, truth = [], []
        groups = [str(n // 4) for n in range(48)]
        skills = np.repeat(rng.beta(6, 4, 12), 4)  # sequences differ
        for skill in skills:
            low = torch.arange(5).float()[:, None] * 50
            boxes = torch.cat([low, low, low + 30, low + 30], 1)
            seen = torch.tensor(rng.random(5) < skill)
            labels = torch.zeros(5, dtype=torch.int64)
            truth.append({"boxes": boxes, "labels": labels})
            found.append(
                {
                    "boxes": boxes[seen],
                    "scores": torch.ones(int(seen.sum())),
                    "labels": labels[seen],
                }
            )
        [row] = [r for r in diagnose(found, truth, ["car"], groups).recalls if r["part"] == "all"]
        held += row["low"] <= 0.6 <= row["high"]
    assert 0.88 <= held / tries < 1


def test_crowds_count_for_nobody_and_few_groups_have_no_interval():
    box = torch.tensor([[10.0, 10, 60, 60]])
    one = torch.zeros(1, dtype=torch.int64)
    target = {
        "boxes": box,
        "labels": one,
        "crowd_boxes": torch.tensor([[100.0, 100, 300, 300]]),
        "crowd_labels": one,
    }
    found = {
        "boxes": torch.cat([box, torch.tensor([[120.0, 120, 160, 160]])]),
        "scores": torch.tensor([0.8, 0.9]),
        "labels": torch.zeros(2, dtype=torch.int64),
    }
    seen = diagnose([found] * 3, [target] * 3, ["car"], ["a", "b", "c"])
    assert seen.values["precision"] == 1
    assert seen.values["precision_low"] is None
    assert seen.confusion == [[3, 0], [0, 0]]
    nothing = {"boxes": box[:0], "labels": one[:0]}
    assert diagnose([found], [nothing], ["car"], ["a"]) is None


def test_the_panel_and_the_files_tell_what_was_found(case, tmp_path):
    _, _, seen = case
    given = json.loads(json.dumps(vars(seen)))
    which = [(model, seed) for model in ("M0", "M1") for seed in (0, 1)]
    rows = [{"model": m, "seed": s, "domain": "Real", "diagnosis": given} for m, s in which]
    nothing = {"model": "M2", "seed": 0, "domain": "Real", "diagnosis": {}}
    runs = panel.compute(SimpleNamespace(scores=pd.DataFrame([*rows, nothing])))
    assert [(run.model, run.seed) for run in runs] == which
    tables = {table.key: table.frame for table in panel.tables(runs)}
    assert tables["diagnosis"].loc[("Real", "M1", 1), "F1"] == seen.values["f1"]
    assert tables["diagnosis_confusion"].to_numpy()[:4].tolist() == seen.confusion
    [sentence] = panel.sentences(runs)
    values = seen.values
    said = f"M1/0 {values['confidence']:.2f} [{values['confidence_low']:.2f}, "
    assert said in sentence
    [drawn] = panel.section(runs).pictures
    assert all(name in drawn for name in ("M0/0", "M1/0", "rain", "background"))
    assert "M0/1" not in drawn
    write_diagnoses({("a/b", "Real"): given}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "diagnosis.csv",
        "Real_diagnosis.png",
        *(f"a-b_Real_{name}.csv" for name in ("recall", "confusion", "confidence_curves")),
    }
    assert not list(panel.tables([]))
    assert not list(panel.sentences([]))
