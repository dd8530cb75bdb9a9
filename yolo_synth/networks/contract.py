"""What every network says and does; above this room nothing asks which one it is.

A network is a subclass of `Network` in a file of this room, or in a package of one's own. Images are
float [B, 3, H, W], RGB in 0..1; what else it wants of them (ImageNet's mean, another order of
channels) it does inside.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn

from torch import Tensor, nn

from yolo_synth.boxes import Detection, Target

_OWN: Final = ("yolo_synth.networks.", "yolo_synth.YOLOv3")


class Network(nn.Module):
    """A detector's network.

    `forward` takes the images alone and runs every block. A network that also has `layers`, its blocks
    as modules, and `sources`, for each of them the ones whose outputs it reads (-1 is the images), is
    analysed breadth-first, once; any other with hooks.

    Attributes:
        num_classes: How many classes it tells apart.
        blocks: Names of the modules worth comparing, in the order in which they run. A module that
            runs several times in a pass stands for all of its outputs.
        backbone: Those that belong to the backbone: the first ones.
        multiple: What the sides of its input are multiples of, in pixels.
        nominal_batch: If set, the sum of the losses is multiplied by batch / nominal batch.
        fixed_shapes: Whether `losses` waits for no number from the device, and leaves out boxes whose
            label is `NO_BOX`: a CUDA device can then replay a step.
    """

    num_classes: int
    multiple: ClassVar[int] = 1
    nominal_batch: ClassVar[int | None] = None
    fixed_shapes: ClassVar[bool] = False

    @property
    def blocks(self) -> list[str]:
        """Return the names of the modules worth comparing."""
        raise NotImplementedError

    @property
    def backbone(self) -> list[str]:
        """Return the first of the blocks: those that belong to the backbone; by default none."""
        return []

    @property
    def levels(self) -> list[str]:
        """Return the blocks whose maps boxes are read off, the coarsest first; by default not known."""
        return []

    def level_of(self, sizes: Tensor) -> Tensor:
        """Return which of `levels` answers for boxes, int64 [n].

        Args:
            sizes: Width and height in pixels of the network's input [n, 2].
        """
        self._lacks("does not say which of its maps answers for a box")

    @property
    def description(self) -> str:
        """Return what it is, in words for messages: `a RetinaNet with 5 classes`."""
        return f"a {type(self).__name__} with {self.num_classes} classes"

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the terms of the loss by name, each a scalar; their sum is what to minimise.

        Args:
            images: float [B, 3, H, W] in 0..1.
            targets: B targets, boxes in pixels of the images, on their device.

        Raises:
            ValueError: If the network cannot be trained here.
        """
        self._lacks("has no losses, so it cannot be trained here")

    def detect(self, images: Tensor, confidence: float, iou: float) -> list[Detection]:
        """Find the objects of each image; in eval mode.

        Args:
            images: float [B, 3, H, W] in 0..1.
            confidence: Least score, exclusive.
            iou: Overlap above which non-maximum suppression drops the lower score of a class.

        Returns:
            B detections, boxes in pixels of the images, the surest first.
        """
        raise NotImplementedError

    def load_backbone(self, path: str | Path) -> int:
        """Load the backbone from a file of pre-trained weights.

        Returns:
            How many blocks, from the first on, are now the file's.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it does not fit, or the network reads none.
        """
        self._lacks("reads no file of a backbone: leave model.backbone out")

    def load_weights(self, path: str | Path) -> int:
        """Load all weights from a file that is no checkpoint of ours; as `load_backbone`."""
        self._lacks("reads no such file: model.weights takes a run's best.ckpt")

    def _lacks(self, what: str) -> NoReturn:
        raise ValueError(f"{type(self).__name__} {what}")


def check_side(network: Network, side: int, option: str) -> None:
    """Refuse a side of the input that the network cannot take.

    Raises:
        ValueError: If it is no multiple of the network's, with the option's name.
    """
    if side < network.multiple or side % network.multiple:
        raise ValueError(f"{option} is a multiple of {network.multiple}, not {side}")


def build_network(config: Mapping[str, Any], num_classes: int, *, trust: bool = False) -> Network:
    """Build the network that a configuration names by `class_path` and `init_args`.

    Configurations come with run folders, which may be a stranger's: nothing is imported but our own
    rooms; a class from elsewhere has to be imported already.

    Args:
        config: `class_path` and `init_args`.
        num_classes: Used where the arguments do not say.
        trust: Whether a class from elsewhere is imported and run.

    Raises:
        ValueError: If the class is no network, from elsewhere, or has no such option.
    """
    path = str(config.get("class_path"))
    place, _, name = path.rpartition(".")
    if not path.startswith(_OWN) and place not in sys.modules and not trust:
        raise ValueError(
            f"model.network: {path!r} is no network of ours ({_OWN[0]}*): if you trust it, give --trust, "
            "or import it first"
        )
    try:
        found = getattr(import_module(place), name)
        if not (isinstance(found, type) and issubclass(found, Network)):
            raise TypeError("it is no Network")
        return found(**{"num_classes": num_classes, **(config.get("init_args") or {})})
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} cannot be the network: {error}") from error
