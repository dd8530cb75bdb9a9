"""The numbers in why.json are those of the sentences, and JSON of any program."""

from __future__ import annotations

import json

import numpy as np
import pytest
from reasons.test_swaps import BLOCKS, GAP, place_of, score

from yolo_synth.reasons.answer import Answer
from yolo_synth.reasons.checks import Check
from yolo_synth.reasons.misses import Part
from yolo_synth.reasons.numbers import numbers
from yolo_synth.reasons.pictures import Estimate, Score
from yolo_synth.reasons.recalibration import Recalibration, Trial

MISTAKE = Check("labels", "boxes beside objects", 0.4, 0.1, mistake="boxes lie 8 px to the right")
DIFFERENCE = Check("pixels", "brightness", 0.9, 0.1)


def answer_of(spread: float) -> Answer:
    gains = dict(zip(BLOCKS, (0.01, 0.1, -0.02), strict=True))
    trial = Trial(96, 1.0, score(0.26), score(0.6))
    return Answer(
        ("U-Synthetic/0", "U-Real/0"),
        (60, 70),
        GAP,
        Recalibration(72, (trial,), GAP.own, {}),
        (DIFFERENCE, MISTAKE),
        place_of(gains, spread),
        [Part("all", 250, 200, 128, Estimate(np.nan, np.nan, np.nan))],
        weights=("a", "b"),
    )


def test_each_number_of_the_sentences_is_kept_with_its_interval():
    kept = json.loads(json.dumps(numbers(answer_of(0.002)), allow_nan=False))
    assert kept["gap"]["difference"]["value"] == pytest.approx(0.5)
    assert kept["gap"]["to_oracle"]["value"] == pytest.approx(0.6)
    low, high = GAP.own[0].interval
    assert kept["gap"]["real"] == pytest.approx({"value": 0.2, "low": low, "high": high})
    assert kept["recalibration"]["gain"]["value"] == pytest.approx(0.06)
    assert kept["recalibration"]["cost"]["value"] == pytest.approx(-0.1)
    assert [check["named"] for check in kept["checks"]] == [True, False]
    assert [check["excess"] for check in kept["checks"]] == pytest.approx([4, 9])
    assert kept["checks"][0]["mistake"] == "boxes lie 8 px to the right"
    assert kept["misses"][0]["missed"] == 200
    assert kept["misses"][0]["more"] == {"value": None, "low": None, "high": None}


def test_the_best_block_has_the_wider_interval_of_the_best_of_several_too():
    for spread, told in ((0.002, True), (0.2, False)):
        best = numbers(answer_of(spread))["blocks"]["best"]
        assert best["layers"] == [40, 74]
        assert best["low_of_best"] < best["gain"]["low"] < best["gain"]["value"]
        assert (best["low_of_best"] > 0) == told


def test_what_was_not_looked_at_is_null_and_not_nought():
    alone = Score(0.3, np.zeros(0))
    gap = type(GAP)(("Real", "Synthetic"), (alone, alone))
    nothing = Recalibration(0, (), gap.own, {})
    kept = numbers(Answer(("net",), (8, 8), gap, nothing, ()))
    assert kept["oracle"] is kept["recalibration"] is kept["blocks"] is None
    assert kept["gap"]["oracle_real"] is kept["gap"]["to_oracle"] is None
    assert kept["gap"]["difference"] == {"value": 0.0, "low": None, "high": None}
