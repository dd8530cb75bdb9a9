"""Blocks of networks that anybody has, against plain hooks on a whole batch in float64."""

from __future__ import annotations

import pytest
import torch
from references.anybodys import MADE, SIDE

from yolo_synth.analysis.activations.blocks import choose_layers
from yolo_synth.analysis.activations.run import gram_matrices
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.networks.references import Reference, read_reference

IMAGES = 12

LEFT_OUT = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": {"rpn.anchor_generator", "roi_heads"},
    "retinanet_resnet50_fpn": {"anchor_generator"},
    "fcos_resnet50_fpn": {"anchor_generator"},
    "ssd": {"anchor_generator"},
    "ssdlite320_mobilenet_v3_large": {"anchor_generator"},
    "rt_detr": {"model.denoising_class_embed"},
    "yolos": {"vit.encoder.interpolation"},
}
"""Modules that return no row of numbers an image, as their authors wrote them."""


def plain_grams(network: torch.nn.Module, names: list[str], images: torch.Tensor) -> torch.Tensor:
    """Run the whole batch once and multiply, in float64, what the named modules returned."""
    kept: dict[str, list[torch.Tensor]] = {}

    def keep(name):
        def hook(module, given, returned):
            kept.setdefault(name, []).extend(tensor.clone() for tensor in flat(returned))

        return hook

    modules = {name.partition(":")[0] for name in names}
    handles = [network.get_submodule(m).register_forward_hook(keep(m)) for m in modules]
    with torch.no_grad():
        network(images / 255)
    for handle in handles:
        handle.remove()
    grams = []
    for name in names:
        module, _, place = name.partition(":")
        rows = kept[module][int(place or 0)].double()
        grams.append(rows.flatten(1) @ rows.flatten(1).T)
    return torch.stack(grams)


def flat(returned) -> list[torch.Tensor]:
    """Return the tensors among what a module returned."""
    if isinstance(returned, torch.Tensor):
        return [returned]
    inner = returned.values() if isinstance(returned, dict) else returned or ()
    return [tensor for one in inner for tensor in flat(one)]


def biased(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return linear CKA of layer i with layer i, as its definition says."""
    centre = torch.eye(IMAGES, dtype=torch.float64) - 1 / IMAGES
    constant = torch.zeros(len(a), dtype=torch.bool)
    centred = []
    for grams in (a, b):
        centred.append(centre @ grams @ centre)
        sizes = [one.flatten(1).norm(dim=1) for one in (centred[-1], grams)]
        constant |= (
            sizes[0] < 1e-12 * sizes[1]
        )  # as a decoder's first layer, which no image reaches
    one, other = (grams.flatten(1) for grams in centred)
    values = (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1))
    return values.masked_fill(constant, torch.nan)


# YOLOv3's own plan is held against float64 in tests/analysis/test_activations.py
@pytest.mark.parametrize("name", [name for name in MADE if name != "darknet"])
def test_blocks_are_those_of_plain_hooks(name, tmp_path):
    read: list[Reference] = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        read.append(read_reference(MADE[name](tmp_path / str(seed), seed), trust=True))
    torch.manual_seed(2)
    side = read[0].preprocessing.side(SIDE)
    images = torch.randint(0, 256, (IMAGES, 3, side, side), dtype=torch.uint8)
    chosen = choose_layers(read[0].network, images)
    ordered = [output for output in chosen.outputs if not output.is_set]
    names = [output.name for output in ordered]
    numbers = [chosen.outputs.index(output) for output in ordered]
    assert len(names) >= 4
    assert LEFT_OUT.get(name, set()) <= {left.name for left in chosen.left_out}
    assert all(left.reason for left in chosen.left_out)
    ours = [gram_matrices(one.network, images)[numbers] for one in read]
    single = biased(*(plain_grams(one.network, names, images.float()) for one in read))
    exact = biased(*(plain_grams(one.network.double(), names, images.double()) for one in read))
    found = cka(*ours).diagonal()
    assert torch.equal(found.isnan(), exact.isnan())
    # Where a network itself loses digits in float32, any hook does
    allowed = (4 * (single - exact).abs()).clamp(min=1e-6)
    wrong = {n: e for n, e in zip(names, (found - exact).abs() / allowed, strict=True) if e > 1}
    assert not wrong
