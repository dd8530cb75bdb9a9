"""How well the networks detect: mAP@0.5 of each model on each domain's test images (Table 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.analysis.similarity.seeds import (
    difference_of_means,
    difference_over_both,
    reach_of_sum,
)
from yolo_synth.analysis.similarity.series import Values
from yolo_synth.difference.scores import interval
from yolo_synth.probe import Label
from yolo_synth.report.pairs import away_from_home
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.study import Study
from yolo_synth.report.tables import SPREAD, seeds_as_columns
from yolo_synth.report.words import bracketed, number

_SEVERAL: Final = 3
"""Seeds from which on a spread is more than one difference."""

_SECOND: Final = (
    " Of two seeds little follows: of three trainings alike, the third lies outside the other two in two "
    "of three cases."
)


class Scores(NamedTuple):
    """What the panel speaks of: the runs, and a row per run and domain, of `evaluation_table`."""

    labels: Sequence[Label]
    rows: pd.DataFrame


def compute(study: Study) -> Scores:
    """Return the scores of all runs on all domains."""
    return Scores(study.labels, study.scores)


def tables(result: Scores) -> Iterator[Table]:
    """Yield Table 2, mAP@0.5, and the same by class."""
    scores = result.rows
    by_domain = scores.assign(column=scores["domain"])
    yield Table(
        "table_2",
        "Table 2: mAP@0.5 of each model on each domain's test images",
        "Rows: the model. Columns: the test images and the seed. The interval is the 95 % one over "
        f"images (jackknife) of the mean of these trainings; it says nothing of other seeds. {SPREAD}",
        _with_intervals(
            seeds_as_columns(by_domain, ["model"], ["column"], "map50", ("test images", "seed")),
            scores,
        ),
    )
    names = {n: n.removeprefix("map50_") for n in map(str, scores) if n.startswith("map50_")}
    by_class = scores.rename(columns=names).melt(
        ["model", "seed", "domain"], [*names.values()], "class", "value"
    )
    yield Table(
        "table_2_classes",
        "Table 2 by class: AP@0.5 of each class",
        "Rows: model and seed. Columns: the test images and the class. A class without a box in the "
        "test images has no value.",
        by_class.pivot_table(
            index=["model", "seed"], columns=["domain", "class"], values="value", sort=False
        ).sort_index(axis=1, level="domain", sort_remaining=False),
    )
    if rows := list(_gaps(result)):
        yield Table(
            "table_2_gaps",
            "Table 2, gaps: mAP@0.5 on the domain of training and on others",
            "A model's mean over seeds on test images of the domain that it was trained on, minus that on "
            "others, with its 95 % interval over images (jackknife; each domain's by themselves) and, with "
            "two seeds, over seeds too (of each training the difference counts; Satterthwaite's freedom).",
            pd.DataFrame(rows).set_index(["model", "trained on", "tested on"]),
        )
    if not (differences := _differences(scores)).empty:
        yield Table(
            "table_2_differences",
            "Table 2, differences between models: mAP@0.5",
            "Means over seeds, the second model's minus the first one's, with 95 % intervals: over "
            "seeds (Student's; with two seeds of each its factor is 4.3) and over the test images, or "
            "whole sequences, of which one block after the other is left out of both (jackknife). One "
            "says what other trainings would give on these images, the other what these trainings would "
            "give on others, and the last one, over both, what other trainings would give on other images: "
            "where it holds 0, the models cannot be told apart.",
            differences,
        )


def _gaps(result: Scores) -> Iterator[dict[str, object]]:
    """Yield a row a model and domain that it was not trained on."""
    homes = {label.model: label.domain for label in result.labels}
    for model, other in product(homes, result.rows["domain"].unique()):
        home, rows = (of_model(result.rows, model, name) for name in (homes[model], other))
        if other != homes[model] and not home.empty and not rows.empty:
            value, low, high = gap_interval(home, rows)
            ends = {"gap": value, "gap, low": low, "gap, high": high}
            yield {"model": model, "trained on": homes[model], "tested on": other, **ends}


def _differences(scores: pd.DataFrame) -> pd.DataFrame:
    """Return how much every two models differ on each domain, with intervals over seeds and images."""
    rows = []
    models, domains = (list(scores[name].unique()) for name in ("model", "domain"))
    for domain, (first, second) in product(domains, combinations(models, 2)):
        one, other = (of_model(scores, model, domain) for model in (first, second))
        if one.empty or other.empty:
            continue
        apart, low, high = difference_of_means(one["map50"].tolist(), other["map50"].tolist())
        over_images = image_interval(one, other)
        _, *over_both = both_interval(one, other)
        rows.append(
            {
                "test images": domain,
                "first": first,
                "second": second,
                "seeds": f"{len(one)} and {len(other)}",
                "second minus first": apart,
                "over seeds, low": low,
                "over seeds, high": high,
                "over images, low": over_images[0],
                "over images, high": over_images[1],
                "over both, low": over_both[0],
                "over both, high": over_both[1],
            }
        )
    frame = pd.DataFrame(rows)
    return frame.set_index(["test images", "first", "second"]) if rows else frame


def of_model(scores: pd.DataFrame, model: str, domain: str) -> pd.DataFrame:
    """Return a model's rows on a domain's images, a seed each."""
    return scores[(scores["model"] == model) & (scores["domain"] == domain)]


def image_interval(first: pd.DataFrame, second: pd.DataFrame) -> tuple[float, float]:
    """Return the 95 % interval over images of the second model's mean mAP minus the first one's.

    Both are measured on the same images, of which one block after the other is left out of both
    (jackknife, see `difference.scores`). NaN where nobody knows what is left.
    """
    left = _left([first, second])
    if left is None:
        return float("nan"), float("nan")
    return interval(float(second["map50"].mean() - first["map50"].mean()), left[1] - left[0])


def both_interval(first: pd.DataFrame, second: pd.DataFrame) -> tuple[float, float, float]:
    """Return the same difference with its 95 % interval over seeds and images together, if it has one."""
    left = _left([first, second])
    without = np.zeros(0) if left is None else left[1] - left[0]
    return difference_over_both(first["map50"].tolist(), second["map50"].tolist(), without)


def own_interval(rows: pd.DataFrame) -> tuple[float, float]:
    """Return the 95 % interval over images of a model's mean mAP; NaN where nobody knows."""
    left = _left([rows])
    if left is None:
        return float("nan"), float("nan")
    low, high = interval(float(rows["map50"].mean()), left[0])
    return max(low, 0.0), min(high, 1.0)


def _left(models: Sequence[pd.DataFrame]) -> list[Values] | None:
    """Return each model's mean over seeds without one block of images after the other."""
    if any("without" not in rows for rows in models):
        return None
    left = [row for rows in models for row in rows["without"]]
    if not left or len({len(row) for row in left}) > 1 or not len(left[0]):
        return None
    return [np.mean(np.stack(list(rows["without"])), 0) for rows in models]


def _with_intervals(table: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Add to each domain's columns the ends of the interval over images, if any is known."""
    made: dict[tuple[str, str], pd.Series] = {}
    for domain in dict.fromkeys(table.columns.get_level_values(0)):
        made |= {(domain, name): column for name, column in table[domain].items()}
        ends = [own_interval(of_model(scores, model, domain)) for model in table.index]
        for name, of_end in zip(("low", "high"), zip(*ends, strict=True), strict=True):
            if np.isfinite(of_end).any():
                made[domain, f"over images, {name}"] = pd.Series(of_end, table.index)
    frame = pd.DataFrame(made)
    frame.columns.names = table.columns.names
    return frame


def short(result: Scores) -> str:
    """Say how much less a model finds on images of another domain, as far as seeds and images tell."""
    away = away_from_home(result.labels, result.rows["domain"].unique())
    if away is None:
        return ""
    home, other = (of_model(result.rows, away.model, domain) for domain in (away.home, away.other))
    if home.empty or other.empty:
        return ""
    apart, low, high = gap_interval(home, other)
    text = (
        f"{away.model} has mAP@0.5 {number(home['map50'].mean(), 3)} on {away.home} and "
        f"{number(other['map50'].mean(), 3)} on {away.other} test images"
    )
    if low <= 0 <= high:
        text += f": whether that is a gap is undecided, {bracketed(apart, low, high, sign=True)}"
    elif apart < 0:
        text += f": it is better there, by {bracketed(-apart, -high, -low)}"
    else:
        text += f", a gap of {bracketed(apart, low, high)}"
    text += "" if np.isfinite(low) else " (no interval: too few test images)"
    oracle = of_model(result.rows, away.oracle, away.other)
    if not oracle.empty:
        reached = number(oracle["map50"].mean(), 3)
        text += f"; {away.oracle}, trained on {away.other}, has {reached} there"
    return f"{text}{'' if len(home) > 1 else ' (one seed)'}."


def gap_interval(home: pd.DataFrame, other: pd.DataFrame) -> tuple[float, float, float]:
    """Return how much higher a model's mean mAP is on the first domain, with its 95 % interval.

    The interval is over images, which are others in either domain, and over seeds if there are two: of
    each training both scores are known, so it is their difference that varies. NaN where nobody knows.
    """
    apart = (home.set_index("seed")["map50"] - other.set_index("seed")["map50"]).dropna()
    value = float(apart.mean())
    left = [_left([rows]) for rows in (home, other)]
    if any(means is None for means in left):
        return value, float("nan"), float("nan")
    of_domains = [means[0] for means in left if means is not None]
    parts = [((len(one) - 1) * float(np.var(one)), len(one) - 1) for one in of_domains]
    if len(apart) > 1:
        parts.append((float(apart.var(ddof=1)) / len(apart), len(apart) - 1))
    reach = reach_of_sum(parts)
    return value, value - reach, value + reach


def sentences(result: Scores) -> Iterator[str]:
    """Yield each model's mean on each domain, its interval over images and its spread over seeds."""
    scores = result.rows
    means = scores.groupby(["model", "domain"], sort=False)["map50"].mean().unstack(sort=False)
    seeds = {str(model): len(set(rows["seed"])) for model, rows in scores.groupby("model")}
    counts = set(seeds.values())
    alike = len(counts) == 1
    texts = [
        f"{model}{'' if alike else f' (seeds: {seeds[str(model)]})'} "
        + " and ".join(
            f"{_told(scores, str(model), str(domain))} on {domain}" for domain in row.index
        )
        for model, row in means.iterrows()
    ]
    if not alike:
        over = ", mean of each model's seeds"
    else:
        over = f", mean of {max(counts)} seeds" if max(counts) > 1 else ""
    few = _SECOND if 2 in counts and max(counts) < _SEVERAL else ""
    yield f"mAP@0.5 on the test images of each domain{over}: {'; '.join(texts)}.{few}"


def _told(scores: pd.DataFrame, model: str, domain: str) -> str:
    """Write a mean with its interval over images and, apart from it, the range of its seeds."""
    rows = of_model(scores, model, domain)
    values, (low, high) = rows["map50"], own_interval(rows)
    parts = []
    if np.isfinite([low, high]).all():
        parts.append(f"95 % interval over images {number(low, 3)} to {number(high, 3)}")
    if len(rows) > 1:
        parts.append(f"seeds {number(values.min(), 3)} to {number(values.max(), 3)}")
    return number(values.mean(), 3) + (f" ({'; '.join(parts)})" if parts else "")


PANEL = Panel("scores", "Detection", compute, tables, sentences, short=short)
