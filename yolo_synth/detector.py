"""The LightningModule: YOLOv3's training and evaluation steps, its metrics and its optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from yolo_synth.average_precision import AveragePrecision
from yolo_synth.boxes import Detection, Target
from yolo_synth.labels import CLASSES
from yolo_synth.networks.yolov3 import (
    YOLOv3,
    detection_loss,
    detections,
    load_backbone,
    load_darknet_weights,
)
from yolo_synth.networks.yolov3.network import ANCHORS
from yolo_synth.networks.yolov3.targets import checked_anchors

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
        anchors: tuple[tuple[float, float], ...] | None = None,
        confidence: float = 0.001,
        iou: float = 0.6,
        compiled: bool = False,
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
            anchors: Nine widths and heights in pixels of the network input, as `data anchors` prints;
                None takes YOLOv3's.
            confidence: Evaluation keeps boxes that score above this.
            iou: Overlap (IoU) above which non-maximum suppression drops the lower score.
            compiled: Whether `torch.compile` translates the network first, which takes minutes.

        Raises:
            FileNotFoundError: If there is no such file of weights.
            ValueError: If the file does not fit the network, both are given, or the anchors are not
                nine.
        """
        super().__init__()
        if backbone is not None and weights is not None:
            raise ValueError(
                f"model.backbone ({backbone}) and model.weights ({weights}) are both given: choose one"
            )
        # the order of memory that fast convolutions want; the weights' sets that of all outputs
        self.network = YOLOv3(num_classes, width).to(memory_format=torch.channels_last)
        self.lr = lr
        self.schedule = schedule
        self.anchors = ANCHORS if anchors is None else checked_anchors(anchors)
        self.confidence = confidence
        self.iou = iou
        self.pretrained_layers = range(0)
        """Layers whose weights came from a file."""
        if backbone is not None:
            self.pretrained_layers = range(load_backbone(self.network, backbone))
        if weights is not None:
            self.pretrained_layers = range(_load_weights(self.network, Path(weights)))
        self.val_map = AveragePrecision(num_classes)
        self.test_map = AveragePrecision(num_classes)
        if compiled:
            self.network.compile()
        # Devices would send each other the batch norms' statistics in every step, and even in
        # validation, where one device may have a batch more and waits for ever.
        statistics = [name for name, _ in self.named_buffers()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(  # type: ignore[no-untyped-call]
            self, statistics
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the raw maps [B, 3, h, w, 5 + C] of images [B, 3, H, W], strides 32, 16, 8."""
        maps: list[Tensor] = self.network(images)
        return maps

    def detect(self, images: Tensor) -> list[Detection]:
        """Return the detections in images [B, 3, H, W], boxes in pixels of the network input."""
        height, width = images.shape[2:]
        raw = self(images)
        return detections(raw, (height, width), self.confidence, self.iou, anchors=self.anchors)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the scaled sum of the loss terms of one batch."""
        images, targets = batch
        terms = detection_loss(self(images), targets, self.anchors)
        loss = torch.stack(list(terms.values())).sum() * (len(images) / NOMINAL_BATCH)
        logged = {f"train/{name}": term.detach() for name, term in terms.items()}
        self.log_dict({**logged, "train/loss": loss.detach()}, batch_size=len(images))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the validation metrics."""
        images, targets = batch
        self.val_map.update(self.detect(images), targets)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the test metrics."""
        images, targets = batch
        self.test_map.update(self.detect(images), targets)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Detection]:
        """Return the detections in one batch."""
        return self.detect(batch[0])

    def on_validation_start(self) -> None:
        """Give every device the batch-norm statistics of the first, which are the ones that are saved."""
        if self.trainer.world_size > 1:
            for statistics in self.network.buffers():
                torch.distributed.broadcast(statistics, src=0)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics; on several devices every rank computes the common value."""
        self._log_map("val", self.val_map)

    def on_test_epoch_end(self) -> None:
        """Log the test metrics; on several devices every rank computes the common value."""
        self._log_map("test", self.test_map)

    def _log_map(self, stage: str, metric: AveragePrecision) -> None:
        scores = metric.compute()
        metric.reset()
        self.log_dict(
            {f"{stage}/{name}": value for name, value in scores.items()},
            prog_bar=False,
            sync_dist=False,  # the metric is of all devices already
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam over all parameters; it leaves a frozen layer alone, which has no gradient."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)
        # The fused one could undo the scaling of float16 gradients itself, so late that Lightning would
        # refuse to clip them in any mixed precision. Without this it is done as for any optimizer.
        optimizer._step_supports_amp_scaling = False
        if self.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


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
    state = read_checkpoint(path)["state_dict"]
    prefix = "network."
    weights = {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"{path}: not a checkpoint of a YOLOv3 of width {network.width:g} with "
            f"{network.num_classes} classes; give the file, model.width and model.num_classes of one run"
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what Lightning keeps in a checkpoint; its `state_dict` holds the weights.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; check the path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's and zip's errors have no common class
        raise ValueError(f"{path}: not a checkpoint, or a damaged one; name another") from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise ValueError(f"{path}: not a checkpoint of yolo-synth fit; name one like best.ckpt")
    return content
