"""Average precision: by hand, in corner cases, and against faster-coco-eval."""

from __future__ import annotations

import pytest
import torch

from yolo_synth.average_precision import AveragePrecision
from yolo_synth.boxes import no_target

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
