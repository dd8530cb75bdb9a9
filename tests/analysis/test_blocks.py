"""Any network by its blocks: which are found, what is left out, and that the numbers are right."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torchvision.models import resnet18
from torchvision.models.detection import (
    fasterrcnn_mobilenet_v3_large_320_fpn,
    ssdlite320_mobilenet_v3_large,
)

from yolo_synth.analysis.activations.blocks import choose_layers
from yolo_synth.analysis.activations.run import gram_matrices, layer_names
from yolo_synth.analysis.similarity.cka import cka

UNTRAINED = {"weights": None, "weights_backbone": None, "num_classes": 5}


def pictures(images: int, side: int) -> Tensor:
    generator = torch.Generator().manual_seed(images)
    coarse = torch.rand(images, 3, 4, 4, generator=generator)
    return nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")


def hooked(network: nn.Module, images: Tensor) -> dict[str, list[Tensor]]:
    """Every module's tensors of one plain forward pass, by all names of the module."""
    kept: dict[str, list[Tensor]] = {}
    handles = [
        module.register_forward_hook(
            lambda _, __, output, name=name: kept.setdefault(name, []).extend(
                t.double().flatten(1)
                for t in tree_leaves(output)
                if isinstance(t, Tensor) and t.dim() > 1
            )
        )
        for name, module in network.named_modules()
    ]
    with torch.no_grad():
        network.eval()(images)
    for handle in handles:
        handle.remove()
    return kept


def ssdlite() -> nn.Module:
    network = ssdlite320_mobilenet_v3_large(**UNTRAINED, score_thresh=0.99)
    network.transform.fixed_size = (96, 96)
    return network


def fasterrcnn() -> nn.Module:
    small = {"min_size": 96, "rpn_post_nms_top_n_test": 8}
    return fasterrcnn_mobilenet_v3_large_320_fpn(**UNTRAINED, **small)


DETECTORS = {"ssdlite": ssdlite, "fasterrcnn": fasterrcnn}


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_as_it_comes_is_compared_by_blocks_and_they_are_right(name, caplog):
    images = pictures(12, 64)
    stacks, exact = [], []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = DETECTORS[name]()
        with caplog.at_level(logging.WARNING):
            names = layer_names(network, images)
            stacks.append(gram_matrices(network, images))
        outputs = hooked(network, images)
        rows = [outputs[part][int(i or 0)] for part, _, i in (n.partition(":") for n in names)]
        exact.append(torch.stack([x @ x.T for x in rows]))
    assert 20 <= len(names) <= 40
    for debiased in (False, True):
        difference = (cka(*stacks, debiased) - cka(*exact, debiased)).abs()
        assert difference.max() < 1e-6
    assert len(caplog.records) == 2  # once for each network
    for record in caplog.records:
        assert "anchor_generator" in record.message
        assert "has no row of numbers for each of 2 images" in record.message


def test_blocks_of_one_kind_are_split_together_and_named_by_their_paths():
    chosen = choose_layers(resnet18(weights=None), pictures(2, 64))
    blocks = [f"layer{stage}.{i}" for stage in range(1, 5) for i in range(2)]
    stem = ["conv1", "bn1", "relu", "maxpool"]
    assert [output.name for output in chosen.outputs] == [*stem, *blocks, "avgpool", "fc"]
    assert not chosen.left_out


class Convolution(nn.Module):
    """With an activation that all of them share, as Ultralytics has it."""

    shared = nn.SiLU()

    def __init__(self, given: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(given, channels, 3, padding=1)
        self.act = self.shared

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x))


class Odd(nn.Module):
    """Its parts run in another order than they stand; positions, masks and idle parts are in it."""

    def __init__(self) -> None:
        super().__init__()
        self.last = Convolution(8, 4)
        self.first = Convolution(3, 8)
        self.positions = nn.Embedding(7, 4)
        self.mask = Positive()
        self.idle = nn.Linear(4, 4)
        self.heads = nn.ModuleList([nn.Conv2d(4, 2, 1), nn.Conv2d(4, 3, 1)])

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.last(self.first(images))
        self.positions(torch.arange(7))
        self.mask(x)
        return [head(x) for head in self.heads]


class Positive(nn.Module):
    """Returns a mask."""

    def forward(self, x: Tensor) -> Tensor:
        return x > 0


def test_blocks_come_in_the_order_in_which_they_run_and_what_is_odd_is_listed():
    chosen = choose_layers(Odd(), pictures(4, 16))
    names = [output.name for output in chosen.outputs]
    assert names == ["first.conv", "last.conv", "heads.0", "heads.1"]
    reasons = {left.name: (left.shape, left.reason) for left in chosen.left_out}
    assert reasons == {
        "last.act": (
            (2, 8, 16, 16),
            "is one module at 2 places, which its name does not tell apart",
        ),
        "positions": ((7, 4), "has no row of numbers for each of 2 images"),
        "mask": ((2, 4, 16, 16), "returns bool, not floating numbers"),
        "idle": (None, "does not run"),
    }


def test_leaves_a_pattern_or_a_list_are_had_on_demand():
    network, images = Odd(), pictures(4, 16)
    assert layer_names(network, images, layers="leaves") == [
        *("first.conv", "last.conv", "heads.0", "heads.1")
    ]
    assert layer_names(network, images, layers="heads.*") == ["heads.0", "heads.1"]
    assert layer_names(network, images, layers=["last", "first"]) == ["first", "last"]
    assert layer_names(network, images, layers=["*", "last.act"]) == [
        *(
            "first.conv",
            "last.act:0",
            "last.act:1",
            "first",
            "last.conv",
            "last",
            "heads.0",
            "heads.1",
        )
    ]


def test_all_that_is_asked_for_by_name_and_cannot_be_had_is_refused_at_once():
    layers = ["first", "positions", "idle", "mask", "nothing", nn.BatchNorm2d]
    with pytest.raises(ValueError, match="a row of numbers for each image") as refusal:
        gram_matrices(Odd(), pictures(4, 16), layers=layers)
    for said in (
        "'positions' [7, 4] has no row",
        "'idle' does not run",
        "'mask' [2, 4, 16, 16] returns bool",
        "'nothing' stands for no module",
        "BatchNorm2d stands for no module",
    ):
        assert said in str(refusal.value)
    assert "'first'" not in str(refusal.value)


def test_the_same_module_in_a_wrapper_keeps_its_first_name():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()))
    wrapper = nn.Sequential(body)
    wrapper.features = body[1]
    wrapper.forward = lambda images: body(images)
    names = layer_names(wrapper, pictures(2, 16))
    assert names == ["0.0", "0.1.0", "0.1.1"]


def test_a_network_without_any_row_of_numbers_is_refused():
    with pytest.raises(ValueError, match="Positive has no module"):
        gram_matrices(Positive(), pictures(2, 16))


class Queries(nn.Module):
    """Chooses the surest cells of a map as queries, as RT-DETR does, and returns all it has."""

    def __init__(self, queries: int = 8) -> None:
        super().__init__()
        self.queries = queries
        self.stem = nn.Conv2d(3, 12, 8, 8)
        self.score = nn.Linear(12, 1)
        self.decoder = nn.Linear(12, 5)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        cells = self.stem(images).flatten(2).mT
        chosen = self.score(cells)[..., 0].topk(self.queries, dim=1).indices
        queries = cells.gather(1, chosen[..., None].expand(-1, -1, 12))
        decoded = self.decoder(queries)
        stages = torch.stack([decoded, decoded])  # [stages, images, queries, features]
        return {str(number): stages for number in range(6)}


def test_queries_in_an_order_of_scores_are_compared_by_their_means(caplog):
    torch.manual_seed(5)
    network, pictures = Queries().eval(), torch.rand(12, 3, 32, 32)
    chosen = choose_layers(network, pictures).outputs
    assert {output.name: output.is_set for output in chosen} == {
        "stem": False,
        "score": False,
        "decoder": True,
    }
    decoder = gram_matrices(network, pictures)[-1]
    assert "compared by their means: decoder" in caplog.text
    kept = []
    handle = network.decoder.register_forward_hook(lambda _, given, out: kept.append(out))
    with torch.no_grad():
        network(pictures)
    handle.remove()
    rows = kept[0].double().mean(1)
    torch.testing.assert_close(decoder, rows @ rows.T, rtol=1e-5, atol=1e-7)


def test_the_same_queries_in_another_order_are_the_same_layer():
    torch.manual_seed(5)
    network, pictures = Queries(16).eval(), torch.rand(6, 3, 32, 32)  # all of 4 x 4 cells
    before = gram_matrices(network, pictures)[-1]
    network.score.weight.data.neg_()
    torch.testing.assert_close(gram_matrices(network, pictures)[-1], before, rtol=1e-5, atol=1e-7)


def test_two_stages_are_not_two_images():
    torch.manual_seed(5)
    network = nn.Sequential(nn.Conv2d(3, 4, 8, 8), Stacked())
    chosen = choose_layers(network, torch.rand(6, 3, 32, 32))
    assert [output.name for output in chosen.outputs] == ["0"]
    assert [left.name for left in chosen.left_out] == ["1"]


class Stacked(nn.Module):
    """Returns its input twice, in front of the images' axis."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x, x])
