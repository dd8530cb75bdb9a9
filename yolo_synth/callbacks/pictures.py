"""Pictures: predicted boxes beside the true ones on the same few validation images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from yolo_synth.boxes import Detection, Target
from yolo_synth.claims import is_held
from yolo_synth.files import write_whole
from yolo_synth.labels import CLASSES, class_colours

log = logging.getLogger(__name__)


class Pictures(Callback):
    """Draw the first validation images with true and predicted boxes, into the run folder and to W&B."""

    def __init__(self, images: int = 4, every: int = 10, confidence: float = 0.25) -> None:
        """Choose how many pictures, and how often.

        Args:
            images: How many images of the first validation batch; 0 turns the pictures off.
            every: Draw after every so many epochs, and after the last one.
            confidence: Draw predictions that score above this.
        """
        self.images = images
        self.every = every
        self.confidence = confidence

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: tuple[Tensor, list[Target]],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw, once an epoch, on the first process."""
        if batch_idx or not (self.images and trainer.is_global_zero and self._is_due(trainer)):
            return
        images, targets = batch[0][: self.images], batch[1][: self.images]
        with torch.inference_mode():
            found = pl_module.detect(images)  # type: ignore[operator]  # a Detector
        figure = boxes_figure(images, targets, found, self.confidence, pl_module.classes)  # type: ignore[arg-type]
        path = Path(trainer.default_root_dir) / "pictures" / f"epoch_{trainer.current_epoch:03}.png"
        if not is_held(path.parents[1]):
            return  # it was moved, which whoever writes its checkpoints says
        try:
            write_whole(path, lambda file: figure.savefig(file, dpi=100, format="png"))
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.log_image("val/boxes", [str(path)])
        except (
            Exception
        ) as error:  # a disk's or W&B's, of whatever kind: no reason to end a training
            log.warning("pictures: %s: %s", path, " ".join(str(error).split()))

    def _is_due(self, trainer: Trainer) -> bool:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return False
        epochs = trainer.current_epoch + 1
        return epochs == trainer.max_epochs or epochs % self.every == 0


def boxes_figure(
    images: Tensor,
    targets: list[Target],
    found: list[Detection],
    confidence: float,
    classes: Sequence[str] = CLASSES,
) -> Figure:
    """Draw each image twice, above with its true boxes, below with those that score above `confidence`.

    Args:
        images: float [n, 3, H, W] in 0..1.
        targets: What is there.
        found: What was detected.
        confidence: Least score of a detection that is drawn.
        classes: Names of the classes.
    """
    columns = len(images)
    colours = class_colours(len(classes))
    figure = Figure(figsize=(3.2 * columns, 6.8), layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False)
    for column, (image, target, detection) in enumerate(zip(images, targets, found, strict=True)):
        for row in axes[:, column]:
            row.imshow(image.permute(1, 2, 0).float().cpu().numpy())
            row.set_axis_off()
        names = [classes[label] for label in target["labels"].tolist()]
        _draw(axes[0, column], target["boxes"], target["labels"], names, colours)
        sure = detection["scores"] > confidence
        labels = detection["labels"][sure]
        named = [
            f"{classes[label]} {score:.2f}"
            for label, score in zip(
                labels.tolist(), detection["scores"][sure].tolist(), strict=True
            )
        ]
        _draw(axes[1, column], detection["boxes"][sure], labels, named, colours)
    axes[0, 0].set_title("true", loc="left")
    axes[1, 0].set_title(f"predicted, score above {confidence}", loc="left")
    return figure


def _draw(axes: Axes, boxes: Tensor, labels: Tensor, names: list[str], colours: list[str]) -> None:
    for box, label, name in zip(boxes.tolist(), labels.tolist(), names, strict=True):
        x1, y1, x2, y2 = box
        colour = colours[label]
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=colour, lw=1.6))
        axes.text(
            x1, y1, name, fontsize=7, va="bottom", bbox={"fc": colour, "ec": "none", "pad": 0.8}
        )
