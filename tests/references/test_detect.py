"""Boxes of networks that anybody has, against the library's own reading of what they return."""

from __future__ import annotations

import pytest
import torch
from references import anybodys
from torch import nn
from torchvision.models import get_model

from yolo_synth.cli import main
from yolo_synth.commands.networks import read_network
from yolo_synth.networks.references import Preprocessing, normalise, read_reference


@pytest.mark.parametrize(
    ("name", "processor"),
    [
        ("detr", "DetrImageProcessor"),
        ("yolos", "YolosImageProcessor"),
        ("rt_detr", "RTDetrImageProcessor"),
        ("d_fine", "RTDetrImageProcessor"),
        ("rf_detr", "RfDetrImageProcessor"),
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


CORNERS = torch.tensor([[8.0, 16.0, 40.0, 48.0], [60.0, 4.0, 90.0, 60.0]])
CENTRES = torch.tensor([[24.0, 32.0, 32.0, 32.0], [75.0, 32.0, 30.0, 56.0]])
SURE = torch.tensor([[0.125, 0.75], [0.5, 0.0625]])
"""Scores of the two boxes for two classes: the first is a car, the second a person."""
MORE = torch.rand(2, 32, generator=torch.Generator().manual_seed(0))
"""Coefficients of masks, or key points, in a row after the rest."""


class Returns(nn.Module):
    """Stands for a pickled network: returns, for each image, what it was given."""

    def __init__(self, rows: torch.Tensor, names: dict[int, str]) -> None:
        super().__init__()
        self.conv, self.rows, self.names = nn.Conv2d(3, 1, 1), rows, names

    def forward(self, images: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        rows = self.rows.expand(len(images), -1, -1)
        return [rows, images], [self.conv(images)]


class RTDETRDetectionModel(Returns):
    pass


class YOLOv5(Returns):
    anchor_grid = ()


class OBBModel(Returns):
    pass


def rows_of(layout: str) -> tuple[type[Returns], torch.Tensor]:
    """Return the same boxes as a head of that layout returns them."""
    best, label = SURE.max(1, keepdim=True)
    ends = best, label.float()
    share = CENTRES / torch.tensor([96.0, 64.0, 96.0, 64.0])
    objects = torch.tensor([[0.75], [0.5]])
    return {
        "all boxes": (Returns, torch.cat([CENTRES, SURE], 1).mT),
        "all boxes with masks": (Returns, torch.cat([CENTRES, SURE, MORE], 1).mT),
        "chosen boxes": (Returns, torch.cat([CORNERS, *ends], 1)),
        "chosen boxes with masks": (Returns, torch.cat([CORNERS, *ends, MORE], 1)),
        "a transformer's": (RTDETRDetectionModel, torch.cat([share, SURE], 1)),
        "a transformer's, chosen": (RTDETRDetectionModel, torch.cat([share, *ends], 1)),
        "YOLOv5's own": (YOLOv5, torch.cat([CENTRES, objects, SURE / objects, MORE], 1)),
    }[layout]


@pytest.mark.parametrize(
    "layout",
    [
        *("all boxes", "all boxes with masks", "chosen boxes", "chosen boxes with masks"),
        *("a transformer's", "a transformer's, chosen", "YOLOv5's own"),
    ],
)
def test_boxes_of_a_pickled_network_are_read_as_its_head_lays_them_out(layout, tmp_path):
    kind, rows = rows_of(layout)
    torch.save({"model": kind(rows, {0: "person", 1: "car"})}, tmp_path / "best.pt")
    read = read_reference(str(tmp_path / "best.pt"), trust=True)
    transformer = kind is RTDETRDetectionModel
    assert read.preprocessing.resize == ("stretch" if transformer else "letterbox")
    for found in read.detect(torch.rand(2, 3, 64, 96), 0.3, 0.5):
        torch.testing.assert_close(found["boxes"], CORNERS)
        torch.testing.assert_close(found["scores"], torch.tensor([0.75, 0.5]))
        assert [read.classes[label] for label in found["labels"]] == ["car", "person"]


def test_a_network_of_turned_boxes_is_compared_and_not_evaluated(tmp_path):
    torch.save(OBBModel(rows_of("all boxes")[1], {0: "person"}), tmp_path / "turned.pt")
    assert read_reference(str(tmp_path / "turned.pt"), trust=True).detect is None


def test_a_checkpoint_of_a_program_that_is_not_there_says_how_it_is_read(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "models.py").write_text("from torch import nn\n\nclass Net(nn.Linear): pass\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        torch.save({"model": __import__("models").Net(1, 1)}, tmp_path / "best.pt")
    monkeypatch.delitem(__import__("sys").modules, "models")
    best = str(tmp_path / "best.pt")
    assert main(["compare", best, best, f"--data={tmp_path}", "--trust"]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert line.endswith(
        "needs the program that wrote it (No module named 'models'): put its folder, as a clone of "
        "ultralytics/yolov5, on PYTHONPATH"
    )
