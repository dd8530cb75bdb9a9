"""Verdicts, calibrated places and means of a value a layer, and its way into files and back."""

from __future__ import annotations

import numpy as np
import pytest

from yolo_synth.analysis.similarity.seeds import SeedTest
from yolo_synth.analysis.similarity.series import LayerSeries


def series(values: list[float], **rows: list[float]) -> LayerSeries:
    return LayerSeries(np.array(values), **{name: np.array(row) for name, row in rows.items()})


def test_words_follow_chance_and_the_tests_against_two_seeds():
    nan = np.nan
    judged = series(
        [0.9, 0.5, 0.8, 0.1, 0.0, 1.0, nan],
        p=[0.001, 0.001, 0.001, 0.2, 0.5, 0.001, nan],
        p_below=[0.4, 0.01, 0.2, 0.01, nan, nan, nan],
        p_alike=[0.01, 0.9, 0.3, 0.9, nan, nan, nan],
    )
    assert judged.verdict().tolist() == [
        "as two seeds",
        "below two seeds",
        "undecided",
        "not told from chance",
        "not told from chance",
        "the same in both",
        "constant",
    ]


def test_an_interval_that_reaches_that_of_two_seeds_decides_nothing():
    judged = series([0.5], low=[0.1], high=[0.99], p=[0.01], ceiling=[0.9], p_below=[0.001])
    assert judged.verdict().tolist() == ["below two seeds"]


def test_without_two_seeds_what_is_beyond_chance_is_undecided():
    judged = series([0.9, 0.1], low=[0.8, 0.0], high=[1.0, 0.2], p=[0.01, 0.2])
    assert judged.verdict().tolist() == ["undecided", "not told from chance"]


def test_places_between_chance_and_two_seeds():
    placed = series([0.1, 0.5, 0.9], floor=[0.1] * 3, ceiling=[0.9, 0.9, 0.1]).calibrated()
    assert np.allclose(placed, [0, 0.5, np.nan], equal_nan=True)
    assert np.isnan(series([0.1], floor=[0.0]).calibrated()).all()


def test_means_leave_out_what_has_no_value():
    means = series([0.2, np.nan, 0.6, 0.8]).means({"backbone": range(2), "head": range(2, 4)})
    assert means == pytest.approx({"all": 1.6 / 3, "backbone": 0.2, "head": 0.7})
    assert np.isnan(series([np.nan]).means({"head": range(0)})["head"])


def test_chance_is_the_corrected_p_value_and_nothing_else():
    # Intervals that touch the null, and a p-value of 0.05 at most
    judged = series([0.5] * 2, low=[0.01, 0.3], high=[0.9, 0.7], null=[0.2] * 2, p=[0.05, 0.051])
    assert judged.significant.tolist() == [True, False]
    assert judged.verdict().tolist() == ["undecided", "not told from chance"]


def test_the_ceiling_is_the_geometric_mean_of_both_models():
    one = [series([0.8, np.nan, 0.5]), series([0.6, 0.4, 0.5])]
    other = [series([0.5, 0.9, -0.1])]
    with_ceiling = series([0.1, 0.2, 0.3]).with_seeds([one, other])
    np.testing.assert_allclose(with_ceiling.ceiling, [(0.7 * 0.5) ** 0.5, 0.6, np.nan])
    np.testing.assert_allclose(series([0.1] * 3).with_seeds([one]).ceiling, [0.7, 0.4, 0.5])
    test = SeedTest(*(np.full(3, x) for x in (0.9, 0.8, 1.0, 0.02, 0.4)))
    tested = with_ceiling.with_seeds([one], test)
    assert (tested.ratio[0], tested.p_below[0], tested.p_alike[0]) == (0.9, 0.02, 0.4)
    assert (tested.ratio_low[0], tested.ratio_high[0]) == (0.8, 1.0)
    nothing = tested.with_seeds([])
    assert nothing.ceiling is nothing.ratio is nothing.p_below is nothing.p_alike is None


def test_columns_read_back():
    written = series([0.1, 0.2], low=[0.0, 0.1], p=[0.5, 0.01]).columns("cka_partial", "partial_")
    assert list(written) == ["cka_partial", "partial_low", "partial_p"]
    read = LayerSeries.read(written, "cka_partial", "partial_")
    np.testing.assert_array_equal(read.p, [0.5, 0.01])
    assert read.high is None
    assert LayerSeries.read(written, "cka_debiased") is None


def test_a_row_of_another_length_is_named():
    with pytest.raises(ValueError, match=r"U-Real/0 vs U-Synthetic/0: null has shape \[1\]"):
        series([0.1, 0.2], null=[0.1]).check(2, "U-Real/0 vs U-Synthetic/0")
