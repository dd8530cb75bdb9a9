"""Batch norms recalibrated on pictures without labels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolo_synth import YOLOv3, adapting
from yolo_synth.adapting import batch_norms, recalibrated, recalibrated_statistics
from yolo_synth.networks.torchvision import RetinaNet


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    found = YOLOv3(width=0.0625).eval()
    for norm in batch_norms(found).values():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return found


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (10, 3, 64, 64), dtype=torch.uint8, generator=generator)


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def in_double(network, pictures, mix):
    """Return each norm's statistics by a network in float64 whose norms are replaced one by one."""
    found = recalibrated(network, pictures, 0).double()
    for norm in batch_norms(found).values():
        old = norm.running_mean.clone(), norm.running_var.clone()
        seen = []
        handle = norm.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        with torch.no_grad():
            found(pictures.double() / 255)
        handle.remove()
        values = seen[0].transpose(0, 1).flatten(1)
        norm.running_mean = (1 - mix) * old[0] + mix * values.mean(1)
        norm.running_var = (1 - mix) * old[1] + mix * values.var(1)
    return found.state_dict()


@pytest.mark.parametrize("mix", [0.5, 1.0])
def test_each_norm_gets_the_mean_and_variance_of_what_it_sees_after_those_before_it(
    network, pictures, mix
):
    found, expected = recalibrated(network, pictures, mix), in_double(network, pictures, mix)
    for name, value in found.state_dict().items():
        torch.testing.assert_close(
            value.double(), expected[name].double(), rtol=1e-3, atol=1e-4, msg=name
        )
    assert len(batch_norms(found)) == 72


def test_nothing_mixed_in_changes_no_bit_and_the_network_itself_stays_as_it_was(network, pictures):
    before = state(network)
    same = recalibrated(network, pictures, 0).state_dict()
    assert all(torch.equal(same[name], before[name]) for name in before)
    other = recalibrated(network, pictures, 1).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    changed = {name for name in before if not torch.equal(other[name], before[name])}
    assert changed == {
        f"{norm}.{part}"
        for norm in batch_norms(network)
        for part in ("running_mean", "running_var")
    }
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_batches_are_pooled_as_one(monkeypatch):
    norm = nn.Sequential(nn.BatchNorm2d(3))
    pictures = torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    whole = recalibrated_statistics(norm, pictures)
    monkeypatch.setattr(adapting, "PIXELS", 0)
    monkeypatch.setattr(adapting, "TOGETHER", 3)
    parts = recalibrated_statistics(norm, pictures)
    values = pictures.double().transpose(0, 1).flatten(1)
    for found in (whole, parts):
        torch.testing.assert_close(
            found["0.running_mean"].double(), values.mean(1), rtol=1e-6, atol=0
        )
        torch.testing.assert_close(
            found["0.running_var"].double(), values.var(1), rtol=1e-6, atol=0
        )


def test_pictures_as_bytes_are_those_as_floats(network, pictures):
    a = recalibrated_statistics(network, pictures)
    b = recalibrated_statistics(network, pictures.float() / 255)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_what_cannot_be_recalibrated_is_said(network, pictures):
    plain = nn.Sequential(nn.Conv2d(3, 2, 3), nn.GroupNorm(1, 2))
    with pytest.raises(ValueError, match="Sequential has no batch norms to recalibrate"):
        recalibrated(plain, pictures)
    with pytest.raises(ValueError, match="share is 0 to 1, not 2"):
        recalibrated(network, pictures, 2)
    with pytest.raises(ValueError, match="n >= 1"):
        recalibrated(network, pictures[:0])


def test_a_network_of_another_kind_can_be_recalibrated(pictures):
    torch.manual_seed(0)
    network = RetinaNet().eval()
    before = state(network)
    found = recalibrated_statistics(network, pictures[:2])
    assert found.keys() <= before.keys()
    assert all(not torch.equal(value, before[name]) for name, value in found.items())
