"""Run folders without training: random weights, moved a little from where they started."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml

from yolo_synth.networks.yolov3 import YOLOv3

FOLDERS = {"BDD100K": "bdd100k", "GTAV": "gtav"}


def write_run(runs: Path, model: str, seed: int, scenes: Path, width=0.0625, size=64) -> Path:
    """Write the folder of a run named as the paper does, such as `F-Synthetic`."""
    data = "BDD100K" if model.endswith("Real") else "GTAV"
    frozen = model.startswith("F")
    folder = runs / model / str(seed)
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    network = calibrated(YOLOv3(width=width))
    save(network, folder / "initial.ckpt")
    torch.manual_seed(hash_of(model, seed))
    with torch.no_grad():
        for name, value in network.named_parameters():
            if not (frozen and int(name.split(".")[1]) < 75):
                value += 0.5 * value.abs().mean() * torch.randn_like(value)
    save(network, folder / "best.ckpt")
    config = {
        "seed_everything": seed,
        "model": {"num_classes": 5, "width": width, "confidence": 0.001, "iou": 0.6},
        "data": {
            "class_path": f"yolo_synth.{data}",
            "init_args": {
                "root": str(scenes / FOLDERS[data]),
                "splits": str(scenes / "splits" / FOLDERS[data]),
                "image_size": size,
                "num_workers": 0,
            },
        },
        "freezing": {"mode": "backbone" if frozen else "none"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "summary.json").write_text(json.dumps({"epochs": 1}))
    return folder


def calibrated(network: YOLOv3) -> YOLOv3:
    """Set the batch norms' statistics, without which a random network hardly sees its input."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.rand(8, 3, 64, 64))
    return network.eval()


def save(network: YOLOv3, path: Path) -> None:
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state}, path)


def hash_of(model: str, seed: int) -> int:
    return sum(map(ord, model)) * 100 + seed
