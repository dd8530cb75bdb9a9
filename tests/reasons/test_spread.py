"""Several seeds: a sentence about a block stands only where they allow it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from reasons.test_answer_numbers import answer_of
from reasons.test_swaps import BLOCKS, GAP, place_of, score
from scipy import stats

from yolo_synth.reasons.answer import Further, Gap, block_sentence, path_sentence
from yolo_synth.reasons.numbers import numbers
from yolo_synth.reasons.recalibration import Recalibration, Trial
from yolo_synth.reasons.spread import Spread, mean_place
from yolo_synth.reasons.swaps import Place

THE_BLOCK = "layers 40\N{EN DASH}74"


def of_seeds(*gains: float, spread: float = 0.002, middle=0.5) -> Place:
    """Return the mean of trainings in which the second block gains so much, and no other one does."""
    each = [dict(zip(BLOCKS, (0.0, gain, -0.02), strict=True)) for gain in gains]
    return mean_place([place_of(one, spread, middle) for one in each], range(len(gains)))


def test_a_block_is_named_where_the_seeds_agree_with_its_number_in_each():
    said = block_sentence(of_seeds(0.09, 0.11), GAP)
    assert said.startswith(f"On average of seeds 0 and 1 {THE_BLOCK}, of 3 blocks")
    assert "(+0.100 [" in said
    assert "; each +0.090 and +0.110): the difference sits there" in said


@pytest.mark.parametrize("gains", [(0.2, -0.01), (0.2, 0.05), (0.2, 0.05, 0.05), (0.4, -0.1, 0.3)])
def test_no_block_is_named_where_the_seeds_are_too_far_apart(gains):
    said = block_sentence(of_seeds(*gains), GAP)
    assert THE_BLOCK not in said
    assert "too far apart" in said


def test_what_the_seeds_agree_on_and_the_images_do_not_tell_is_not_claimed():
    said = block_sentence(of_seeds(0.09, 0.11, 0.1, spread=0.2), GAP)
    assert "so few images cannot tell" in said


@pytest.mark.parametrize(
    "values", [(0.1, 0.12, 0.05), (0.3, -0.1, 0.2, 0.25), (-0.2, -0.21, -0.19)]
)
def test_of_three_seeds_and_more_it_is_students_interval(values):
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert Spread(values).half == pytest.approx((high - low) / 2)
    assert Spread(values).is_told == bool(low > 0 or high < 0)


def test_two_seeds_have_one_sign_and_a_mean_above_two_standard_errors():
    assert Spread((0.1, 0.04)).is_told
    assert not Spread((0.1, 0.03)).is_told
    assert not Spread((0.1, -0.001)).is_told
    assert Spread((-0.1, -0.04)).is_told


def test_a_barrier_is_told_where_every_seed_has_it():
    high, none = (place_of(dict.fromkeys(BLOCKS, 0.0), 0.001, middle) for middle in (0.3, 0.5))
    both = path_sentence(mean_place([high, high], (0, 1)), GAP)
    assert "+0.200 [+0.200, +0.200] (each +0.200 and +0.200) on Real" in both
    assert "there is one on Real ones" in both
    one = path_sentence(mean_place([high, none], (0, 1)), GAP)
    assert "(each +0.200 and +0.000) on Real" in one
    assert "none that could be told" in one


def test_the_interval_of_a_mean_is_that_of_its_own_numbers_without_each_block_of_pictures():
    first, second = score(0.2, 0.01), score(0.4, 0.03)
    places = [place_of(dict.fromkeys(BLOCKS, 0.0), spread) for spread in (0.01, 0.03)]
    swap = mean_place(places, (0, 1)).swaps[0]
    np.testing.assert_allclose(
        swap.real.without, 0.2 + 0.5 * (first.without - 0.2 + second.without - 0.4)
    )


def test_tables_and_numbers_have_every_seed():
    place = of_seeds(0.09, 0.11)
    assert place.table()["difference real, seed 1"].tolist() == pytest.approx([0, 0.11, -0.02])
    assert place.path_table()["real, seed 0"].tolist() == pytest.approx([0.2, 0.5, 0.8])
    best = blocks_of(place)["best"]
    assert blocks_of(place)["seeds"] == [0, 1]
    assert best["of_seeds"] == pytest.approx([0.09, 0.11])
    assert best["gain"]["value"] == pytest.approx(0.1)
    assert best["low_of_best"] > 0
    assert blocks_of(of_seeds(0.2, 0.05))["best"]["low_of_best"] is None


def test_gap_and_remedy_are_told_of_every_seed():
    first = answer_of(0.002)
    trial = Trial(96, 1.0, score(0.31), score(0.6))
    other = Gap(GAP.domains, (score(0.3), score(0.9)), GAP.oracle)
    more = Further(("U-Synthetic/1", "U-Real/1"), other, Recalibration(72, (trial,), other.own, {}))
    said = replace(first, more=[more]).sentences()
    assert "The gap of U-Synthetic/1 is +0.600 [" in said[0]
    assert "In U-Synthetic/1 they change it by +0.010 [" in said[2]
    table = replace(first, more=[more]).gap_table()
    assert table["mAP@0.5"].tolist() == pytest.approx([0.2, 0.7, 0.8, 0.2, 0.3, 0.9, 0.8, 0.2])


def blocks_of(place: Place) -> dict:
    return numbers(replace(answer_of(0.002), place=place))["blocks"]
