"""Pairs of networks: which are compared, which belong together, and what is said of several at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final, NamedTuple

from yolo_synth.analysis.similarity.seeds import SeedTest
from yolo_synth.analysis.similarity.series import LayerSeries, Values
from yolo_synth.analysis.similarity.trainings import Two
from yolo_synth.comparison import Comparison
from yolo_synth.probe import Label, Subject, both_starts
from yolo_synth.report import paper
from yolo_synth.report.models import of_two

_MAIN: Final = ("U-Real", "U-Synthetic")
"""The paper's question: freely trained on real, and on synthetic images."""


class Couple(NamedTuple):
    """Two networks to be compared, and what each started from, if both are trained and that is known."""

    first: Subject
    second: Subject
    starts: tuple[Subject, Subject] | None


def all_couples(subjects: Sequence[Subject], starts: Mapping[str, Subject]) -> list[Couple]:
    """Return each network with itself, each two, and each with what it started from."""
    couples = [Couple(subject, subject, None) for subject in subjects]
    couples += [Couple(a, b, both_starts(a, b)) for a, b in combinations(subjects, 2)]
    started = [subject for subject in subjects if subject.run.name in starts]
    return couples + [Couple(s, starts[s.run.name], None) for s in started]


def held_against_seeds(
    pairs: Sequence[Comparison], tests: Mapping[Two, SeedTest], untrained: Values | None = None
) -> list[Comparison]:
    """Give two runs of other models what two trainings reach that differ as two seeds do.

    Args:
        pairs: All pairs seen by one probe.
        tests: How every two models compare with that.
        untrained: What two untrained networks have, which two trained ones are held against too.
    """
    pairs = [
        with_series(
            pair,
            debiased=replace(
                pair.debiased_series, untrained=untrained if pair.is_two_runs else None
            ),
        )
        for pair in pairs
    ]
    seeds = [pair for pair in pairs if is_one_model(pair)]
    return [
        with_series(
            pair,
            debiased=pair.debiased_series.with_seeds(
                [
                    found
                    for model in pair.models
                    if (found := [two.debiased_series for two in seeds if two.models[0] == model])
                ],
                of_two(tests, pair.models),
            ),
        )
        if pair.is_two_runs and not is_one_model(pair)
        else with_series(pair, debiased=pair.debiased_series.with_seeds([]))
        for pair in pairs
    ]


def with_series(pair: Comparison, **series: LayerSeries) -> Comparison:
    """Return a pair with other or further series."""
    return replace(pair, series={**pair.series, **series})


def is_one_model(pair: Comparison) -> bool:
    """Tell whether it is two seeds of one model."""
    return pair.is_two_runs and len(set(pair.models)) == 1


def is_of_one_seed(pair: Comparison) -> bool:
    """Tell whether both networks have one seed."""
    return len(set(pair.seeds)) == 1


def views(pairs: Sequence[Comparison]) -> list[list[Comparison]]:
    """Return the pairs seen by each probe at each size."""
    keys = dict.fromkeys((pair.probe, pair.size) for pair in pairs)
    return [[pair for pair in pairs if (pair.probe, pair.size) == key] for key in keys]


def at_papers_size(pairs: Iterable[Comparison]) -> dict[str, list[Comparison]]:
    """Return the pairs of each probe at the paper's size, or at the smallest one."""
    found: dict[str, list[Comparison]] = {}
    for pair in pairs:
        found.setdefault(pair.probe, []).append(pair)
    for probe, seen in found.items():
        sizes = {pair.size for pair in seen}
        size = paper.PROBE_SIZE if paper.PROBE_SIZE in sizes else min(sizes)
        found[probe] = [pair for pair in seen if pair.size == size]
    return found


def main_pairs(pairs: Iterable[Comparison]) -> list[list[Comparison]]:
    """Return, for each probe, the pairs of real and synthetic training at the paper's size.

    They are those of freely trained networks, one a seed; without such a pair, of the first two models.
    """
    chosen = []
    for seen in at_papers_size(p for p in pairs if p.is_two_runs and is_of_one_seed(p)).values():
        papers = [
            pair
            for pair in seen
            if (paper.trained_as(pair.first), paper.trained_as(pair.second)) == _MAIN
        ]
        wanted = (papers or seen)[0].models
        chosen.append([pair for pair in seen if pair.models == wanted])
    return chosen


class Away(NamedTuple):
    """A model that is tested on images of another domain than it was trained on.

    Attributes:
        model: Its name.
        home: What it was trained on.
        other: What it is tested on besides.
        oracle: A model that was trained on that; "" if there is none.
    """

    model: str
    home: str
    other: str
    oracle: str = ""


def away_from_home(labels: Sequence[Label], domains: Iterable[str]) -> Away | None:
    """Return the model that the card speaks of: of synthetic training, on real images, if there are both.

    Else it is the first model that was trained on another domain than the first one, on that one's
    images, or else the first model on the first images that it was not trained on. A freely trained
    network goes before one with frozen layers.

    Args:
        labels: All runs, in the order of the report.
        domains: What there are test images of.
    """
    tested = list(domains)
    trained = sorted(labels, key=lambda label: label.frozen != "none")
    homes = [home for home in dict.fromkeys(one.domain for one in trained) if home in tested]
    real, synthetic = paper.SPLITS
    ways = [(synthetic, real), *((home, homes[0]) for home in homes[1:])]
    ways += [(home, other) for home in homes[:1] for other in tested if other != home]
    for home, other in ways:
        if home in homes and other in tested:
            models, oracles = (
                [one.model for one in trained if one.domain == domain] for domain in (home, other)
            )
            return Away(models[0], home, other, *oracles[:1])
    return None
