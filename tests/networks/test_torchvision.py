"""torchvision's detectors: they train here, freeze, and are measured and compared by their own blocks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers import fit_arguments, no_target, weights
from torchvision.models import detection, mobilenet_v3_small, resnet18
from torchvision.ops import box_iou

from yolo_synth import Detector
from yolo_synth.analysis.activations.run import gram_matrices, layer_names
from yolo_synth.analysis.activations.structure import structure_of
from yolo_synth.cli import main
from yolo_synth.commands.report import report
from yolo_synth.evaluation import evaluation_table
from yolo_synth.networks.torchvision import FCOS, SSD, FasterRCNN, RetinaNet
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.runs import read_run

SMALL = {
    RetinaNet: {"channels": 32, "anchor_size": 12},
    FCOS: {"channels": 32},
    FasterRCNN: {"channels": 32, "anchor_size": 12},
    SSD: {},
}
SCENE = [
    {"boxes": torch.tensor([[4.0, 8, 36, 44], [40, 3, 60, 33]]), "labels": torch.tensor([2, 0])},
    no_target(),
    {"boxes": torch.tensor([[3.0, 3, 3, 9], [8, 8, 40, 60]]), "labels": torch.tensor([1, 2])},
]


def small(kind, **options):
    torch.manual_seed(0)
    return kind(3, **{**SMALL[kind], **options})


def trained(kind, steps):
    """Train on one batch; an image without boxes is in it, and a box without an area."""
    detector = Detector(3, lr=2e-3, network=small(kind, backbone="mobilenet_v3_small"))
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    detector.log_dict = lambda *_, **__: None
    optimizer = detector.configure_optimizers()
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5  # statistics that follow in a few steps
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = detector.training_step((images, SCENE), 0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.inference_mode():
        return losses, detector.eval().detect(images)


@pytest.mark.parametrize("kind", [FCOS, SSD])  # without a class for the background, and with one
def test_training_finds_what_is_there(kind):
    losses, found = trained(kind, 50)
    assert losses[-1] < 0.5 * losses[0]
    assert sorted(found[0]["labels"][:2].tolist()) == [0, 2]
    assert found[2]["labels"][0] == 2
    for one in (found[0], found[2]):
        truth = SCENE[2 if one is found[2] else 0]["boxes"][-1 if one is found[2] else 0]
        surest = one["boxes"][one["labels"] == 2][0]
        assert box_iou(surest[None], truth[None]) > 0.5
    for one in found:
        assert one["scores"].diff().max() <= 0
        assert set(one["labels"].tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("kind", [RetinaNet, FasterRCNN])
def test_training_lowers_the_loss(kind):
    losses, found = trained(kind, 6)
    assert min(losses[3:]) < losses[0]
    assert all(set(one["labels"].tolist()) <= {0, 1, 2} for one in found)


@pytest.mark.parametrize(
    ("kind", "original"), [(RetinaNet, detection.RetinaNet), (FCOS, detection.FCOS)]
)
def test_it_computes_what_torchvision_does_where_that_resizes_nothing(kind, original):
    network = small(kind).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.02 * torch.randn_like(weight)
    plain = original(
        network.model.backbone,
        3,
        min_size=64,
        max_size=64,
        anchor_generator=network.model.anchor_generator,
        head=network.model.head,
        score_thresh=0.001,
        nms_thresh=0.4,
        detections_per_img=300,
    ).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        ours, theirs = network.detect(images, 0.001, 0.4), plain(list(images))
    assert len(theirs[0]["scores"]) > 5
    for a, b in zip(ours, theirs, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in ("boxes", "scores", "labels"))


def test_a_smaller_image_stays_small_and_thresholds_are_kept():
    network = small(FasterRCNN).eval()
    with torch.inference_mode():
        (found,) = network.detect(torch.rand(1, 3, 64, 32), 0.3, 0.5)
    assert found["boxes"][:, 2].max() <= 32
    assert found["scores"].min() > 0.3


@pytest.mark.parametrize("kind", [RetinaNet, FCOS, SSD])
def test_mixed_precision_rounds_no_boxes(kind):
    network, images = small(kind).eval(), torch.rand(2, 3, 64, 64)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        boxes = torch.cat([found["boxes"] for found in network.detect(images, 0.001, 0.6)])
    inside = boxes[(boxes > 8) & (boxes < 56)]
    assert (inside != inside.bfloat16()).float().mean() > 0.3  # of those in bfloat16, none


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v3_small"])
def test_every_block_returns_a_row_an_image(kind, backbone):
    network = small(kind, backbone=backbone).eval()
    images = torch.rand(5, 3, 64, 64)
    names = layer_names(network, images)
    assert 15 < len(names) < 50
    assert gram_matrices(network, images).shape == (len(names), 5, 5)
    structure = structure_of(network, image_size=64)
    assert structure.names == tuple(names)
    assert structure.backbone_end == len(network.backbone)
    frozen = {
        name
        for block in network.backbone
        for name, _ in network.get_submodule(block).named_parameters(block)
    }
    body = network.model.backbone if kind is SSD else network.model.backbone.body
    assert len(frozen) == len(list(body.parameters()))


def test_a_backbone_starts_from_a_file_of_a_classifier(tmp_path):
    torch.manual_seed(1)
    classifier = resnet18(weights=None)
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    detector = Detector(3, backbone=str(tmp_path / "resnet18.pth"), network=small(RetinaNet))
    assert detector.pretrained_layers == range(10)
    body = detector.network.model.backbone.body.state_dict()
    assert all(torch.equal(body[k], v) for k, v in classifier.state_dict().items() if k in body)
    other = small(RetinaNet, backbone="mobilenet_v3_small")
    with pytest.raises(ValueError, match=r"resnet18\.pth: the backbone's 0\.0\.weight is"):
        other.load_backbone(tmp_path / "resnet18.pth")
    with pytest.raises(FileNotFoundError, match="nothing"):
        other.load_backbone(tmp_path / "nothing.pth")


@pytest.mark.parametrize("backbone", ["resnet17", "alexnet"])
def test_what_cannot_be_a_backbone_is_refused(backbone):
    with pytest.raises(ValueError, match=rf"model\.network\.backbone: .*{backbone}"):
        RetinaNet(backbone=backbone)


@pytest.fixture(scope="module")
def two_runs(tiny_root, tmp_path_factory):
    """Train a RetinaNet on each domain, the second with its backbone frozen."""
    out = tmp_path_factory.mktemp("retinanet")
    torch.manual_seed(2)
    torch.save(mobilenet_v3_small(weights=None).state_dict(), out / "mobilenet.pth")
    network = (
        "--model.network=yolo_synth.networks.torchvision.RetinaNet",
        "--model.network.backbone=mobilenet_v3_small",
        "--model.network.channels=32",
        "--model.network.anchor_size=12",
        f"--model.backbone={out / 'mobilenet.pth'}",
    )
    for data, options in (("BDD100K", ()), ("GTAV", ("--freezing.mode=backbone",))):
        arguments = fit_arguments(tiny_root, out / "runs", data, *network, *options)
        arguments = [a for a in arguments if "model.width" not in a]
        assert main([*arguments, "--similarity.images=8", "--trainer.limit_train_batches=3"]) == 0
    return out / "runs"


def test_it_trains_is_named_and_logs_its_own_terms(two_runs):
    names = {path.parent.parent.name for path in two_runs.glob("*/*/config.yaml")}
    assert names == {"RetinaNet-U-Real", "RetinaNet-F-Synthetic"}
    metrics = pd.read_csv(two_runs / "RetinaNet-U-Real/0/metrics.csv")
    terms = metrics[["train/classification", "train/bbox_regression"]].dropna()
    assert torch.allclose(
        torch.tensor(terms.sum(axis=1).to_numpy()),
        torch.tensor(metrics["train/loss"].dropna().to_numpy()),
        atol=1e-4,
    )


def test_its_frozen_backbone_stays_bit_identical(two_runs):
    run = two_runs / "RetinaNet-F-Synthetic/0"
    first, last = weights(run, "initial.ckpt"), weights(run)
    for name, value in first.items():
        assert torch.equal(value, last[name]) == (".body." in name), name


def test_it_is_measured_and_compared_by_its_blocks(two_runs, capsys):
    runs = [read_run(path.parent) for path in sorted(two_runs.glob("*/*/config.yaml"))]
    table = evaluation_table(runs)
    assert set(table["domain"]) == {"Real", "Synthetic"}
    assert table["map50"].between(0, 1).all()
    folders = [str(run.folder) for run in runs]
    assert main(["compare", *folders, "--images=8"]) == 0
    assert "given the common start" in capsys.readouterr().out
    (layers,) = two_runs.glob("RetinaNet-F-Synthetic/0/similarity/*U-Real*/layers.csv")
    assert len(pd.read_csv(layers)) == 41


def test_two_of_them_have_a_report_of_their_own_blocks(two_runs, tmp_path):
    report(str(two_runs), str(tmp_path), images=8, sizes=(32,))
    lines = (tmp_path / "tables/table_4_layers_real.csv").read_text().splitlines()
    named = [line.split(",")[1] for line in lines if ",model." in line]
    assert len(named) == 41
    assert named[0] == "model.backbone.body.0"
    assert named[-1] == "model.head.regression_head.bbox_reg:4"
    page = (tmp_path / "report.html").read_text()
    assert '"model.head.classification_head.cls_logits:0"' in page
    notes = (tmp_path / "findings.md").read_text()
    assert "The network is a RetinaNet, the paper's a YOLOv3." in notes


def test_another_architecture_is_compared_by_every_layer_with_every_layer(two_runs, tmp_path):
    run = two_runs / "RetinaNet-U-Real/0"
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"] |= {"network": None, "width": 0.0625}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    state = {f"network.{k}": v for k, v in YOLOv3(width=0.0625).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "best.ckpt")
    out = tmp_path / "out"
    assert main(["compare", str(run), str(tmp_path), "--images=8", f"--out={out}"]) == 0
    with np.load(out / "similarity.npz") as kept:
        layers = len(layer_names(read_run(run).network(), torch.rand(2, 3, 32, 32)))
        assert kept["debiased"].shape == kept["biased"].shape == (layers, 107)
