"""What several pairs of trainings, each of one seed, have in common and what they do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from yolo_synth.reasons.pictures import Score
from yolo_synth.reasons.swaps import Place, Step, Swap


class Spread(NamedTuple):
    """A number of each of several pairs of trainings.

    Attributes:
        values: The numbers; none where there is one pair alone.
    """

    values: Sequence[float]

    @property
    def mean(self) -> float:
        """Their mean."""
        return float(np.mean(self.values))

    @property
    def half(self) -> float:
        """How far from 0 the mean has to be: half the 95 % interval over seeds; NaN of one.

        Student's t of two values has 12.7 standard errors, which nothing could pass; there it is two,
        and what is said is of these two seeds.
        """
        count = len(self.values)
        if count < 2:
            return float("nan")
        factor = 2.0 if count == 2 else float(stdtrit(count - 1, 0.975))
        return factor * float(np.std(self.values, ddof=1)) / float(np.sqrt(count))

    @property
    def is_told(self) -> bool:
        """Whether the seeds allow to tell the sign, of two both having it; one does not forbid it."""
        if len(self.values) < 2:
            return True
        return abs(self.mean) > self.half


def mean_place(places: Sequence[Place], seeds: Sequence[int]) -> Place:
    """Return the mean of several pairs of trainings, measured on the same pictures; of one itself.

    Args:
        places: What was found of each.
        seeds: The seed of each.
    """
    if len(places) == 1:
        return places[0]
    first = places[0]
    swaps = [
        Swap(swap.layers, swap.way, swap.base, *_means([one.swaps[n] for one in places]))
        for n, swap in enumerate(first.swaps)
    ]
    path = [
        Step(step.alpha, *_means([one.path[n] for one in places]))
        for n, step in enumerate(first.path)
    ]
    return Place(first.layers, swaps, path, first.images, places, seeds)


def _means(some: Sequence[Swap | Step]) -> tuple[Score, Score]:
    return _mean([one.real for one in some]), _mean([one.synthetic for one in some])


def _mean(scores: Sequence[Score]) -> Score:
    """Return a mean whose interval is over the pictures that all scores share."""
    value = float(np.mean([score.value for score in scores]))
    return Score(value, np.mean([score.without for score in scores], 0))
