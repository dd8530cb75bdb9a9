"""What a training is worth in real pictures: how many of them alone reach the same mAP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yolo_synth.curves.fit import Array, Curve, Interval, critical, standard_error

_STEPS = 600


@dataclass(frozen=True)
class Worth:
    """How many real pictures alone are as good as something else.

    Attributes:
        value: How many; None where it is outside what was tried.
        is_more: Whether it is then above the largest number, and not below the smallest.
        interval: The same with 95 % over seeds; an end that is None is outside what was tried, the low one
            below the smallest number and the high one above the largest. None with one seed.
        tried: The smallest and the largest number.
    """

    value: float | None
    is_more: bool
    interval: Interval | None
    tried: tuple[int, int]

    def words(self) -> str:
        """Return it in words: `123 [80, more than 160]`."""
        fewest, most = self.tried
        outside = f"more than {most}" if self.is_more else f"fewer than {fewest}"
        text = outside if self.value is None else f"{self.value:.0f}"
        if self.interval is None:
            return text
        low, high = self.interval
        if low is not None and low >= most:
            return f"{text} [all of it more than {most}]"
        if high is not None and high <= fewest:
            return f"{text} [all of it fewer than {fewest}]"
        ends = (
            f"fewer than {fewest}" if low is None else f"{low:.0f}",
            f"more than {most}" if high is None else f"{high:.0f}",
        )
        return f"{text} [{', '.join(ends)}]"


def worth(real: Curve, errors: Array) -> Worth:
    """Return how many real pictures alone reach the errors of another training.

    Nothing is said of numbers outside those tried. A number is in the interval where the difference between
    the curve there and the other training, seed by seed, is not beyond chance (Student's t over seeds).

    Args:
        real: The curve of real pictures alone.
        errors: 1 - mAP of the other training with each of the curve's seeds [S].
    """
    fewest, most = real.numbers[0], real.numbers[-1]
    tried = int(fewest), int(most)
    at_fewest, at_most = (float(error) for error in real.error(np.array([fewest, most])))
    mean = float(errors.mean())
    value = None
    if at_most <= mean <= at_fewest and at_most < at_fewest:
        value = float(((mean - real.floor) / real.factor) ** (-1 / real.exponent))
        value = min(float(most), max(float(fewest), value))
    is_more = mean < at_most
    if len(errors) < 2:
        return Worth(value, is_more, None, tried)
    numbers = np.geomspace(fewest, most, _STEPS)
    difference = real.error(numbers) - mean
    spread = standard_error(real.errors @ real.weights(numbers).T - errors[:, None])
    inside = np.flatnonzero(np.abs(difference) <= critical(len(errors)) * spread)
    if not len(inside):
        if value is not None:  # narrower than the steps
            return Worth(value, is_more, Interval(value, value), tried)
        end = Interval(float(most), None) if is_more else Interval(None, float(fewest))
        return Worth(value, is_more, end, tried)
    first, last = int(inside[0]), int(inside[-1])
    low = None if first == 0 else float(numbers[first])
    high = None if last == _STEPS - 1 else float(numbers[last])
    return Worth(value, is_more, Interval(low, high), tried)
