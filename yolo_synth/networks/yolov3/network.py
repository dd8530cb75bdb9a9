"""YOLOv3 in Darknet's numbering: `YOLOv3.layers[i]` is Darknet's layer i, 107 in all.

Every layer, a shortcut, route or detection layer too, is a module of its own that is called once a
forward pass, so a hook sees its output, and `YOLOv3.sources` says which outputs it reads, so an
analysis can run layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from yolo_synth.boxes import Detection, Target
from yolo_synth.networks.contract import Network
from yolo_synth.networks.yolov3.architecture import (
    ANCHORS,
    IMAGE,
    Row,
    architecture,
)
from yolo_synth.networks.yolov3.architecture import BACKBONE as BACKBONE
from yolo_synth.networks.yolov3.detections import detections
from yolo_synth.networks.yolov3.loss import detection_loss
from yolo_synth.networks.yolov3.targets import checked_anchors, level_anchors, size_iou
from yolo_synth.networks.yolov3.weights import load_backbone, load_darknet_weights


class Convolution(nn.Module):
    """Convolution, batch normalisation and LeakyReLU 0.1, or a plain convolution with bias."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, *, predicts: bool
    ) -> None:
        """Build a convolution that pads to keep the size; `predicts` leaves out norm and slope."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=predicts)
        self.bn = None if predicts else nn.BatchNorm2d(outputs, eps=1e-5)
        self.act = None if predicts else nn.LeakyReLU(0.1, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, h, w] to [B, outputs, h / stride, w / stride]."""
        x = self.conv(x)
        if self.bn is not None and self.act is not None:
            x = self.act(self.bn(x))
        return x


class Shortcut(nn.Module):
    """The sum of two layers' outputs."""

    def forward(self, x: Tensor, earlier: Tensor) -> Tensor:
        """Add two tensors of one shape."""
        return x + earlier


class Route(nn.Module):
    """One layer's output again, or several joined along the channels."""

    def forward(self, *sources: Tensor) -> Tensor:
        """Concatenate [B, c_i, h, w] to [B, sum of c_i, h, w]."""
        return torch.cat(sources, dim=1) if len(sources) > 1 else sources[0]


class Yolo(nn.Module):
    """A detection layer: the preceding convolution's output as one map per anchor, still raw logits."""

    def __init__(self, num_classes: int) -> None:
        """Keep the class count, which sets the number of entries a box has."""
        super().__init__()
        self.entries = 5 + num_classes

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, 3 * (5 + C), h, w] to [B, 3, h, w, 5 + C]."""
        batch, _, height, width = x.shape
        return x.view(batch, -1, self.entries, height, width).permute(0, 1, 3, 4, 2)


class YOLOv3(Network):
    """YOLOv3 with 107 layers in Darknet's numbering.

    The head's convolutions keep PyTorch's Kaiming-uniform initialisation; the biases of the three that
    predict are shifted so that training starts from few and undecided objects.

    Attributes:
        layers: The 107 layers, in Darknet's order.
        sources: For each layer, the layers whose outputs it reads; `IMAGE` (-1) is the input.
        kinds: For each layer, `convolutional`, `shortcut`, `route`, `upsample` or `yolo`.
        seen: Images that Darknet trained on, as the loaded weight file says; written back with it.
    """

    multiple = 32
    nominal_batch = 64
    """As in the paper's code base, so that the gains suit any batch size."""
    fixed_shapes = True

    def __init__(
        self,
        num_classes: int = 5,
        width: float = 1.0,
        anchors: Sequence[Sequence[float]] | None = None,
    ) -> None:
        """Build the network.

        Args:
            num_classes: How many classes it tells apart.
            width: Factor on the number of channels of every layer; small machines train at 0.125.
            anchors: Nine widths and heights in pixels of the network input; None takes COCO's.

        Raises:
            ValueError: If there is no class, `width` is not positive, or the anchors are not nine.
        """
        super().__init__()
        if num_classes < 1 or width <= 0:
            raise ValueError(
                f"YOLOv3 needs num_classes >= 1 and width > 0, not {num_classes} and {width}"
            )
        self.num_classes = num_classes
        self.width = width
        self.anchors = ANCHORS if anchors is None else checked_anchors(anchors)
        self.seen = 0
        rows = architecture()
        self.sources = [row.sources for row in rows]
        self.kinds = [row.kind for row in rows]
        self.layers = nn.ModuleList(self._build(rows))
        self._last_use = _last_uses(self.sources)
        for prediction in self._predictions():
            _start_with_few_objects(prediction, num_classes)

    def _build(self, rows: list[Row]) -> Iterator[nn.Module]:
        channels = {IMAGE: 3}
        for index, row in enumerate(rows):
            inputs = [channels[source] for source in row.sources]
            channels[index] = sum(inputs) if row.kind == "route" else inputs[0]
            if row.kind == "convolutional":
                predicts = row.channels == 0
                channels[index] = (
                    3 * (5 + self.num_classes)
                    if predicts
                    else max(1, round(row.channels * self.width))
                )
                yield Convolution(
                    inputs[0], channels[index], row.kernel, row.stride, predicts=predicts
                )
            elif row.kind == "shortcut":
                yield Shortcut()
            elif row.kind == "route":
                yield Route()
            elif row.kind == "upsample":
                yield nn.Upsample(scale_factor=2, mode="nearest")
            else:
                yield Yolo(self.num_classes)

    def _predictions(self) -> Iterator[nn.Conv2d]:
        for layer in self.layers:
            if isinstance(layer, Convolution) and layer.bn is None:
                yield layer.conv

    @property
    def blocks(self) -> list[str]:
        """Return the names of the 107 layers."""
        return [f"layers.{index}" for index in range(len(self.layers))]

    @property
    def backbone(self) -> list[str]:
        """Return the names of layers 0-74."""
        return self.blocks[: len(BACKBONE)]

    @property
    def levels(self) -> list[str]:
        """Return the layers before the three that predict: 80, 92 and 104."""
        return [f"layers.{i - 2}" for i, kind in enumerate(self.kinds) if kind == "yolo"]

    def level_of(self, sizes: Tensor) -> Tensor:
        """Return whose anchors have the one that is most like each box [n]."""
        anchors = torch.stack(level_anchors(sizes.device, self.anchors))
        return size_iou(sizes[:, None, None], anchors).amax(-1).argmax(-1)

    @property
    def description(self) -> str:
        """Return what it is, in words."""
        return f"a YOLOv3 of width {self.width:g} with {self.num_classes} classes"

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return `box`, `objectness` and `class` of `detection_loss`."""
        return detection_loss(self(images), targets, self.anchors)

    def detect(self, images: Tensor, confidence: float, iou: float) -> list[Detection]:
        """Return the `detections` in images [B, 3, H, W]."""
        height, width = images.shape[2:]
        return detections(self(images), (height, width), confidence, iou, anchors=self.anchors)

    def load_backbone(self, path: str | Path) -> int:
        """Load layers 0-74 as `weights.load_backbone` does."""
        return load_backbone(self, path)

    def load_weights(self, path: str | Path) -> int:
        """Load a Darknet file."""
        return load_darknet_weights(self, path)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the raw maps of layers 82, 94 and 106.

        Args:
            images: float [B, 3, H, W], RGB in 0..1; H and W are multiples of 32.

        Returns:
            Three tensors [B, 3, h, w, 5 + C] at strides 32, 16 and 8: for each anchor of `MASKS` and
            each cell x, y, width, height, objectness and C class logits, none of them activated.

        Raises:
            ValueError: If the shape is another.
        """
        if (
            images.dim() != 4
            or images.shape[1] != 3
            or any(s % self.multiple for s in images.shape[2:])
        ):
            raise ValueError(
                "YOLOv3 takes images of shape [B, 3, H, W] with H and W multiples of 32, "
                f"not {list(images.shape)}"
            )
        outputs = {IMAGE: images}
        maps = []
        for index, layer in enumerate(self.layers):
            outputs[index] = layer(*(outputs[source] for source in self.sources[index]))
            for source in set(self.sources[index]):
                if self._last_use[source] == index:
                    del outputs[source]
            if self.kinds[index] == "yolo":
                maps.append(outputs.pop(index))
        return maps


def _last_uses(sources: list[tuple[int, ...]]) -> dict[int, int]:
    return {source: index for index, row in enumerate(sources) for source in row}


def _start_with_few_objects(prediction: nn.Conv2d, num_classes: int) -> None:
    """Shift the biases to a mean objectness of -4.5 and even class odds (ultralytics, 2020)."""
    assert prediction.bias is not None
    with torch.no_grad():
        bias = prediction.bias.view(3, 5 + num_classes)
        bias[:, 4] += -4.5 - bias[:, 4].mean()
        bias[:, 5:] += math.log(1 / (num_classes - 0.99)) - bias[:, 5:].mean()
