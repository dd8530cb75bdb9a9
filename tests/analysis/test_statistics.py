"""Streaming statistics against numpy on the whole, and the tables."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from yolo_synth.analysis.activations import statistics
from yolo_synth.analysis.activations.statistics import (
    Accumulator,
    Summary,
    average_layers,
    layer_table,
)

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def summarise(chunks):
    values = Accumulator()
    for take in (values.update, values.refine):
        for chunk in chunks:
            take(chunk)
    return values.summary()


def expected(values):
    values = values.double().numpy()
    return values.mean(), np.median(values), values.std(), values.min(), values.max()


@given(st.lists(st.lists(finite, min_size=1, max_size=7), min_size=1, max_size=5))
def test_any_values_in_any_chunks(chunks):
    tensors = [torch.tensor(chunk, dtype=torch.float32) for chunk in chunks]
    found = summarise(tensors)
    mean, median, std, low, high = expected(torch.cat(tensors))

    assert (found.median, found.min, found.max) == (median, low, high)
    scale = max(abs(low), abs(high))
    assert found.mean == pytest.approx(mean, abs=1e-12 * scale)
    assert found.std == pytest.approx(std, abs=1e-7 * scale)


def test_feature_maps_in_blocks(monkeypatch):
    monkeypatch.setattr(statistics, "BLOCK", 1000)
    generator = torch.Generator().manual_seed(0)
    maps = torch.nn.functional.leaky_relu(torch.randn(6, 8, 13, 13, generator=generator) - 0.5, 0.1)
    chunks = [part.contiguous(memory_format=torch.channels_last) for part in maps.split(2)]

    np.testing.assert_allclose(summarise(chunks), expected(maps.flatten()), rtol=1e-12)


def test_half_precision_is_taken_as_it_is():
    values = torch.tensor([1.5, -2.0, 0.25, 3.0], dtype=torch.bfloat16)

    assert summarise([values]).median == (0.25 + 1.5) / 2


def test_a_second_pass_over_other_values_is_refused():
    chunks = [torch.tensor([1.0, 2.0]), torch.tensor([1.0])]
    with pytest.raises(ValueError, match="second pass saw 0 of the 2 values"):
        summarise(iter(chunks))
    values = Accumulator()
    values.update(chunks[0])
    values.refine(chunks[0])
    with pytest.raises(ValueError, match="second pass has begun"):
        values.update(chunks[1])


def test_refusals():
    with pytest.raises(ValueError, match="not finite"):
        summarise([torch.tensor([1.0, torch.inf])])
    with pytest.raises(ValueError, match="not finite"):
        summarise([torch.tensor([1.0, torch.nan, 2.0])])
    with pytest.raises(ValueError, match=r"not torch\.float64"):
        summarise([torch.zeros(2, dtype=torch.float64)])
    with pytest.raises(ValueError, match="no values"):
        summarise([])


def test_tables_3_and_4_average_layers_whatever_their_size():
    table = layer_table(
        [Summary(1, 2, 3, -4, 5), Summary(3, 4, 5, -6, 9)], ["convolutional", "yolo"]
    )

    assert table["layer"].tolist() == [0, 1]
    assert table["kind"].tolist() == ["convolutional", "yolo"]
    assert average_layers(table).to_dict() == {
        "mean": 2,
        "median": 3,
        "std": 4,
        "min": -5,
        "max": 7,
    }
    with pytest.raises(ValueError, match="1 kinds for 2 layers"):
        layer_table([Summary(1, 2, 3, -4, 5)] * 2, ["yolo"])
