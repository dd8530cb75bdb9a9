"""How a network is run on a CUDA device, without one: what is launched, and that the numbers stay."""

from __future__ import annotations

from collections import Counter
from unittest.mock import patch

import pytest
import torch
from elsewhere import MEMORY, elsewhere
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from yolo_synth.analysis.activations import policy, run
from yolo_synth.analysis.activations.layers import read_layers
from yolo_synth.analysis.activations.plan import make_plan, most_images
from yolo_synth.analysis.activations.run import each_layer, gram_matrices
from yolo_synth.devices import for_similarity
from yolo_synth.networks.yolov3 import YOLOv3

CUDA = torch.device("cuda")
GIB = 2**30


@pytest.fixture(scope="module")
def network() -> YOLOv3:
    torch.manual_seed(0)
    network = YOLOv3(width=0.125)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def pictures(images: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(images)
    return torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8, generator=generator)


def as_on_cuda(index: int | None = None):
    """Choose for every device what is chosen for CUDA, or one of those ways."""

    def chosen(device: torch.device, *given: object) -> tuple[policy.Policy, ...]:
        ways = policy.policies(CUDA, *given)
        return ways if index is None else ways[index : index + 1]

    return patch.object(run, "ways_to_run", chosen)


class Launches(TorchDispatchMode):
    """Counts operators; what is brought from tensors without numbers to the processor is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counted[func.name()] += 1
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if given and given[0].is_meta and (kwargs or {}).get("device") == torch.device("cpu"):
            return torch.ones(given[0].shape, dtype=given[0].dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("side", "precision"), [(416, "float32"), (416, "bfloat16"), (32, "float32")]
)
def test_200_images_are_few_launches(side, precision):
    with torch.device("meta"):
        network = YOLOv3()
        images = torch.empty(200, 3, side, side, dtype=torch.uint8)
    with as_on_cuda(), Launches() as launches:
        gram_matrices(network, images, memory=60 * GIB, precision=precision)
    assert launches.counted["aten::conv2d"] >= 75
    assert launches.counted.total() <= 2500, launches.counted.most_common()


def on_cuda(network: YOLOv3, images: torch.Tensor, index: int, **given) -> torch.Tensor:
    with as_on_cuda(index):
        return gram_matrices(network, images, **given)


@pytest.mark.parametrize("way", [0, 1, 2], ids=["whole", "groups", "stripes"])
@pytest.mark.parametrize("images", [1, 21])
def test_every_way_gives_the_processors_numbers(network, way, images):
    shown = pictures(images, 96)
    plain = gram_matrices(network, shown)
    found = on_cuda(network, shown, way, memory=2**28)
    scale = plain.abs().amax((1, 2), keepdim=True)
    assert torch.equal(found, found.mT)
    assert ((found - plain).abs() / scale).max() < 2e-6


def test_stripes_are_stripes(network):
    """With so little memory that the first layers' outputs do not fit."""
    memory = 24 * 2**20
    with as_on_cuda(2):
        pieces = Counter(layer for layer, _ in each_layer(network, pictures(70, 96), memory=memory))
    assert pieces[0] > 1
    assert pieces[106] == 1


def test_images_that_are_not_finite_are_named_there_too(network):
    shown = pictures(4, 32) / 255
    shown[2, 0, 5, 5] = torch.nan
    with (
        as_on_cuda(),
        pytest.raises(ValueError, match=r"layers\.0: activations of images \[2\] are"),
    ):
        gram_matrices(network, shown, memory=GIB)


def test_what_was_kept_is_not_computed_again_there(network, tmp_path):
    shown = pictures(5, 32)
    with as_on_cuda(0):
        first = gram_matrices(network, shown, memory=GIB, folder=tmp_path)
    for layer in (3, 50, 106):
        (tmp_path / f"{layer:03}.npy").unlink()
    again = gram_matrices(network, shown, folder=tmp_path)
    assert torch.equal(again[4], first[4])
    assert torch.allclose(again, first, rtol=1e-5, atol=1e-5 * float(first.abs().max()))


def plan_on(memory: float, images: int, side: int, itemsize: int = 4):
    with torch.device("meta"):
        layers = read_layers(YOLOv3().eval(), (3, side, side))
    dtype = torch.float32 if itemsize == 4 else torch.bfloat16
    ways = policy.policies(CUDA, images, dtype, int(memory))
    return make_plan(layers, images, itemsize, int(memory), 8 * images**2, ways), ways, layers


def test_whole_batches_where_there_is_memory_and_stripes_where_not():
    """An H100 has about 60 GiB to give, a card of 8 GB about 5."""
    plan, ways, layers = plan_on(60 * GIB, 200, 416)
    assert plan.policy == ways[0]
    assert not plan.striped
    assert all(plan.group(layer) == 200 for layer in layers)
    assert plan_on(20 * GIB, 200, 416)[0].policy.at_the_end
    small, ways, _ = plan_on(5 * GIB, 200, 416)
    assert small.policy == ways[2]
    assert small.striped
    many, ways, layers = plan_on(60 * GIB, 2000, 416)
    assert many.policy in ways[:3]
    assert all(many.group(layer) * layer.widest < 2**31 for layer in layers)
    assert most_images(layers, 2000, 4, 5 * GIB, policies=ways) >= 200


def test_memory_is_what_the_device_has_free(network):
    with elsewhere() as device:
        assert policy.memory_of(device) == int(policy.SHARE * MEMORY)
    assert policy.memory_of(torch.device("cpu")) == 2 * GIB


def test_similarities_are_computed_where_float64_is_and_a_shared_card_is_named(monkeypatch, caplog):
    assert for_similarity() == torch.device("cpu")
    assert for_similarity("mps") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2 * GIB, 8 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: GIB // 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    for _ in range(2):
        assert for_similarity(torch.device("cuda:0")) == torch.device("cuda:0")
    [line] = caplog.messages
    assert line.startswith("a card: other programs hold 5.5 of 8.0 GiB")
    assert "CUDA_VISIBLE_DEVICES" in line
