"""Similarity: after training, CKA of the best weights against another run or the initial state."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from matplotlib.figure import Figure
from PIL import Image

from yolo_synth import runs
from yolo_synth.comparison import FEWEST_IMAGES, Comparison, Probe, compare, folder_name
from yolo_synth.networks.yolov3 import YOLOv3


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
            size: Side of the network input for the comparison, in pixels, a multiple of 32.
            split: `train`, `valid` or `test` of the run's own data.

        Raises:
            ValueError: If there are too few images for a similarity, or the size is not allowed.
        """
        if images != 0 and images < FEWEST_IMAGES:
            raise ValueError(f"similarity.images is 0 or at least {FEWEST_IMAGES}, not {images}")
        if size < 32 or size % 32:
            raise ValueError(f"similarity.size is a multiple of 32, not {size}")
        self.reference = reference
        self.images = images
        self.size = size
        self.split = split

    def check_reference(self) -> None:
        """Read the reference before training, not days later.

        Raises:
            FileNotFoundError: If it is no run folder.
        """
        if self.images and self.reference is not None:
            runs.read_run(self.reference)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the reference."""
        if stage == "fit":
            self.check_reference()

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare, write and log."""
        if not self.images:
            return
        run = runs.read_run(trainer.default_root_dir)
        name, network, start = self._reference(run)
        device = trainer.strategy.root_device
        result = compare(
            (run.name, run.network().to(device)),
            (name, network.to(device)),
            self._probe(run, trainer),
            start and start.to(device),
        )
        folder = run.folder / "similarity" / folder_name(result.names[1], result.probe)
        result.write(folder)
        rank_zero_info(f"similarity to {result.names[1]}: {result.summary()}; see {folder}")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                log_to_wandb(logger, result)

    def _probe(self, run: runs.Run, trainer: Trainer) -> Probe:
        """Return images of the trainer's own data."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning, not declared
        batch, names = data.probe(self.split, self.images, self.size)
        source = runs.source_name(run.config["data"], self.split)
        return Probe(batch, names, source, data.groups(names))

    def _reference(self, run: runs.Run) -> tuple[str, YOLOv3, YOLOv3 | None]:
        """Return the other network's name, itself, and the start that it shares with this run."""
        if self.reference is None:
            return "initial state", run.network(runs.INITIAL), None
        other = runs.read_run(self.reference)
        return other.name, other.network(), runs.common_start(run, other)


def log_to_wandb(logger: WandbLogger, result: Comparison) -> None:
    """Log the figures as images and both matrices as tables with a row a layer of the first network."""
    key = f"similarity/{result.names[1]}"
    for name, figure in result.figures().items():
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
