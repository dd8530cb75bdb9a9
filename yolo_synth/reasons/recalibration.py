"""The remedy without labels: batch norms' statistics of real pictures, what it gains and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from yolo_synth.adapting import batch_norms, recalibrated_statistics
from yolo_synth.reasons.pictures import Estimate, Patient, Pictures, Score, scored

COUNTS: Final = (8, 32)
"""Numbers of pictures that are tried besides all."""

MIXES: Final = (0.5, 1.0)
"""Shares of the new statistics that are tried."""


TRIALS: Final = (len(COUNTS) + 1) * len(MIXES)
"""How many trials there are, at most."""


class Trial(NamedTuple):
    """What statistics of some pictures make of a network.

    Attributes:
        pictures: How many real ones, without labels.
        mix: Share of their statistics; the rest are the old ones.
        real: What the network then reaches on real pictures.
        synthetic: And on synthetic ones.
    """

    pictures: int
    mix: float
    real: Score
    synthetic: Score


@dataclass(frozen=True)
class Recalibration:
    """What recalibrating the batch norms does.

    Attributes:
        norms: How many there are; 0: nothing can be done.
        trials: All that was tried; the last one, all pictures and nothing of the old statistics, is what is
            kept, whatever the labels say.
        before: What the network reached before, on real and on synthetic pictures.
        statistics: Of the last trial, as parts of a state dict.
    """

    norms: int
    trials: tuple[Trial, ...]
    before: tuple[Score, Score]
    statistics: Mapping[str, Tensor]

    @property
    def gain(self) -> Estimate:
        """What the last trial gains on real pictures."""
        return self.trials[-1].real.gain(self.before[0])

    @property
    def cost(self) -> Estimate:
        """What it changes on synthetic ones."""
        return self.trials[-1].synthetic.gain(self.before[1])

    def table(self) -> pd.DataFrame:
        """Return a row a trial: mAP@0.5 on both domains and what it gains there."""
        rows = [
            {
                "pictures": trial.pictures,
                "share of new": trial.mix,
                "real": trial.real.value,
                **_named("difference real", trial.real.gain(self.before[0])),
                "synthetic": trial.synthetic.value,
                **_named("difference synthetic", trial.synthetic.gain(self.before[1])),
            }
            for trial in self.trials
        ]
        return pd.DataFrame(rows).set_index(["pictures", "share of new"])


def _named(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name} low": estimate.low, f"{name} high": estimate.high}


def recalibrate(
    patient: Patient,
    real: Pictures,
    synthetic: Pictures,
    before: tuple[Score, Score],
    progress: Callable[[], object],
) -> Recalibration:
    """Try batch-norm statistics of real pictures without labels.

    Args:
        patient: The network; it is left as it was.
        real: The real pictures, of which the unlabelled ones are run.
        synthetic: The synthetic ones.
        before: What the network reaches on both.
        progress: Called after each trial.
    """
    network = patient.reference.network
    norms = len(batch_norms(network))
    everything = len(real.unlabelled)
    if not norms or not everything:
        return Recalibration(norms, (), before, {})
    trials, statistics = [], {}
    for count in [number for number in COUNTS if number < everything] + [everything]:
        for mix in MIXES:
            statistics = recalibrated_statistics(network, real.unlabelled[:count], mix)
            with holding(network, statistics):
                trials.append(Trial(count, mix, scored(patient, real), scored(patient, synthetic)))
            progress()
    return Recalibration(norms, tuple(trials), before, statistics)


@contextmanager
def holding(network: nn.Module, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Give a network other weights or statistics for a while."""
    own = network.state_dict()
    before = {name: own[name].clone() for name in state}
    _copy(own, state)
    try:
        yield
    finally:
        _copy(own, before)


@torch.no_grad()
def _copy(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    for name, value in state.items():
        own[name].copy_(value)
