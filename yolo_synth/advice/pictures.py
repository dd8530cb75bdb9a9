"""The few labelled pictures that a network is to learn from, and their folds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, cast

import numpy as np
import torch
from torch import Tensor

from yolo_synth.boxes import Target
from yolo_synth.data.dataset import ImageDataset
from yolo_synth.data.images import Sample
from yolo_synth.data.module import DetectionData
from yolo_synth.data.splits import SPLITS

FEWEST: Final = 5
MOST: Final = 500

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Few:
    """Labelled pictures as a network takes them.

    Attributes:
        names: Of the k pictures.
        groups: What each belongs to, such as its sequence.
        dataset: Serves them, also augmented.
        labels: Number of the network's class by that of the data; -1 where it knows no such.
        classes: The network's.
    """

    names: list[str]
    groups: list[str]
    dataset: ImageDataset
    labels: Tensor
    classes: tuple[str, ...]
    _decoded: dict[int, Sample] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return their number."""
        return len(self.names)

    def batch(
        self,
        numbers: Sequence[int],
        generator: np.random.Generator | None = None,
        device: torch.device | None = None,
    ) -> tuple[Tensor, list[Target]]:
        """Return images float [B, 3, S, S] in 0..1 and their targets in the network's classes.

        Args:
            numbers: Which.
            generator: Draws the augmentation; None for the pictures as they are.
            device: Where they are wanted.
        """
        if generator is None or self.dataset.augmentation is None:
            samples = [self.plain(number) for number in numbers]
        else:
            seeds = generator.integers(2**32, size=len(numbers)).tolist()
            samples = [self.dataset[pair] for pair in zip(numbers, seeds, strict=True)]
        images = torch.stack([image for image, _ in samples]).to(device).float() / 255
        return images, [_known(target, self.labels, device) for _, target in samples]

    def plain(self, number: int) -> Sample:
        """Return a picture as it is, decoded once."""
        if number not in self._decoded:
            self._decoded[number] = self.dataset[number]
        return self._decoded[number]

    def folds(self, wanted: int, seed: int = 0) -> list[list[int]]:
        """Divide the pictures into folds of whole groups, as even as can be; of few groups of pictures.

        Raises:
            ValueError: If fewer than two folds are wanted.
        """
        if wanted < 2:
            raise ValueError(f"--folds is at least 2, not {wanted}")
        groups = self.groups
        if len(set(groups)) < min(wanted, FEWEST) and len(set(groups)) < len(self):
            log.warning(
                "the %d pictures are of %d sequences: folds divide those, so what is found is too good",
                *(len(self), len(set(groups))),
            )
            groups = self.names
        named = list(dict.fromkeys(groups))
        order = np.random.default_rng(seed).permutation(len(named)).tolist()
        members = [[i for i, group in enumerate(groups) if group == named[n]] for n in order]
        folds: list[list[int]] = [[] for _ in range(min(wanted, len(named)))]
        for some in sorted(members, key=len, reverse=True):
            min(folds, key=len).extend(some)
        return [sorted(fold) for fold in folds]


def _known(target: Target, labels: Tensor, device: torch.device | None) -> Target:
    """Return a target in the network's classes, without boxes of others."""
    found: dict[str, Tensor] = {}
    for boxes, kinds in (("boxes", "labels"), ("crowd_boxes", "crowd_labels")):
        if boxes in target:
            given = cast(dict[str, Tensor], target)
            own = labels[given[kinds]]
            found[boxes] = given[boxes][own >= 0].to(device)
            found[kinds] = own[own >= 0].to(device)
    return cast(Target, found)


def take_few(
    module: DetectionData,
    own: Sequence[str],
    classes: Sequence[str],
    split: Literal["train", "all"] = "train",
    images: int | None = None,
) -> Few:
    """Take the labelled pictures of a data set.

    Args:
        module: The data.
        own: What the data call each class of the network.
        classes: What the network calls them.
        split: Those of the training split, or of all three.
        images: Draw so many of them; None takes all.

    Raises:
        ValueError: If they are fewer than 5, more than 500, or none has a box.
    """
    parts = SPLITS if split == "all" else ("train",)
    names = [name for part in parts for name in module.names(part)]
    rest = sum(len(module.names(part)) for part in SPLITS) - len(names)
    if images is not None and not FEWEST <= images <= min(MOST, len(names)):
        raise ValueError(
            f"--images is {FEWEST} to {MOST} of the {len(names)} pictures there are, not {images}"
        )
    if images is not None:
        drawn = np.random.default_rng(0).permutation(len(names))[:images]
        names = [sorted(names)[i] for i in drawn]
    if len(names) < FEWEST:
        more = f"; --split all takes the {rest} of the other splits too" if rest else ""
        raise ValueError(
            f"{module.title}: {len(names)} labelled pictures to train on, and {FEWEST} are needed{more}"
        )
    if len(names) > MOST:
        raise ValueError(
            f"{module.title}: {len(names)} labelled pictures to train on: with so many a training says "
            f"more; --images K takes {FEWEST} to {MOST} of them"
        )
    if rest:
        log.info(
            "%s: %d labelled pictures; %d of other splits are left for a test%s",
            *(module.title, len(names), rest, "" if images else "; --split all takes them too"),
        )
    labels = torch.tensor([list(own).index(name) if name in own else -1 for name in module.classes])
    few = Few(
        names, module.groups(names), module.some(names, augmented=True), labels, tuple(classes)
    )
    if not any(len(target["labels"]) for target in few.batch(range(len(few)))[1]):
        raise ValueError(f"{module.title}: none of the {len(few)} pictures has a labelled box")
    return few
