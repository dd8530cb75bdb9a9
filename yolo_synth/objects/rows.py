"""Which boxes are looked at: the true ones of a set of pictures, and as many of the background."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolo_synth.boxes import Floats
from yolo_synth.data.images import centred
from yolo_synth.data.module import DetectionData

BACKGROUND: Final = -1
"""Label of a box of the background."""

APART: Final = 2.0
"""Pixels of the network's input between a box of the background and any true box, at least."""

FEWEST: Final = 6
"""Sequences that an interval needs."""

TRIES: Final = 100
"""Places that are tried for a box of the background."""

SIZES: Final = {"small": (0.0, 32.0), "medium": (32.0, 96.0), "large": (96.0, np.inf)}
"""COCO's sizes: the side of a square of a box's area, in pixels of the network's input."""

log = logging.getLogger(__name__)


class Rows(NamedTuple):
    """Boxes of pictures.

    Attributes:
        images: uint8 [p, 3, S, S].
        names: Of the p pictures.
        picture: Which picture each of the n boxes is of, int64 [n].
        boxes: float32 [n, 4], in pixels of the network's input.
        labels: int64 [n], `BACKGROUND` of a box of that.
        classes: What the labels are called.
        domain: What the pictures are of.
        belongs: What each of the p pictures belongs to, such as its sequence; empty if they are alone.
    """

    images: Tensor
    names: list[str]
    picture: Tensor
    boxes: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    domain: str
    belongs: tuple[str, ...] = ()

    @property
    def groups(self) -> list[str]:
        """What each box counts by: its picture's sequence, or else its picture; with the domain."""
        named = self.belongs or self.names
        return [f"{self.domain} {named[i]}" for i in self.picture.tolist()]

    @property
    def sides(self) -> Tensor:
        """Side of the square of each box's area, in pixels [n]."""
        return (self.boxes[:, 2:] - self.boxes[:, :2]).prod(1).sqrt()


def take_rows(
    data: DetectionData,
    domain: str,
    split: str = "test",
    most: int = 400,
    seed: int = 0,
) -> Rows:
    """Take the true boxes of pictures, one picture after the other, and as many of the background.

    A box of the background has the size of a true one of the same picture, lies in the picture, and is
    at least `APART` pixels from every true box. A true box that no such place is found for has none.

    Args:
        data: The data.
        domain: What they are called.
        split: Of whose pictures, drawn by the seed.
        most: True boxes, about, after which no further picture is taken.
        seed: Of pictures and places.

    Raises:
        ValueError: If there is no true box.
    """
    generator = np.random.default_rng(seed)
    some = sorted(data.names(split))
    names = [some[i] for i in generator.permutation(len(some))]
    dataset = data.some(names)
    images: list[Tensor] = []
    pictures, boxes, labels, taken = [], [], [], list[str]()
    count = homeless = 0
    for number, name in enumerate(names):
        if count >= most:
            break
        picture = dataset.picture(number)
        image, target = centred(picture, data.image_size)
        true = target["boxes"].numpy().astype(np.float64)
        kept = (true[:, 2:] - true[:, :2]).min(1) > 0 if len(true) else np.zeros(0, bool)
        true, kinds = true[kept], target["labels"].numpy()[kept]
        if not len(true):
            continue
        shown = _shown(picture.pixels.shape, data.image_size)
        free = places_beside(true, shown, generator)
        count += len(true)
        homeless += len(true) - len(free)
        boxes += [true, free]
        labels += [kinds, np.full(len(free), BACKGROUND)]
        pictures.append(np.full(len(true) + len(free), len(taken)))
        images.append(image)
        taken.append(name)
    if not taken:
        raise ValueError(f"{domain}: no picture of the {split} split has a labelled box")
    if homeless:
        log.info("%s: %d true boxes leave no room for one of the background", domain, homeless)
    return Rows(
        torch.stack(images),
        taken,
        torch.from_numpy(np.concatenate(pictures)),
        torch.from_numpy(np.concatenate(boxes)).float(),
        torch.from_numpy(np.concatenate(labels)),
        data.classes,
        domain,
        _sequences(data.groups(taken), domain),
    )


def _sequences(groups: list[str], domain: str) -> tuple[str, ...]:
    """Return what pictures belong to, unless that is so little that nothing could be told."""
    if len(set(groups)) >= FEWEST:
        return tuple(groups)
    log.warning(
        "%s: the pictures are of %d sequences, and %d are needed: they count one by one, so intervals are "
        "too short",
        *(domain, len(set(groups)), FEWEST),
    )
    return ()


def _shown(shape: tuple[int, ...], side: int) -> NDArray[np.float64]:
    """Return where the picture lies in the network's input, without its padding."""
    height, width = shape[:2]
    left, top = (side - width) // 2, (side - height) // 2
    return np.array([left, top, left + width, top + height], float)


def places_beside(true: Floats, shown: Floats, generator: np.random.Generator) -> Floats:
    """Return boxes of the background [m, 4] for the n true ones of a picture, m at most n.

    Args:
        true: The true boxes [n, 4].
        shown: Where the picture lies, as one box.
        generator: Draws the places.
    """
    found = [_free(box, true, shown, generator) for box in true]
    return np.array([box for box in found if box is not None]).reshape(-1, 4)


def _free(
    box: Floats, true: Floats, shown: Floats, generator: np.random.Generator
) -> Floats | None:
    """Return a place for a box of this size that touches no true one, None if none is found."""
    size = box[2:] - box[:2]
    room = shown[2:] - shown[:2] - size
    if (room < 0).any():
        return None
    corners = shown[:2] + generator.random((TRIES, 2)) * room
    placed = np.concatenate([corners, corners + size], 1)
    low = np.maximum(placed[:, None, :2], true[None, :, :2] - APART)
    high = np.minimum(placed[:, None, 2:], true[None, :, 2:] + APART)
    is_free = ~(high > low).all(-1).any(1)
    return placed[is_free][0] if is_free.any() else None
