"""What `data anchors` does: anchors that fit a data set's boxes, beside those of YOLOv3."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from yolo_synth.data.source import open_data
from yolo_synth.escaping import say
from yolo_synth.networks.yolov3.architecture import ANCHORS
from yolo_synth.networks.yolov3.targets import MATCH_IOU
from yolo_synth.survey.membership import split_of_images
from yolo_synth.survey.sizes import Sizes, best_iou, network_sizes, size_iou

_MOST_BOXES: Final = 20_000
"""Boxes that anchors are fitted to; of more, so many are drawn."""

_FEW_BOXES: Final = 100
"""Boxes for each anchor, of less than which it is said that they are few."""

_STEPS: Final = 1000
_SPREAD: Final = 0.1
"""Steps of the refinement, and how far one goes: the standard deviation of a side's logarithm."""


def print_anchors(data: str, count: int, size: int | None, seed: int, trust: bool) -> None:
    """Fit anchors to a data set's training boxes and print them beside YOLOv3's, as YAML."""
    module = open_data(data, trust=trust)
    side = module.image_size if size is None else size
    if count < 1 or side < 1:
        raise ValueError(f"--count and --size are 1 at least, not {count} and {side}")
    table = module.table
    split = table["image"].map(split_of_images(module))
    sizes = network_sizes(table[(table["dropped"] == "") & (split == "train")], side, module.resize)
    fitted = fit_anchors(sizes, count, seed)
    say(f"# width and height in pixels at {side} x {side}; {len(sizes)} boxes of {data}, train")
    if len(sizes) < _FEW_BOXES * count:
        say(
            f"# so few boxes, less than {_FEW_BOXES} an anchor, tell little of other images of the kind"
        )
    for name, found in (("anchors", fitted), ("yolov3", np.array(ANCHORS))):
        fit = best_iou(sizes, found)
        recall = float((fit > MATCH_IOU).mean())
        pairs = ", ".join(f"[{width:g}, {height:g}]" for width, height in found)
        say(f"# best-possible recall {recall:.4f}, mean best IoU {fit.mean():.4f}")
        say(f"{name}: [{pairs}]")


def fit_anchors(sizes: Sizes, count: int, seed: int = 0) -> NDArray[np.float64]:
    """Return anchors [count, 2] in whole pixels that fit boxes [n, 2], the smallest area first.

    Raises:
        ValueError: If there are fewer kinds of boxes than anchors are wanted.
    """
    rng = np.random.default_rng(seed)
    sizes = sizes[(sizes > 0).all(axis=1)]
    different = len(np.unique(sizes, axis=0))
    if different < count:
        raise ValueError(
            f"{count} anchors cannot be fitted to boxes of {different} different sizes; ask for "
            "fewer with --count"
        )
    if len(sizes) > _MOST_BOXES:
        sizes = sizes[rng.permutation(len(sizes))[:_MOST_BOXES]]
    fitted = np.maximum(np.rint(_refine(_cluster(sizes, count, rng), sizes, rng)), 1)
    ordered: NDArray[np.float64] = fitted[np.argsort(fitted.prod(axis=1), kind="stable")]
    return ordered


def _cluster(sizes: Sizes, count: int, rng: Generator) -> Sizes:
    """Cluster boxes by k-means with 1 - IoU for a distance; starts apart, as k-means++ does."""
    centres: Sizes = sizes[rng.integers(len(sizes))][None]
    while len(centres) < count:
        far = (1 - best_iou(sizes, centres)) ** 2
        chosen = rng.choice(len(sizes), p=far / far.sum())
        centres = np.concatenate([centres, sizes[chosen][None]])
    nearest = np.full(len(sizes), -1)
    for _ in range(100):
        before, nearest = nearest, size_iou(sizes, centres).argmax(axis=1)
        if (before == nearest).all():
            break
        for number in range(count):
            members = sizes[nearest == number]
            if len(members):
                centres[number] = np.median(members, axis=0)
    return centres


def _refine(centres: Sizes, sizes: Sizes, rng: Generator) -> Sizes:
    """Change one anchor at a time at random and keep what raises the mean best IoU."""
    fit = size_iou(sizes, centres)
    for _ in range(_STEPS):
        number = int(rng.integers(len(centres)))
        changed = centres[number] * np.exp(rng.normal(0, _SPREAD, 2))
        others = np.delete(fit, number, axis=1).max(axis=1, initial=0)
        new = size_iou(sizes, changed[None])[:, 0]
        if np.maximum(others, new).mean() > np.maximum(others, fit[:, number]).mean():
            centres[number], fit[:, number] = changed, new
    return centres
