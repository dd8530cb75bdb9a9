"""What training added: what two trainings share without what both started from, beside two seeds of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.analysis.similarity.seeds import ENOUGH_RUNS, label_test
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.analysis.similarity.trainings import Alike, Two
from yolo_synth.comparison import Comparison
from yolo_synth.report.models import Models, of_two
from yolo_synth.report.pairs import is_of_one_seed, main_pairs, views
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.study import Study
from yolo_synth.report.tables import seeds_as_columns
from yolo_synth.report.words import bracketed, interval, listed, named, number, part_means

View = tuple[str, int]


class Added(NamedTuple):
    """What the panel speaks of: pairs of runs that began alike somewhere, and what is known of models."""

    pairs: Sequence[Comparison]
    models: Mapping[View, Models]


def compute(study: Study) -> Added:
    """Return the pairs of runs that have a common start in some layers."""
    return Added([pair for pair in study.pairs if "partial" in pair.series], study.models)


def tables(result: Added) -> Iterator[Table]:
    """Yield what trainings share of what they added, of models and of pairs of one seed."""
    if rows := [row for seen in views(result.pairs) for row in _shared_rows(result, seen)]:
        yield Table(
            "training_added",
            "What training added, and how much of it two trainings share",
            "Mean debiased CKA once the common initial state is regressed out of both networks, over the "
            "layers in which both began as the same function of the images and training changed both; "
            "over all pairs of runs of two models, or of two seeds of one, with the 95 % interval over "
            "images (jackknife), and the lowest and the highest pair. Two networks that keep what they "
            "started from and change independently have 0. The images vary in the intervals, the "
            f"trainings do not; with {ENOUGH_RUNS} runs of either model p is that of giving the runs' "
            "names to others (exact).",
            pd.DataFrame(rows).set_index(["probe images", "size", "shared by"]),
        )
    yield from _of_one_seed([pair for pair in result.pairs if is_of_one_seed(pair)])


def _shared_rows(result: Added, seen: Sequence[Comparison]) -> Iterator[dict[str, Any]]:
    pair = seen[0]
    for two, alike in result.models[pair.probe, pair.size].added.items():
        chosen = [pair for pair in seen if set(pair.models) == set(two)]
        if not chosen:
            continue
        low, high = alike.means.ends()
        row: dict[str, Any] = {
            "probe images": pair.probe,
            "size": pair.size,
            "shared by": f"two seeds of {two[0]}" if two[0] == two[1] else " and ".join(two),
            "pairs of runs": len(chosen),
        }
        for place, part in enumerate(pair.structure.parts):
            values = _values(chosen, part)
            test = _names(seen, two, part)
            row |= {
                part: alike.means.value[place],
                f"{part}, low": low[place],
                f"{part}, high": high[place],
                f"{part}, lowest pair": min(values, default=np.nan),
                f"{part}, highest pair": max(values, default=np.nan),
            }
            if test is not None:
                row[f"{part}, p of names"] = test[0]
        yield row


def _values(pairs: Sequence[Comparison], part: str) -> list[float]:
    """Return what pairs share over a part of the network, of those that have a value there."""
    means = [pair.series["partial"].means(pair.structure.parts)[part] for pair in pairs]
    return [mean for mean in means if np.isfinite(mean)]


def _names(seen: Sequence[Comparison], two: Two, part: str) -> tuple[float, int] | None:
    """Permute which runs are of which model; None with too few runs, or where one has no value."""
    among = [pair for pair in seen if set(pair.models) <= set(two)]
    runs = sorted({label for pair in among for label in (pair.first, pair.second)})
    is_first = [run.model == two[0] for run in runs]
    if two[0] == two[1] or min(sum(is_first), len(runs) - sum(is_first)) < ENOUGH_RUNS:
        return None
    similarity = np.full((len(runs), len(runs)), np.nan)
    for pair in among:
        i, j = runs.index(pair.first), runs.index(pair.second)
        mean = pair.series["partial"].means(pair.structure.parts)[part]
        similarity[i, j] = similarity[j, i] = mean
    np.fill_diagonal(similarity, 0)
    return label_test(similarity, is_first) if np.isfinite(similarity).all() else None


def _of_one_seed(pairs: Sequence[Comparison]) -> Iterator[Table]:
    rows = [
        {
            "probe images": pair.probe,
            "size": pair.size,
            "pair": " vs ".join(pair.models),
            "seed": pair.seeds[0],
            "part": part,
            "value": mean,
        }
        for pair in pairs
        for part, mean in pair.series["partial"].means(pair.structure.parts).items()
    ]
    if not rows:
        return
    index = ["probe images", "size", "pair"]
    yield Table(
        "table_5_partial",
        "Table 5, what training added: mean partial CKA",
        "Debiased CKA once the common initial state is regressed out of both networks, averaged over "
        "the layers that training changed in both: two networks that keep what they started from "
        "and change independently have 0.",
        seeds_as_columns(pd.DataFrame(rows), index, ["part"], "value", ("part", "seed")),
    )


def sentences(result: Added) -> Iterator[str]:
    """Say what real and synthetic training share of what they added, and what two seeds of either."""
    for group in main_pairs(result.pairs):
        yield from _shared(result, group)
        yield _training_added(group)


def _shared(result: Added, group: Sequence[Comparison]) -> Iterator[str]:
    pair = group[0]
    view = (pair.probe, pair.size)
    seen = [other for other in result.pairs if (other.probe, other.size) == view]
    a, b = pair.models
    texts, tested = [], False
    for part in pair.structure.parts:
        shares = [_share(result, seen, two, part) for two in ((a, a), (b, b), (a, b))]
        if said := [share for share in shares if share]:
            test = _names(seen, (a, b), part)
            tested = tested or test is not None
            texts.append(f"over the {part}, {listed(said)}{_of_names(test)}")
    if texts:
        runs = {label for other in seen for label in (other.first, other.second)}
        counts = [sum(run.model == model for run in runs) for model in (a, b)]
        alone = "" if tested else ": so few tell nothing of others"
        yield (
            f"What training added ({pair.label}; mean debiased CKA with the common initial state regressed "
            f"out): {'; '.join(texts)}. This is of {counts[0]} and {counts[1]} trainings{alone}."
        )


def short(result: Added) -> str:
    """Say whether two models share less of what training added than two seeds do, if that is told."""
    for group in main_pairs(result.pairs)[:1]:
        pair = group[0]
        a, b = pair.models
        added = result.models[pair.probe, pair.size].added
        for place, part in enumerate(pair.structure.parts):
            of = {two: _ends(added, two, place) for two in ((a, b), (a, a), (b, b))}
            if (both := of.pop((a, b))) is not None:
                seeds = {one: ends for (one, _), ends in of.items() if ends is not None}
                return _against_seeds((a, b), both, seeds, f"over the {part} ({pair.probe} images)")
    return ""


Ends = tuple[float, float, float]


def _ends(added: Mapping[Two, Alike], two: Two, place: int) -> Ends | None:
    """Return what two models share over a part, with its interval; None if nobody knows."""
    alike = of_two(added, two)
    if alike is None or not np.isfinite(alike.means.value[place]):
        return None
    low, high = alike.means.ends()
    return float(alike.means.value[place]), float(low[place]), float(high[place])


def _against_seeds(two: Two, both: Ends, seeds: Mapping[str, Ends], where: str) -> str:
    names, told = " and ".join(two), bracketed(*both, digits=2)
    if not seeds:
        return (
            f"Whether {names} share less of what training added than two seeds of one model do is "
            f"undecided, since there is one seed of each: partial CKA {told} {where}."
        )
    beside = ", of ".join(f"{name} {bracketed(*ends, digits=2)}" for name, ends in seeds.items())
    if both[2] < min(low for _, low, _ in seeds.values()):
        start = f"Of what training added {names} share less than two seeds do"
    elif both[1] > max(high for _, _, high in seeds.values()):
        start = f"Of what training added {names} share more than two seeds do"
    else:
        start = f"Whether {names} share less of what training added than two seeds do is undecided"
    return f"{start}: partial CKA {told} {where}, two seeds of {beside}."


def _share(result: Added, seen: Sequence[Comparison], two: Two, part: str) -> str:
    """Say what two models share of what training added, or two seeds of one; nothing if nobody knows."""
    pairs = [pair for pair in seen if set(pair.models) == set(two)]
    alike = of_two(result.models[seen[0].probe, seen[0].size].added, two)
    values = _values(pairs, part)
    if not values or alike is None:
        return ""
    place = list(pairs[0].structure.parts).index(part)
    low, high = alike.means.ends()
    who = f"two seeds of {two[0]} share" if two[0] == two[1] else f"{two[0]} and {two[1]}"
    text = f"{who} {interval(alike.means.value[place], low[place], high[place])}"
    if len(values) > 1:
        text += f" ({len(values)} pairs of runs, {number(min(values))} to {number(max(values))})"
    return text


def _of_names(test: tuple[float, int] | None) -> str:
    if test is None:
        return ""
    p, divisions = test
    return f" (which run is of which model, {divisions} divisions: p = {number(p, 3)})"


def _training_added(group: Sequence[Comparison]) -> str:
    pair = group[0]
    partials = [pair.series["partial"] for pair in group]
    whole = [
        LayerSeries(np.where(np.isnan(partial.value), np.nan, pair.debiased_series.value))
        for pair, partial in zip(group, partials, strict=True)
    ]
    parts = pair.structure.parts
    texts = [
        f"from {part_means(whole, pair, part)} to {part_means(partials, pair, part)} over the {part}"
        if np.isfinite([partial.means(parts)[part] for partial in partials]).any()
        else f"to no value over the {part}, of which training changed no layer in both"
        for part in parts
    ]
    count = min(int(np.isnan(partial.value).sum()) for partial in partials)
    rest = (
        f" ({count} layers that did not change beyond rounding in both are left out)"
        if count
        else ""
    )
    clear = listed(int(partial.significant.sum()) for partial in partials)
    return (
        f"What training added, {named(group).rstrip(',')} ({pair.probe} images): with the common "
        f"initial state regressed out, the mean debiased CKA goes {' and '.join(texts)}{rest}. It is "
        f"beyond chance in {clear} of {len(partials[0]) - count} layers."
    )


PANEL = Panel("start", "What training added", compute, tables, sentences, short=short)
