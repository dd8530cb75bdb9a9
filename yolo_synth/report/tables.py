"""The paper's Tables 2 to 5 and what stands beside them, from scores, layer outputs and pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
import torch

from yolo_synth.analysis.activations.statistics import average_layers, mean_by_part
from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.report import paper
from yolo_synth.report.judging import calibrated, verdicts
from yolo_synth.report.results import SERIES, Pair, Table, Values

MEASURES: Final = {"debiased CKA": "debiased", "CKA as in the paper": "biased"}
"""Names of the two figures, and the attributes of a pair."""

_SPREAD = "The spread is the largest minus the smallest value over the seeds; with one seed it is unknown."


def score_tables(scores: pd.DataFrame) -> list[Table]:
    """Return Table 2, mAP@0.5, and the same by class.

    Args:
        scores: A row per run and domain, of `evaluation.evaluation_table`.
    """
    by_seed = _seeds_as_columns(
        scores.assign(column=scores["domain"]),
        ["model"],
        "column",
        "map50",
        ("test images", "seed"),
    )
    classes = {
        name: name.removeprefix("map50_")
        for name in map(str, scores.columns)
        if name.startswith("map50_")
    }
    by_class = (
        scores.rename(columns=classes)
        .melt(["model", "seed", "domain"], [*classes.values()], "class", "value")
        .pivot_table(
            index=["model", "seed"], columns=["domain", "class"], values="value", sort=False
        )
        .sort_index(axis=1, level="domain", sort_remaining=False)
    )
    return [
        Table(
            "table_2",
            "Table 2: mAP@0.5 of each model on each domain's test images",
            f"Rows: the model. Columns: the test images and the seed. {_SPREAD}",
            by_seed,
        ),
        Table(
            "table_2_classes",
            "Table 2 by class: AP@0.5 of each class",
            "Rows: model and seed. Columns: the test images and the class. The paper has no such table. "
            "A class without a box in the test images has no value.",
            by_class,
        ),
    ]


def output_tables(
    outputs: Mapping[tuple[str, str, int], pd.DataFrame], size: int, number: int
) -> list[Table]:
    """Return Table 3 or 4, statistics averaged over layers, and the values of each layer.

    Args:
        outputs: Probe domain, model and seed → a row a layer, of `outputs.layer_outputs`.
        size: Side of the probe images in pixels.
        number: Number of the paper's table.
    """
    names = ["probe images", "model", "seed"]
    averaged = pd.DataFrame(
        [average_layers(layers) for layers in outputs.values()],
        index=pd.MultiIndex.from_tuples(outputs, names=names),
    )
    title = f"Table {number}: what the layers put out at {size} x {size}"
    means = (
        "Mean, median, standard deviation, minimum and maximum of a layer's output over all images"
    )
    tables = [
        Table(
            f"table_{number}",
            f"{title}, averaged over layers",
            f"{means}, places and channels; exact, then averaged over all layers, detection layers as "
            "raw logits. The paper probes with real images alone.",
            averaged,
        )
    ]
    for domain in dict.fromkeys(probe for probe, _, _ in outputs):
        columns = {
            f"{model}/{seed}": layers.set_index(["layer", "kind"])
            for (probe, model, seed), layers in outputs.items()
            if probe == domain
        }
        tables.append(
            Table(
                f"table_{number}_layers_{domain.lower()}",
                f"{title}, layer by layer, {domain} probe images",
                f"{means}, places and channels; a row a layer.",
                pd.concat(columns, axis=1, names=["run", "statistic"]),
            )
        )
    return tables


def similarity_tables(pairs: Sequence[Pair], structure: Structure) -> list[Table]:
    """Return Table 5 for runs of one seed, and the same across seeds and for initial states."""
    means = _means(pairs, structure)
    kinds = {
        "table_5": (
            means["same seed"],
            ["probe images", "size", "pair"],
            "Table 5: mean CKA of each pair of models with the same seed",
            "Mean over all layers, backbone and head of layer i against layer i. "
            "`As in the paper` is inflated where layers have more features than there are images; "
            "debiased is not, and 0 is chance. "
            f"{_SPREAD} The paper probes with real images at 32 x 32 alone.",
        ),
        "table_5_seeds": (
            means["other seed"],
            ["probe images", "size", "pair", "seeds"],
            "Table 5 across seeds: mean CKA of runs with other seeds",
            "As Table 5, of two runs whose seeds differ: what two seeds of one model reach is the "
            "ceiling of what to expect. The paper has Figure 6 for it.",
        ),
        "table_5_initial": (
            means["initial state"],
            ["probe images", "size", "pair"],
            "Table 5 for the start: mean CKA of each run with its own initial state",
            "As Table 5, of the trained network with the weights that it started from: 1 in layers that "
            "were frozen. The paper has no such table.",
        ),
    }
    tables = []
    for key, (rows, index, title, caption) in kinds.items():
        if rows.empty:
            continue
        if key == "table_5_seeds":
            frame = rows.pivot_table(
                index=index, columns=["measure", "part"], values="value", sort=False
            )
        else:
            frame = _seeds_as_columns(rows, index, ["measure", "part"], "value", ("", "", "seed"))
        tables.append(Table(key, title, caption, frame))
    return [*tables, *_partial_table(means["partial"])]


def _partial_table(rows: pd.DataFrame) -> list[Table]:
    if rows.empty:
        return []
    frame = _seeds_as_columns(
        rows, ["probe images", "size", "pair"], ["part"], "value", ("part", "seed")
    )
    caption = (
        "Debiased CKA once the common initial state is regressed out of both networks, averaged over "
        "the layers that training changed in both: two networks that keep what they started from "
        "and change independently have 0. The paper has no such table."
    )
    return [
        Table("table_5_partial", "Table 5, what training added: mean partial CKA", caption, frame)
    ]


def _means(pairs: Sequence[Pair], structure: Structure) -> dict[str, pd.DataFrame]:
    """Return the means of all pairs in long form, by what the pair is of."""
    rows: dict[str, list[dict[str, object]]] = {
        kind: [] for kind in ("same seed", "other seed", "initial state", "partial")
    }
    for pair in pairs:
        if pair.is_self:
            continue
        first, second = pair.seeds
        same = "same seed" if first == second else "other seed"
        about = {
            "probe images": pair.probe,
            "size": pair.size,
            "pair": " vs ".join(pair.models),
            "seeds": f"{first} vs {second}",
            "seed": first,
        }
        for measure, attribute in MEASURES.items():
            diagonal = np.diag(getattr(pair, attribute))
            for part, mean in part_means(diagonal, structure).items():
                row = {**about, "measure": measure, "part": part, "value": mean}
                rows["initial state" if pair.is_initial else same].append(row)
        if pair.partial is not None and same == "same seed":
            for part, mean in part_means(pair.partial, structure).items():
                rows["partial"].append({**about, "part": part, "value": mean})
    return {kind: pd.DataFrame(found) for kind, found in rows.items()}


def part_means(values: Values, structure: Structure) -> dict[str, float]:
    """Return the means over all layers, backbone and head, of those that have a value."""
    parts = {"backbone": structure.backbone, "head": structure.head}
    return {str(k): float(v) for k, v in mean_by_part(torch.tensor(values), parts).items()}


def _seeds_as_columns(
    rows: pd.DataFrame,
    index: list[str],
    column: str | list[str],
    value: str,
    names: Iterable[str],
) -> pd.DataFrame:
    """Turn seeds into columns, with mean and spread under each column where there are several."""
    columns = [column] if isinstance(column, str) else column
    seeds = sorted(rows["seed"].unique())
    cells = rows.pivot_table(
        index=index, columns=[*columns, "seed"], values=value, sort=False, dropna=False
    )
    made = {}
    for key in dict.fromkeys(name[:-1] for name in cells.columns):
        group = pd.DataFrame({seed: cells.get((*key, seed)) for seed in seeds}, index=cells.index)
        for seed in seeds:
            made[*key, f"seed {seed}"] = group[seed]
        if len(seeds) > 1:
            made[*key, "mean"] = group.mean(axis=1)
            alone = group.count(axis=1) < 2
            made[*key, "spread"] = (group.max(axis=1) - group.min(axis=1)).mask(alone)
    frame = pd.DataFrame(made)
    frame.columns.names = list(names)
    return frame


def layer_similarities(pairs: Sequence[Pair], structure: Structure) -> pd.DataFrame:
    """Return all that is known of layer i against layer i, a row per pair and layer."""
    frames = []
    for pair in pairs:
        if pair.is_self:
            continue
        columns = {
            "probe": pair.probe,
            "size": pair.size,
            "first": pair.first,
            "second": pair.second,
            "layer": np.arange(len(structure)),
            "kind": structure.kinds,
            "cka": np.diag(pair.biased),
            "cka_debiased": np.diag(pair.debiased),
        }
        for name in SERIES:
            values = getattr(pair, name)
            columns[name] = np.full(len(structure), np.nan) if values is None else values
        columns["calibrated"] = calibrated(pair)
        columns["verdict"] = "" if pair.low is None else verdicts(pair)
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def scorecard(tables: Sequence[Table], remark: str) -> Table:
    """Set the paper's figures beside ours.

    Args:
        tables: Those of this report; what it lacks has no figure of ours.
        remark: What to know about the comparison, such as that the data are other data.
    """
    frames = {table.key: table.frame for table in tables}
    rows = [
        (f"Table {figure.table}", figure.row, figure.column, figure.seed, figure.value)
        for figure in paper.figures()
    ]
    frame = pd.DataFrame(rows, columns=["table", "model", "figure", "seed", "paper"])
    frame["ours"] = [_ours(frames, figure) for figure in paper.figures()]
    frame["difference"] = frame["ours"] - frame["paper"]
    caption = (
        f"{remark} Table 2: mAP@0.5 by test images; Tables 3 and 4: layer outputs for real probe images "
        "at 416 x 416 and 32 x 32; Table 5: mean CKA as in the paper, real probe images at 32 x 32."
    )
    index = ["table", "model", "figure", "seed"]
    return Table(
        "scorecard", "Scorecard: the paper and this report", caption, frame.set_index(index)
    )


def _ours(frames: Mapping[str, pd.DataFrame], figure: paper.Figure) -> float:
    seed = f"seed {figure.seed}"
    row: object = figure.row
    column: object = (figure.column, seed)
    if figure.table in (3, 4):
        row, column = ("Real", figure.row, figure.seed), figure.column
    elif figure.table == 5:
        row = ("Real", paper.PROBE_SIZE, figure.row)
        column = ("CKA as in the paper", figure.column, seed)
    frame = frames.get(f"table_{figure.table}")
    if frame is None or row not in frame.index or column not in frame.columns:
        return float("nan")
    return float(frame.loc[row, column])  # type: ignore[index, arg-type]
