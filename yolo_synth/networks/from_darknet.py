"""`FILE.weights`: Darknet's YOLOv3, of any width that we train and any number of classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch

from yolo_synth.labels import names_of
from yolo_synth.networks.from_torchvision import coco_names
from yolo_synth.networks.references import Loader, Preprocessing, Reference, existing
from yolo_synth.networks.yolov3 import YOLOv3

_WIDTHS: Final = (1.0, 0.5, 0.25, 0.125, 0.0625)
_HEADERS: Final = (20, 16)
"""Bytes before the first weight, of either form of header."""

_SIZE: Final = 416


def _load(text: str) -> Reference:
    path = existing(text)
    network = _network(path)
    if (layers := network.load_weights(path)) < len(network.layers):
        raise ValueError(f"{text}: ends after {layers} layers: it is a backbone, not a detector")
    coco = [name for name in coco_names() if name not in ("__background__", "N/A")]
    is_coco = network.num_classes == len(coco)
    classes = tuple(coco) if is_coco else names_of(network.num_classes)
    preprocessing = Preprocessing(size=_SIZE, multiple=network.multiple)
    return Reference(path.stem, network, preprocessing, classes, network.detect)


def _network(path: Path) -> YOLOv3:
    """Build the network that a file's length asks for; of those without an answer COCO's."""
    length = path.stat().st_size
    for width, classes in _fitting(length):
        return YOLOv3(classes, width)
    return YOLOv3(80)


def _fitting(length: int) -> Iterator[tuple[float, int]]:
    """Yield widths and numbers of classes of networks that are as long."""
    for width in _WIDTHS:
        with torch.device("meta"):
            one, two = (_bytes(YOLOv3(classes, width)) for classes in (1, 2))
        for header in _HEADERS:
            further, rest = divmod(length - header - one, two - one)
            if not rest and 0 <= further < 10_000:
                yield width, 1 + further


def _bytes(network: YOLOv3) -> int:
    state = network.state_dict()
    values = [value for name, value in state.items() if not name.endswith("num_batches_tracked")]
    return sum(4 * value.numel() for value in values)


LOADER: Final = Loader(
    "Darknet's FILE.weights", lambda text: text.lower().endswith(".weights"), _load
)
