"""Where it sits: blocks of the oracle in the network, and the way of weights from one to the other.

Both come from the same start, so a block of one fits between those of the other. After each exchange the
batch norms' statistics are estimated anew on pictures of the domain that is measured, without labels:
else it would be told how badly statistics fit, and not weights. Sources: Neyshabur et al., What is being
transferred in transfer learning?, 2020; Frankle et al., Linear mode connectivity, 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor, nn

from yolo_synth.adapting import batch_norms, recalibrated_statistics
from yolo_synth.advice.choices import stages
from yolo_synth.networks.contract import Network
from yolo_synth.reasons.pictures import Estimate, Patient, Pictures, Score, scored
from yolo_synth.reasons.recalibration import holding

IMAGES: Final = 40
"""Labelled pictures of each domain that a network of two is measured on; many are."""

UNLABELLED: Final = 24
"""Pictures of each domain that its batch norms are estimated on."""

ALPHAS: Final = (0.25, 0.5, 0.75)
"""Shares of the oracle on the way between both."""

_ENDS: Final = ("", ", low", ", high")

State = Mapping[str, Tensor]
Way = Literal["alone", "first"]


class Swap(NamedTuple):
    """What a network reaches that has some layers of another one.

    Attributes:
        layers: First and last layer, counted in, that are the other's.
        way: Whether these are one block `alone`, or the `first` ones up to its end.
        base: Which of the two has the rest: 0 the network, 1 the oracle.
        real: mAP@0.5 on real pictures.
        synthetic: And on synthetic ones.
    """

    layers: range
    way: Way
    base: int
    real: Score
    synthetic: Score

    @property
    def name(self) -> str:
        """The layers in words."""
        return f"layers {self.layers.start}\N{EN DASH}{self.layers.stop - 1}"


class Step(NamedTuple):
    """What a network between both reaches.

    Attributes:
        alpha: Share of the oracle's weights.
        real: mAP@0.5 on real pictures.
        synthetic: And on synthetic ones.
    """

    alpha: float
    real: Score
    synthetic: Score


@dataclass(frozen=True)
class Place:
    """Where the difference sits.

    Attributes:
        layers: How many the networks have.
        swaps: Blocks exchanged.
        path: From the network to the oracle, both ends included.
        images: How many pictures of each domain were measured.
        singles: Of several pairs of trainings, of which this is the mean, each.
        seeds: And the seed of each.
    """

    layers: int
    swaps: Sequence[Swap]
    path: Sequence[Step]
    images: tuple[int, int]
    singles: Sequence[Place] = ()
    seeds: Sequence[int] = ()

    def gains(self) -> list[tuple[Swap, Estimate]]:
        """Return what each block of the oracle alone gains on real pictures, the largest gain first."""
        alone = [swap for swap in self.swaps if swap.way == "alone" and swap.base == 0]
        pairs = [(swap, self.gain(swap)) for swap in alone]
        return sorted(pairs, key=lambda pair: -pair[1].value)

    def gain(self, swap: Swap) -> Estimate:
        """Return what an exchange gains on real pictures over the network that has the rest."""
        return swap.real.gain(self.path[-1 if swap.base else 0].real)

    def singly(self, swap: Swap) -> list[float]:
        """Return what an exchange gains in each of several pairs of trainings."""
        number = next(n for n, one in enumerate(self.swaps) if one is swap)
        return [one.gain(one.swaps[number]).value for one in self.singles]

    def falls(self, side: int) -> list[Estimate]:
        """Return how far each step between lies below the straight line between the ends, in mAP@0.5.

        Args:
            side: 0: on real pictures, 1: on synthetic ones.
        """
        first, *_, last = scores = [(step.real, step.synthetic)[side] for step in self.path]
        found = []
        for step, score in zip(self.path[1:-1], scores[1:-1], strict=True):
            chord = Score(
                (1 - step.alpha) * first.value + step.alpha * last.value,
                (1 - step.alpha) * first.without + step.alpha * last.without,
            )
            found.append(chord.gain(score))
        return found

    def barrier(self, side: int) -> tuple[int, Estimate]:
        """Return at which step the way lies farthest below that line, and how far; below 0 it is above."""
        falls = self.falls(side)
        step = max(range(len(falls)), key=lambda n: falls[n].value)
        return step, falls[step]

    def table(self) -> pd.DataFrame:
        """Return a row an exchange; of several pairs of trainings their means, and the gain of each."""
        names = ("the network", "the oracle")
        rows = []
        for swap in self.swaps:
            start = self.path[-1 if swap.base else 0]
            rows.append(
                (
                    names[swap.base],
                    "one block" if swap.way == "alone" else "all up to there",
                    swap.name,
                    swap.real.value,
                    *self.gain(swap),
                    swap.synthetic.value,
                    swap.synthetic.value - start.synthetic.value,
                    *self.singly(swap),
                )
            )
        columns = [
            *("the rest is of", "of the other", "layers", "real"),
            *("difference real", "difference low", "difference high"),
            *("synthetic", "difference synthetic"),
            *(f"difference real, seed {seed}" for seed in self.seeds),
        ]
        return pd.DataFrame(rows, columns=columns).set_index(columns[:3])

    def path_table(self) -> pd.DataFrame:
        """Return a row a step of the way, and how far it lies below the line between its ends."""
        columns: dict[str, Sequence[float]] = {
            "share of the oracle": [step.alpha for step in self.path]
        }
        for side, domain in enumerate(("real", "synthetic")):
            scores = [(step.real, step.synthetic)[side] for step in self.path]
            low, high = zip(*(score.interval for score in scores), strict=True)
            end = Estimate(0.0, 0.0, 0.0)
            below = np.array([end, *self.falls(side), end]).T
            columns[domain] = [score.value for score in scores]
            columns |= {f"{domain} low": low, f"{domain} high": high}
            columns |= {
                f"{domain} below the line{n}": row for n, row in zip(_ENDS, below, strict=True)
            }
            for seed, one in zip(self.seeds, self.singles, strict=True):
                own = [(step.real, step.synthetic)[side].value for step in one.path]
                columns[f"{domain}, seed {seed}"] = own
        return pd.DataFrame(columns).set_index("share of the oracle")

    def rows(self, way: Way, base: int) -> np.ndarray:
        """Return mAP@0.5 on real pictures, its low and high end, a column a layer [3, layers].

        Args:
            way: As in `Swap`.
            base: As in `Swap`.
        """
        blocks = sorted((s.layers for s in self.swaps if s.way == "alone"), key=lambda r: r.start)
        of_layers = {
            s.layers: s.real for s in self.swaps if s.base == base and s.way in ("alone", way)
        }
        if way == "first":  # all blocks of the other network are the other network
            of_layers[range(self.layers)] = self.path[0 if base else -1].real
        found = np.full((3, self.layers), np.nan)
        for block in blocks:
            score = of_layers[block if way == "alone" else range(block.stop)]
            found[:, block] = np.array([score.value, *score.interval])[:, None]
        return found


def number_of_trials(blocks: int) -> int:
    """Return how many networks are measured."""
    return 2 + len(ALPHAS) + 2 * (blocks + blocks - 2)


def blocks_of(network: Network, pictures: Pictures) -> list[range]:
    """Return the blocks that are exchanged, as numbers of the network's layers."""
    return stages(network, pictures.images[:1].float() / 255)


def exchange(
    patient: Patient,
    other: nn.Module,
    sets: tuple[Pictures, Pictures],
    blocks: Sequence[range],
    progress: Callable[[], object],
) -> Place:
    """Exchange blocks of two networks of one start, alone and one after the other, both ways.

    Args:
        patient: The network; it is left as it was.
        other: The oracle's network.
        sets: Real and synthetic pictures as the network takes them.
        blocks: What is exchanged.
        progress: Called after each trial.
    """
    network = patient.reference.network
    some = sets[0].some(IMAGES), sets[1].some(IMAGES)
    states = [{n: v.clone() for n, v in each.state_dict().items()} for each in (network, other)]

    def measure(state: State) -> tuple[Score, Score]:
        with holding(network, state):
            found = _reached(patient, some)
        progress()
        return found

    ends = [measure(state) for state in states]
    swaps = [
        Swap(layers, way, base, *measure(_with(states[base], states[1 - base], network, layers)))
        for base in (0, 1)
        for way, layers in _exchanges(blocks)
    ]
    between = [Step(alpha, *measure(_between(states, alpha))) for alpha in ALPHAS]
    path = [Step(0.0, *ends[0]), *between, Step(1.0, *ends[1])]
    return Place(blocks[-1].stop, swaps, path, (len(some[0]), len(some[1])))


def _exchanges(blocks: Sequence[range]) -> Iterator[tuple[Way, range]]:
    for block in blocks:
        yield "alone", block
    for block in blocks[
        1:-1
    ]:  # the first is the first alone, and all of them are the other network
        yield "first", range(block.stop)


def _with(state: State, other: State, network: nn.Module, layers: range) -> State:
    names = getattr(network, "blocks", [])
    inside = tuple(f"{names[layer]}." for layer in layers)
    return {name: other[name] if name.startswith(inside) else state[name] for name in state}


def _between(states: Sequence[State], alpha: float) -> State:
    first, last = states
    return {
        name: value.lerp(last[name], alpha) if value.is_floating_point() else value
        for name, value in first.items()
    }


def _reached(patient: Patient, sets: tuple[Pictures, Pictures]) -> tuple[Score, Score]:
    """Measure with batch norms of each domain."""
    network = patient.reference.network
    found = []
    for pictures in sets:
        few = pictures.unlabelled[:UNLABELLED]
        known = bool(batch_norms(network)) and len(few)
        statistics = recalibrated_statistics(network, few) if known else {}
        with holding(network, statistics):
            found.append(scored(patient, pictures))
    return found[0], found[1]
