"""Everything that runs on a device other than the processor, on one that `elsewhere` lends.

It finds tensors left on the wrong device, not what a real device rounds otherwise or is slow at.
"""

from __future__ import annotations

import shutil
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from elsewhere import DEVICE, elsewhere, ran
from helpers import fit_arguments
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from numpy.testing import assert_allclose

from yolo_synth import detecting, devices, scoring
from yolo_synth.analysis.activations import policy, run
from yolo_synth.analysis.activations.run import gram_matrices
from yolo_synth.cli import main
from yolo_synth.detector import Detector
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.report import models
from yolo_synth.report.panels import outputs


@pytest.fixture
def lend(monkeypatch):
    """Return what lends the device to everything, Lightning too.

    In pieces of a processor's size: other pieces round otherwise, which a hardly trained network shows.
    """
    monkeypatch.setattr(run, "ways_to_run", lambda *_: (policy.PROCESSOR,))
    monkeypatch.setattr(SingleDeviceStrategy, "root_device", DEVICE)
    monkeypatch.setattr(CPUAccelerator, "setup_device", lambda *_: None)
    monkeypatch.setattr(Detector, "backward", some_gradients)
    for verb in (devices, detecting, scoring, models, outputs):
        monkeypatch.setattr(verb, "fastest", lambda: DEVICE)
    return elsewhere


def some_gradients(detector, loss):
    """Stand in for autograd, which would look for the card."""
    assert loss.device == DEVICE
    for parameter in detector.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3) if parameter.requires_grad else None


def convolved_on():
    """Return on which kinds of device convolutions computed something since it was lent."""
    return {place for place, name in ran if name == "aten::convolution"} - {"meta"}


@pytest.fixture
def runs(lend, tiny_root, tmp_path):
    """Return a folder of two runs trained there, with pictures and a similarity after training."""
    further = ("--similarity.images=8", "--pictures.images=2")
    for data, options in (("BDD100K", further), ("GTAV", ())):
        with lend():
            assert main(fit_arguments(tiny_root, tmp_path / "runs", data, *options)) == 0
        assert convolved_on() == {"cuda"}
    return tmp_path / "runs"


def test_what_is_trained_there_is_measured_there_as_it_is_here(lend, runs, tmp_path, monkeypatch):
    """The boxes and similarities are those of the processor: it is what computes in both places."""
    assert list(runs.glob("U-Real/0/pictures/*.png"))
    assert list(runs.glob("U-Real/0/similarity/*/heatmap_biased.png"))
    results = []
    for place in ("there", "here"):
        root = shutil.copytree(runs, tmp_path / place)
        if place == "here":
            monkeypatch.undo()
        results.append(measured(root, lend if place == "there" else nullcontext))
    (scores, boxes, similarity), (scores_here, boxes_here, similarity_here) = results
    pd.testing.assert_frame_equal(scores, scores_here)
    pd.testing.assert_frame_equal(boxes, boxes_here, atol=1e-3)
    for name in ("debiased", "biased", "low", "p"):
        assert_allclose(similarity[name], similarity_here[name], atol=1e-6, err_msg=name)


def measured(root, lend):
    """Call every verb that runs a network; return scores, boxes and similarities."""
    real, synthetic = root / "U-Real/0", root / "U-Synthetic/0"
    config, out = f"--config={real}/config.yaml", root / "comparison"
    for verb in (
        ["evaluate", root],
        ["compare", real, synthetic, "--images=8", f"--out={out}"],
        ["test", config, f"--runs={root}"],
        ["predict", config, f"--runs={root}"],
    ):
        ran.clear()
        with lend():
            assert main(list(map(str, verb))) == 0
        assert convolved_on() <= {"cuda"}
    return (
        pd.read_csv(root / "table_2.csv"),
        pd.read_csv(real / "predictions.csv"),
        np.load(out / "similarity.npz"),
    )


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((64, 64), {}),
        ((192, 64), {"memory": 40 * 2**20}),
        ((64, 64), {"layers": ["layers.*"]}),
        ((64, 64), {"precision": "bfloat16"}),
    ],
    ids=["whole", "stripes", "hooks", "bfloat16"],
)
def test_gram_matrices_there_are_those_here(size, options):
    torch.manual_seed(0)
    network = YOLOv3(width=0.125)
    images = torch.randint(0, 256, (20, 3, *size), dtype=torch.uint8)
    here = gram_matrices(network, images, **options)
    with elsewhere() as device:
        there = gram_matrices(network.to(device), images, **options)
    assert convolved_on() == {"cuda"}
    assert type(there) is torch.Tensor
    rounding = 0.01 if "precision" in options else 1e-5
    assert_allclose(there, here, atol=rounding * here.abs().max())


def test_a_tensor_left_here_is_found():
    with elsewhere() as device, pytest.raises(RuntimeError, match="all tensors on one device"):
        torch.ones(3, device=device) + torch.ones(3)
