"""COCO's average precision of boxes, in little memory and exact on any number of devices.

The rules and the numbers are pycocotools': the surest detection of an image chooses first; it takes, of
the true boxes of its class that are still free, the one it overlaps most, if their IoU reaches the
threshold; at most 100 detections of an image and class count; what lies in a crowd region is neither
right nor wrong. Each batch is matched when it comes, and of a detection only its score, its class, its
image and the thresholds that it reached are kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from yolo_synth.boxes import Detection, Target
from yolo_synth.labels import CLASSES
from yolo_synth.matching import MOST, Boxes, average_precision, partners, rank


class AveragePrecision(Metric):
    """Hold what is needed of all detections and true boxes seen so far.

    On several devices every rank computes the common value. As the data module shares images out, rank r
    of R has image r, r + R, r + 2 R and so on of the list, each once; their order matters only between
    detections of exactly the same score.
    """

    full_state_update = False
    scores: list[Tensor]
    labels: list[Tensor]
    images: list[Tensor]
    hits: list[Tensor]
    objects: Tensor

    def __init__(self, classes: Sequence[str] = CLASSES) -> None:
        """Begin with nothing seen of classes of these names."""
        super().__init__()
        self.classes = tuple(classes)
        for state in ("scores", "labels", "images", "hits"):
            self.add_state(state, default=[], dist_reduce_fx="cat")
        self.add_state(
            "objects", default=torch.zeros(len(self.classes)).long(), dist_reduce_fx="sum"
        )
        self.seen = 0

    def update(self, found: Sequence[Detection], targets: Sequence[Target]) -> None:
        """Match the detections in a batch of images; each image is seen once.

        Args:
            found: What was detected, in each image in any order.
            targets: What is there, for each image.
        """
        truth, crowd = true_boxes(targets)
        detected = boxes_of(found)
        scores = np.concatenate([_array(image["scores"]) for image in found])
        order = np.lexsort([-scores, detected.image])
        order = order[rank(detected.kind[order]) < MOST]
        detected, scores = detected.take(order), scores[order]
        own, ranks = _place()
        for state, values in (
            ("scores", scores),
            ("labels", detected.label.astype(np.int32)),
            ("images", ((self.seen + detected.image) * ranks + own).astype(np.int32)),
            ("hits", _outcomes(detected, truth, crowd)),
        ):
            getattr(self, state).append(torch.from_numpy(values).to(self.device))
        counts = np.bincount(truth.label[~crowd], minlength=len(self.objects))
        self.objects += torch.from_numpy(counts).to(self.device)
        self.seen += len(found)

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.seen = 0

    def compute(self) -> dict[str, float]:
        """Return `map50`, `map` (the mean over IoU 0.5 to 0.95) and `map50_<class>`.

        A class without a true box has no average precision: it is left out, and out of the means. Without
        any true box at all both means are 0, with a warning, so that a monitored metric always exists.
        """
        objects = _array(self.objects)
        if not objects.any():
            warnings.warn("no image evaluated has a true box: map and map50 are 0", stacklevel=2)
            return {"map50": 0.0, "map": 0.0}
        scores, labels, images, hits = (
            _array(dim_zero_cat(state))
            for state in (self.scores, self.labels, self.images, self.hits)
        )
        order = np.lexsort([images, -scores])  # stable, as pycocotools sorts
        labels, hits = labels[order], hits[order]
        values = {
            label: average_precision(
                hits[labels == label] > 0, int(objects[label]), hits[labels == label] < 0
            )
            for label in np.flatnonzero(objects).tolist()
        }
        means = np.mean(list(values.values()), axis=0)
        each = {f"map50_{self.classes[label]}": float(ap[0]) for label, ap in values.items()}
        return {"map50": float(means[0]), "map": float(means.mean()), **each}


def boxes_of(images: Sequence[Detection] | Sequence[Target]) -> Boxes:
    """Return the boxes of some images, one after the other."""
    labels = [_array(image["labels"]) for image in images]
    corners = [_array(image["boxes"]) for image in images]
    image = np.repeat(np.arange(len(images)), [len(of_image) for of_image in labels])
    return Boxes(np.concatenate(corners).astype(np.float64), np.concatenate(labels), image)


def true_boxes(targets: Sequence[Target]) -> tuple[Boxes, NDArray[np.bool_]]:
    """Return the true boxes, crowd regions behind them, and which these are."""
    boxes = boxes_of(targets)
    numbers = [number for number, target in enumerate(targets) if "crowd_boxes" in target]
    if not numbers:
        return boxes, np.zeros(len(boxes.label), bool)
    regions: list[Target] = [
        {"boxes": targets[n]["crowd_boxes"], "labels": targets[n]["crowd_labels"]} for n in numbers
    ]
    crowds = boxes_of(regions)
    crowds = crowds._replace(image=np.array(numbers)[crowds.image])
    both = Boxes(*(np.concatenate(pair) for pair in zip(boxes, crowds, strict=True)))
    return both, np.arange(len(both.label)) >= len(boxes.label)


def _outcomes(found: Boxes, truth: Boxes, crowd: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Return 1 for a hit, 0 for a false alarm, -1 for what lies in a crowd [detections, thresholds]."""
    taken = partners(found, truth, crowd, crowd)
    there = taken >= 0
    return np.where(there & np.append(crowd, False)[taken], -1, there).astype(np.int8)


def _array(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.detach().cpu().numpy()
    return array


def _place() -> tuple[int, int]:
    """Return this process's rank and how many there are."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()
