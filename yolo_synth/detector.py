"""The LightningModule: YOLOv3's training and evaluation steps, its metrics and its optimizer."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from yolo_synth.boxes import Detection, Target
from yolo_synth.labels import CLASSES
from yolo_synth.yolov3 import (
    YOLOv3,
    detection_loss,
    detections,
    load_backbone,
    load_darknet_weights,
)

Batch = tuple[Tensor, list[Target]]

NOMINAL_BATCH = 64
"""The loss is scaled by batch / 64, as in the paper's code base, so the gains suit any batch size."""


class Detector(LightningModule):
    """YOLOv3 with the loss, the metrics and the optimizer of the paper.

    A batch is `(images, targets)`: float [B, 3, H, W] in 0..1 and one `Target` per image. It logs
    `train/{box,objectness,class,loss}` each step and `{val,test}/map50`, `map` and, for every class that
    occurs, `map50_<class>` each epoch (COCO's 101-point average precision, IoU 0.5 and 0.5:0.95).
    """

    def __init__(
        self,
        num_classes: int = len(CLASSES),
        width: float = 1.0,
        backbone: str | None = None,
        weights: str | None = None,
        lr: float = 1e-4,
        schedule: Literal["constant", "one_cycle"] = "constant",
        confidence: float = 0.001,
        iou: float = 0.6,
    ) -> None:
        """Build the network and load what it starts from.

        Args:
            num_classes: How many classes it tells apart.
            width: Factor on the channels of every layer; 1 is YOLOv3, 0.125 trains on a laptop.
            backbone: File that layers 0-74 start from: Darknet's `darknet53.conv.74` or any other
                file of its YOLOv3, a darknet53 of timm (.safetensors) or of OpenMMLab (.pth). None
                starts from random weights.
            weights: File that the whole network starts from: a run's checkpoint (.ckpt), to fine-tune
                it, or a Darknet file of the same classes (.weights).
            lr: Learning rate of Adam; with `one_cycle` its peak.
            schedule: `constant`, or `one_cycle`, which reaches good accuracy in few epochs.
            confidence: Evaluation keeps boxes that score above this.
            iou: Overlap (IoU) above which non-maximum suppression drops the lower score.

        Raises:
            FileNotFoundError: If there is no such file of weights.
            ValueError: If the file does not fit the network, or both are given.
        """
        super().__init__()
        if backbone is not None and weights is not None:
            raise ValueError(
                f"model.backbone ({backbone}) and model.weights ({weights}) are both given: choose one"
            )
        self.network = YOLOv3(num_classes, width)
        self.lr = lr
        self.schedule = schedule
        self.confidence = confidence
        self.iou = iou
        self.pretrained_layers = range(0)
        """Layers whose weights came from a file."""
        if backbone is not None:
            self.pretrained_layers = range(load_backbone(self.network, backbone))
        if weights is not None:
            self.pretrained_layers = range(_load_weights(self.network, Path(weights)))
        self.val_map = mean_average_precision()
        self.test_map = mean_average_precision()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the raw maps [B, 3, h, w, 5 + C] of images [B, 3, H, W], strides 32, 16, 8."""
        maps: list[Tensor] = self.network(images)
        return maps

    def detect(self, images: Tensor) -> list[Detection]:
        """Return the detections in images [B, 3, H, W], boxes in pixels of the network input."""
        height, width = images.shape[2:]
        return detections(self(images), (height, width), self.confidence, self.iou)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the scaled sum of the loss terms of one batch."""
        images, targets = batch
        terms = detection_loss(self(images), targets)
        loss = torch.stack(list(terms.values())).sum() * (len(images) / NOMINAL_BATCH)
        logged = {f"train/{name}": term.detach() for name, term in terms.items()}
        self.log_dict({**logged, "train/loss": loss.detach()}, batch_size=len(images))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the validation metrics."""
        images, targets = batch
        update(self.val_map, self.detect(images), targets)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the test metrics."""
        images, targets = batch
        update(self.test_map, self.detect(images), targets)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Detection]:
        """Return the detections in one batch."""
        return self.detect(batch[0])

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics; on several devices every rank computes the common value."""
        self._log_map("val", self.val_map)

    def on_test_epoch_end(self) -> None:
        """Log the test metrics; on several devices every rank computes the common value."""
        self._log_map("test", self.test_map)

    def _log_map(self, stage: str, metric: MeanAveragePrecision) -> None:
        scores = average_precisions(metric)
        metric.reset()
        self.log_dict(
            {f"{stage}/{name}": value for name, value in scores.items()},
            prog_bar=False,
            sync_dist=False,  # torchmetrics has already gathered every rank's boxes
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam over all parameters; it leaves a frozen layer alone, which has no gradient."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        if self.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def mean_average_precision() -> MeanAveragePrecision:
    """Return COCO's metric, computed by faster-coco-eval, at most 100 detections an image and class."""
    metric = MeanAveragePrecision(backend="faster_coco_eval", extended_summary=True)
    metric.warn_on_many_detections = False
    return metric


def update(metric: MeanAveragePrecision, found: list[Detection], targets: list[Target]) -> None:
    """Add images to a metric, whose types know dictionaries but not ours."""
    metric.update(cast("list[dict[str, Tensor]]", found), cast("list[dict[str, Tensor]]", targets))


def average_precisions(metric: MeanAveragePrecision) -> dict[str, float]:
    """Return `map50`, `map` and `map50_<class>` of what a metric has seen.

    A class without a true box has no average precision: it is left out, and out of the means. Without
    any true box at all both means are 0, with a warning, so that a monitored metric always exists.
    """
    with warnings.catch_warnings():
        # torchmetrics warns of `compute` before `update`: an empty data set is dealt with below
        warnings.simplefilter("ignore", UserWarning)
        result: dict[str, Any] = metric.compute()
    if float(result["map_50"]) < 0:
        warnings.warn("no image evaluated has a true box: map and map50 are 0", stacklevel=2)
        return {"map50": 0.0, "map": 0.0}
    scores = {"map50": float(result["map_50"]), "map": float(result["map"])}
    # precision: [IoU thresholds, recalls, classes, areas, detection limits]; -1 where undefined
    at_50 = result["precision"][0, :, :, 0, -1].mean(dim=0)
    for label, precision in zip(result["classes"].view(-1).tolist(), at_50.tolist(), strict=True):
        if precision >= 0:
            scores[f"map50_{_class_name(label)}"] = precision
    return scores


def _class_name(label: int) -> str:
    return CLASSES[label] if label < len(CLASSES) else str(label)


def _load_weights(network: YOLOv3, path: Path) -> int:
    """Load a checkpoint or a Darknet file and return how many layers it filled."""
    if path.suffix != ".ckpt":
        return load_darknet_weights(network, path)
    load_checkpoint(network, path)
    return len(network.layers)


def load_checkpoint(network: YOLOv3, path: Path) -> None:
    """Load the network's weights from a checkpoint of a `Detector`.

    Raises:
        ValueError: If the file is no such checkpoint, or of a network of another width or class count.
    """
    prefix = "network."
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; check the path")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        weights = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
        network.load_state_dict(weights)
    except Exception as error:  # pickle, zip and shape errors have no common class
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path}: not a checkpoint of a YOLOv3 of width {network.width} with "
            f"{network.num_classes} classes ({reason}); give the file and model.width of one run"
        ) from error
