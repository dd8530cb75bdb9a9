"""Learning curves: error = D n^-beta + C, fitted by least squares, with intervals over seeds.

The error is 1 - mAP, n the number of real pictures, D the part of the error that pictures take away, beta
how fast, and C what is left however many there are: the inverse power law with an offset of Cortes et al.
(1993, "Learning curves: asymptotic values and rate of convergence", NeurIPS 6) and Hestness et al. (2017,
arXiv:1712.00409). It says nothing of n = 0.

Intervals take a seed, which draws pictures, weights and order, as the unit. A hypothesis such as "beta is
0.4" is tested by one contrast of the errors over the numbers: the derivative by what is tested, less what
the other parameters could explain (an efficient score). It has one value a seed, and their mean over its
standard error is Student's t with one degree of freedom less than there are seeds, whatever the noise: it
may differ between numbers, and a seed's numbers, whose pictures contain one another, may go together. The
interval is all that is not refused. For beta this is exact with normal noise, for C and D nearly so
(`benchmarks/curves.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

FEWEST: Final = 3
"""Numbers that a curve of three parameters takes."""

CONFIDENCE: Final = 0.95

BETAS: Final = np.geomspace(0.02, 6, 300)
FLOORS: Final = np.linspace(0, 1, 201)
FACTORS: Final = np.geomspace(1e-3, 1e3, 400)
"""Where each parameter is looked for; an interval that reaches an end is open there."""


class Interval(NamedTuple):
    """A 95 % interval over seeds; an end is None where nothing that was looked at is refused."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class Curve:
    """A fitted curve.

    Attributes:
        numbers: How many real pictures, increasing [K].
        errors: 1 - mAP of each seed at each number [S, K].
        factor: D, the error that pictures take away, at n = 1.
        exponent: beta.
        floor: C, the error however many pictures, at least 0.
        intervals: Of factor, exponent and floor, by these names; none with one seed.
    """

    numbers: Array
    errors: Array
    factor: float
    exponent: float
    floor: float
    intervals: dict[str, Interval]

    def error(self, n: Array) -> Array:
        """Return the curve's error at numbers of pictures."""
        return np.asarray(self.factor * n**-self.exponent + self.floor)

    def weights(self, n: Array) -> Array:
        """Return what the error at numbers [N] takes of each number tried, as a linear estimate [N, K]."""
        known, wanted = (self._derivatives(where) for where in (self.numbers, n))
        return np.asarray(wanted @ np.linalg.pinv(known))

    def _derivatives(self, n: Array) -> Array:
        """Return the derivatives [N, P] by the parameters that are not at the end of their range."""
        shape = n**-self.exponent
        columns = [shape]
        if self.floor > 0:
            columns.append(np.ones_like(shape))
        if self.factor > 0 and BETAS[0] < self.exponent < BETAS[-1]:
            columns.append(-self.factor * shape * np.log(n))
        return np.stack(columns, 1)

    def band(self, n: Array) -> tuple[Array, Array] | None:
        """Return the 95 % interval of the error at each of some numbers; None with one seed."""
        if len(self.errors) < 2:
            return None
        half = critical(len(self.errors)) * standard_error(self.errors @ self.weights(n).T)
        return self.error(n) - half, self.error(n) + half


def critical(seeds: int) -> float:
    """Return the point that Student's t is beyond in 5 % of cases, with so many seeds."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, seeds - 1))


def standard_error(values: Array) -> Array:
    """Return the standard error of the mean over seeds, of [S, ...]."""
    return np.asarray(values.std(0, ddof=1) / np.sqrt(len(values)))


def fit_curve(numbers: Array, errors: Array) -> Curve:
    """Fit a curve to the errors of some seeds.

    Args:
        numbers: How many real pictures, above 0, increasing [K].
        errors: 1 - mAP of each seed at each number [S, K].

    Raises:
        ValueError: If there are fewer than three numbers.
    """
    if len(numbers) < FEWEST:
        raise ValueError(f"a curve takes {FEWEST} numbers of pictures above 0, not {len(numbers)}")
    numbers, errors = np.asarray(numbers, float), np.asarray(errors, float)
    mean = errors.mean(0)
    near = int(_linear(numbers, mean, BETAS)[2].argmin())
    ends = BETAS[max(0, near - 1)], BETAS[min(len(BETAS) - 1, near + 1)]
    finer = np.linspace(*ends, 2001)
    best = int(_linear(numbers, mean, finer)[2].argmin())
    factor, floor, _ = (float(value[best]) for value in _linear(numbers, mean, finer))
    beta = float(finer[best])
    intervals = {}
    if len(errors) > 1:
        limit = critical(len(errors))
        intervals = {
            "factor": _within(FACTORS, _t_of_factors(numbers, errors), limit),
            "exponent": _within(BETAS, _t_of_exponents(numbers, errors), limit),
            "floor": _within(FLOORS, _t_of_floors(numbers, errors), limit),
        }
    return Curve(numbers, errors, factor, beta, floor, intervals)


def _linear(n: Array, errors: Array, betas: Array) -> tuple[Array, Array, Array]:
    """Return D and C, neither below 0, that fit best at each beta, and the sum of squares that is left."""
    shapes = n[None] ** -betas[:, None]
    centred = shapes - shapes.mean(1, keepdims=True)
    factor = centred @ errors / (centred**2).sum(1)
    floor = errors.mean() - factor * shapes.mean(1)
    factor = np.where(floor < 0, shapes @ errors / (shapes**2).sum(1), factor)
    floor = floor.clip(0)
    floor = np.where(factor < 0, errors.mean(), floor)
    factor = factor.clip(0)
    rest = errors - factor[:, None] * shapes - floor[:, None]
    return factor, floor, (rest**2).sum(1)


def _t_of_exponents(n: Array, errors: Array) -> Array:
    """Return Student's t of each of `BETAS`, which the errors are tested to have."""
    shapes = n[None] ** -BETAS[:, None]
    ones = np.ones_like(shapes)
    return _t(errors[:, None], _rest(shapes * np.log(n), ones, shapes))


def _t_of_floors(n: Array, errors: Array) -> Array:
    """Return the same of each of `FLOORS`, with the beta that fits best to it."""
    left = errors[:, None] - FLOORS[:, None]
    mean = left.mean(0)
    shapes = n[None] ** -BETAS[:, None]
    # |mean - D shape| is least where the shape's direction has most of the mean
    best = shapes[((mean @ shapes.T).clip(0) ** 2 / (shapes**2).sum(1)).argmax(1)]
    statistics = _t(left, _rest(np.ones_like(best), best, best * np.log(n)))
    most = errors[:, -1]  # a floor lies below the error at any number
    highest = most.mean() + critical(len(errors)) * standard_error(most)
    return np.where(highest < FLOORS, np.inf, statistics)


def _t_of_factors(n: Array, errors: Array) -> Array:
    """Return the same of each of `FACTORS`, with the beta that fits best to it."""
    shapes = n[None] ** -BETAS[:, None]
    moved = shapes - shapes.mean(1, keepdims=True)
    mean = errors.mean(0) - errors.mean()
    squares = (moved**2).sum(1) * FACTORS[:, None] ** 2 - 2 * FACTORS[:, None] * (moved @ mean)
    best = shapes[squares.argmin(1)]
    rest = _rest(best, np.ones_like(best), best * np.log(n))
    return _t(errors[:, None] - FACTORS[:, None] * best, rest)


def _rest(columns: Array, first: Array, second: Array) -> Array:
    """Return what of columns [G, K] two others cannot explain, each of length 1."""
    first = _unit(first)
    second = _unit(second - _along(second, first))
    return _unit(columns - _along(columns, first) - _along(columns, second))


def _along(columns: Array, unit: Array) -> Array:
    return np.asarray((columns * unit).sum(1, keepdims=True) * unit)


def _unit(columns: Array) -> Array:
    return np.asarray(columns / np.linalg.norm(columns, axis=1, keepdims=True).clip(1e-300))


def _t(errors: Array, contrasts: Array) -> Array:
    """Return the size of the mean over seeds, over its standard error, of [S, G, K] by contrasts [G, K]."""
    values = (errors * contrasts).sum(2)
    return np.asarray(np.abs(values.mean(0)) / standard_error(values).clip(1e-300))


def _within(grid: Array, statistics: Array, limit: float) -> Interval:
    """Return from where to where a statistic is within a limit, between the grid's points linearly."""
    inside = np.flatnonzero(statistics <= limit)
    if not len(inside):  # narrower than the grid
        inside = np.array([statistics.argmin()])
    low, high = int(inside[0]), int(inside[-1])
    return Interval(
        None if low == 0 else _crossing(grid, statistics, low - 1, low, limit),
        None if high == len(grid) - 1 else _crossing(grid, statistics, high + 1, high, limit),
    )


def _crossing(grid: Array, statistics: Array, outside: int, inside: int, limit: float) -> float:
    far, near = float(statistics[outside]), float(statistics[inside])
    share = min(1.0, max(0.0, (limit - near) / (far - near))) if far > near else 1.0
    return float(grid[inside] + share * (grid[outside] - grid[inside]))
