from collections import Counter

import pytest
import torch
from torch import nn

from yolo_synth.networks.yolov3.architecture import BACKBONE, IMAGE
from yolo_synth.networks.yolov3.network import YOLOv3


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return YOLOv3(width=0.125).eval()


def parameters(layers):
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters())


def test_has_darknets_107_layers(small):
    assert len(small.layers) == 107
    assert Counter(small.kinds) == {
        "convolutional": 75,
        "shortcut": 23,
        "route": 4,
        "upsample": 2,
        "yolo": 3,
    }
    at = {kind: [i for i, k in enumerate(small.kinds) if k == kind] for kind in set(small.kinds)}
    assert at["yolo"] == [82, 94, 106]
    assert at["upsample"] == [85, 97]
    assert {i: small.sources[i] for i in at["route"]} == {
        83: (79,),
        86: (85, 61),
        95: (91,),
        98: (97, 36),
    }
    convolutions = [layer for layer in small.modules() if isinstance(layer, nn.Conv2d)]
    assert Counter(layer.kernel_size for layer in convolutions) == {(3, 3): 38, (1, 1): 37}
    halving = [i for i in at["convolutional"] if small.layers[i].conv.stride == (2, 2)]
    assert halving == [1, 5, 12, 37, 62]


def test_parameter_counts():
    with torch.device("meta"):
        five, coco = YOLOv3(), YOLOv3(num_classes=80)
    assert parameters(five.layers) == 61_545_274
    assert parameters(coco.layers) == 61_949_149
    assert parameters(five.layers[i] for i in BACKBONE) == 40_584_928


@pytest.mark.parametrize("num_classes", [1, 5])
def test_maps_are_raw_logits_at_three_strides(num_classes):
    network = YOLOv3(num_classes, width=0.05).eval()
    seen = {}
    for index in (81, 93, 105):
        network.layers[index].register_forward_hook(
            lambda _module, _inputs, output, index=index: seen.update({index: output})
        )
    maps = network(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (2, 3, 64 // stride, 96 // stride, 5 + num_classes) for stride in (32, 16, 8)
    ]
    for raw, convolution in zip(maps, seen.values(), strict=True):
        # Darknet's channel is anchor * (5 + C) + entry
        assert torch.equal(raw.permute(0, 1, 4, 2, 3).flatten(1, 2), convolution)


def test_each_layer_is_called_once_and_keeps_its_output(small):
    calls = []
    outputs = {}

    def record(index):
        def hook(_module, _inputs, output):
            calls.append(index)
            outputs[index] = (output, output.clone())

        return hook

    handles = [layer.register_forward_hook(record(i)) for i, layer in enumerate(small.layers)]
    small(torch.rand(1, 3, 32, 32))
    for handle in handles:
        handle.remove()
    assert calls == list(range(107))
    changed = [i for i, (output, copy) in outputs.items() if not torch.equal(output, copy)]
    assert changed == []


def test_sources_suffice_to_run_layer_by_layer(small):
    images = torch.rand(2, 3, 32, 64)
    outputs = {IMAGE: images}
    for index, layer in enumerate(small.layers):
        assert all(source < index for source in small.sources[index])
        outputs[index] = layer(*(outputs[source] for source in small.sources[index]))
    for raw, index in zip(small(images), (82, 94, 106), strict=True):
        assert torch.equal(raw, outputs[index])


def test_width_scales_channels_and_keeps_the_layers(small):
    with torch.device("meta"):
        full = YOLOv3()
    for index, (layer, whole) in enumerate(zip(small.layers, full.layers, strict=True)):
        if small.kinds[index] == "convolutional" and index not in (81, 93, 105):
            assert layer.conv.out_channels * 8 == whole.conv.out_channels
    assert len(YOLOv3(width=0.01).layers) == 107


def test_starts_with_few_objects_and_even_classes(small):
    for index in (81, 93, 105):
        bias = small.layers[index].conv.bias.detach().view(3, 10)
        assert bias[:, 4].mean().item() == pytest.approx(-4.5, abs=1e-5)
        assert bias[:, 5:].sigmoid().mean().item() == pytest.approx(1 / 5, abs=0.02)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 4, 64, 64), (1, 3, 64, 65), (1, 3, 416, 420)])
def test_refuses_other_shapes(small, shape):
    with pytest.raises(ValueError, match=r"multiples of 32, not \[.*" + str(shape[-1])):
        small(torch.zeros(shape))


@pytest.mark.parametrize("options", [{"num_classes": 0}, {"width": 0.0}, {"width": -1.0}])
def test_refuses_no_class_and_no_width(options):
    with pytest.raises(ValueError, match="num_classes >= 1 and width > 0"):
        YOLOv3(**options)
