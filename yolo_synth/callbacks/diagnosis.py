"""Diagnosis: what the best weights are good and bad at on the validation images, to Weights & Biases."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from yolo_synth.analysis.figures.diagnosis import diagnosis_sheet
from yolo_synth.boxes import Detection, Target
from yolo_synth.claims import is_held
from yolo_synth.diagnosis import CONFIDENCES, diagnose
from yolo_synth.files import write_whole
from yolo_synth.scoring import about_images

log = logging.getLogger(__name__)

_TITLE: Final = "validation images of the best epoch"


class LogDiagnosis(Callback):
    """Keep what is found in the best epoch's validation, and log its diagnosis when training ends.

    A training that goes on and gets no better logs none; on several devices none has all images, so
    nothing is logged: `report` and `evaluate --out` have it of the test images.
    """

    def __init__(self) -> None:
        """Begin with nothing found."""
        self._now: tuple[list[Detection], list[Target]] = ([], [])
        self._best: tuple[list[Detection], list[Target]] = ([], [])
        self._score = -1.0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last epoch's."""
        self._now = ([], [])

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: tuple[Tensor, list[Target]],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what was found in a batch."""
        if self._is_asked(trainer) and outputs:
            self._now[0].extend(_on_cpu(one) for one in outputs["found"])
            self._now[1].extend(_on_cpu(one) for one in batch[1])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the epoch's if it is the best so far."""
        score = float(trainer.callback_metrics.get("val/map50", -1.0))
        if self._is_asked(trainer) and score > self._score:
            self._score, self._best = score, self._now

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log values and a sheet, which also lies under pictures/."""
        logger = next((one for one in trainer.loggers if isinstance(one, WandbLogger)), None)
        data: Any = getattr(trainer, "datamodule", None)
        folder = Path(trainer.default_root_dir)
        if logger is None or data is None or not self._best[0] or not is_held(folder):
            return
        names = data.names("valid")
        if len(names) != len(self._best[0]):  # a limit on the batches, or images left out
            return
        classes: Any = pl_module.classes
        path = folder / "pictures" / "diagnosis.png"
        try:
            found = diagnose(*self._best, classes, data.groups(names), *about_images(data, names))
            if found is None:
                return
            sheet = diagnosis_sheet({folder.name: vars(found)}, CONFIDENCES.tolist(), _TITLE)
            write_whole(path, lambda file: sheet.savefig(file, dpi=100, format="png"))
            logger.log_image("val/diagnosis", [str(path)])
            values = {f"val/best/{name}": value for name, value in found.values.items()}
            logger.experiment.log({k: value for k, value in values.items() if value is not None})
        except Exception as error:  # whatever it is, it is no reason to end a training
            log.warning("diagnosis: %s: %s", path, " ".join(str(error).split()))

    def _is_asked(self, trainer: Trainer) -> bool:
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        return fitting and trainer.world_size == 1 and bool(trainer.loggers)


def _on_cpu(image: Any) -> Any:  # noqa: ANN401 - a detection or a target
    return {name: values.detach().cpu() for name, values in image.items()}
