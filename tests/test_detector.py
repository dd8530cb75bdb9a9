"""The LightningModule: its metrics' corner cases, its optimizer, and the weights it starts from."""

from __future__ import annotations

import pytest
import torch

from yolo_synth import Detector
from yolo_synth.boxes import no_target
from yolo_synth.detector import average_precisions, load_checkpoint, mean_average_precision, update
from yolo_synth.yolov3 import YOLOv3, save_darknet_weights

NOTHING = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0).long()}


def target(*boxes, labels):
    return {"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(labels)}


def found(*boxes, labels, scores):
    return {**target(*boxes, labels=labels), "scores": torch.tensor(scores)}


def scores_of(detections, targets):
    metric = mean_average_precision()
    update(metric, detections, targets)
    return average_precisions(metric)


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


def test_training_on_one_batch_lowers_its_loss():
    torch.manual_seed(0)
    detector = Detector(width=0.0625, lr=1e-3)
    images, truth = torch.rand(2, 3, 64, 64), [target(CAR, labels=[2]), no_target()]
    optimizer = detector.configure_optimizers()
    detector.log_dict = lambda *_, **__: None
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = detector.training_step((images, truth), 0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_it_starts_from_a_backbone_or_from_whole_weights_and_not_from_both(tmp_path):
    network = YOLOv3(width=0.0625)
    save_darknet_weights(network, tmp_path / "whole.weights")
    save_darknet_weights(network, tmp_path / "backbone.conv.74", last_layer=74)
    torch.save(
        {"state_dict": {f"network.{k}": v for k, v in network.state_dict().items()}},
        tmp_path / "run.ckpt",
    )
    first = network.layers[0].conv.weight
    for option, file, layers in (
        ("backbone", "backbone.conv.74", 75),
        ("weights", "whole.weights", 107),
        ("weights", "run.ckpt", 107),
    ):
        detector = Detector(width=0.0625, **{option: str(tmp_path / file)})
        assert detector.pretrained_layers == range(layers)
        assert torch.equal(detector.network.layers[0].conv.weight, first)
        same_head = torch.equal(
            detector.network.layers[75].conv.weight, network.layers[75].conv.weight
        )
        assert same_head == (layers == 107)
    with pytest.raises(ValueError, match="are both given"):
        Detector(backbone="a", weights="b")


def test_a_checkpoint_that_does_not_fit_is_named(tmp_path):
    file = tmp_path / "other.ckpt"
    torch.save({"state_dict": {"network.layers.0.conv.weight": torch.zeros(2)}}, file)
    with pytest.raises(ValueError, match=r"other\.ckpt: not a checkpoint of a YOLOv3 of width"):
        load_checkpoint(YOLOv3(width=0.0625), file)
    file.write_bytes(b"not a zip file")
    with pytest.raises(ValueError, match=r"other\.ckpt: not a checkpoint"):
        load_checkpoint(YOLOv3(width=0.0625), file)
