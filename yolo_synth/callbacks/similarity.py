"""Similarity: after training, CKA of the best weights against another run or the initial state."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from matplotlib.figure import Figure
from PIL import Image

from yolo_synth import runs
from yolo_synth.comparison import FEWEST_IMAGES, Comparison, compare
from yolo_synth.comparison_files import (
    figures,
    folder_name,
    kept_comparison,
    summary,
    write_comparison,
)
from yolo_synth.networks.contract import Network, check_side
from yolo_synth.probe import Grams, Probe, Subject, both_starts, take_probe

log = logging.getLogger(__name__)


class Similarity(Callback):
    """Compare all layers of the trained network with those of a reference, once, after `fit`.

    Linear CKA, biased as in the paper and debiased, of all 107 x 107 pairs of layers, goes into
    `<run>/similarity/<reference>_<images>/` and to Weights & Biases.
    """

    def __init__(
        self, reference: str | None = None, images: int = 200, size: int = 32, split: str = "test"
    ) -> None:
        """Choose the reference and the images.

        Args:
            reference: Run folder of the other network; None takes this run's own initial state.
            images: How many images of the split to show; 0 turns the comparison off.
            size: Side of the network input for the comparison, in pixels, one that the network takes.
            split: `train`, `valid` or `test` of the run's own data.

        Raises:
            ValueError: If there are too few images for a similarity.
        """
        if images != 0 and images < FEWEST_IMAGES:
            raise ValueError(f"similarity.images is 0 or at least {FEWEST_IMAGES}, not {images}")
        self.reference = reference
        self.images = images
        self.size = size
        self.split = split

    def prepare(self, data: Any, network: Network) -> None:  # noqa: ANN401 - a DetectionData
        """Look before training at what is needed after it, not days later.

        A split of fewer images than asked for gives them all; one of too few turns this off.

        Args:
            data: The data module, as in training.
            network: The network to be trained.

        Raises:
            FileNotFoundError: If the reference is no run folder, or has no weights.
            ValueError: If there is no such split, the network does not take images of that size, or
                the reference is of another architecture.
        """
        if not self.images:
            return
        check_side(network, self.size, "similarity.size")
        if self.reference is not None:
            _check_alike(runs.read_run(self.reference), network)
        there = len(data.names(self.split))
        if there < FEWEST_IMAGES:
            log.warning(
                "similarity: split %r has %d images, too few to compare on (%d): none is made",
                *(self.split, there, FEWEST_IMAGES),
            )
            self.images = 0
        elif there < self.images:
            log.info(
                "similarity: split %r has %d images, not %d: all are used",
                *(self.split, there, self.images),
            )
            self.images = there

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look at what is needed."""
        if stage == "fit":
            self.prepare(_data(trainer), cast(Network, pl_module.network))

    @rank_zero_only
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compare, write and log, once the run is finished; what fails then does not undo that."""
        if stage != "fit" or not self.images:
            return
        run = runs.read_run(trainer.default_root_dir)
        try:
            self.compare(run, _data(trainer), trainer.strategy.root_device, trainer.loggers)
        except Exception as error:  # of whatever kind: the training is finished
            log.warning(
                "similarity: %s. The training in %s is finished, and the same command makes the "
                "similarity up",
                *(" ".join(str(error).split()).rstrip("."), run.folder),
            )

    def compare(
        self,
        run: runs.Run,
        data: Any,  # noqa: ANN401 - a DetectionData
        device: torch.device,
        loggers: Sequence[Logger] = (),
        *,
        anew: bool = True,
    ) -> None:
        """Compare a finished run's best weights with the reference, write and log.

        Args:
            run: The run.
            data: Its data module, set up.
            device: Where the networks run.
            loggers: W&B's among them gets figures and tables.
            anew: False leaves a comparison on the same images as it is.
        """
        if not self.images:
            return
        first = Subject(run)
        other, starts = self._reference(first)
        domain = runs.domain_name(run.config["data"], self.split)
        probe = take_probe(data, domain, self.images, self.size, self.split)
        folder = run.folder / "similarity" / folder_name(other.label, probe)
        if not anew and kept_comparison(folder, probe).read() is not None:
            return
        result = compare(first, other, Grams(probe, device=device), starts, single_images=True)
        write_comparison(result, probe, folder)
        rank_zero_info(f"similarity to {result.second}: {summary(result)}; see {folder}")
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                log_to_wandb(logger, result, probe)

    def _reference(self, first: Subject) -> tuple[Subject, tuple[Subject, Subject] | None]:
        """Return the other network, and what both started from."""
        if self.reference is None:
            return Subject(first.run, runs.INITIAL), None
        other = Subject(runs.read_run(self.reference))
        return other, both_starts(first, other)


def _data(trainer: Trainer) -> Any:  # noqa: ANN401
    return trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning, not declared


def _check_alike(reference: runs.Run, network: Network) -> None:
    """Refuse a reference whose weights cannot be read, or are of another architecture."""
    theirs = reference.network()
    if theirs.description != network.description:
        raise ValueError(
            f"similarity.reference: {reference.folder} is {theirs.description} and this run "
            f"{network.description}; name a run like this one, or null for this run's own start"
        )


def log_to_wandb(logger: WandbLogger, result: Comparison, probe: Probe) -> None:
    """Log the figures as images and both matrices as tables with a row a layer of the first network."""
    key = f"similarity/{result.second}"
    for name, figure in figures(result, probe).items():
        logger.log_image(f"{key}/{name}", [_picture(figure)])
    logger.log_table(f"{key}/layers", dataframe=result.layers())
    for name, matrix in (("debiased", result.debiased), ("biased", result.biased)):
        table = pd.DataFrame(matrix).rename(columns="layer {}".format)
        table.insert(0, "layer", np.arange(len(matrix)))
        logger.log_table(f"{key}/{name}", dataframe=table)


def _picture(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return Image.open(buffer)
