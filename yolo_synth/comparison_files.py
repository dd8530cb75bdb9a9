"""A comparison as files: means in a line, tables, figures and the matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.figures.influence import influence_sheet
from yolo_synth.analysis.figures.similarity import similarity_curves, similarity_heatmap
from yolo_synth.analysis.similarity.measures import MEASURES
from yolo_synth.analysis.similarity.series import LayerSeries, part_means
from yolo_synth.claims import claimed
from yolo_synth.comparison import BIASED, COLUMNS, DEBIASED, FORMAT, Comparison
from yolo_synth.crossing import Crossing
from yolo_synth.escaping import csv_text
from yolo_synth.files import Kept, file_name, write_whole
from yolo_synth.probe import Label, Probe

_PATIENCE: Final = 600.0
"""Seconds to wait for another process that writes the same comparison, which takes a few."""


def summary(result: Comparison | Crossing) -> str:
    """Return the means over all layers, backbone and head in words, debiased first.

    Of two architectures those of each layer's most similar one of the other.
    """
    if isinstance(result, Crossing):
        pairs = zip(result.matches, (result.structure, result.other), strict=True)
        means = [_means(found.series, structure) for found, structure in pairs]
        return (
            f"mean {DEBIASED} of each layer of {result.first} with its most similar one of "
            f"{result.second} {means[0]}; the other way {means[1]}"
        )
    lines = {
        f"mean {DEBIASED}": result.debiased_series,
        "given the common start": result.series.get("partial"),
        BIASED: result.biased_series,
    }
    said = [
        f"{name} {_means(series, result.structure)}" for name, series in lines.items() if series
    ]
    said += [
        f"{name} {_means(series, result.structure)}, beyond chance in {series.significant.sum()} of "
        f"{len(series)} layers"
        for name, series in result.opinions.items()
    ]
    text = "; ".join(said)
    if result.error is None:
        return text
    return f"{text}; {result.precision} errs by {result.error}"


def _means(series: LayerSeries, structure: Structure) -> str:
    return ", ".join(f"{part} {mean:.3f}" for part, mean in series.means(structure.parts).items())


def image_table(result: Comparison, probe: Probe) -> pd.DataFrame:
    """Return a row an image: its name, group, and mean influence over all layers and the parts."""
    table = pd.DataFrame({"image": probe.names})
    if probe.groups is not None:
        table["group"] = probe.groups
    if result.influence is not None:
        known = np.isfinite(result.influence).all(axis=1, keepdims=True)
        rows = np.where(known, result.influence, np.nan)
        means = pd.DataFrame([part_means(row, result.structure.parts) for row in rows.T])
        table = table.join(means.add_prefix("influence_"))
    return table


def figures(result: Comparison | Crossing, probe: Probe) -> dict[str, Figure]:
    """Return the curve over layers, both heat maps and the images that matter most, by file name.

    Of two architectures the heat maps alone.
    """
    title = f"{result.name}\n{result.label}"
    if isinstance(result, Crossing):
        return _heatmaps(result, title)
    if result.error is not None:
        title += f", {result.precision} (error {result.error.mean:.1e} on average)"
    series = {DEBIASED: result.debiased_series}
    if "partial" in result.series:
        series[f"{DEBIASED}, given the common start"] = LayerSeries(result.series["partial"].value)
    drawn = {
        "curves": similarity_curves(
            {**series, BIASED: result.biased_series},
            result.structure,
            title=title,
            image_size=result.size,
        ),
        **_heatmaps(result, title),
    }
    drawn |= {name: measure_curves([result], name, title) for name in result.opinions}
    if result.influence is not None:
        drawn["images"] = influence_sheet(
            probe.images,
            image_table(result, probe)["influence_all"],
            probe.names,
            title=f"What single images add to the mean {DEBIASED}\n{title}",
        )
    return drawn


def _heatmaps(result: Comparison | Crossing, title: str) -> dict[str, Figure]:
    kinds = (("heatmap_debiased", DEBIASED), ("heatmap_biased", BIASED))
    return {name: heatmap(result, title, measure) for name, measure in kinds}


def measure_curves(pairs: Sequence[Comparison], name: str, title: str) -> Figure:
    """Draw a measure of `MEASURES` of several pairs, a curve each, with interval and chance."""
    series = {pair.name: pair.series[name] for pair in pairs}
    rows = [row for one in series.values() for row in (one.value, one.high, one.null)]
    known = np.concatenate([row[np.isfinite(row)] for row in rows if row is not None])
    return similarity_curves(
        series,
        pairs[0].structure,
        title=title,
        image_size=pairs[0].size,
        measure=name,
        highest=float(known.max(initial=0.01)),
        distance=MEASURES[name].agree == 0,
    )


def heatmap(result: Comparison | Crossing, title: str, measure: str) -> Figure:
    """Draw one of the matrices; that of two architectures is as wide and as high as they are deep."""
    other, side = (
        (result.other, None) if isinstance(result, Crossing) else (result.structure, result.size)
    )
    return similarity_heatmap(
        result.biased if measure == BIASED else result.debiased,
        result.structure,
        other,
        names=(result.first.name, result.second.name),
        title=title,
        image_size=side,
        measure=measure,
        ribbon=True,
    )


def write_comparison(result: Comparison | Crossing, probe: Probe, folder: Path) -> None:
    """Write `similarity.npz`, two tables and the figures as PNG; the npz comes last."""
    with claimed(folder, "writes a comparison", patience=_PATIENCE):
        for name, table in _tables(result, probe).items():
            write_whole(folder / f"{name}.csv", csv_text(table, index=False))
        for name, figure in figures(result, probe).items():
            draw = partial(figure.savefig, format="png", dpi=150)
            write_whole(folder / f"{name}.png", draw)
        arrays = result.pack() | {"image_names": probe.names}
        kept_comparison(folder, probe).write(arrays)


def _tables(result: Comparison | Crossing, probe: Probe) -> dict[str, pd.DataFrame]:
    if isinstance(result, Crossing):
        return dict(zip(("layers_first", "layers_second"), result.layers(), strict=True))
    return {"layers": result.layers(), "images": image_table(result, probe)}


def kept_comparison(folder: Path, probe: Probe) -> Kept:
    """Return the place of a comparison's numbers; they come last, so that all else is there too."""
    return Kept(folder / "similarity.npz", probe.digest, FORMAT)


def unpack_series(arrays: Mapping[str, Any]) -> dict[str, LayerSeries]:
    """Return the series of a packed comparison."""
    read = {name: LayerSeries.read(arrays, *names) for name, names in COLUMNS.items()}
    return {name: series for name, series in read.items() if series is not None}


def unpack_agreement(arrays: Mapping[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Return how alike the measures of a packed comparison rank the layers."""
    names, rows = (arrays.get(name, []) for name in ("agreement_of", "agreement"))
    return {
        str(name): (float(value), float(low), float(high))
        for name, (value, low, high) in zip(names, rows, strict=True)
    }


def folder_name(other: Label, probe: Probe) -> str:
    """Name the folder of a comparison with another network: `U-Synthetic-0_Real-test_32`."""
    return file_name(f"{other}_{probe.domain}-{probe.split}_{probe.size}")
