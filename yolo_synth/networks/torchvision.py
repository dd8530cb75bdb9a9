"""torchvision's detectors, on any of its classifiers that runs its modules in a row.

Nothing is ever downloaded: weights are random, or a file's (`model.backbone`, `model.weights`). Images
are taken in the size that they come in; ImageNet's mean and deviation are subtracted inside.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torchvision.models import detection, get_model
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from yolo_synth.boxes import Detection, Target
from yolo_synth.networks.contract import Network

STRIDES: Final = (8, 16, 32)
"""Pixels of the input per cell of the maps that the head gets of the backbone."""

RATIOS: Final = (0.5, 1.0, 2.0)
"""Heights over widths of the anchors."""

_PYRAMID: Final = [
    *(f"backbone.fpn.{kind}_blocks.{i}" for i in (2, 1, 0) for kind in ("inner", "layer")),
    *("backbone.fpn.extra_blocks.p6", "backbone.fpn.extra_blocks.p7"),
]
"""A pyramid's blocks, in the order in which they run."""

_MEAN: Final = [0.485, 0.456, 0.406]
_DEVIATION: Final = [0.229, 0.224, 0.225]


class _AsTheyCome(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision has no types
    """torchvision's preparation of images without its resizing."""

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Leave everything as it is."""
        return image, target


def take_as_they_come(model: nn.Module, mean: Sequence[float], deviation: Sequence[float]) -> None:
    """Let one of torchvision's detectors take images in the size that they come in."""
    model.transform = _AsTheyCome(0, 0, mean, deviation, size_divisible=1)


def _in_float32(module: nn.Module, given: object, returned: Any) -> Any:  # noqa: ANN401
    """Return maps and predictions in float32, as a hook: anchors and boxes follow their type.

    In mixed precision they would be rounded to two pixels.
    """
    if isinstance(returned, Tensor):
        return returned.float()
    if isinstance(returned, dict):
        return {key: _in_float32(module, given, value) for key, value in returned.items()}
    return type(returned)(_in_float32(module, given, value) for value in returned)


class TorchvisionDetector(Network):
    """What torchvision's detectors have in common; a subclass builds one.

    Its blocks are those of the classifier, of the pyramid and of the head, without the anchors and
    what looks at single boxes, which have no row an image.
    """

    multiple = 32
    heads: ClassVar[tuple[str, ...]]
    """The head's blocks, in `model`."""
    background: ClassVar[int] = 0
    """How many classes stand before the first: one where the background is a class."""

    def __init__(self, num_classes: int, backbone: str, model: nn.Module) -> None:
        """Take torchvision's model.

        Args:
            num_classes: How many classes it tells apart, the background not counted.
            backbone: The classifier's name.
            model: torchvision's detector.
        """
        super().__init__()
        self.num_classes = num_classes
        self.model = model
        self._classifier = backbone
        in_pyramid = isinstance(model.backbone, BackboneWithFPN)
        self._body = "model.backbone.body" if in_pyramid else "model.backbone"
        parts = dict(model.named_modules())
        for part in ("backbone", "head", "rpn.head"):
            if part in parts:
                parts[part].register_forward_hook(_in_float32)
        take_as_they_come(model, _MEAN, _DEVIATION)

    @property
    def backbone(self) -> list[str]:
        """Return the names of the classifier's blocks."""
        return list(_with_weights(self._body, self.get_submodule(self._body)))

    @property
    def blocks(self) -> list[str]:
        """Return the names of the blocks of classifier, pyramid and head."""
        there = dict(self.named_modules())
        further = [f"model.{name}" for name in (*_PYRAMID, *self.heads)]
        return [*self.backbone, *(name for name in further if name in there)]

    @property
    def description(self) -> str:
        """Return what it is, in words."""
        return f"a {type(self).__name__} on {self._classifier} with {self.num_classes} classes"

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Return torchvision's detections in images [B, 3, H, W] in 0..1; in eval mode."""
        found: list[dict[str, Tensor]] = self.model(list(images))
        return found

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return torchvision's terms; boxes without an area, which it refuses, are left out."""
        kept = []
        for target in targets:
            has_area = (target["boxes"][:, 2:] > target["boxes"][:, :2]).all(1)
            labels = target["labels"][has_area] + self.background
            kept.append({"boxes": target["boxes"][has_area], "labels": labels})
        terms: dict[str, Tensor] = self.model(list(images), kept)
        return terms

    def detect(self, images: Tensor, confidence: float, iou: float) -> list[Detection]:
        """Find the objects of each image; in eval mode."""
        judge: Any = getattr(self.model, "roi_heads", self.model)
        judge.score_thresh, judge.nms_thresh, judge.detections_per_img = confidence, iou, 300
        return [
            {
                "boxes": found["boxes"].float(),
                "scores": found["scores"].float(),
                "labels": found["labels"] - self.background,
            }
            for found in self(images)
        ]

    def load_backbone(self, path: str | Path) -> int:
        """Load the classifier from a file of its weights, as torchvision offers them (.pth)."""
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such weight file; check the path")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise ValueError(f"{path}: broken or unsafe; name another") from error
        body = self.get_submodule(self._body)
        own = {k: v for k, v in body.state_dict().items() if not k.endswith("_tracked")}
        given = {str(key).removeprefix("features."): value for key, value in dict(state).items()}
        for key, value in own.items():
            if key not in given or given[key].shape != value.shape:
                shape = list(given[key].shape) if key in given else "nothing"
                raise ValueError(
                    f"{path}: the backbone's {key} is {list(value.shape)}, and the file has {shape}: "
                    "give the weights of model.network.backbone"
                )
        body.load_state_dict({key: given[key] for key in own}, strict=False)
        return len(self.backbone)


class RetinaNet(TorchvisionDetector):
    """RetinaNet (Lin et al., 2017) with a pyramid of five levels."""

    heads = (
        "head.classification_head.conv",
        "head.classification_head.cls_logits",
        "head.regression_head.conv",
        "head.regression_head.bbox_reg",
    )

    def __init__(
        self,
        num_classes: int = 5,
        backbone: str = "resnet18",
        channels: int = 256,
        anchor_size: float = 32,
    ) -> None:
        """Build the network.

        Args:
            num_classes: How many classes it tells apart.
            backbone: A classifier of torchvision, as resnet18, resnet50 or mobilenet_v3_small.
            channels: Of the pyramid and of the head.
            anchor_size: Side of the smallest anchors, in pixels; each level doubles it.
        """
        pyramid = _pyramid(backbone, channels, levels=5)
        sizes = [anchor_size * 2**level for level in range(5)]
        sizes_of_levels = tuple(tuple(s * 2 ** (third / 3) for third in range(3)) for s in sizes)
        anchors = AnchorGenerator(sizes_of_levels, (RATIOS,) * 5)
        model = detection.RetinaNet(pyramid, num_classes, anchor_generator=anchors)
        super().__init__(num_classes, backbone, model)


class FCOS(TorchvisionDetector):
    """FCOS (Tian et al., 2019), which has no anchors, with a pyramid of five levels."""

    heads = (
        "head.classification_head.conv",
        "head.classification_head.cls_logits",
        "head.regression_head.conv",
        "head.regression_head.bbox_reg",
        "head.regression_head.bbox_ctrness",
    )

    def __init__(
        self, num_classes: int = 5, backbone: str = "resnet18", channels: int = 256
    ) -> None:
        """Build the network.

        Args:
            num_classes: How many classes it tells apart.
            backbone: A classifier of torchvision, as resnet18, resnet50 or mobilenet_v3_small.
            channels: Of the pyramid and of the head, a multiple of 32.
        """
        pyramid = _pyramid(backbone, channels, levels=5)
        super().__init__(num_classes, backbone, detection.FCOS(pyramid, num_classes))


class FasterRCNN(TorchvisionDetector):
    """Faster R-CNN (Ren et al., 2015) with a pyramid of four levels.

    What it does with single boxes is no block: there are as many as it proposes.
    """

    heads = ("rpn.head.conv", "rpn.head.cls_logits", "rpn.head.bbox_pred")
    background = 1

    def __init__(
        self,
        num_classes: int = 5,
        backbone: str = "resnet18",
        channels: int = 256,
        anchor_size: float = 32,
    ) -> None:
        """Build the network.

        Args:
            num_classes: How many classes it tells apart.
            backbone: A classifier of torchvision, as resnet18, resnet50 or mobilenet_v3_small.
            channels: Of the pyramid and of the head.
            anchor_size: Side of the smallest anchors, in pixels; each level doubles it.
        """
        pyramid = _pyramid(backbone, channels, levels=4)
        sizes = tuple((anchor_size * 2**level,) for level in range(4))
        anchors = AnchorGenerator(sizes, (RATIOS,) * 4)
        model = detection.FasterRCNN(pyramid, num_classes + 1, rpn_anchor_generator=anchors)
        super().__init__(num_classes, backbone, model)


class SSD(TorchvisionDetector):
    """SSD (Liu et al., 2016) on three of the classifier's own maps, without further ones."""

    heads = tuple(
        f"head.{kind}_head.module_list.{level}"
        for kind in ("classification", "regression")
        for level in range(3)
    )
    background = 1

    def __init__(self, num_classes: int = 5, backbone: str = "resnet18") -> None:
        """Build the network.

        Args:
            num_classes: How many classes it tells apart.
            backbone: A classifier of torchvision, as resnet18, resnet50 or mobilenet_v3_small.
        """
        body, maps = _body(backbone)
        getter: Any = IntermediateLayerGetter(body, {name: name for name in maps})
        getter.out_channels = list(maps.values())
        boxes = DefaultBoxGenerator([[2], [2, 3], [2]])
        model = detection.ssd.SSD(getter, boxes, (300, 300), num_classes + 1)
        super().__init__(num_classes, backbone, model)


def _pyramid(backbone: str, channels: int, levels: int) -> BackboneWithFPN:
    """Return a classifier's modules with a feature pyramid of 4 or 5 levels, the finest at stride 8."""
    body, maps = _body(backbone)
    coarser = LastLevelP6P7(channels, channels) if levels == 5 else LastLevelMaxPool()
    names = {name: str(level) for level, name in enumerate(maps)}
    return BackboneWithFPN(body, names, list(maps.values()), channels, coarser)


def _body(backbone: str) -> tuple[nn.Module, dict[str, int]]:
    """Return a classifier's convolutional part, and its last modules at strides 8, 16 and 32.

    Returns:
        Modules that run in a row; of three of them the name and the output's channels.
    """
    try:
        classifier = get_model(backbone, weights=None)
    except ValueError as error:
        raise ValueError(
            f"model.network.backbone: torchvision has no {backbone!r}; resnet18, resnet50 and "
            "mobilenet_v3_small are some that it has"
        ) from error
    body = getattr(classifier, "features", classifier)
    maps: dict[int, tuple[str, int]] = {}
    try:
        for stride, name, channels in _maps(body):
            maps[stride] = name, channels
        return body, dict(maps[stride] for stride in STRIDES)
    except (RuntimeError, AssertionError, KeyError) as error:
        raise ValueError(
            f"model.network.backbone: {backbone} is not modules in a row with maps at strides "
            f"{', '.join(map(str, STRIDES))}; resnet18, resnet50 and mobilenet_v3_small are"
        ) from error


def _maps(body: nn.Module) -> Iterator[tuple[int, str, int]]:
    """Yield stride, name and channels of each module's map, up to the last one that is a map."""
    modes = [(module, module.training) for module in body.modules()]
    body.eval()  # so that no statistics are taken
    x = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        for name, module in body.named_children():
            if isinstance(module, nn.AdaptiveAvgPool2d):
                break
            x = module(x)
            yield 64 // x.shape[-1], name, x.shape[1]
    for module, mode in modes:
        module.training = mode


def _with_weights(name: str, module: nn.Module) -> Iterator[str]:
    """Yield the names of a module's children that have weights, of those in a plain row one by one."""
    for place, child in module.named_children():
        if type(child) is nn.Sequential:
            yield from _with_weights(f"{name}.{place}", child)
        elif any(True for _ in child.parameters()):
            yield f"{name}.{place}"
