"""How well the networks detect: mAP@0.5 of each model on each domain's test images (Table 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import Final

import numpy as np
import pandas as pd

from yolo_synth.analysis.similarity.seeds import difference_of_means, difference_over_both
from yolo_synth.analysis.similarity.series import Values
from yolo_synth.difference.scores import interval
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.study import Study
from yolo_synth.report.tables import SPREAD, seeds_as_columns
from yolo_synth.report.words import number

_SEVERAL: Final = 3
"""Seeds from which on a spread is more than one difference."""

_SECOND: Final = (
    " Of two seeds little follows: of three trainings alike, the third lies outside the other two in two "
    "of three cases."
)


def compute(study: Study) -> pd.DataFrame:
    """Return a row per run and domain, of `evaluation.evaluation_table`."""
    return study.scores


def tables(scores: pd.DataFrame) -> Iterator[Table]:
    """Yield Table 2, mAP@0.5, and the same by class."""
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


def sentences(scores: pd.DataFrame) -> Iterator[str]:
    """Yield each model's mean on each domain, its interval over images and its spread over seeds."""
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


PANEL = Panel("scores", "Detection", compute, tables, sentences)
