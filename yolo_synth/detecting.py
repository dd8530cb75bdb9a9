"""Any detector on any pictures: what it finds, in the pixels of the pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from yolo_synth.boxes import Detection
from yolo_synth.data.images import ImageError
from yolo_synth.data.shots import Look, Shot, look_ahead
from yolo_synth.devices import fastest
from yolo_synth.matching import Floats, Integers
from yolo_synth.networks import SHOWN
from yolo_synth.networks.contract import Network
from yolo_synth.networks.quick import Precision, casting, make_quick
from yolo_synth.networks.references import Preprocessing, Reference, read_reference
from yolo_synth.runs import CONFIG, Run, read_run

CONFIDENCE: Final = 0.001
"""Least score of a box that counts, of networks that do not say one."""

IOU: Final = 0.6
"""Overlap above which the lower score of a class is dropped, of the same."""

SIDE: Final = 416
"""Side of the images where a network does not say one."""


def as_reference(network: Run | Reference, read: Network | None = None) -> Reference:
    """Return a run's best network as any other is; `read` is that network, where it has been read."""
    if isinstance(network, Reference):
        return network
    model = network.network() if read is None else read
    resize = network.config["data"]["init_args"].get("resize", "letterbox")
    preprocessing = Preprocessing(network.image_size, multiple=model.multiple, resize=resize)
    return Reference(network.name, model, preprocessing, network.classes, model.detect)


def try_out(reference: Reference, images: Tensor) -> None:
    """Run a network once, so that what is wrong with it is told in a line.

    Args:
        reference: The network.
        images: float [n, 3, S, S] in 0..1.

    Raises:
        ValueError: If it cannot run on them.
    """
    device = next((weight.device for weight in reference.network.parameters()), images.device)
    try:
        with torch.inference_mode():
            reference.network(images.to(device))
    except Exception as error:  # whatever a stranger's network raises
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{reference.name} does not run on images {list(images.shape)} ({said[:200]}): give another "
            "--size, or a network that takes such"
        ) from error


def thresholds(network: Run | Reference) -> tuple[float, float]:
    """Return the least score and the overlap that a network is measured with."""
    if isinstance(network, Reference):
        return CONFIDENCE, IOU
    model = network.config["model"]
    return model["confidence"], model["iou"]


class Found(NamedTuple):
    """What was found in a picture.

    Attributes:
        shot: The picture.
        width: Its width in pixels; 0 if it cannot be read.
        height: Its height.
        boxes: float64 [n, 4], x1, y1, x2, y2 in its pixels, inside it, the surest first.
        scores: [n].
        labels: [n], numbers of the detector's classes.
        problem: Why it cannot be read; "" of one that can.
    """

    shot: Shot
    width: int
    height: int
    boxes: Floats
    scores: Floats
    labels: Integers
    problem: str = ""


@dataclass(frozen=True)
class Detector:
    """A network that is ready to find objects in pictures.

    Attributes:
        reference: The network; it may be changed to run faster, and finds the same.
        confidence: Least score of a box.
        iou: Overlap above which the lower score of a class is dropped.
        side: Side of the network's input, in pixels.
        precision: What its convolutions are computed in.
        batch: Pictures at a time.
    """

    reference: Reference
    confidence: float
    iou: float
    side: int
    precision: Precision = "float32"
    batch: int = 8

    @property
    def name(self) -> str:
        """What the network is called."""
        return self.reference.name

    def find(self, shots: Iterable[Shot], count: int | None = None) -> Iterator[Found]:
        """Find the objects of pictures, with a progress bar.

        Args:
            shots: The pictures.
            count: How many they are, if that is known.

        Yields:
            What was found in each, in their order; of one that cannot be read, why.

        Raises:
            ValueError: If how the network finds objects is not known, or it cannot run at its side.
        """
        device = self._device
        look = partial(Shot.look, side=self.side, resize=self.reference.preprocessing.resize)
        read = look_ahead(shots, look, 2 * self.batch)
        with tqdm(
            total=count,
            desc=f"detect, {self.name}",
            unit="picture",
            delay=1,
            leave=False,
            disable=None,
        ) as bar:
            while several := list(islice(read, self.batch)):
                yield from self._of_batch(several, device)
                bar.update(len(several))

    @cached_property
    def _device(self) -> torch.device:
        return _ready(self)

    @torch.inference_mode()
    def _of_batch(
        self, several: list[tuple[Shot, Look | ImageError]], device: torch.device
    ) -> list[Found]:
        looks = [look for _, look in several if not isinstance(look, ImageError)]
        detections: Iterator[Detection] = iter(())
        if looks and self.reference.detect is not None:
            images = torch.stack([look.image for look in looks]).to(device).float() / 255
            images = images.contiguous(memory_format=torch.channels_last)
            with casting(device, self.precision):
                found = self.reference.detect(images, self.confidence, self.iou)
            detections = iter(found)
        return [
            _unread(shot, look) if isinstance(look, ImageError) else _of(shot, look, detections)
            for shot, look in several
        ]


def _of(shot: Shot, look: Look, detections: Iterator[Detection]) -> Found:
    """Return a picture's detections in its own pixels."""
    detection = next(detections)
    boxes = look.placement.to_image(detection["boxes"].double().cpu())
    inside = boxes.clamp(boxes.new_zeros(4), boxes.new_tensor([look.width, look.height] * 2))
    return Found(
        *(shot, look.width, look.height, inside.numpy()),
        detection["scores"].double().cpu().numpy(),
        detection["labels"].long().cpu().numpy(),
    )


def _unread(shot: Shot, problem: ImageError) -> Found:
    none = np.zeros(0)
    return Found(shot, 0, 0, np.zeros((0, 4)), none, none.astype(np.int64), str(problem))


def _ready(detector: Detector) -> torch.device:
    """Bring a network to the device in its quickest form; say in a line what is wrong with it.

    Raises:
        ValueError: If it cannot detect, or not at this side.
    """
    reference, side = detector.reference, detector.side
    if reference.detect is None:
        raise ValueError(f"{reference.name}: how it finds objects is not known: compare takes it")
    device = fastest()
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        with torch.inference_mode():
            make_quick(reference.network.to(device), images, detector.precision)
            with casting(device, detector.precision):
                reference.detect(images, detector.confidence, detector.iou)
    except Exception as error:  # whatever a stranger's network raises
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{reference.name} does not run on images [1, 3, {side}, {side}] in {detector.precision} "
            f"({said[:200]}): give another --size or --precision, or a network that takes such"
        ) from error
    return device


def detector_of(
    network: Run | Reference,
    *,
    confidence: float | None = None,
    size: int | None = None,
    precision: Precision = "float32",
    batch: int = 8,
    read: Network | None = None,
) -> Detector:
    """Return a network as a detector.

    Args:
        network: A run, or any other network.
        confidence: Least score of a box; None takes what it is measured with.
        size: Side of its input in pixels; None takes what it was made for.
        precision: What its convolutions are computed in.
        batch: Pictures at a time.
        read: A run's network, where it has been read; its norms may be folded.

    Raises:
        ValueError: If an option is none, or the network takes no such side.
    """
    least, iou = thresholds(network)
    reference = as_reference(network, read)
    wants = reference.preprocessing
    for name, value in (("size", size), ("batch_size", batch)):
        if value is not None and value < 1:
            raise ValueError(f"--{name} is 1 at least, not {value}")
    if confidence is not None and not 0 <= confidence <= 1:
        raise ValueError(f"--confidence is a score from 0 to 1, not {confidence}")
    side = wants.side(size or wants.size or SIDE)
    least = least if confidence is None else confidence
    return Detector(reference, least, iou, side, precision, batch)


def read_detector(
    text: str,
    *,
    trust: bool = False,
    confidence: float = SHOWN,
    size: int | None = None,
    precision: Precision = "float32",
) -> Detector:
    """Load a detector of any kind.

    Args:
        text: A run folder, torchvision:NAME:FILE, a folder of transformers, FILE.weights, ...
        trust: Whether what runs as a program on loading may.
        confidence: Least score of a box.
        size: Side of its input in pixels; None takes what it was made for.
        precision: bfloat16 is two to three times as fast on processors that have it.

    Raises:
        FileNotFoundError: If it names none.
        ValueError: If it cannot be loaded, or would run a program without `trust`.
    """
    is_run = (Path(text) / CONFIG).is_file()
    network = read_run(text, trust) if is_run else read_reference(text, trust=trust)
    return detector_of(network, confidence=confidence, size=size, precision=precision)
