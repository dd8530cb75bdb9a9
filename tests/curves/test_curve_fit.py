"""Learning curves: what is planted comes back, and the intervals hold it as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from yolo_synth.curves.fit import critical, fit_curve

NUMBERS = np.array([10.0, 40.0, 160.0, 640.0])


def power_law(n, factor, exponent, floor):
    return factor * n**-exponent + floor


@pytest.mark.parametrize(
    "planted", [(1.2, 0.4, 0.25), (2.0, 0.9, 0.5), (0.9, 0.15, 0.1), (1.0, 0.3, 0.0)]
)
def test_without_noise_the_planted_curve_comes_back(planted):
    curve = fit_curve(NUMBERS, np.tile(power_law(NUMBERS, *planted), (3, 1)))
    found = curve.factor, curve.exponent, curve.floor
    assert found == pytest.approx(planted, rel=1e-3, abs=1e-3)
    between = np.array([25.0, 300.0])
    assert curve.error(between) == pytest.approx(power_law(between, *planted), abs=1e-4)


def test_the_curve_is_that_of_another_least_squares():
    generator = np.random.default_rng(4)
    errors = power_law(NUMBERS, 1.3, 0.45, 0.3) + 0.01 * generator.standard_normal((3, 4))
    curve = fit_curve(NUMBERS, errors)
    bounds = ([0, 0.02, 0], [np.inf, 6, 1])
    theirs, _ = curve_fit(
        power_law, np.tile(NUMBERS, 3), errors.ravel(), (1, 0.5, 0.1), bounds=bounds
    )
    assert (curve.factor, curve.exponent, curve.floor) == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize("kind", ["alike", "seeds and falling"])
def test_intervals_hold_what_is_planted_in_95_of_100_cases_whatever_the_noise(kind):
    planted = dict(zip(("factor", "exponent", "floor"), (1.6, 0.7, 0.4), strict=True))
    generator = np.random.default_rng(2)
    draws, held = 120, dict.fromkeys(planted, 0)
    for _ in range(draws):
        noise = 0.02 * generator.standard_normal((3, 4))
        if kind != "alike":
            noise += 0.02 * generator.standard_normal((3, 1))
            noise *= np.geomspace(1.5, 0.5, 4)
        curve = fit_curve(NUMBERS, power_law(NUMBERS, *planted.values()) + noise)
        for name, value in planted.items():
            low, high = curve.intervals[name]
            held[name] += (low is None or low <= value) and (high is None or value <= high)
    # 95 % and three standard errors of 120 draws
    assert all(0.89 <= count / draws < 1 for count in held.values()), held


def test_curves_that_do_not_fall_have_a_curve_all_the_same_and_say_little():
    rising = np.array([[0.5, 0.52, 0.55, 0.6], [0.5, 0.51, 0.56, 0.61]])
    curve = fit_curve(NUMBERS, rising)
    assert curve.factor == 0
    assert curve.error(NUMBERS) == pytest.approx(np.full(4, rising.mean()))
    low, high = curve.band(NUMBERS)
    assert np.isfinite([low, high]).all()


def test_three_seeds_leave_two_degrees_of_freedom():
    assert critical(3) == pytest.approx(4.303, abs=5e-4)  # from a printed table of Student's t
    # a floor alone: the band is the interval of a mean, wherever
    curve = fit_curve(NUMBERS, np.array([[0.4] * 4, [0.5] * 4, [0.6] * 4]))
    low, high = curve.band(NUMBERS)
    assert low == pytest.approx(np.full(4, 0.5 - 4.303 * 0.1 / np.sqrt(3)), abs=1e-3)
    assert high == pytest.approx(1 - low)


def test_one_seed_has_no_intervals_and_two_numbers_no_curve():
    curve = fit_curve(NUMBERS, power_law(NUMBERS, 1.2, 0.4, 0.25)[None])
    assert curve.intervals == {}
    assert curve.band(NUMBERS) is None
    with pytest.raises(ValueError, match="a curve takes 3 numbers of pictures above 0, not 2"):
        fit_curve(NUMBERS[:2], np.ones((3, 2)))
