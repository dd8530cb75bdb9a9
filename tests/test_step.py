"""The training step: what makes it fast changes no result, and it waits for nothing."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from helpers import fit

from yolo_synth import Detector
from yolo_synth.boxes import no_target
from yolo_synth.networks.yolov3 import YOLOv3, detection_loss

SCENE = [
    {"boxes": torch.tensor([[10.0, 12, 50, 40], [60, 3, 75, 33]]), "labels": torch.tensor([2, 0])},
    no_target(),
    {"boxes": torch.tensor([[0.0, 0, 90, 60]]), "labels": torch.tensor([4])},
]


def losses(network, optimizer, *, mixed=False):
    """Train 20 steps on one batch."""
    images = torch.rand(12, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    values = []
    for _ in range(20):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = sum(detection_loss(network(images), 4 * SCENE).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    return torch.tensor(values)


@pytest.mark.parametrize(("mixed", "first", "all_20"), [(False, 1e-5, 1e-3), (True, 5e-3, 0.06)])
def test_fast_settings_change_no_loss_beyond_rounding(mixed, first, all_20):
    """Against plain order of memory, plain Adam and float32.

    A step of Adam is of one length whatever the gradient, so that rounding grows from step to step:
    the plain losses are 1e-4 from those in float64 in the end.
    """
    torch.manual_seed(0)
    network = YOLOv3(width=0.125)
    adam = torch.optim.Adam(network.parameters(), 3e-6, foreach=False, fused=False)
    plain = losses(network, adam)
    torch.manual_seed(0)
    detector = Detector(width=0.125, lr=3e-6)
    assert detector.network.layers[1].conv.weight.is_contiguous(memory_format=torch.channels_last)
    fast = losses(detector.network, detector.configure_optimizers(), mixed=mixed)
    difference = ((fast - plain) / plain).abs()
    assert difference[0] < first
    assert difference.max() < all_20
    assert plain[-1] < 0.9 * plain[0]


def test_a_step_waits_for_nothing():
    """On tensors without numbers whatever asks for one fails: `.item()`, masks, `nonzero`."""
    with torch.device("meta"):
        detector = Detector(width=0.125)
        images = torch.empty(3, 3, 64, 96)
    targets = [{name: value.to("meta") for name, value in target.items()} for target in SCENE]
    detector.log_dict = lambda *_, **__: None
    loss = detector.training_step((images, targets), 0)
    loss.backward()
    assert loss.is_meta
    assert all(parameter.grad.is_meta for parameter in detector.parameters())


def test_nothing_is_kept_for_a_frozen_backbone():
    network = Detector(width=0.125).network
    for layer in network.layers[:75]:
        layer.requires_grad_(False).eval()
    outputs = {}
    for index, layer in enumerate(network.layers):
        layer.register_forward_hook(lambda _, __, out, index=index: outputs.update({index: out}))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        network(torch.rand(1, 3, 64, 64))
    assert next(index for index, out in outputs.items() if out.requires_grad) == 75
    frozen = {id(p) for layer in network.layers[:75] for p in layer.parameters()}
    assert not [tensor for tensor in kept if id(tensor) in frozen]
    # what the head itself reads of the backbone: layers 74, 61 and 36
    read = {outputs[index].data_ptr() for index in (36, 61, 74)}
    inner = {out.data_ptr() for index, out in outputs.items() if index < 75} - read
    assert not [tensor for tensor in kept if tensor.data_ptr() in inner]


def test_mixed_precision_trains_and_clips(tiny_root, tmp_path):
    options = ("--trainer.precision=bf16-mixed", "--trainer.gradient_clip_val=10")
    fit(tiny_root, tmp_path, "BDD100K", *options)
    metrics = pd.read_csv(tmp_path / "U-Real/0/metrics.csv")
    assert metrics["train/loss"].dropna().between(0.1, 100).all()
