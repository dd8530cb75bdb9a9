"""All that is known of why a network is bad on real pictures, the sentences of its card, and its tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.reasons.checks import Check, in_order
from yolo_synth.reasons.misses import Part
from yolo_synth.reasons.pictures import Estimate, Score
from yolo_synth.reasons.recalibration import Recalibration
from yolo_synth.reasons.spread import Spread
from yolo_synth.reasons.swaps import Place

OF_SEVERAL: Final = 1.45
"""Widens a 95 % interval to that of the best of eight (Bonferroni; Student's t of 39)."""


@dataclass(frozen=True)
class Gap:
    """What a network reaches on both domains, and what one that was trained on real pictures does.

    Attributes:
        domains: Names of the real and of the synthetic one.
        own: mAP@0.5 of the network on each.
        oracle: The same of the oracle, if there is one.
    """

    domains: tuple[str, str]
    own: tuple[Score, Score]
    oracle: tuple[Score, Score] | None = None

    def of(self, number: int) -> tuple[Score, Score]:
        """Return what the network (0) or the oracle (1) reaches on each."""
        return (self.own, self.oracle or self.own)[number]

    @property
    def between(self) -> Estimate:
        """How much more the network reaches on synthetic pictures than on real ones."""
        return self.own[1].gap(self.own[0])

    @property
    def to_oracle(self) -> Estimate | None:
        """How much more the oracle reaches on real pictures."""
        return None if self.oracle is None else self.oracle[0].gain(self.own[0])

    def table(self, names: Sequence[str]) -> pd.DataFrame:
        """Return a row a network and domain: mAP@0.5 with its interval.

        Args:
            names: What network and oracle are called.
        """
        rows = []
        for name, scores in zip(names, (self.own, self.oracle), strict=False):
            for domain, score in zip(self.domains, scores or (), strict=False):
                low, high = score.interval
                rows.append((name, domain, score.value, low, high))
        columns = ["network", "images", "mAP@0.5", "low", "high"]
        return pd.DataFrame(rows, columns=columns).set_index(["network", "images"])


def signed(estimate: Estimate) -> str:
    """Write a difference with its interval, as far as it has one."""
    text = _number(estimate.value, "+")
    if not np.isfinite([estimate.low, estimate.high]).all():
        return text
    return f"{text} [{_number(estimate.low, '+')}, {_number(estimate.high, '+')}]"


def plain(score: Score) -> str:
    """Write a mAP with its interval, as far as it has one."""
    low, high = score.interval
    text = _number(score.value)
    return text if np.isnan(low) else f"{text} [{_number(low)}, {_number(high)}]"


def _number(value: float, sign: str = "") -> str:
    return f"{value:{sign}.3f}".replace("-", "\N{MINUS SIGN}")


def check_sentence(checks: Sequence[Check]) -> str:
    """Name mistakes, the one farthest beyond its floor first; or what differs most, if there are none."""
    named = [check for check in in_order(checks) if check.is_named]
    if named:
        said = "; ".join(f"{check.mistake} ({check.excess:.1f} times its floor)" for check in named)
        return f"Look here first: {said}."
    most = [check for check in in_order(checks) if not check.mistake and check.excess > 1][:3]
    text = "No mistake is found in labels, channels, borders and scale"
    if not most:
        return f"{text}, and the sets differ by no more than two halves of the real one."
    said = ", ".join(f"{check.what} ({check.excess:.1f} times)" for check in most)
    return f"{text}; the sets differ most, beside two halves of the real one, in {said}."


def gap_sentence(gap: Gap) -> str:
    """Say how large the gap is."""
    real, synthetic = gap.domains
    text = (
        f"mAP@0.5 is {plain(gap.own[1])} on {synthetic} and {plain(gap.own[0])} on {real} images: a gap of "
        f"{signed(gap.between)}"
    )
    if gap.between.low > 0 or np.isnan(gap.between.low):
        text += "."
    elif gap.between.high < 0:
        text += f": it is better on {real} ones."
    else:
        text += ", which so few images cannot tell from none."
    if gap.oracle is not None and gap.to_oracle is not None:
        text += (
            f" The oracle reaches {plain(gap.oracle[0])} on {real} ones ({signed(gap.to_oracle)})."
        )
    return text


def recalibration_sentence(found: Recalibration, gap: Gap) -> str:
    """Say what recalibrating the batch norms does, no more than the interval allows."""
    real, synthetic = gap.domains
    if not found.norms:
        return "This network has no batch norms to recalibrate."
    if not found.trials:
        return (
            f"There are no further {real} images to recalibrate the {found.norms} batch norms with."
        )
    last = found.trials[-1]
    text = (
        f"Batch-norm statistics of {last.pictures} {real} images, without labels, change mAP@0.5 to "
        f"{last.real.value:.3f} on {real} ({signed(found.gain)}) and to {last.synthetic.value:.3f} on "
        f"{synthetic} ones ({signed(found.cost)})"
    )
    if not found.gain.is_told:
        return f"{text}: no gain that so many images could tell."
    if found.gain.value < 0:
        return f"{text}: do not do it."
    whole = gap.to_oracle or gap.between
    share = found.gain.value / whole.value if whole.value > 0 else np.nan
    return f"{text}: {100 * share:.0f} % of the gap." if 0 < share < 2 else f"{text}."


def miss_sentence(parts: Sequence[Part], domain: str) -> str:
    """Say what is missed, and which boxes more often than others as far as the intervals tell."""
    everything, *others = parts
    text = (
        f"Of {everything.boxes} true boxes in {domain} images {everything.missed} are missed "
        f"({100 * everything.missed / everything.boxes:.0f} %)"
    )
    if everything.oracle is not None and everything.missed:
        text += f", of which the oracle finds {everything.oracle}"
    more = sorted((part for part in others if part.more.low > 0), key=lambda part: -part.more.value)
    if not more or not everything.missed:
        return f"{text}; no class, size or time of day is missed more often that so many images could tell."
    said = ", ".join(
        f"{part.name} ({100 * part.missed / everything.missed:.0f} % of them, "
        f"{signed(part.more)} in the share missed)"
        for part in more[:3]
    )
    return f"{text}; missed more often than others: {said}."


def block_sentence(place: Place, gap: Gap) -> str:
    """Say in which block the difference sits, no more than the images and the spread over seeds allow."""
    real = gap.domains[0]
    (best, gain), *others = place.gains()
    seeds = Spread(place.singly(best))
    blocks = f"of {len(others) + 1} blocks of the oracle swapped in alone"
    if gain.value <= 0:
        return (
            f"{_of_what(place)} no block of the oracle alone helps on {real} images (the best, "
            f"{best.name}, {_each(gain, seeds)}): the difference sits in several together."
        )
    if not seeds.is_told:
        return (
            f"Which {blocks} helps on {real} images is not told: seeds {listed(place.seeds)} are too far "
            f"apart (the best on average gains {_all(seeds)})."
        )
    text = (
        f"{_of_what(place)} {best.name}, {blocks}, raise mAP@0.5 on {real} images most "
        f"({_each(gain, seeds)})"
    )
    if low_of_best(gain) <= 0:
        return f"{text}, which so few images cannot tell from none."
    agreed = ", and the seeds agree" if place.singles else ""
    return f"{text}: the difference sits there more than luck of the images would have it{agreed}."


def path_sentence(place: Place, gap: Gap) -> str:
    """Say how high the barrier on the way of weights is, on both domains."""
    said, told = [], []
    for side, domain in enumerate(gap.domains):
        step, fall = place.barrier(side)
        seeds = Spread([one.falls(side)[step].value for one in place.singles])
        said.append(f"{_each(fall, seeds, ' (each {})')} on {domain}")
        told += [domain] if low_of_best(fall) > 0 and seeds.is_told else []
    return (
        f"{_of_what(place)} the barrier on the way of weights to the oracle, how far mAP@0.5 falls below "
        f"the straight line between both, is {' and '.join(said)} images: "
        + (f"there is one on {' and '.join(told)} ones." if told else "none that could be told.")
    )


def low_of_best(best: Estimate) -> float:
    """Return the lower end of the interval of the largest of several numbers."""
    return best.value - OF_SEVERAL * (best.value - best.low)


def _of_what(place: Place) -> str:
    """Begin a sentence with the trainings that it is of."""
    if place.singles:
        return f"On average of seeds {listed(place.seeds)}"
    return "In this one pair of trainings"


def _each(estimate: Estimate, seeds: Spread, between: str = "; each {}") -> str:
    """Write a mean over seeds, with its interval over images, and the numbers that it is of."""
    return signed(estimate) + (between.format(_all(seeds)) if seeds.values else "")


def _all(seeds: Spread) -> str:
    return listed(_number(value, "+") for value in seeds.values)


def listed(texts: Iterable[object]) -> str:
    """Join texts as `a`, `a and b`, `a, b and c`."""
    *others, last = map(str, texts)
    return f"{', '.join(others)} and {last}" if others else last


class Further(NamedTuple):
    """What is known of a further pair of trainings, of another seed.

    Attributes:
        names: What the network is called, and its oracle if there is one.
        gap: How large its gap is.
        recalibration: What the remedy without labels does.
    """

    names: Sequence[str]
    gap: Gap
    recalibration: Recalibration

    def recalibrated(self, real: str) -> str:
        """Say what the remedy gains on real pictures, if there is one."""
        if not self.recalibration.trials:
            return ""
        gain = signed(self.recalibration.gain)
        return f" In {self.names[0]} they change it by {gain} on {real} ones."


@dataclass(frozen=True)
class Answer:
    """Why a network is bad on real pictures.

    Attributes:
        names: What it is called, and the oracle if there is one.
        images: How many labelled real and synthetic pictures were looked at.
        gap: How large the gap is.
        recalibration: What the remedy without labels does.
        checks: What was looked at before.
        place: Where the difference to the oracle sits, if that could be looked into.
        missed: What is missed in the real pictures.
        notes: What was not done, and why.
        weights: Digests of the networks' states.
        more: What is known of further pairs of trainings; all else but the place is of the first.
    """

    names: Sequence[str]
    images: tuple[int, int]
    gap: Gap
    recalibration: Recalibration
    checks: Sequence[Check]
    place: Place | None = None
    missed: Sequence[Part] = ()
    notes: Sequence[str] = ()
    weights: Sequence[str] = ()
    more: Sequence[Further] = ()

    def gap_table(self) -> pd.DataFrame:
        """Return a row a network and domain, of all pairs of trainings."""
        further = [one.gap.table(one.names) for one in self.more]
        return pd.concat([self.gap.table(self.names), *further])

    def sentences(self) -> list[str]:
        """Return the card."""
        return [
            gap_sentence(self.gap)
            + "".join(
                f" The gap of {one.names[0]} is {signed(one.gap.between)}." for one in self.more
            ),
            check_sentence(self.checks),
            recalibration_sentence(self.recalibration, self.gap)
            + "".join(one.recalibrated(self.gap.domains[0]) for one in self.more),
            *(say(self.place, self.gap) for say in (block_sentence, path_sentence) if self.place),
            *([miss_sentence(self.missed, self.gap.domains[0])] if self.missed else []),
        ]
