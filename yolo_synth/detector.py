"""The LightningModule: any network's training and evaluation steps, its metrics and its optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from yolo_synth.average_precision import AveragePrecision
from yolo_synth.boxes import Detection, Target
from yolo_synth.capturing import CapturedLosses
from yolo_synth.files import write_whole
from yolo_synth.labels import CLASSES, names_of
from yolo_synth.networks.contract import Network
from yolo_synth.networks.yolov3 import YOLOv3

Batch = tuple[Tensor, list[Target]]


class Detector(LightningModule):
    """A network, YOLOv3 unless another is named, with the metrics and the optimizer of the paper.

    A batch is `(images, targets)`: float [B, 3, H, W] in 0..1 and one `Target` per image. It logs
    `train/loss` and the network's terms of it (YOLOv3's are `train/{box,objectness,class}`) each step and
    `{val,test}/map50`, `map` and, for every class that occurs, `map50_<class>` each epoch (COCO's
    101-point average precision, IoU 0.5 and 0.5:0.95).
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
        captured: bool = False,
        network: Network | None = None,
        classes: list[str] | None = None,
    ) -> None:
        """Build the network and load what it starts from.

        Args:
            num_classes: How many classes it tells apart; training takes as many as the data have.
            width: Factor on the channels of YOLOv3's layers; 0.125 trains on a laptop.
            backbone: File that the backbone starts from, as the network takes it. YOLOv3's layers 0-74:
                Darknet's `darknet53.conv.74` or any other file of its YOLOv3, a darknet53 of timm
                (.safetensors) or of OpenMMLab (.pth). None starts from random weights.
            weights: File that the whole network starts from: a run's checkpoint (.ckpt), to fine-tune
                it, or, for YOLOv3, a Darknet file of the same classes (.weights).
            lr: Learning rate of Adam; with `one_cycle` its peak.
            schedule: `constant`, or `one_cycle`, which reaches good accuracy in few epochs.
            anchors: YOLOv3's, nine widths and heights in pixels of the network input, as `data anchors`
                prints; None takes COCO's.
            confidence: Evaluation keeps boxes that score above this.
            iou: Overlap (IoU) above which non-maximum suppression drops the lower score.
            compiled: Whether `torch.compile` translates the network first, which takes minutes.
            captured: Whether a CUDA device captures the forward and backward pass of a full batch and
                replays it, which saves the launches of small kernels, at a small batch most of the
                time; for a network of fixed shapes, on one device, without accumulated batches.
            network: Another network than YOLOv3, as yolo_synth.networks.torchvision.RetinaNet.
            classes: Names of its classes; training takes the data's. None: the paper's five, and from then
                on digits.

        Raises:
            FileNotFoundError: If there is no such file of weights.
            ValueError: If the file does not fit the network, both are given, the anchors are not
                nine, or the options do not fit the network that is named.
        """
        super().__init__()
        if backbone is not None and weights is not None:
            raise ValueError(
                f"model.backbone ({backbone}) and model.weights ({weights}) are both given: choose one"
            )
        if network is None:
            network = YOLOv3(num_classes, width, anchors)
        elif width != 1 or anchors is not None:
            raise ValueError(
                "model.width and model.anchors are YOLOv3's; give another network's options as "
                "model.network.init_args"
            )
        if network.num_classes != num_classes:
            raise ValueError(
                f"model.network has {network.num_classes} classes, model.num_classes is {num_classes}: "
                "give one number to both"
            )
        # cuDNN's fast convolutions want channels last in memory; outputs take the weights' order
        self.network = network.to(memory_format=torch.channels_last)
        self.lr = lr
        self.schedule = schedule
        self.confidence = confidence
        self.iou = iou
        self.pretrained_layers = range(0)
        """Blocks whose weights came from a file."""
        if backbone is not None:
            self.pretrained_layers = range(self.network.load_backbone(backbone))
        if weights is not None:
            self.pretrained_layers = range(_load_weights(self.network, Path(weights)))
        self.classes = names_of(num_classes, classes)
        self.val_map = AveragePrecision(self.classes)
        self.test_map = AveragePrecision(self.classes)
        if compiled:
            self.network.compile()
        self._captured = CapturedLosses(self.network) if captured else None
        # Devices would send each other the batch norms' statistics in every step, and even in
        # validation, where one device may have a batch more and waits for ever.
        statistics = [name for name, _ in self.named_buffers()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(  # type: ignore[no-untyped-call]
            self, statistics
        )

    def forward(self, images: Tensor) -> Any:  # noqa: ANN401 - whatever the network returns
        """Return what the network returns for images [B, 3, H, W]; YOLOv3 its raw maps."""
        return self.network(images)

    def detect(self, images: Tensor) -> list[Detection]:
        """Return the detections in images [B, 3, H, W], boxes in pixels of the network input."""
        return self.network.detect(images, self.confidence, self.iou)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the scaled sum of the loss terms of one batch."""
        images, targets = batch
        replays = self._captured is not None and self._can_replay(images)
        losses = self._captured if self._captured and replays else self.network.losses
        terms = losses(images, targets)
        loss = torch.stack(list(terms.values())).sum()
        if self.network.nominal_batch is not None:
            loss = loss * (len(images) / self.network.nominal_batch)
        logged = {f"train/{name}": term.detach() for name, term in terms.items()}
        self.log_dict({**logged, "train/loss": loss.detach()}, batch_size=len(images))
        return loss

    def _can_replay(self, images: Tensor) -> bool:
        """Tell whether a captured step would do what is asked for; on a processor nothing is captured."""
        trainer = self.trainer
        return images.is_cuda and trainer.world_size == 1 and trainer.accumulate_grad_batches == 1

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Detection]]:
        """Add one batch to the validation metrics; return what was `found`, for callbacks."""
        images, targets = batch
        found = self.detect(images)
        self.val_map.update(found, targets)
        return {"found": found}

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


def _load_weights(network: Network, path: Path) -> int:
    """Load a checkpoint or a file of the network's own and return how many blocks it filled."""
    if path.suffix != ".ckpt":
        return network.load_weights(path)
    load_checkpoint(network, path)
    return len(network.blocks)


def load_checkpoint(network: Network, path: Path) -> None:
    """Load the network's weights from a checkpoint of a `Detector`.

    Raises:
        ValueError: If the file is no such checkpoint, or one of another network.
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
            f"{path}: not a checkpoint of {network.description}; give the file and the model's options "
            "of one run"
        ) from error


def save_network(network: nn.Module, path: Path) -> None:
    """Write a network's weights, whole or not at all: of our own as `model.weights` takes them."""
    prefix = "network." if isinstance(network, Network) else ""
    state = {f"{prefix}{name}": value.cpu() for name, value in network.state_dict().items()}
    write_whole(path, lambda file: torch.save({"state_dict": state}, file))


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
