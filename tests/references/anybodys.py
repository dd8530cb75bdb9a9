"""Networks as people have them, small and with random weights; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from yolo_synth.networks.yolov3 import YOLOv3, save_darknet_weights

SIDE = 64

TORCHVISION = (
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "retinanet_resnet50_fpn",
    "fcos_resnet50_fpn",
    "ssdlite320_mobilenet_v3_large",
)

PROGRAM = """
import torch
from torch import nn

torch.manual_seed({seed})

def make():
    parts = [nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU()]
    network = nn.Sequential(*parts, nn.Sequential(nn.Conv2d(16, 16, 1), nn.SiLU()))
    network.register_buffer("grid", torch.zeros(1, 1, 1, 1, 2))  # as YOLOv5's head has it
    network.classes = ["car", "person"]
    network.detect = detect
    return network

def detect(images, confidence, iou):
    box = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    found = dict(boxes=box, scores=torch.tensor([0.9]), labels=torch.tensor([0]))
    return [found for _ in images]

def number():
    return 3

def raises():
    raise RuntimeError("no such luck")
"""


SSD = """
import torch
from torch import nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.transform import GeneralizedRCNNTransform

class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.next = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.out_channels = [8, 16, 32]

    def forward(self, x):
        a = self.stem(x)
        b = self.next(a)
        return {{"0": a, "1": b, "2": self.last(b)}}

def make():
    torch.manual_seed({seed})
    boxes = DefaultBoxGenerator([[2], [2, 3], [2]])
    return SSD(Backbone(), boxes, (64, 64), num_classes=4)
"""


def torchvision(folder: Path, name: str, seed: int) -> str:
    torch.manual_seed(seed)  # its weights are drawn when it is read
    return f"torchvision:{name}"


def ssd(folder: Path, seed: int) -> str:
    """Write a file that builds torchvision's SSD on a small network: its own, on VGG-16, wants 300 px."""
    (folder / "ssd.py").write_text(SSD.format(seed=seed))
    return f"{folder / 'ssd.py'}:make"


def darknet(folder: Path, seed: int) -> str:
    torch.manual_seed(seed)
    network = YOLOv3(3, 0.0625)
    for weight in network.parameters():  # else what it predicts hardly differs between images
        weight.data += 0.05 * torch.randn_like(weight)
    save_darknet_weights(network, folder / "net.weights")
    return str(folder / "net.weights")


def program(folder: Path, seed: int) -> str:
    (folder / "own.py").write_text(PROGRAM.format(seed=seed))
    return f"{folder / 'own.py'}:make"


def exported(folder: Path, seed: int) -> str:
    torch.manual_seed(seed)
    inner = nn.Sequential(nn.Conv2d(8, 8, 3, 2), nn.SiLU())
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), inner).eval()
    images = torch.rand(2, 3, SIDE, SIDE)
    done = torch.export.export(
        network, (images,), dynamic_shapes=({0: torch.export.Dim("n", max=999)},)
    )
    torch.export.save(done, folder / "net.pt2")
    return str(folder / "net.pt2")


def timm(folder: Path, seed: int) -> str:
    library = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(seed)
    torch.save(library.create_model("test_vit").state_dict(), folder / "vit.pth")
    return f"timm:test_vit:{folder / 'vit.pth'}"


def transformers(folder: Path, name: str, seed: int) -> str:
    library = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(seed)
    network = _TRANSFORMERS[name](library)
    for weight in network.parameters():  # many are zero at first, and their layers constant
        weight.data += 0.05 * torch.randn_like(weight)
    network.save_pretrained(folder / name)
    (folder / name / "preprocessor_config.json").write_text(
        '{"do_normalize": true, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], '
        '"size": {"height": 64, "width": 64}}'
    )
    return str(folder / name)


def _labels() -> dict:
    names = {0: "car", 1: "person", 2: "dog"}
    return {"id2label": names, "label2id": {name: number for number, name in names.items()}}


def _resnet(library):
    return library.RTDetrResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 24, 32, 40],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )


def _hybrid() -> dict:
    return {
        "encoder_hidden_dim": 32,
        "encoder_in_channels": [24, 32, 40],
        "encoder_ffn_dim": 64,
        "encoder_attention_heads": 4,
        "d_model": 32,
        "decoder_in_channels": [32, 32, 32],
        "decoder_ffn_dim": 64,
        "decoder_attention_heads": 4,
        "num_queries": 20,
        "decoder_layers": 2,
        **_labels(),
    }


def _rt_detr(library):
    config = library.RTDetrConfig(backbone_config=_resnet(library), **_hybrid())
    return library.RTDetrForObjectDetection(config)


def _d_fine(library):
    backbone = library.HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 16, 24, 32],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[16, 24, 32, 40],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        hidden_sizes=[16, 24, 32, 40],
        depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )
    return library.DFineForObjectDetection(
        library.DFineConfig(backbone_config=backbone, **_hybrid())
    )


def _detr(library):
    backbone = library.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )
    config = library.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=15,
        **_labels(),
    )
    return library.DetrForObjectDetection(config)


def _rf_detr(library):
    if not hasattr(library, "RfDetrConfig"):
        pytest.skip("this transformers has no RF-DETR yet")
    backbone = library.RfDetrDinov2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=8,
        num_windows=2,
        out_features=["stage1", "stage2"],
    )
    return library.RfDetrForObjectDetection(
        library.RfDetrConfig(
            backbone_config=backbone,
            d_model=32,
            hidden_expansion=0.5,
            decoder_ffn_dim=64,
            decoder_layers=2,
            decoder_self_attention_heads=4,
            decoder_cross_attention_heads=4,
            num_queries=20,
            **_labels(),
        )
    )


def _yolos(library):
    config = library.YolosConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=[SIDE, SIDE],
        num_detection_tokens=10,
        **_labels(),
    )
    return library.YolosForObjectDetection(config)


_TRANSFORMERS = {
    "detr": _detr,
    "rt_detr": _rt_detr,
    "rf_detr": _rf_detr,
    "d_fine": _d_fine,
    "yolos": _yolos,
}


def ultralytics(folder: Path, seed: int, name: str = "yolov8n") -> str:
    library = pytest.importorskip("ultralytics", reason="ultralytics is not installed")
    torch.manual_seed(seed)
    model = library.YOLO(f"{name}.yaml", verbose=False)
    model.model.names = {0: "car", 1: "person"} | {n: str(n) for n in range(2, 80)}
    torch.save({"model": model.model, "train_args": {"imgsz": SIDE}}, folder / "best.pt")
    return str(folder / "best.pt")


MADE = {
    "ssd": ssd,
    **{
        name: lambda folder, seed, name=name: torchvision(folder, name, seed)
        for name in TORCHVISION
    },
    **{
        name: lambda folder, seed, name=name: transformers(folder, name, seed)
        for name in _TRANSFORMERS
    },
    "timm": timm,
    "ultralytics": ultralytics,
    "ultralytics' yolov5": lambda folder, seed: ultralytics(folder, seed, "yolov5n"),
    "darknet": darknet,
    "export": exported,
    "python": program,
}
"""Name → what makes such a network with a seed in a folder and returns its reference."""
