"""Gram matrices of pieces of features, and their keeping in a folder."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from yolo_synth.analysis.activations import collecting
from yolo_synth.analysis.activations import grams as grams_module
from yolo_synth.analysis.activations.breadth_first import Piece
from yolo_synth.analysis.activations.collecting import Layers, collect
from yolo_synth.analysis.activations.gram_files import load_grams
from yolo_synth.analysis.activations.grams import Gram
from yolo_synth.analysis.activations.policy import PROCESSOR
from yolo_synth.analysis.activations.run import gram_matrices
from yolo_synth.analysis.similarity.centring import center
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.jackknife import leave_one_out
from yolo_synth.networks.yolov3.network import YOLOv3


@pytest.mark.parametrize("n", [1, 2, 3, 7, 250])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [48, 0])
def test_pieces_add_up(n, dtype, columns, monkeypatch):
    monkeypatch.setattr(grams_module, "BATCH_FEATURES", 4)
    pieces = replace(PROCESSOR, slice_bytes=20 * n, block_images=columns)
    x = torch.randn(n, 3, 5, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    gram = Gram(n, "layer", policy=pieces)
    gram.add(x[:, :, :2].split(4))
    gram.add(x[:, :, 2:].to(memory_format=torch.channels_last).split(3))
    gram.add([x[:, :, :0]])
    rows = x.flatten(1).double()
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    assert torch.allclose(gram.matrix(), rows @ rows.T, atol=60 * tolerance, rtol=tolerance)


def test_features_that_hardly_differ_keep_their_digits():
    generator = torch.Generator().manual_seed(0)
    x = 1000 + torch.randn(50, 4000, generator=generator)
    gram = Gram(50, "layer")
    gram.add([x])
    centred = x.double() - x.double().mean(0)
    centring = torch.eye(50, dtype=torch.float64) - 1 / 50
    error = (centring @ gram.matrix() @ centring - centred @ centred.T).abs().max()
    assert error < 0.05
    plain = centring @ (x @ x.T).double() @ centring - centred @ centred.T
    assert plain.abs().max() > 1  # float32 products of the features themselves


@pytest.mark.parametrize("place", [0, 19])
@pytest.mark.parametrize("contrast", [1, 300, 1000])
def test_an_odd_image_harms_no_other_wherever_it_stands(place, contrast):
    generator = torch.Generator().manual_seed(3)
    x, noise = torch.randn(2, 20, 5000, generator=generator)
    stacks, exact = [], []
    for features in (x, x + noise):
        features[place] *= contrast
        gram = Gram(20, "layer", policy=replace(PROCESSOR, slice_bytes=20 * 4 * 1000))
        gram.add(features.split(16))
        stacks.append(gram.matrix()[None])
        exact.append((features.double() @ features.double().T)[None])
    found, expected = (leave_one_out(*grams, paired=True)[0, place] for grams in (stacks, exact))
    assert found.item() == pytest.approx(0.5, abs=0.1)
    assert found.item() == pytest.approx(expected.item(), abs=2e-6)
    assert cka(*stacks, True).item() == pytest.approx(cka(*exact, True).item(), abs=2e-6)


@pytest.mark.parametrize("columns", [48, 0])
@pytest.mark.parametrize("shift", [0, 100])
def test_images_in_another_order_give_the_same_matrix_in_that_order(columns, shift):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 3000, generator=generator) + shift
    x[7] *= 30
    order = torch.randperm(60, generator=generator)
    policy = replace(PROCESSOR, block_images=columns, slice_bytes=60 * 4 * 700)
    found = []
    for features in (x, x[order]):
        gram = Gram(60, "layer", policy=policy)
        gram.add(features[:, :1000].split(16))
        gram.add([features[:, 1000:]])
        found.append(gram.matrix())
    left, right = center(found[0])[order][:, order], center(found[1])
    # Of each entry: float32's rounding of the two images' own lengths, which the odd one alone feels
    lengths = right.diagonal().sqrt()
    assert ((left - right).abs() / (lengths[:, None] * lengths)).max() < 1e-6


def test_missing_images_and_overflow_are_refused():
    with pytest.raises(ValueError, match="3 images, not of 4"):
        Gram(4, "layer").add([torch.ones(3, 2)])
    with pytest.raises(ValueError, match="layer: activations are too large"):
        Gram(2, "layer").add([torch.full((2, 2), 1e30)])


@pytest.fixture(scope="module")
def network() -> YOLOv3:
    torch.manual_seed(0)
    return YOLOv3(width=0.125)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=generator)


def test_a_killed_computation_goes_on(network, images, tmp_path, monkeypatch):
    expected = gram_matrices(network, images)

    def stop(share: float) -> None:
        if share > 0.8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gram_matrices(network, images, folder=tmp_path / "grams", progress=stop)
    there = len(list((tmp_path / "grams").glob("*.npy")))
    assert 0 < there < 107
    with pytest.raises(FileNotFoundError, match=f"lacks {107 - there} of 107"):
        load_grams(tmp_path / "grams")

    multiplied: list[str] = []
    monkeypatch.setattr(
        collecting, "Gram", lambda n, name, *rest: multiplied.append(name) or Gram(n, name, *rest)
    )
    assert torch.equal(gram_matrices(network, images, folder=tmp_path / "grams"), expected)
    assert "layers.0" not in multiplied
    assert "layers.105" in multiplied
    multiplied.clear()
    assert torch.equal(gram_matrices(network, images, folder=tmp_path / "grams"), expected)
    assert not multiplied
    loaded, origin = load_grams(tmp_path / "grams")
    assert torch.equal(loaded, expected)
    assert origin["layers"][12] == "layers.12"
    assert origin["shape"] == [3, 3, 32, 32]


def test_grams_of_something_else_are_never_mixed_in(network, images, tmp_path):
    gram_matrices(network, images, folder=tmp_path)
    before = np.load(tmp_path / "000.npy")
    other = images.clone()
    other[0, 0, 0, 0] ^= 1
    with pytest.raises(ValueError, match="other images"):
        gram_matrices(network, other, folder=tmp_path)
    with pytest.raises(ValueError, match="other images, shape"):
        gram_matrices(network, images[:2], folder=tmp_path)
    with pytest.raises(ValueError, match="other precision"):
        gram_matrices(network, images, folder=tmp_path, precision="bfloat16")
    with pytest.raises(ValueError, match="other layers"):
        gram_matrices(network, images, folder=tmp_path, layers=[nn.Upsample])
    retrained = YOLOv3(width=0.125)
    with pytest.raises(ValueError, match="other weights"):
        gram_matrices(retrained, images, folder=tmp_path)
    assert np.array_equal(np.load(tmp_path / "000.npy"), before)


def test_grams_that_were_computed_in_another_way_are_computed_anew(network, images, tmp_path):
    expected = gram_matrices(network, images, folder=tmp_path)
    origin = json.loads((tmp_path / "fingerprint.json").read_text())
    for method in (None, origin["method"] - 1):
        kept = (
            {**origin, "method": method}
            if method
            else {k: v for k, v in origin.items() if k != "method"}
        )
        (tmp_path / "fingerprint.json").write_text(json.dumps(kept))
        np.save(tmp_path / "000.npy", np.zeros((3, 3)))
        with pytest.raises(FileNotFoundError, match="of an earlier release"):
            load_grams(tmp_path)
        assert torch.equal(gram_matrices(network, images, folder=tmp_path), expected)
        assert torch.equal(load_grams(tmp_path)[0], expected)


def test_an_empty_folder_has_no_grams(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no fingerprint\.json"):
        load_grams(tmp_path)


def _one_of_two(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meeting = (folder / "meeting").as_uri()
    patience = timedelta(minutes=10)  # a lost partner is an error, not a wait for ever
    dist.init_process_group("gloo", meeting, timeout=patience, rank=rank, world_size=2)
    torch.manual_seed(0)
    network, generator = YOLOv3(width=0.125), torch.Generator().manual_seed(0)
    images = torch.rand(5, 3, 32, 32, generator=generator)
    together = gram_matrices(network, images, group=dist.group.WORLD, folder=folder / "grams")
    torch.save(together, folder / f"{rank}.pt")
    if rank == 0:
        torch.save(gram_matrices(network, images), folder / "alone.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_give_what_one_gives(tmp_path):
    torch.multiprocessing.spawn(_one_of_two, (tmp_path,), nprocs=2)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("alone", "0", "1"))
    scale = alone.abs().amax((1, 2), keepdim=True)
    assert ((first - alone).abs() / scale).max() < 1e-6
    assert torch.equal(first, second)
    assert torch.equal(load_grams(tmp_path / "grams")[0], first)


@pytest.mark.parametrize("rms", [1e-30, 1e-22, 1e-12, 1.0, 1e10, 1e15])
@pytest.mark.parametrize("columns", [48, 0])
def test_features_of_any_scale_have_the_same_similarity(rms, columns):
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(60, 2, 3000, generator=generator, dtype=torch.float64)
    x, y = (shared[:, i] + shared[:, :1].sum(1) for i in (0, 1))
    policy = replace(PROCESSOR, slice_bytes=60 * 4 * 700, block_images=columns)
    grams, expected = [], []
    for values, scale in ((x, rms), (y, 1.0)):
        features = (values * scale).float()
        gram = Gram(60, "layer", policy=policy)
        gram.add(features[:, :1000].split(16))
        gram.add([features[:, 1000:]])
        grams.append(gram.matrix()[None])
        expected.append(features.double() @ features.double().T)
    relative = (grams[0][0] - expected[0]).norm() / expected[0].norm()
    assert relative < 1e-6
    for debiased in (False, True):
        exact = cka(expected[0][None], expected[1][None], debiased)
        assert (cka(*grams, debiased) - exact).abs() < 1e-6


def test_small_features_among_normal_ones_and_zeros_stay_what_they_are():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(10, 300, generator=generator)
    x[:, 100:200] *= 1e-25
    x[:, 200:] = 0
    for columns in (48, 0):
        gram = Gram(10, "layer", policy=replace(PROCESSOR, block_images=columns))
        for part in x.split(100, 1):
            gram.add([part])
        assert torch.allclose(gram.matrix(), x.double() @ x.double().T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("what", ["a layer too small", "an odd first image"])
def test_what_is_beyond_the_fastest_way_is_computed_anew(what):
    """Where all matrices are looked at together, after the last layer, as on a CUDA device."""
    x = torch.randn(2, 6, 50, generator=torch.Generator().manual_seed(0))
    if what == "a layer too small":
        x[1] *= 1e-25
    else:
        x[1, 0] *= 100
    pieces = [Piece(layer, [x[layer]]) for layer in range(2)]
    result, done = torch.empty(2, 6, 6, dtype=torch.float64), set()
    late = replace(PROCESSOR, at_the_end=True, block_images=0)
    for policy, complete in ((late, False), (PROCESSOR, True)):
        layers = Layers(["a", "b"], [50, 50], [(0, ())] * 2, iter(pieces), policy)
        found = collect(layers, result, done, lambda _: None, lambda _: None, None)
        assert found is complete
    expected = x.double() @ x.double().mT
    error = (result - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
    assert error.max() < 1e-6
