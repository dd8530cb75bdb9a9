"""Blocks of the oracle in a network: what has to come out, whatever the weights."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from yolo_synth import YOLOv3
from yolo_synth.adapting import recalibrated
from yolo_synth.networks.references import Reference
from yolo_synth.reasons.answer import Gap, block_sentence, path_sentence
from yolo_synth.reasons.pictures import Patient, Score, scored
from yolo_synth.reasons.swaps import Place, Step, Swap, exchange, number_of_trials

BLOCKS = [range(0, 40), range(40, 75), range(75, 107)]


def score(value: float, spread: float = 0.001) -> Score:
    return Score(value, value + spread * np.array([-1.0, 1, 0, 0, 0, 0, 0, 0]))


@pytest.fixture(scope="module")
def networks(sets):
    torch.manual_seed(0)
    first = YOLOv3(width=0.0625)
    first = recalibrated(first.eval(), sets["Real"].unlabelled)
    second = deepcopy(first)
    with torch.no_grad():
        for value in second.parameters():
            value += 0.5 * value.abs().mean() * torch.randn_like(value)
    return first, second


@pytest.fixture(scope="module")
def small(sets):
    return sets["Real"].some(5), sets["Synthetic"].some(5)


def patient(network) -> Patient:
    return Patient(Reference("one", network, classes=(), detect=network.detect), 0.2, 0.6)


def test_a_network_with_blocks_of_its_twin_reaches_what_it_does_itself(networks, small):
    first, _ = networks
    trials = []
    place = exchange(patient(first), deepcopy(first), small, BLOCKS, lambda: trials.append(0))
    assert len(trials) == number_of_trials(len(BLOCKS))
    expected = [scored(patient(recalibrated(first, some.unlabelled)), some).value for some in small]
    for found in (*place.swaps, *place.path):
        assert [found.real.value, found.synthetic.value] == pytest.approx(expected, abs=1e-6)
    assert [place.barrier(side)[1].value for side in (0, 1)] == pytest.approx([0, 0], abs=1e-6)


def test_each_exchange_is_the_network_put_together_by_hand_and_the_network_stays(networks, small):
    first, second = networks
    before = {name: value.clone() for name, value in first.state_dict().items()}
    place = exchange(patient(first), second, small, BLOCKS, lambda: None)
    assert all(torch.equal(value, before[name]) for name, value in first.state_dict().items())
    swap = next(s for s in place.swaps if s.way == "first" and s.base == 1)
    assert swap.layers == range(75)
    by_hand = deepcopy(second)
    for layer in range(75):
        by_hand.layers[layer].load_state_dict(first.layers[layer].state_dict())
    expected = scored(patient(recalibrated(by_hand, small[0].unlabelled)), small[0])
    assert swap.real.value == pytest.approx(expected.value, abs=1e-6)
    middle = place.path[2]
    assert middle.alpha == 0.5
    mean = deepcopy(first)
    with torch.no_grad():
        for value, other in zip(mean.parameters(), second.parameters(), strict=True):
            value.copy_((value + other) / 2)
    expected = scored(patient(recalibrated(mean, small[0].unlabelled)), small[0])
    assert middle.real.value == pytest.approx(expected.value, abs=1e-6)


def place_of(
    gains: dict[range, float], spread: float, middle: float = 0.5, drawn: float = 0.7
) -> Place:
    """Return what is found where blocks gain so much and scatter so much."""
    swaps = [
        Swap(block, "alone", 0, score(0.2 + gain, spread), score(0.7))
        for block, gain in gains.items()
    ]
    path = [
        Step(alpha, score(value), score(other))
        for alpha, value, other in ((0.0, 0.2, 0.7), (0.5, middle, drawn), (1.0, 0.8, 0.7))
    ]
    return Place(107, swaps, path, (40, 40))


GAP = Gap(("Real", "Synthetic"), (score(0.2), score(0.7)), (score(0.8), score(0.2)))


def test_the_sentence_names_the_block_that_gains_and_no_more_than_the_images_tell():
    gains = dict(zip(BLOCKS, (0.01, 0.1, -0.02), strict=True))
    said = block_sentence(place_of(gains, 0.002), GAP)
    assert said.startswith("In this one pair of trainings layers 40\N{EN DASH}74, of 3 blocks")
    assert "cannot tell" in block_sentence(place_of(gains, 0.2), GAP)
    losses = dict.fromkeys(BLOCKS, -0.05)
    assert "several together" in block_sentence(place_of(losses, 0.002), GAP)


def test_the_barrier_is_a_number_on_both_domains_and_stands_in_the_table():
    gains = dict.fromkeys(BLOCKS, 0.01)
    said = path_sentence(place_of(gains, 0.002), GAP)
    assert "+0.000 [+0.000, +0.000] on Real and +0.000 [+0.000, +0.000] on Synthetic" in said
    assert "none that could be told" in said
    low = place_of(gains, 0.002, middle=0.3, drawn=0.6)
    said = path_sentence(low, GAP)
    assert "+0.200 [+0.200, +0.200] on Real and +0.100" in said
    assert "there is one on Real and Synthetic ones" in said
    assert "there is one on Synthetic ones" in path_sentence(place_of(gains, 0, drawn=0.6), GAP)
    shaky = [low.path[0], low.path[1]._replace(real=score(0.3, 0.05)), low.path[2]]
    unsure = replace(low, path=shaky)
    assert unsure.barrier(0)[1].low > 0  # but it is the farthest of several steps
    assert "there is one on Synthetic ones" in path_sentence(unsure, GAP)
    table = low.path_table()
    assert table["real below the line"].tolist() == pytest.approx([0, 0.2, 0])
    assert table["synthetic below the line"].tolist() == pytest.approx([0, 0.1, 0])


def test_each_layer_is_drawn_with_the_exchange_of_its_block():
    place = place_of(dict(zip(BLOCKS, (0.01, 0.1, -0.02), strict=True)), 0.002)
    up_to = [Swap(range(75), "first", 0, score(0.5), score(0.4))]
    drawn = Place(107, [*place.swaps, *up_to], place.path, (40, 40))
    alone, first = drawn.rows("alone", 0)[0], drawn.rows("first", 0)[0]
    assert [alone[layer] for layer in (0, 39, 40, 106)] == pytest.approx([0.21, 0.21, 0.3, 0.18])
    assert [first[layer] for layer in (0, 39, 40, 74, 75)] == pytest.approx(
        [0.21, 0.21, 0.5, 0.5, 0.8]
    )
