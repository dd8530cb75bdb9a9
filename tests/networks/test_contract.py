"""A network of somebody else's, by the contract alone: it trains, freezes, is measured and analysed."""

from __future__ import annotations

import sys

import pytest
import torch
import yaml
from helpers import equal, fit_arguments, weights
from torch import nn
from torch.nn import functional as F

from yolo_synth import Detector
from yolo_synth.analysis.activations.run import gram_matrices, layer_names
from yolo_synth.analysis.activations.structure import structure_of
from yolo_synth.callbacks.freezing import Freezing
from yolo_synth.cli import main
from yolo_synth.evaluation import evaluation_table
from yolo_synth.networks.contract import Network, build_network
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.runs import read_run


class Toy(Network):
    """One box an image, its middle half, of the class that its colours speak for."""

    multiple = 16

    def __init__(self, num_classes: int = 5, channels: int = 4) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1), nn.BatchNorm2d(channels))
        self.last = nn.Linear(channels, num_classes)

    @property
    def blocks(self):
        return ["stem", "last"]

    @property
    def backbone(self):
        return ["stem"]

    def forward(self, images):
        return self.last(self.stem(images).relu().mean((2, 3)))

    def losses(self, images, targets):
        here = torch.stack([F.one_hot(t["labels"], 5).sum(0).clamp(max=1) for t in targets])
        return {"presence": F.binary_cross_entropy_with_logits(self(images), here.float())}

    def detect(self, images, confidence, iou):
        height, width = images.shape[2:]
        box = torch.tensor([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]])
        scores, labels = self(images).sigmoid().max(1)
        return [
            {"boxes": box, "scores": scores[i : i + 1], "labels": labels[i : i + 1]}
            for i in range(len(images))
        ]


@pytest.fixture
def toy_run(tiny_root, tmp_path):
    arguments = fit_arguments(tiny_root, tmp_path)
    arguments = [a for a in arguments if "--model.width" not in a and "image_size" not in a]
    options = (
        f"--model.network={__name__}.Toy",
        "--model.network.channels=6",
        "--data.image_size=48",
        "--freezing.mode=backbone",
    )
    with pytest.warns(UserWarning, match="layers 0-0 are frozen at random weights"):
        assert main([*arguments, *options]) == 0
    return tmp_path / "Toy-F-Real" / "0"


def test_it_trains_by_its_class_path_and_its_backbone_stays_frozen(toy_run):
    config = yaml.safe_load((toy_run / "config.yaml").read_text())
    assert config["model"]["network"]["init_args"]["channels"] == 6
    assert "train/presence" in (toy_run / "metrics.csv").read_text()
    first, last = weights(toy_run, "initial.ckpt"), weights(toy_run)
    stems = [{k: v for k, v in state.items() if k.startswith("stem")} for state in (first, last)]
    assert equal(*stems)
    assert not torch.equal(first["last.weight"], last["last.weight"])


def test_a_run_folder_imports_no_class_from_elsewhere(toy_run, monkeypatch):
    run = read_run(toy_run)
    assert run.network().stem[0].out_channels == 6  # its module is imported: it is this one
    monkeypatch.delitem(sys.modules, __name__)
    with pytest.raises(ValueError, match=r"Toy' is no network of ours"):
        run.network()
    with pytest.raises(ValueError, match=r"Toy' is no network of ours"):
        evaluation_table([run])


@pytest.mark.parametrize(
    ("path", "options", "complaint"),
    [
        ("webbrowser.open", {}, "is no network of ours"),
        ("yolo_synth.networks.contract.import_module", {}, "it is no Network"),
        ("yolo_synth.networks.yolov3.YOLOv4", {}, "cannot be the network"),
        ("yolo_synth.networks.yolov3.YOLOv3", {"depth": 3}, "unexpected keyword argument 'depth'"),
    ],
)
def test_what_cannot_be_the_network_is_refused(path, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        build_network({"class_path": path, "init_args": options}, 5)


def test_yolov3_can_be_named_as_any_other():
    config = {"class_path": "yolo_synth.YOLOv3", "init_args": {"width": 0.0625}}
    network = build_network(config, 3)
    assert isinstance(network, YOLOv3)
    assert (network.num_classes, network.width) == (3, 0.0625)


def test_its_blocks_are_what_is_compared():
    network, images = Toy(), torch.rand(6, 3, 48, 48)
    assert layer_names(network, images) == ["stem", "last"]
    assert len(gram_matrices(network, images)) == 2
    structure = structure_of(network, image_size=48)
    assert structure.names == ("stem", "last")
    assert structure.strides == (2, 2)
    assert structure.backbone == range(1)
    assert structure.labels(48) == ["0 stem 24x24", "1 last 24x24"]


def test_what_the_network_has_not_is_refused_before_training():
    with pytest.raises(ValueError, match=r"within 0-1 of a Toy with 5 classes, not \[0, 2\]"):
        Freezing((0, 2)).check(Toy())
    with pytest.raises(ValueError, match=r"model\.width and model\.anchors are YOLOv3's"):
        Detector(width=0.5, network=Toy())
    with pytest.raises(ValueError, match=r"model\.network has 3 classes, model\.num_classes is 5"):
        Detector(network=Toy(3))
    with pytest.raises(ValueError, match=r"Toy reads no file of a backbone"):
        Detector(network=Toy(), backbone="file.pth")


def test_one_without_losses_says_that_it_cannot_be_trained():
    class Judge(Toy):
        losses = Network.losses

    with pytest.raises(ValueError, match="Judge has no losses, so it cannot be trained here"):
        Judge().losses(torch.rand(1, 3, 48, 48), [])


def test_export_is_for_yolov3(toy_run, tmp_path, capsys):
    assert main(["export", str(toy_run), str(tmp_path / "toy.weights")]) == 2
    assert "Darknet's format is for YOLOv3" in capsys.readouterr().err
