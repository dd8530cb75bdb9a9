"""Boxes of networks that anybody has, against the library's own reading of what they return."""

from __future__ import annotations

import pytest
import torch
from references import anybodys
from torchvision.models import get_model

from yolo_synth.commands.networks import read_network
from yolo_synth.networks.references import Preprocessing, normalise, read_reference


@pytest.mark.parametrize(
    ("name", "processor"),
    [
        ("detr", "DetrImageProcessor"),
        ("yolos", "YolosImageProcessor"),
        ("rt_detr", "RTDetrImageProcessor"),
        ("d_fine", "RTDetrImageProcessor"),
    ],
)
def test_boxes_are_those_that_transformers_itself_reads_off(name, processor, tmp_path):
    library = pytest.importorskip("transformers", reason="transformers is not installed")
    read = read_reference(anybodys.transformers(tmp_path, name, 0))
    assert read.classes == ("car", "person", "dog")
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        returned = read.network(images)
    theirs = getattr(library, processor)().post_process_object_detection(
        returned, threshold=0.0, target_sizes=torch.tensor([[64, 64]] * 2)
    )
    for found, own in zip(read.detect(images, 0.0, 0.5), theirs, strict=True):
        best = own["scores"].argsort(descending=True)[:8]
        for score, label, box in zip(
            own["scores"][best], own["labels"][best], own["boxes"][best], strict=True
        ):
            same = (found["scores"] - score).abs() < 1e-6
            same &= found["labels"] == label
            same &= ((found["boxes"] - box).abs() < 1e-3).all(1)
            assert same.any()


def test_weights_of_torchvision_say_how_many_classes_they_tell_apart(tmp_path):
    name = "ssdlite320_mobilenet_v3_large"
    torch.manual_seed(0)
    model = get_model(name, weights=None, weights_backbone=None, num_classes=3)
    torch.save(model.state_dict(), tmp_path / "net.pth")
    read = read_reference(f"torchvision:{name}:{tmp_path}/net.pth")
    assert read.classes == ("0", "1", "2")
    images = torch.rand(1, 3, 320, 320, generator=torch.Generator().manual_seed(1))
    [found] = read.detect(images, 0.2, 0.5)
    model.eval()
    model.score_thresh, model.nms_thresh, model.detections_per_img = 0.2, 0.5, 300
    with torch.no_grad():
        [own] = model(list(images))
    torch.testing.assert_close(found["boxes"], own["boxes"], atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(found["scores"], own["scores"])
    assert len(found["boxes"])


def test_a_darknet_files_length_says_its_width_and_classes(tmp_path):
    read = read_reference(anybodys.darknet(tmp_path, 0))
    assert read.network.width == 0.0625
    assert read.classes == ("person", "cycle", "car")


def test_a_network_subtracts_the_mean_and_divides_by_the_deviation_itself():
    torch.manual_seed(0)
    network, images = torch.nn.Conv2d(3, 2, 3), torch.rand(2, 3, 8, 8)
    mean, deviation = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)
    rows = [(images[:, c] - mean[c]) / deviation[c] for c in range(3)]
    expected = network(torch.stack(rows, 1))
    wants = Preprocessing(64, mean=mean, deviation=deviation)
    assert str(wants).endswith("less 0.4 0.5 0.6, divided by 0.1 0.2 0.3, made for 64x64")
    normalise(network, wants)
    torch.testing.assert_close(network(images), expected)


def test_weights_that_no_file_gives_are_random_said_to_be_and_the_same_again(capsys):
    text = "torchvision:ssdlite320_mobilenet_v3_large"
    state = torch.random.get_rng_state()
    one, two = (read_network(text) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, two.network.state_dict()[name]), name
    assert f"random weights, since {text} names no file of them" in capsys.readouterr().out
