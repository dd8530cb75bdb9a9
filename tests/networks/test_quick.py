"""Networks made ready to detect: what packed convolutions return, and when plain ones stay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolo_synth.networks.quick import casting, make_quick
from yolo_synth.networks.yolov3 import YOLOv3

pytestmark = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bfloat16"
)
CPU = torch.device("cpu")


def plain(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if type(module) is nn.Conv2d]


def test_all_convolutions_of_yolov3_are_packed_and_the_answer_is_the_rounded_one():
    torch.manual_seed(0)
    network, images = YOLOv3(width=0.125).eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)
        make_quick(network, images, "bfloat16")
        assert not plain(network)
        for size in (64, 96):  # another size than that of the first images too
            shown = torch.rand(1, 3, size, size)
            with casting(CPU, "bfloat16"):
                assert [x.shape[-2] for x in network(shown)] == [size // 32, size // 16, size // 8]
        with casting(CPU, "bfloat16"):
            found = network(images)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() < 0.03 * other.abs().max()
        assert not torch.equal(one.float(), other)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2, "padding": 1},
        {"dilation": 2, "padding": (2, 1)},
        {"groups": 4, "bias": False},
    ],
)
def test_a_packed_convolution_is_the_convolution(options):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(8, 12, 3, **options)).eval()
    images = torch.rand(1, 8, 20, 24)
    with torch.no_grad():
        expected = network(images)
        make_quick(network, images, "bfloat16")
        assert not plain(network)
        with casting(CPU, "bfloat16"):
            found = network(images)
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.02)


class Asks(nn.Module):
    """A network that looks at its convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.conv(images) * self.conv.kernel_size[0]


@pytest.mark.parametrize(
    "network",
    [
        Asks(),
        nn.Sequential(nn.Conv2d(3, 4, 3, padding="same")),
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")),
    ],
)
def test_what_cannot_be_packed_stays_as_it_is(network):
    make_quick(network.eval(), torch.rand(1, 3, 16, 16), "bfloat16")
    assert len(plain(network)) == 1
    with torch.no_grad(), casting(CPU, "bfloat16"):
        network(torch.rand(1, 3, 16, 16))
