"""A processor is measured once, robustly, and the numbers stay the same but for rounding."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from yolo_synth.analysis.activations import tuning
from yolo_synth.analysis.activations.grams import Gram
from yolo_synth.analysis.activations.policy import PROCESSOR

DEVICE = torch.device("cpu")


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning.platformdirs, "user_cache_path", lambda name: tmp_path / name)
    tuning._pieces.cache_clear()
    yield tmp_path / "yolo_synth/processor.json"
    tuning._pieces.cache_clear()


def ways(images):
    return tuning.ways_to_run(DEVICE, images, torch.float32, 2**30)


def test_the_fastest_pieces_are_chosen_and_else_the_default():
    times = {2**20: 2.0, 10 * 2**20: 0.5}
    blocks = {24: 0.5}

    def timer(policy):
        return times.get(policy.slice_bytes, 1.0) * blocks.get(policy.block_images, 1.0)

    chosen = tuning.fastest(timer)
    assert (chosen.slice_bytes, chosen.block_images) == (10 * 2**20, 24)
    assert tuning.fastest(lambda policy: 1.0 - 0.1 * (policy.block_images == 24)) == PROCESSOR


def test_noise_changes_nothing():
    generator = torch.Generator().manual_seed(0)

    def timer(_):
        return 1 + float(torch.rand((), generator=generator)) ** 8

    assert all(tuning.fastest(timer) == PROCESSOR for _ in range(50))


def test_a_processor_is_measured_once_and_what_is_damaged_is_made_anew(cached, monkeypatch):
    calls = []
    other = replace(PROCESSOR, slice_bytes=2**20, block_images=96)
    monkeypatch.setattr(tuning, "fastest", lambda timer: calls.append(timer) or other)
    assert ways(10) == (PROCESSOR,)
    assert not calls
    assert not cached.exists()
    for _ in range(2):
        assert ways(100) == (other,)
        tuning._pieces.cache_clear()
    assert len(calls) == 1
    about = next(iter(json.loads(cached.read_text())))
    for damaged in ("", "[]", "{", json.dumps({about: [2**40, 96]}), json.dumps({about: "fast"})):
        cached.write_text(damaged)
        tuning._pieces.cache_clear()
        assert ways(100) == (other,)
    assert len(calls) == 6


def test_a_cache_folder_that_cannot_be_written_costs_nothing(cached, monkeypatch):
    cached.parent.write_text("a file where the folder would be")
    monkeypatch.setattr(tuning, "fastest", lambda _: PROCESSOR)
    assert ways(100) == (PROCESSOR,)


def test_all_pieces_give_the_same_products_but_for_rounding():
    rows = torch.randn(70, 30_000, generator=torch.Generator().manual_seed(1))
    right = rows.double() @ rows.double().T
    for size in tuning.SLICES:
        for columns in tuning.BLOCKS:
            policy = replace(PROCESSOR, slice_bytes=size, block_images=columns)
            gram = Gram(len(rows), "layer", policy=policy)
            gram.add([rows])
            torch.testing.assert_close(gram.matrix(), right, rtol=0, atol=2e-6 * float(right.max()))


def test_the_measurement_takes_a_moment_and_the_processor_has_a_name():
    assert 0 < tuning.seconds(PROCESSOR) < 5
    assert tuning.processor_name()
