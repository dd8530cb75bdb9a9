"""The labelled pictures of a domain as a network takes them, and what it finds in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolo_synth.average_precision import AveragePrecision
from yolo_synth.boxes import Detection, Placement, Target, place
from yolo_synth.data.dataset import draw
from yolo_synth.data.module import DetectionData
from yolo_synth.devices import fastest
from yolo_synth.difference.scores import interval
from yolo_synth.networks.quick import lay_out
from yolo_synth.networks.references import Reference
from yolo_synth.scoring import matched, of_classes, say_what_differs, without_blocks

FEWEST: Final = 8
"""Pictures of a domain with which something can be told."""

TOGETHER: Final = 50
"""Pictures that the network looks at together."""


class Patient(NamedTuple):
    """A network, and what counts of what it finds.

    Attributes:
        reference: The network; it knows how to find objects.
        confidence: Least score of a box.
        iou: Overlap above which the lower score of a class is dropped.
    """

    reference: Reference
    confidence: float
    iou: float


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures of one domain.

    Attributes:
        domain: What they are of, as `Real`.
        images: uint8 [n, 3, S, S].
        targets: What is in each, in `classes`.
        classes: Those that the network and the data both know.
        own: What the data call each class of the network.
        groups: What each picture belongs to, such as its sequence.
        sizes: Width and height of each picture as it lies on disk, in pixels [n, 2].
        places: Where each lies inside its image.
        timeofday: What the data say of each; "" where they do not.
        unlabelled: uint8 [m, 3, S, S], other pictures of the domain, whose labels nobody looks at.
    """

    domain: str
    images: Tensor
    targets: Sequence[Target]
    classes: tuple[str, ...]
    own: Sequence[str]
    groups: Sequence[str]
    sizes: NDArray[np.int64]
    places: Sequence[Placement]
    timeofday: Sequence[str]
    unlabelled: Tensor

    def __len__(self) -> int:
        """Return how many labelled ones there are."""
        return len(self.images)

    def some(self, number: int) -> Pictures:
        """Return the first ones."""
        return Pictures(
            self.domain,
            self.images[:number],
            self.targets[:number],
            self.classes,
            self.own,
            self.groups[:number],
            self.sizes[:number],
            self.places[:number],
            self.timeofday[:number],
            self.unlabelled,
        )


class Score(NamedTuple):
    """A mean average precision at IoU 0.5.

    Attributes:
        value: Itself.
        without: The area under the curves without one block of pictures after the other; empty if these
            are too few.
    """

    value: float
    without: NDArray[np.float64]

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval over pictures, NaN where they are too few."""
        return _interval(self.value, self.without)

    def gain(self, other: Score) -> Estimate:
        """Return how much more this is than another one of the same pictures."""
        both = len(self.without) == len(other.without)
        apart = self.without - other.without if both else np.zeros(0)
        return Estimate(self.value - other.value, *_interval(self.value - other.value, apart))

    def gap(self, other: Score) -> Estimate:
        """Return how much more this is than one of other pictures."""
        difference = self.value - other.value
        if not len(self.without) or not len(other.without):
            return Estimate(difference, np.nan, np.nan)
        half = np.hypot(self.interval[1] - self.value, other.interval[1] - other.value)
        return Estimate(difference, difference - half, difference + half)


class Estimate(NamedTuple):
    """A number with its 95 % interval over pictures; NaN where these are too few."""

    value: float
    low: float
    high: float

    @property
    def is_told(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def _interval(value: float, without: NDArray[np.float64]) -> tuple[float, float]:
    return interval(value, without) if len(without) else (np.nan, np.nan)


def take_pictures(
    module: DetectionData,
    domain: str,
    reference: Reference,
    images: int,
    unlabelled: int,
    names: Mapping[str, str] | None = None,
) -> Pictures:
    """Take test pictures of a domain, and others of its training split without labels.

    Args:
        module: The data at the network's size, prepared.
        domain: What they are called.
        reference: The network.
        images: Labelled ones at most, drawn once for all.
        unlabelled: The others, at most; without a training split they are of the validation split.
        names: What the data call classes of the network.

    Raises:
        ValueError: If there are fewer than `FEWEST` of them, no box in them, or no common class.
    """
    everything = module.names("test")
    if len(everything) < FEWEST:
        raise ValueError(
            f"{domain}: {len(everything)} test images, and {FEWEST} are needed: add some"
        )
    own, classes = matched(reference, module.classes, names)
    if not classes:
        raise ValueError(
            f"{domain}: its classes ({', '.join(module.classes[:10])}) and those of {reference.name} "
            f"({', '.join(reference.classes[:10]) or 'not known'}) have none in common: give --names"
        )
    say_what_differs(reference.name, own, module.classes, f"{module.title} images")
    drawn = draw(everything, min(images, len(everything)), 0, "test")
    dataset, at = module.dataset("test"), {name: row for row, name in enumerate(everything)}
    samples = [dataset[at[name]] for name in drawn]
    targets = [of_classes(target, module.classes, classes) for _, target in samples]
    if not any(len(target["labels"]) for target in targets):
        raise ValueError(
            f"{domain}: no labelled box of {', '.join(classes[:10])} in the test images"
        )
    table = module.table.drop_duplicates("image").set_index("image").loc[drawn]
    sizes = table[["width", "height"]].to_numpy(np.int64)
    part = max(("train", "valid"), key=lambda split: len(module.names(split)))
    others = min(unlabelled, len(module.names(part)))
    return Pictures(
        domain,
        torch.stack([image for image, _ in samples]),
        targets,
        classes,
        own,
        module.groups(drawn),
        sizes,
        [place(w, h, module.image_size, module.resize) for w, h in sizes.tolist()],
        [str(value) for value in table.get("timeofday", [""] * len(table))],
        module.probe(part, others, module.image_size)[0] if others else torch.zeros(0, 3, 1, 1),
    )


@torch.inference_mode()
def found_in(patient: Patient, pictures: Pictures) -> list[Detection]:
    """Return what a network finds in each picture, in the pictures' classes."""
    reference = patient.reference
    assert reference.detect is not None
    device = fastest()
    lay_out(reference.network).to(device)
    found: list[Detection] = []
    for images in torch.split(pictures.images, TOGETHER):
        some = reference.detect(images.to(device).float() / 255, patient.confidence, patient.iou)
        found += [of_classes(_at_hand(one), pictures.own, pictures.classes) for one in some]
    return found


def _at_hand(found: Detection) -> Detection:
    boxes, scores, labels = (found[key].cpu() for key in ("boxes", "scores", "labels"))
    return {"boxes": boxes, "scores": scores, "labels": labels}


def score_of(found: Sequence[Detection], pictures: Pictures) -> Score:
    """Return the mean average precision of what was found."""
    metric = AveragePrecision(pictures.classes)
    metric.update(found, pictures.targets)
    objects = np.stack(
        [
            np.bincount(target["labels"].numpy(), minlength=len(pictures.classes))
            for target in pictures.targets
        ]
    )
    without = without_blocks(metric, objects, pictures.groups)
    return Score(metric.compute()["map50"], np.array(without))


def scored(patient: Patient, pictures: Pictures) -> Score:
    """Let a network look at pictures, and return its mean average precision."""
    return score_of(found_in(patient, pictures), pictures)
