"""How trainings went: loss and accuracy over the steps, a curve a run."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure


def training_curves(metrics: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw training loss and validation mAP@0.5 over the optimizer's steps.

    Args:
        metrics: Name of the run, as `U-Real/0` → its `metrics.csv`, with the columns `step`,
            `train/loss` and `val/map50`; one that a very short run lacks is left empty. Models are
            told apart by colour, seeds by dashes.
    """
    tidy = pd.concat(
        [
            table.reindex(columns=["step", "train/loss", "val/map50"]).assign(
                model=name.rpartition("/")[0], seed=name.rpartition("/")[2]
            )
            for name, table in metrics.items()
        ]
    )
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    titles = {"train/loss": "training loss", "val/map50": "mAP@0.5 on the run's validation images"}
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        logged = tidy.dropna(subset=[column])
        if logged.empty:
            continue
        sns.lineplot(
            logged,
            x="step",
            y=column,
            hue="model",
            style="seed",
            palette="colorblind",
            errorbar=None,
            legend=axes is panels[-1],
            ax=axes,
        )
        axes.set(title=title, xlabel="step", ylabel="")
        sns.despine(ax=axes)
    panels[0].set_yscale("log")
    if panels[-1].get_legend():
        sns.move_legend(panels[-1], "upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure
