"""What training added: the similarity of two networks without what both started from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.comparison import Comparison
from yolo_synth.report.pairs import is_of_one_seed, main_pairs
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.study import Study
from yolo_synth.report.tables import seeds_as_columns
from yolo_synth.report.words import listed, named, part_means


def compute(study: Study) -> list[Comparison]:
    """Return the pairs of one seed that have a common start."""
    return [pair for pair in study.pairs if "partial" in pair.series and is_of_one_seed(pair)]


def tables(pairs: Sequence[Comparison]) -> Iterator[Table]:
    """Yield the means over the parts of the network."""
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


def sentences(pairs: Sequence[Comparison]) -> Iterator[str]:
    """Say what is left of the similarity of real and synthetic training."""
    for group in main_pairs(pairs):
        yield _training_added(group)


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


PANEL = Panel("start", "What training added", compute, tables, sentences)
