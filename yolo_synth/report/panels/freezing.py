"""What freezing does: to mAP, and to the similarity with a network trained freely on something else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import pandas as pd

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.similarity.centring import count_groups
from yolo_synth.analysis.similarity.chance import holm
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.jackknife import difference
from yolo_synth.analysis.similarity.judging import INTERVAL_IMAGES, between_test
from yolo_synth.analysis.similarity.series import LayerSeries, Values
from yolo_synth.comparison import Comparison
from yolo_synth.probe import Grams, Label, Subject
from yolo_synth.report import paper
from yolo_synth.report.pairs import at_papers_size, away_from_home, is_of_one_seed
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.panels.scores import both_interval, image_interval, of_model
from yolo_synth.report.study import Study
from yolo_synth.report.tables import by_layer
from yolo_synth.report.words import ONE_SEED, bracketed, change, listed


@dataclass(frozen=True)
class Contrast:
    """Which of two networks is more alike to a third on the same images.

    Attributes:
        third: The network that both are compared with.
        first: A network.
        second: Another one.
        probe: Domain of the probe images.
        images: Their number.
        size: Their side in pixels.
        structure: The networks' layers.
        series: Debiased CKA of the first with the third minus that of the second, without interval and
            p-value where neither of the two similarities is beyond permuted images.
    """

    third: Label
    first: Label
    second: Label
    probe: str
    images: int
    size: int
    structure: Structure
    series: LayerSeries

    @property
    def nearer(self) -> int:
        """In how many layers the first is more alike to the third than the second is."""
        return int((self.series.significant & (self.series.value > 0)).sum())

    @property
    def farther(self) -> int:
        """In how many layers it is less alike."""
        return int((self.series.significant & (self.series.value < 0)).sum())


class Freezing(NamedTuple):
    """What the panel speaks of: scores, pairs of one seed at the paper's size, and contrasts."""

    labels: Sequence[Label]
    scores: pd.DataFrame
    pairs: Sequence[Comparison]
    contrasts: Sequence[Contrast]


def compute(study: Study) -> Freezing:
    """Compare frozen and free networks by their similarity to one trained freely on something else."""
    two = (pair for pair in study.pairs if pair.is_two_runs and is_of_one_seed(pair))
    pairs = [pair for seen in at_papers_size(two).values() for pair in seen]
    contrasts = []
    for probe in study.probes(paper.PROBE_SIZE):
        grams = Grams(probe)
        shown = (probe.domain, len(probe.images), probe.size)
        for three in _threes(study.subjects):
            labels = (three[0].label, three[1].label, three[2].label)
            name = f"contrast_{'_'.join(map(str, labels))}_{probe.domain}_{probe.size}".lower()
            series = study.kept(name, probe, three).once(
                partial(_series, layers=len(study.structure)), partial(_difference, grams, three)
            )
            contrasts.append(Contrast(*labels, *shown, study.structure, series))
    return Freezing(study.labels, study.scores, pairs, contrasts)


def _threes(subjects: Sequence[Subject]) -> Iterator[tuple[Subject, Subject, Subject]]:
    """Yield a free network, and two of its seed trained on something else: the frozen and the free one."""
    for third, free, frozen in product(subjects, repeat=3):
        a, b, c = third.label, free.label, frozen.label
        modes = (a.frozen, b.frozen, c.frozen)
        alike = a.seed == b.seed == c.seed and b.domain == c.domain != a.domain
        if alike and modes == ("none", "none", "backbone"):
            yield third, frozen, free


def _series(rows: dict[str, Any], layers: int) -> LayerSeries:
    series = LayerSeries(**rows)
    if any(row.shape != (layers,) for row in series.columns("value").values()):
        raise ValueError("of other layers")
    return series


def _difference(grams: Grams, three: tuple[Subject, Subject, Subject]) -> dict[str, Values]:
    third, frozen, free = map(grams, three)
    pairs, groups = ((third, frozen), (third, free)), grams.probe.independent_groups
    if count_groups(groups, third.shape[-1]) < INTERVAL_IMAGES:
        one, other = (cka(*pair, debiased=True, groups=groups).diagonal() for pair in pairs)
        return {"value": (one - other).numpy()}
    chance = [between_test(*pair, groups).p_corrected for pair in pairs]
    interval, p = difference(*pairs, (chance[0], chance[1]), paired=True, groups=groups)
    value, low, high = (row.numpy() for row in (interval.value, interval.low, interval.high))
    return LayerSeries(value, low, high, p=holm(p).numpy()).columns("value")


def tables(result: Freezing) -> Iterator[Table]:
    """Yield the contrasts, in parts and by layer."""
    if not result.contrasts:
        return
    rows, layers = [], {}
    for contrast in result.contrasts:
        names = [str(label) for label in (contrast.third, contrast.first, contrast.second)]
        means = contrast.series.means(contrast.structure.parts)
        rows.append(
            {
                "probe images": contrast.probe,
                "size": contrast.size,
                **dict(zip(("with", "first", "second"), names, strict=True)),
                **{f"difference, {part}": means[part] for part in contrast.structure.parts},
                "layers, first more alike": contrast.nearer,
                "layers, second more alike": contrast.farther,
            }
        )
        key = (contrast.probe, f"{names[1]} - {names[2]}, with {names[0]}")
        layers[key] = by_layer(contrast.series.columns("value"), contrast.structure)
    index = ["probe images", "size", "with", "first", "second"]
    yield Table(
        "freezing",
        "Whether the frozen or the free network is more alike to another",
        "Debiased CKA of the first network with a third, minus that of the second network with it, on "
        "the same images; means over layers, and the number of layers in which it differs from zero "
        "(jackknife over images, Holm's correction over the layers, p at most 0.05). Where all began "
        "with the same weights, a frozen backbone is that beginning: the difference tells how near to "
        "it the third has stayed.",
        pd.DataFrame(rows).set_index(index),
    )
    yield Table(
        "freezing_layers",
        "The same, layer by layer",
        "Differences with their 95 % intervals and corrected p-values, a row a layer.",
        pd.concat(layers, axis=1, names=["probe images", "difference", "value"]),
    )


def sentences(result: Freezing) -> Iterator[str]:
    """Say what freezing does to mAP and to the similarity, against the spread over seeds."""
    yield from _scores(result)
    yield from _similarities(result)


def short(result: Freezing) -> str:
    """Say what freezing did to mAP at home and away, as far as seeds and images tell."""
    tested = list(map(str, result.scores["domain"].unique()))
    away = away_from_home(result.labels, tested)
    free, frozen = _models(result.labels)
    known = [trained for trained in free if free[trained] and frozen[trained]]
    if not known:
        return ""
    trained = away.home if away is not None and away.home in known else known[0]
    one, other = free[trained][0], frozen[trained][0]
    first = [trained, *([away.other] if away is not None else [])]
    told, undecided = [], []
    for domain in sorted(tested, key=lambda name: first.index(name) if name in first else 9)[:2]:
        rows = [of_model(result.scores, model, domain) for model in (one, other)]
        if any(some.empty for some in rows):
            continue
        apart, low, high = _effect(*rows)
        if low > 0 or high < 0:
            ends = (apart, low, high) if apart > 0 else (-apart, -high, -low)
            verb = "raised" if apart > 0 else "lowered"
            told.append(f"{verb} mAP@0.5 on {domain} by {bracketed(*ends)}")
        else:
            undecided.append(f"on {domain} ({bracketed(apart, low, high, sign=True)})")
    if not told and not undecided:
        return ""
    what = f"reezing the backbone while training on {trained}"
    seeds = result.scores.groupby("model")["seed"].nunique()
    alone = ONE_SEED if min(seeds[one], seeds[other]) < 2 else ""
    if not told:
        return f"What f{what} did to mAP@0.5 is undecided {listed(undecided)}{alone}."
    rest = f"; what it did {listed(undecided)} is undecided" if undecided else ""
    return f"F{what} {listed(told)}{rest}{alone}."


def _effect(free: pd.DataFrame, frozen: pd.DataFrame) -> tuple[float, float, float]:
    """Return the difference of mAP with its interval over seeds and images, or over images alone."""
    apart, low, high = both_interval(free, frozen)
    return (apart, low, high) if low == low else (apart, *image_interval(free, frozen))


def _models(labels: Sequence[Label]) -> list[dict[str, list[str]]]:
    """Return the free models, and those with a frozen backbone, by what they were trained on."""
    found = []
    for mode in ("none", "backbone"):
        models: dict[str, dict[str, None]] = {label.domain: {} for label in labels}
        for label in labels:
            if label.frozen == mode:
                models[label.domain][label.model] = None
        found.append({domain: list(names) for domain, names in models.items()})
    return found


def _scores(result: Freezing) -> Iterator[str]:
    """Compare mAP with and without a frozen backbone."""
    seeds = result.scores.groupby("model")["seed"].nunique()
    free, frozen = _models(result.labels)
    for trained in free:
        for one, other in product(free[trained], frozen[trained]):
            if not {one, other} <= set(result.scores["model"]):
                continue
            texts = [
                f"on {domain} from {_change(result.scores, one, other, domain)}"
                for domain in result.scores["domain"].unique()
            ]
            yield (
                f"Freezing the backbone while training on {trained} changed mAP@0.5 "
                f"{', and '.join(texts)}{_which(one, other, free[trained], frozen[trained])}"
                f"{ONE_SEED if min(seeds[one], seeds[other]) < 2 else ''}."
            )


def _change(scores: pd.DataFrame, one: str, other: str, domain: str) -> str:
    free, frozen = (of_model(scores, model, domain) for model in (one, other))
    _, *both = both_interval(free, frozen)
    images = image_interval(free, frozen)
    return change(free["map50"], frozen["map50"], images, (both[0], both[1]))


def _which(one: str, other: str, free: Sequence[str], frozen: Sequence[str]) -> str:
    """Name both models where there are several like them."""
    return "" if len(free) == len(frozen) == 1 else f" ({other} after {one})"


def _similarities(result: Freezing) -> Iterator[str]:
    """Compare how near frozen and free networks are to one trained freely on something else."""
    free, frozen = _models(result.labels)
    probes = dict.fromkeys(pair.probe for pair in result.pairs)
    for probe, (home, thirds), (trained, ones) in product(probes, free.items(), free.items()):
        if home == trained:
            continue
        for third, one, other in product(thirds, ones, frozen[trained]):
            text = _similarity(result, probe, third, one, other)
            if text:
                which = _which(one, other, ones, frozen[trained])
                yield f"Freezing the backbone on {trained}{which} changed {text}"


def _similarity(result: Freezing, probe: str, third: str, one: str, other: str) -> str:
    seen = [pair for pair in result.pairs if pair.probe == probe]
    free, frozen = (
        pd.Series(
            [
                pair.debiased_series.means({})["all"]
                for pair in seen
                if set(pair.models) == {third, model}
            ],
            dtype=float,
        )
        for model in (one, other)
    )
    if not (len(free) and len(frozen)):
        return ""
    size = seen[0].size
    return (
        f"the mean debiased CKA with {third}, seen with {probe} images at {size}x{size}, from "
        f"{change(free, frozen)}{ONE_SEED if min(len(free), len(frozen)) < 2 else ''}."
        f"{_by_layer(result, probe, third, other)}"
    )


def _by_layer(result: Freezing, probe: str, third: str, frozen: str) -> str:
    """Say in how many layers the frozen network is nearer, beyond the chance of the images."""
    chosen = [
        contrast
        for contrast in result.contrasts
        if (contrast.probe, contrast.third.model, contrast.first.model) == (probe, third, frozen)
    ]
    if not chosen:
        return ""
    texts = [
        f"nearer in {contrast.nearer} and farther in {contrast.farther} of {len(contrast.series)} "
        f"layers ({contrast.first})"
        for contrast in chosen
    ]
    text = (
        f" On the same images the frozen network is {'; '.join(texts)}, corrected over the layers."
    )
    started = {frozenset((p.first, p.second)) for p in result.pairs if "partial" in p.series}
    if started.isdisjoint(frozenset((c.third, c.first)) for c in chosen):
        return text
    return (
        f"{text} Its backbone is what all started from, so that this tells how near {third} stayed to "
        "its start."
    )


PANEL = Panel("freezing", "What freezing does", compute, tables, sentences, short=short)
