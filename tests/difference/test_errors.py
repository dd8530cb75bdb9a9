"""Kinds of error against the definitions, written box by box; sets of boxes that are planted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from difference.drawn import draw_results, draw_truth, exact_results

from yolo_synth.difference.errors import (
    KINDS,
    best_confidence,
    box_table,
    error_table,
    errors,
    found_table,
    reason_table,
)
from yolo_synth.difference.precision import matches
from yolo_synth.difference.results import read_results
from yolo_synth.difference.truth import read_truth


def read(content, tmp_path, *lists):
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    truth = read_truth(path)
    return truth, *(read_results(rows, truth, "AB"[i]) for i, rows in enumerate(lists))


def share(a, b):
    """IoU of two bboxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def by_definition(content, rows, confidence):
    """Kinds of the detections and reasons of the true boxes as Bolya et al. define them, by loops."""
    kinds, reasons = [], {}
    for image in content["images"]:
        true = [box for box in content["annotations"] if box["image_id"] == image["id"]]
        mine = [
            row for row in rows if row["image_id"] == image["id"] and row["score"] >= confidence
        ]
        mine.sort(key=lambda row: -row["score"])
        taken, wrong = set(), []
        for row in mine:
            free = [
                (share(row["bbox"], box["bbox"]), box["id"])
                for box in true
                if box["id"] not in taken and box["category_id"] == row["category_id"]
            ]
            if free and max(free)[0] >= 0.5:
                taken.add(max(free)[1])
                kinds.append((row["score"], "hit"))
            else:
                wrong.append(row)
        fixes = {}
        for row in wrong:
            overlap = {box["id"]: share(row["bbox"], box["bbox"]) for box in true}
            own = {
                b["id"]: overlap[b["id"]] for b in true if b["category_id"] == row["category_id"]
            }
            other = {key: value for key, value in overlap.items() if key not in own}
            if 0.1 <= max(own.values(), default=0) <= 0.5:
                kind, fixed = "localisation", max(own, key=own.get)
            elif max(other.values(), default=0) >= 0.5:
                kind, fixed = "classification", max(other, key=other.get)
            elif any(value >= 0.5 for key, value in own.items() if key in taken):
                kind, fixed = "duplicate", None
            elif max(overlap.values(), default=0) <= 0.1:
                kind, fixed = "background", None
            else:
                kind, fixed = "both", None
            kinds.append((row["score"], kind))
            fixes.setdefault(fixed, kind)
        for box in true:
            missed = fixes.get(box["id"], "missed")
            reasons[str(box["id"])] = "found" if box["id"] in taken else missed
    return sorted(kinds), reasons


@pytest.mark.parametrize("confidence", [0.0, 0.4, None])
def test_kinds_of_errors_are_those_of_the_definitions(tmp_path, confidence):
    content = draw_truth(60, seed=3, most=14)
    rows = draw_results(content, 4, 0.8)
    truth, found = read(content, tmp_path, rows)
    ours = errors(found, truth, matches(found, truth), confidence)
    kinds, reasons = by_definition(content, rows, ours.confidence)
    shown = ours.shown
    assert sorted(zip(found.scores[shown], ours.kind[shown].tolist(), strict=True)) == kinds
    table = box_table(truth, (found, found), (ours, ours))
    assert dict(zip(table["box"], table["reason_a"], strict=True)) == reasons
    if confidence == 0:
        counts = error_table((ours, ours))["A"]
        assert (counts > 0).all()
        assert set(counts.index) == {"hit", *KINDS, "missed"}


def test_chunks_of_images_do_not_matter(tmp_path, monkeypatch):
    content = draw_truth(60, seed=3)
    truth, found = read(content, tmp_path, draw_results(content, 4))
    whole = errors(found, truth, matches(found, truth), 0.0)
    monkeypatch.setattr("yolo_synth.difference.errors._CHUNK", 7)
    parts = errors(found, truth, matches(found, truth), 0.0)
    assert (whole.kind == parts.kind).all()
    assert (whole.reason == parts.reason).all()


@pytest.mark.parametrize("confidence", [0.0, None])
def test_twenty_planted_boxes_are_exactly_those_that_only_a_finds(tmp_path, confidence):
    content = draw_truth(60)
    ids = [box["id"] for box in content["annotations"]]
    planted = set(np.random.default_rng(0).choice(ids, 20, replace=False).tolist())
    noise = [
        {**row, "score": row["score"] / 3, "bbox": [900.0, 900.0, 20.0, 20.0]}
        for row in draw_results(content, 9)
    ]
    a, b = exact_results(content), exact_results(content, without=planted)
    truth, *lists = read(content, tmp_path, a + noise, b + noise)
    both = tuple(errors(x, truth, matches(x, truth), confidence) for x in lists)
    table = box_table(truth, lists, both)
    assert set(table.loc[table["found_by"] == "A", "box"]) == {str(number) for number in planted}
    assert found_table(table).iloc[0][["both", "A", "B", "neither"]].tolist() == [
        *(len(ids) - 20, 20, 0, 0)
    ]
    assert reason_table(table).iloc[0].tolist() == ["A", "B", 0, 0, 20]
    assert len(table) == len(ids)


def test_a_crowd_is_no_true_box_and_what_lies_in_it_no_error(tmp_path):
    content = draw_truth(1, most=0)
    crowd = {"id": 1, "image_id": 0, "category_id": 3, "bbox": [0, 0, 200, 200], "iscrowd": 1}
    car = {"id": 2, "image_id": 0, "category_id": 3, "bbox": [300, 100, 50, 50]}
    content["annotations"] = [crowd, car]
    row = {"image_id": 0, "category_id": 3, "bbox": [20, 20, 40, 40], "score": 0.9}
    truth, found = read(content, tmp_path, [row, {**row, "bbox": [300, 100, 50, 50], "score": 0.5}])
    ours = errors(found, truth, matches(found, truth), 0.0)
    assert ours.kind.tolist() == ["", "hit"]
    assert len(box_table(truth, (found, found), (ours, ours))) == 1
    assert ours.f1 == 1


def test_the_confidence_is_the_one_with_the_best_f1(tmp_path):
    content = draw_truth(40)
    truth, found = read(content, tmp_path, draw_results(content, 2, 0.9))
    match = matches(found, truth)
    best = best_confidence(found, match)
    f1 = {score: errors(found, truth, match, score).f1 for score in np.unique(found.scores)}
    assert f1[best] == max(f1.values())
    assert errors(found, truth, match).confidence == best
