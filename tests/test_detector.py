"""The LightningModule: its step, its optimizer, and the weights it starts from."""

from __future__ import annotations

import pytest
import torch
from helpers import no_target

from yolo_synth import Detector
from yolo_synth.detector import load_checkpoint
from yolo_synth.networks.yolov3 import YOLOv3, save_darknet_weights

CAR = (10.0, 10.0, 50.0, 40.0)


def target(*boxes, labels):
    return {"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(labels)}


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


def test_a_compiled_network_has_the_names_of_another():
    compiled, plain = Detector(width=0.0625, compiled=True), Detector(width=0.0625)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert compiled.network._compiled_call_impl is not None


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
