"""The gap: which side it is of, how sure it is, and what its sentence makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from yolo_synth.reasons.answer import Gap, gap_sentence
from yolo_synth.reasons.pictures import Score

DOMAINS = ("Real", "Synthetic")


def score(value: float, spread: float, seed: int) -> Score:
    noise = np.random.default_rng(seed).normal(size=20)
    return Score(value, value + spread * noise / np.sqrt(19))


def half(one: Score) -> float:
    return stats.t.ppf(0.975, 19) * np.sqrt(19 * np.var(one.without))


def test_the_gap_is_synthetic_less_real_and_its_interval_that_of_both_sets():
    real, synthetic = score(0.2, 0.03, 1), score(0.7, 0.04, 2)
    found = Gap(DOMAINS, (real, synthetic)).between
    assert found.value == pytest.approx(0.5)
    wide = np.hypot(half(real), half(synthetic))
    assert (found.low, found.high) == pytest.approx((0.5 - wide, 0.5 + wide))


def test_the_oracle_s_lead_is_paired_over_the_same_pictures():
    own = score(0.2, 0.03, 1)
    oracle = Score(0.6, own.without + 0.4)
    found = Gap(DOMAINS, (own, own), (oracle, oracle)).to_oracle
    assert found is not None
    assert found == pytest.approx((0.4, 0.4, 0.4))


@pytest.mark.parametrize(
    ("real", "synthetic", "said"),
    [
        (0.2, 0.7, "a gap of +0.500 ["),
        (0.7, 0.2, "it is better on Real ones"),
        (0.45, 0.45, "which so few images cannot tell from none"),
    ],
)
def test_the_sentence_says_which_side_is_better_only_where_the_interval_does(real, synthetic, said):
    gap = Gap(DOMAINS, (score(real, 0.03, 1), score(synthetic, 0.03, 2)))
    text = gap_sentence(gap)
    assert said in text
    assert text.startswith(f"mAP@0.5 is {synthetic:.3f} [")
