"""Hold the blocks of torchvision's detectors against plain hooks, and print a table.

    python benchmarks/networks.py

Random weights, nothing is downloaded. For each detector, as it comes: how many layers are compared,
what is left out, how long it takes beside a bare forward pass, and the largest difference of CKA, layer
with layer of two seeds, from forward hooks on the whole batch with products in float64.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torchvision.models import detection

from yolo_synth.analysis.activations.blocks import choose_layers
from yolo_synth.analysis.activations.run import gram_matrices
from yolo_synth.analysis.similarity.cka import cka

IMAGES, SIDE = 12, 160
UNTRAINED: dict[str, Any] = {"weights": None, "weights_backbone": None, "num_classes": 6}
SMALL: dict[str, Any] = {"min_size": SIDE, "max_size": SIDE, **UNTRAINED}

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "Faster R-CNN (MobileNet)": partial(detection.fasterrcnn_mobilenet_v3_large_320_fpn, **SMALL),
    "RetinaNet (ResNet-50)": partial(detection.retinanet_resnet50_fpn, **SMALL),
    "FCOS (ResNet-50)": partial(detection.fcos_resnet50_fpn, **SMALL),
    "SSD300 (VGG-16)": partial(detection.ssd300_vgg16, **UNTRAINED),
    "SSDlite (MobileNet)": partial(detection.ssdlite320_mobilenet_v3_large, **UNTRAINED),
}


def hooked(network: nn.Module, images: Tensor, names: list[str]) -> Tensor:
    """Return Gram matrices in float64 of what plain hooks see in one forward pass."""
    kept: dict[str, list[Tensor]] = {}

    def keep(name: str, output: object) -> None:
        found = [t for t in tree_leaves(output) if isinstance(t, Tensor)]
        kept.setdefault(name, []).extend(t.flatten(1).double() for t in found)

    parts = {name.partition(":")[0] for name in names}
    handles = [
        network.get_submodule(part).register_forward_hook(
            lambda _, __, output, part=part: keep(part, output)
        )
        for part in parts
    ]
    with torch.no_grad():
        network.eval()(images)
    for handle in handles:
        handle.remove()
    rows = [kept[part][int(place or 0)] for part, _, place in (n.partition(":") for n in names)]
    return torch.stack([x @ x.T for x in rows])


def main() -> None:
    """Print the table."""
    logging.disable()
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(IMAGES, 3, 8, 8, generator=generator)
    images = nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")
    print(
        "| network | layers | left out | CPU s (bare) | biased | debiased |\n|---|---|---|---|---|---|"
    )
    for name, build in NETWORKS.items():
        ours, exact, seconds, bare = [], [], 0.0, 0.0
        for seed in (0, 1):
            torch.manual_seed(seed)
            network = build()
            chosen = choose_layers(network, images)
            names = [output.name for output in chosen.outputs]
            start = time.process_time()
            ours.append(gram_matrices(network, images))
            seconds += time.process_time() - start
            start = time.process_time()
            with torch.no_grad():
                network.eval()(images)
            bare += time.process_time() - start
            exact.append(hooked(network, images, names))
        errors = [
            float((cka(*ours, debiased) - cka(*exact, debiased)).diagonal().abs().max())
            for debiased in (False, True)
        ]
        left = ", ".join(left_out.name for left_out in chosen.left_out)
        cells = [
            name,
            len(names),
            left,
            f"{seconds:.1f} ({bare:.1f})",
            *(f"{e:.0e}" for e in errors),
        ]
        print("|", " | ".join(map(str, cells)), "|", flush=True)


if __name__ == "__main__":
    main()
