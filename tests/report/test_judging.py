"""Verdicts and calibrated places of a pair's layers."""

from __future__ import annotations

import numpy as np

from yolo_synth.report.judging import calibrated, verdicts
from yolo_synth.report.results import Pair


def pair(values: list[float], **rows: list[float]) -> Pair:
    matrix = np.diag(np.array(values))
    series = {name: np.array(row) for name, row in rows.items()}
    return Pair("A/0", "B/0", "Real", 20, 32, matrix, matrix, **series)


def test_words_follow_interval_chance_and_two_seeds():
    nan = np.nan
    judged = pair(
        [0.9, 0.5, 0.1, 0.0, nan],
        low=[0.85, 0.45, 0.02, nan, nan],
        high=[0.95, 0.55, 0.18, nan, nan],
        null=[0.05] * 5,
        ceiling_low=[0.93] * 5,
    )
    words = [
        "not told from two seeds",
        "between",
        "not told from chance",
        "not told from chance",
        "constant",
    ]
    assert verdicts(judged).tolist() == words


def test_without_two_seeds_what_is_beyond_chance_is_undecided():
    judged = pair([0.9, 0.1], low=[0.8, 0.0], high=[1.0, 0.2], null=[0.05, 0.05])
    assert verdicts(judged).tolist() == ["undecided", "not told from chance"]


def test_places_between_chance_and_two_seeds():
    placed = calibrated(pair([0.1, 0.5, 0.9], floor=[0.1] * 3, ceiling=[0.9, 0.9, 0.1]))
    assert np.allclose(placed, [0, 0.5, np.nan], equal_nan=True)
    assert np.isnan(calibrated(pair([0.1], floor=[0.0]))).all()
