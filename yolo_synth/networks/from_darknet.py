"""`FILE.weights`: Darknet's YOLOv3, of any width that we train and any number of classes.

`FILE.cfg` beside it says anchors and the side of the input, `FILE.names` the classes, one a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch

from yolo_synth.labels import names_of
from yolo_synth.networks.from_torchvision import coco_names
from yolo_synth.networks.references import Loader, Preprocessing, Reference, existing
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.networks.yolov3.cfg import read_yolov3

_WIDTHS: Final = (1.0, 0.5, 0.25, 0.125, 0.0625)
_HEADERS: Final = (20, 16)
"""Bytes before the first weight, of either form of header."""

_SIZE: Final = 416


def _load(text: str) -> Reference:
    path = existing(text)
    cfg = path.with_suffix(".cfg")
    network, side = read_yolov3(cfg) if cfg.is_file() else (_network(path), _SIZE)
    if (layers := network.load_weights(path)) < len(network.layers):
        raise ValueError(f"{text}: ends after {layers} layers: it is a backbone, not a detector")
    preprocessing = Preprocessing(size=side, multiple=network.multiple)
    classes = _classes(path.with_suffix(".names"), network.num_classes)
    return Reference(path.stem, network, preprocessing, classes, network.detect)


def _classes(path: Path, number: int) -> tuple[str, ...]:
    """Read the names of classes; without a file of them they are COCO's, or our five.

    Raises:
        ValueError: If they are not as many.
    """
    if path.is_file():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        names = tuple(line.strip() for line in lines if line.strip())
        if len(names) != number:
            raise ValueError(f"{path}: {len(names)} names, and the network has {number} classes")
        return names
    coco = tuple(name for name in coco_names() if name not in ("__background__", "N/A"))
    return coco if number == len(coco) else names_of(number)


def _network(path: Path) -> YOLOv3:
    """Build the network that a file's length asks for; of those without an answer COCO's."""
    for width, classes in _fitting(path.stat().st_size):
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
