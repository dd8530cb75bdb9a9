"""How well the networks detect: mAP@0.5 of each model on each domain's test images (Table 2)."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

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
