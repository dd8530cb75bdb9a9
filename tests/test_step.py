"""The training step: what makes it fast changes no result, and it waits for nothing."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from helpers import equal, fit, no_target, weights

from yolo_synth import Detector, capturing
from yolo_synth.capturing import FixedLosses, filled_up
from yolo_synth.networks.contract import Network
from yolo_synth.networks.yolov3 import YOLOv3, detection_loss, loss

SCENE = [
    {"boxes": torch.tensor([[10.0, 12, 50, 40], [60, 3, 75, 33]]), "labels": torch.tensor([2, 0])},
    no_target(),
    {"boxes": torch.tensor([[0.0, 0, 90, 60]]), "labels": torch.tensor([4])},
]


def losses(network, optimizer, mixed=None):
    """Train 20 steps on one batch, as Lightning does in that mixed precision."""
    scaler = torch.amp.GradScaler("cpu", enabled=mixed == torch.float16)
    images = torch.rand(12, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    values = []
    for _ in range(20):
        with torch.autocast("cpu", mixed, enabled=mixed is not None):
            loss = sum(detection_loss(network(images), 4 * SCENE).values())
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        values.append(loss.item())
    return torch.tensor(values)


@pytest.mark.parametrize(
    ("mixed", "first", "all_20"),
    [(None, 1e-5, 1e-3), (torch.bfloat16, 5e-3, 0.06), (torch.float16, 1e-3, 0.1)],
)
def test_fast_settings_change_no_loss_beyond_rounding(mixed, first, all_20):
    """Against plain order of memory, plain Adam and float32.

    A step of Adam is of one length whatever the gradient, so that rounding grows from step to step:
    the plain losses are 1e-4 from those in float64 in the end. float16's scaler leaves out the steps at
    which it finds how large gradients may be.
    """
    torch.manual_seed(0)
    network = YOLOv3(width=0.125)
    adam = torch.optim.Adam(network.parameters(), 3e-6, foreach=False, fused=False)
    plain = losses(network, adam)
    torch.manual_seed(0)
    detector = Detector(width=0.125, lr=3e-6)
    assert detector.network.layers[1].conv.weight.is_contiguous(memory_format=torch.channels_last)
    fast = losses(detector.network, detector.configure_optimizers(), mixed)
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


ASKING = {
    "item",
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "is_nonzero",
    "equal",
    "unique",
}
"""What asks a device for a number: it would wait, and a graph cannot hold it."""

COPYING = {"scalar_tensor", "lift_fresh"}
"""What makes a number on the processor, which would be copied to the device."""


def test_a_step_asks_for_no_number_backwards_either(monkeypatch):
    """On tensors with numbers: without them PyTorch takes other ways, of `prod`'s gradient for one."""
    monkeypatch.setattr(  # PyTorch's looks at the labels, on processors alone
        loss.F, "one_hot", lambda labels, count: (labels[:, None] == torch.arange(count)).long()
    )
    network = YOLOv3(width=0.125)
    images = torch.rand(3, 3, 64, 96)
    network.losses(images, SCENE)  # copies the anchors to the device, once
    forward, names = operators(lambda: sum(network.losses(images, SCENE).values()))
    assert "scatter_reduce" in names
    assert not names & {*ASKING, *COPYING}
    _, names = operators(forward.backward)
    assert "convolution_backward" in names
    assert not names & ASKING


def operators(work):
    """Return a result, and which operators PyTorch ran for it."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        result = work()
    return result, {event.key.removeprefix("aten::") for event in profile.key_averages()}


def gradients(network):
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_targets_filled_up_to_fixed_shapes_change_nothing_but_the_order_of_sums():
    torch.manual_seed(0)
    network = YOLOv3(width=0.125).eval()
    images = torch.rand(3, 3, 64, 96)
    terms = network.losses(images, SCENE)
    sum(terms.values()).backward()
    expected = gradients(network)
    network.zero_grad()
    filled = FixedLosses(network)(images, *filled_up(SCENE))
    filled.sum().backward()
    torch.testing.assert_close(filled, torch.stack(list(terms.values())), rtol=1e-6, atol=1e-6)
    difference = (gradients(network) - expected).abs().max()
    assert difference < 1e-5 * expected.abs().max()


def test_only_full_batches_of_one_kind_are_captured(monkeypatch):
    """What is captured here is the step of fixed shapes itself, which gives the same numbers."""
    made = []

    def capture(network, given):
        made.append(given[0].shape[0])
        return FixedLosses(network)

    monkeypatch.setattr(capturing, "captured", capture)
    torch.manual_seed(0)
    network = YOLOv3(width=0.125).eval()
    losses = capturing.CapturedLosses(network)
    images = torch.rand(3, 3, 64, 96)
    many = {"boxes": torch.rand(200, 4), "labels": torch.zeros(200, dtype=torch.int64)}

    def same(images, targets):
        for name, value in losses(images, targets).items():
            torch.testing.assert_close(value, network.losses(images, targets)[name])

    for _ in range(4):
        same(images, SCENE)
    same(images[:2], SCENE[:2])
    same(images, [*SCENE[:2], many])
    assert made == [3]
    same(images, SCENE)
    assert made == [3]
    network.layers[0].requires_grad_(False)
    for _ in range(3):
        same(images, SCENE)
    assert made == [3, 3]


def test_a_network_whose_losses_wait_is_refused():
    with pytest.raises(ValueError, match=r"set model\.captured to false"):
        capturing.CapturedLosses(Network())


def test_a_captured_training_runs_as_ever_on_a_processor(tiny_root, tmp_path):
    for name, option in (("replayed", "true"), ("plain", "false")):
        fit(tiny_root, tmp_path / name, "BDD100K", f"--model.captured={option}")
    first, second = (weights(tmp_path / name / "U-Real/0") for name in ("replayed", "plain"))
    assert equal(first, second)


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
