"""How well the networks detect: mAP@0.5 of each model on each domain's test images (Table 2)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import numpy as np
import pandas as pd

from yolo_synth.analysis.similarity.seeds import difference_of_means
from yolo_synth.difference.scores import interval
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.study import Study
from yolo_synth.report.tables import SPREAD, seeds_as_columns
from yolo_synth.report.words import number


def compute(study: Study) -> pd.DataFrame:
    """Return a row per run and domain, of `evaluation.evaluation_table`."""
    return study.scores


def tables(scores: pd.DataFrame) -> Iterator[Table]:
    """Yield Table 2, mAP@0.5, and the same by class."""
    by_domain = scores.assign(column=scores["domain"])
    yield Table(
        "table_2",
        "Table 2: mAP@0.5 of each model on each domain's test images",
        f"Rows: the model. Columns: the test images and the seed. {SPREAD}",
        seeds_as_columns(by_domain, ["model"], ["column"], "map50", ("test images", "seed")),
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
            "Means over seeds, the second model's minus the first one's, with two 95 % intervals: over "
            "seeds (Student's; with two seeds of each its factor is 4.3) and over the test images, or "
            "whole sequences, of which one block after the other is left out of both (jackknife). One "
            "says what other trainings would give on these images, the other what these trainings would "
            "give on others. Where one holds 0, seeds, or images, cannot tell.",
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
    nothing = (float("nan"), float("nan"))
    if "without" not in first:
        return nothing
    rows = [*first["without"], *second["without"]]
    if not rows or len({len(row) for row in rows}) > 1 or not len(rows[0]):
        return nothing
    one, other = (np.mean(np.stack(list(frame["without"])), 0) for frame in (first, second))
    return interval(float(second["map50"].mean() - first["map50"].mean()), other - one)


def sentences(scores: pd.DataFrame) -> Iterator[str]:
    """Yield each model's mean on each domain, and over how many seeds."""
    means = scores.groupby(["model", "domain"], sort=False)["map50"].mean().unstack(sort=False)
    seeds = {str(model): len(set(rows["seed"])) for model, rows in scores.groupby("model")}
    counts = set(seeds.values())
    alike = len(counts) == 1
    texts = [
        f"{model}{'' if alike else f' (seeds: {seeds[str(model)]})'} "
        + " and ".join(f"{number(value, 3)} on {domain}" for domain, value in row.items())
        for model, row in means.iterrows()
    ]
    if not alike:
        over = ", mean of each model's seeds"
    else:
        over = f", mean of {max(counts)} seeds" if max(counts) > 1 else ""
    yield f"mAP@0.5 on the test images of each domain{over}: {'; '.join(texts)}."


PANEL = Panel("scores", "Detection", compute, tables, sentences)
