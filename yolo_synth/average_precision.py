"""COCO's average precision of boxes, in little memory and exact on any number of devices.

The rules and the numbers are pycocotools': the surest detection of an image chooses first; it takes, of
the true boxes of its class that are still free, the one it overlaps most, if their IoU reaches the
threshold; at most 100 detections of an image and class count. Each batch is matched when it comes, and
of a detection only its score, its class, its image and the thresholds that it reached are kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from yolo_synth.boxes import Detection, Target
from yolo_synth.labels import CLASSES

THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)
"""Least IoU of a hit: 0.5, 0.55, ..., 0.95."""

RECALLS: Final = np.linspace(0, 1, 101)
"""Recalls at which the precision is averaged."""

MOST: Final = 100
"""How many detections of an image and class count, the surest ones."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


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

    def __init__(self, num_classes: int = len(CLASSES)) -> None:
        """Begin with nothing seen of so many classes."""
        super().__init__()
        for state in ("scores", "labels", "images", "hits"):
            self.add_state(state, default=[], dist_reduce_fx="cat")
        self.add_state("objects", default=torch.zeros(num_classes).long(), dist_reduce_fx="sum")
        self.seen = 0

    def update(self, found: Sequence[Detection], targets: Sequence[Target]) -> None:
        """Match the detections in a batch of images; each image is seen once.

        Args:
            found: What was detected, in each image in any order.
            targets: What is there, for each image.
        """
        truth = _boxes(targets)
        detected = _boxes(found)
        scores = np.concatenate([_array(image["scores"]) for image in found])
        order = np.lexsort([-scores, detected.image])
        order = order[_rank(detected.kind[order]) < MOST]
        detected, scores = detected.take(order), scores[order]
        rank, ranks = _place()
        for state, values in (
            ("scores", scores),
            ("labels", detected.label.astype(np.int32)),
            ("images", ((self.seen + detected.image) * ranks + rank).astype(np.int32)),
            ("hits", match(detected, truth)),
        ):
            getattr(self, state).append(torch.from_numpy(values).to(self.device))
        counts = np.bincount(truth.label, minlength=len(self.objects))
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
            label: average_precision(hits[labels == label], int(objects[label]))
            for label in np.flatnonzero(objects).tolist()
        }
        means = np.mean(list(values.values()), axis=0)
        each = {f"map50_{_class_name(label)}": float(ap[0]) for label, ap in values.items()}
        return {"map50": float(means[0]), "map": float(means.mean()), **each}


class Boxes(NamedTuple):
    """The n boxes of some images, those of an image one after the other.

    Attributes:
        corners: [n, 4], `x1, y1, x2, y2`.
        label: [n], class indices.
        image: [n], image indices.
    """

    corners: Floats
    label: Integers
    image: Integers

    @property
    def kind(self) -> Integers:
        """[n]: the same number for boxes of the same image and class."""
        return self.image << 32 | self.label

    def take(self, index: Integers) -> Boxes:
        """Return some of the boxes."""
        return Boxes(self.corners[index], self.label[index], self.image[index])


def match(found: Boxes, truth: Boxes) -> Flags:
    """Say of each detection at which thresholds it hits a true box.

    Args:
        found: The detections, the surest of an image first.
        truth: The true boxes.

    Returns:
        [detections, thresholds].
    """
    hits = np.zeros((len(found.label), len(THRESHOLDS)), bool)
    free = np.ones((len(truth.label), len(THRESHOLDS)), bool)
    left, right = _pairs(found.kind, truth.kind)
    iou = _iou(found.corners[left], truth.corners[right])
    near = iou >= THRESHOLDS[0]
    left, right, iou = left[near], right[near], iou[near]
    # Detections of one image and class choose one after the other, all others at the same time.
    choosing, pair = np.unique(left, return_inverse=True)
    turn = _rank(found.kind[choosing])[pair]
    # A detection's last pair is its best; of equal ones pycocotools takes the last true box.
    order = np.lexsort([right, iou, left, turn])
    left, right, iou, turn = left[order], right[order], iou[order], turn[order]
    turns = np.searchsorted(turn, np.arange(turn.max(initial=-1) + 2))
    for begin, end in pairwise(turns.tolist()):
        one, other = left[begin:end], right[begin:end]
        possible = free[other] & (iou[begin:end, None] >= THRESHOLDS)
        last = np.where(possible, np.arange(end - begin)[:, None], -1)
        starts = np.flatnonzero(np.diff(one, prepend=-1))
        best = np.maximum.reduceat(last, starts)  # [detections, thresholds], -1: none
        chooser, threshold = np.nonzero(best >= 0)
        hits[one[starts[chooser]], threshold] = True
        free[other[best[chooser, threshold]], threshold] = False
    return hits


def average_precision(hits: Flags, objects: int) -> Floats:
    """Return the 101-point average precision at each threshold.

    Args:
        hits: [detections, thresholds], the surest detection first.
        objects: Number of true boxes, at least one.

    Returns:
        [thresholds].
    """
    result = np.empty(hits.shape[1])
    for threshold, hit in enumerate(hits.T):
        true = np.cumsum(hit)
        precision = true / np.arange(1, len(true) + 1)
        # the best precision at this recall or a greater one; 0 where no detection gets that far
        envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        result[threshold] = envelope[np.searchsorted(true / objects, RECALLS)].mean()
    return result


def _pairs(left: Integers, right: Integers) -> tuple[Integers, Integers]:
    """Return the indices of all pairs of equal values."""
    order = np.argsort(right, kind="stable")
    first = np.searchsorted(right, left, "left", sorter=order)
    count = np.searchsorted(right, left, "right", sorter=order) - first
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(np.arange(len(left)), count), order[np.repeat(first, count) + within]


def _rank(kinds: Integers) -> Integers:
    """Return how many equal values stand before each."""
    order = np.argsort(kinds, kind="stable")
    result = np.empty(len(kinds), np.int64)
    result[order] = np.arange(len(kinds)) - np.searchsorted(kinds, kinds[order], sorter=order)
    return result


def _iou(a: Floats, b: Floats) -> Floats:
    """Return the IoU of boxes [n, 4] pairwise; 0 of two boxes without area."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    overlap: Floats = sides.clip(0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - overlap
    iou: Floats = np.divide(overlap, union, out=np.zeros_like(union), where=union > 0)
    return iou


def _boxes(images: Sequence[Detection] | Sequence[Target]) -> Boxes:
    labels = [_array(image["labels"]) for image in images]
    corners = [_array(image["boxes"]) for image in images]
    image = np.repeat(np.arange(len(images)), [len(of_image) for of_image in labels])
    return Boxes(np.concatenate(corners).astype(np.float64), np.concatenate(labels), image)


def _array(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.detach().cpu().numpy()
    return array


def _place() -> tuple[int, int]:
    """Return this process's rank and how many there are."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _class_name(label: int) -> str:
    return CLASSES[label] if label < len(CLASSES) else str(label)
