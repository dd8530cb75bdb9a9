"""Gram matrices of pooled features against numpy, in one pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from yolo_synth.analysis.activations.pooled import pooled_gram_matrices
from yolo_synth.analysis.activations.run import layer_names
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.networks.yolov3.network import YOLOv3


def pictures(images: int, side: int) -> Tensor:
    return torch.rand(images, 3, side, side, generator=torch.Generator().manual_seed(images))


def runs(values: np.ndarray, parts: int, axis: int) -> np.ndarray:
    """Means over equal runs of an axis, which overlap where they do not come out even."""
    side = values.shape[axis]
    ends = [(i * side // parts, -(-(i + 1) * side // parts)) for i in range(parts)]
    return np.stack([values.take(range(*end), axis).mean(axis) for end in ends], -1)


def pooled(output: np.ndarray) -> np.ndarray:
    if output.ndim == 4:
        cells, whole = runs(runs(output, 4, 2), 4, 2), output.mean((2, 3))
    elif output.ndim == 3:
        cells, whole = runs(output, 16, 1), output.mean(1)
    else:
        return output.reshape(len(output), -1)
    return np.concatenate([cells.reshape(len(output), -1), whole], 1)


def convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 3))
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 7, 3, stride=3), *head)


@pytest.mark.parametrize("side", [32, 21, 9])
def test_it_is_numpys_pooling_and_product_in_float64(side):
    network, images = convolutional(), pictures(6, side)
    kept: list[np.ndarray] = []
    for module in network:
        module.register_forward_hook(lambda _, __, out: kept.append(out.double().numpy()))
    with torch.no_grad():
        network(images)
    expected = torch.stack([torch.from_numpy(pooled(out) @ pooled(out).T) for out in kept])
    found = pooled_gram_matrices(network, images, layers="leaves")
    error = (found - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
    assert error.max() < 1e-6


def test_tokens_are_pooled_in_runs():
    torch.manual_seed(0)
    network = VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    images, name = pictures(5, 32), "encoder.layers.encoder_layer_0"
    kept: list[np.ndarray] = []
    network.get_submodule(name).register_forward_hook(
        lambda _, __, out: kept.append(out.double().numpy())
    )
    found = pooled_gram_matrices(network, images, layers=[name])
    rows = pooled(kept[-1])
    assert rows.shape == (5, 17 * 16)
    assert np.allclose(found[0].numpy(), rows @ rows.T, rtol=1e-6, atol=1e-6)


def test_five_hundred_images_pass_once_and_networks_of_other_sizes_compare():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1))
    passed = []
    network.register_forward_pre_hook(lambda _, inputs: passed.append(len(inputs[0])))
    images = pictures(500, 36)
    large = pooled_gram_matrices(network, images)
    assert sum(passed) == 500 + 2 + 3  # two, and three, show what the layers return
    small = pooled_gram_matrices(convolutional(), images[:, :, ::4, ::4])
    similarity = cka(large, small, debiased=True)
    assert similarity.shape == (2, 6)
    assert similarity.isfinite().all()


def test_a_network_with_a_plan_is_pooled_by_the_layers_of_its_plan():
    network, images = YOLOv3(width=0.02), pictures(4, 32)
    assert len(pooled_gram_matrices(network, images)) == len(layer_names(network, images)) == 107
