"""Average precision: by hand, in corner cases, and against pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from helpers import no_target
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolo_synth.average_precision import AveragePrecision
from yolo_synth.labels import CLASSES

NOTHING = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0).long()}


def target(*boxes, labels):
    return {"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(labels)}


def found(*boxes, labels, scores):
    return {**target(*boxes, labels=labels), "scores": torch.tensor(scores)}


def scores_of(detections, targets):
    metric = AveragePrecision()
    metric.update(detections, targets)
    return metric.compute()


CAR, PERSON = (10.0, 10.0, 50.0, 40.0), (60.0, 5.0, 80.0, 55.0)


def test_what_is_found_as_it_is_scores_one_and_absent_classes_are_left_out():
    truth = target(CAR, PERSON, labels=[2, 0])
    perfect = found(CAR, PERSON, labels=[2, 0], scores=[0.9, 0.8])
    expected = {"map50": 1.0, "map": 1.0, "map50_person": 1.0, "map50_car": 1.0}
    assert scores_of([perfect], [truth]) == pytest.approx(expected)


def test_a_missed_class_counts_and_a_false_alarm_of_an_absent_class_does_not():
    truth = target(CAR, PERSON, labels=[2, 0])
    found_car_and_bus = found(CAR, PERSON, labels=[2, 3], scores=[0.9, 0.8])
    scores = scores_of([found_car_and_bus], [truth])
    assert scores == pytest.approx(
        {"map50": 0.5, "map": 0.5, "map50_person": 0.0, "map50_car": 1.0}
    )


def test_average_precision_is_the_area_under_the_101_point_curve():
    # two cars; the surest detection is wrong, the second finds one: precision 1/2 up to recall 1/2
    truth = target(CAR, PERSON, labels=[2, 2])
    detections = found((200.0, 200.0, 220.0, 220.0), CAR, labels=[2, 2], scores=[0.9, 0.5])
    assert scores_of([detections], [truth])["map50"] == pytest.approx(0.5 * 51 / 101, abs=1e-6)


def test_images_without_boxes_are_defined():
    truth = target(CAR, labels=[2])
    perfect = found(CAR, labels=[2], scores=[0.9])
    assert scores_of([NOTHING, perfect], [no_target(), truth])["map50"] == pytest.approx(1)
    assert scores_of([NOTHING], [truth])["map50"] == 0
    with pytest.warns(UserWarning, match="no image evaluated has a true box"):
        assert scores_of([NOTHING], [no_target()]) == {"map50": 0, "map": 0}


def scenes(images, seed=0, most=40, classes=3):
    """Draw true boxes and, about some of them, detections whose scores and boxes often tie."""
    rng = np.random.default_rng(seed)
    everything = ([], [])
    for _ in range(images):
        true, more = rng.integers(0, 8), rng.integers(0, most)
        low, size = rng.integers(0, 60, (true, 2)), rng.integers(0, 30, (true, 2))
        boxes = np.concatenate([low, low + size], 1)
        labels = rng.integers(0, classes, true)
        near = rng.integers(0, true, more) if true else np.zeros(0, int)
        moved = boxes[near] + rng.integers(-4, 5, (len(near), 4))
        moved = np.concatenate([np.minimum(moved[:, :2], moved[:, 2:]), moved[:, 2:]], 1)
        scores = rng.integers(1, 20, len(near)) / 20
        everything[0].append(
            found(*moved.tolist(), labels=labels[near].tolist(), scores=scores.tolist())
            if len(near)
            else NOTHING
        )
        everything[1].append(
            target(*boxes.tolist(), labels=labels.tolist()) if true else no_target()
        )
    return everything


def coco_scores(detections, targets, classes=3):
    """The same numbers from pycocotools."""

    def rows(image, index, kind=""):
        boxes, labels = (image.get(f"{kind}{name}", torch.zeros(0)) for name in ("boxes", "labels"))
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
            x1, y1, x2, y2 = box
            size = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            yield {"image_id": index, "category_id": label, "iscrowd": int(bool(kind)), **size}

    truth, answers = [], []
    for index, (image, answer) in enumerate(zip(targets, detections, strict=True)):
        truth += [*rows(image, index), *rows(image, index, "crowd_")]
        answers += [
            {**row, "score": score}
            for row, score in zip(rows(answer, index), answer["scores"].tolist(), strict=True)
        ]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": index} for index in range(len(targets))],
        "categories": [{"id": label} for label in range(classes)],
        "annotations": [{"id": number, **row} for number, row in enumerate(truth, 1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(answers), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    values = evaluation.eval["precision"][:, :, :, 0, -1].mean(1)  # thresholds, classes
    there = values[0] >= 0
    names = ("person", "cycle", "car")
    each = {f"map50_{names[k]}": values[0, k] for k in np.flatnonzero(there)}
    return {"map50": values[0, there].mean(), "map": values[:, there].mean(), **each}


@pytest.mark.parametrize(("seed", "most", "classes"), [(0, 40, 3), (1, 40, 3), (2, 400, 1)])
def test_agrees_with_pycocotools(seed, most, classes):
    """Images without truth, without detections, with hundreds of one class; many ties."""
    detections, targets = scenes(60, seed, most, classes)
    expected = coco_scores(detections, targets)
    assert 0.02 < expected["map"] < 0.95
    metric = AveragePrecision(CLASSES[:classes])
    for first in range(0, 60, 7):
        metric.update(detections[first : first + 7], targets[first : first + 7])
    assert metric.compute() == pytest.approx(expected, rel=0, abs=1e-9)


def test_crowd_regions_are_set_aside_as_by_pycocotools():
    detections, targets = scenes(60, 3, 40, 3)
    plain = coco_scores(detections, targets)
    generator = np.random.default_rng(0)
    for target in targets[::2]:
        corner = generator.uniform(0, 60, (3, 2))
        sides = generator.uniform(10, 60, (3, 2))
        boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
        target["crowd_boxes"] = torch.from_numpy(boxes)
        target["crowd_labels"] = torch.from_numpy(generator.integers(0, 3, 3))
    expected = coco_scores(detections, targets)
    assert abs(expected["map50"] - plain["map50"]) > 0.001
    metric = AveragePrecision(CLASSES[:3])
    for first in range(0, 60, 7):
        metric.update(detections[first : first + 7], targets[first : first + 7])
    assert metric.compute() == pytest.approx(expected, rel=0, abs=1e-9)


def test_the_size_of_batches_does_not_matter_and_reset_forgets():
    detections, targets = scenes(30)
    metric = AveragePrecision()
    metric.update(detections[:11], targets[:11])
    metric.reset()
    for image, truth in zip(detections, targets, strict=True):
        metric.update([image], [truth])
    assert metric.compute() == scores_of(detections, targets)
