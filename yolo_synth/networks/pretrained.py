"""A detector of the Hugging Face Hub: `from_pretrained` and `push_to_hub`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from torch import Tensor, nn

from yolo_synth.boxes import Detection, Resize
from yolo_synth.networks.contract import build_network


class _Missing:
    """Stands where huggingface_hub is not installed, and says so when it is called for."""

    def __init_subclass__(cls, **_: object) -> None:
        pass

    @classmethod
    def from_pretrained(cls, *_: object, **__: object) -> NoReturn:
        """Say what is missing."""
        raise ImportError(
            "from_pretrained and push_to_hub need huggingface_hub: pip install yolo-synth[hub] "
            "(evaluate and compare read a folder on this machine without)"
        )

    save_pretrained = push_to_hub = from_pretrained


try:
    _Hub: Any = import_module("huggingface_hub").PyTorchModelHubMixin
except ImportError:
    _Hub = _Missing


class PretrainedDetector(  # type: ignore[call-arg] # the mixin is not installed everywhere
    nn.Module,
    _Hub,  # type: ignore[misc]
    library_name="yolo-synth",
    pipeline_tag="object-detection",
    tags=["yolo-synth"],
):
    """Any network of ours with what it takes to use it, read from and sent to the Hub.

    `PretrainedDetector.from_pretrained(FOLDER or NAME)` reads what `yolo-synth export RUN FOLDER` or
    `push_to_hub` wrote. Weights that are missing or too many are an error.

    Attributes:
        network: The network, in eval mode.
        classes: Names of the classes.
        image_size: Side of the input that it was trained at, in pixels.
        resize: How pictures were brought to a square.
    """

    def __init__(
        self,
        network: dict[str, Any],
        classes: Sequence[str],
        image_size: int,
        resize: Resize = "letterbox",
    ) -> None:
        """Build it with random weights.

        Args:
            network: `class_path` and `init_args` of one of our networks.
            classes: Names of the classes.
            image_size: Side of the input, in pixels.
            resize: How pictures are brought to a square.
        """
        super().__init__()
        self.network = build_network(network, len(classes)).eval()
        self.classes = tuple(classes)
        self.image_size = image_size
        self.resize = resize

    def forward(self, images: Tensor) -> Any:  # noqa: ANN401 - each network has its own outputs
        """Return what the network does of images [B, 3, H, W], RGB in 0..1."""
        return self.network(images)

    def detect(self, images: Tensor, confidence: float = 0.25, iou: float = 0.6) -> list[Detection]:
        """Find the objects in images [B, 3, H, W], RGB in 0..1; boxes in pixels of the images."""
        return self.network.detect(images, confidence, iou)

    @classmethod
    def _from_pretrained(cls, **given: Any) -> PretrainedDetector:  # noqa: ANN401 - the Hub's own
        """Read it as the Hub's mixin does, but have every weight."""
        found: PretrainedDetector = super()._from_pretrained(**{**given, "strict": True})
        return found
