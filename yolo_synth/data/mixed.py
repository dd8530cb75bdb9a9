"""Several data sets as one: real and synthetic images in one training, in given shares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from numpy.random import Generator
from numpy.typing import NDArray

from yolo_synth.data.dataset import TrainSampler, shuffled
from yolo_synth.data.module import DetectionData, log
from yolo_synth.data.splits import SPLITS
from yolo_synth.data.table import COLUMNS


class Mixed(DetectionData):
    """Serve images of several data sets together.

    Its box table is those of its parts, one below the other, and its splits are theirs; images and
    groups are called `<part>/<name>`. Filters, splits and conditions are the parts' own. Image size,
    resize, batches, workers and augmentation are the mixture's, whatever the parts say of them.

    With shares, an epoch has as many images as the shares allow without showing one twice: of the part
    that is short all, of the others a sample, which is another one in every epoch. Without, it has all.
    With `epoch_images` it has so many, in the shares if there are any, and shows some again.
    """

    def __init__(
        self,
        parts: dict[str, DetectionData],
        shares: dict[str, float] | None = None,
        target: str | None = None,
        *,
        image_size: int = 416,
        **settings: Any,  # noqa: ANN401 as DetectionData has them
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            parts: Names that you choose, and the data of each.
            shares: Share of each part in an epoch's images, as {real: 1, synthetic: 3}; only their
                ratio counts. Null takes all images of all parts.
            target: The part whose validation and test images alone are used; null uses those of all.
            image_size: Side of the network input, in pixels.
            **settings: Those of `DetectionData`.

        Raises:
            ValueError: If there are fewer than two parts, a name is none that can stand before a slash,
                or shares or target do not go with the parts.
        """
        super().__init__(
            ".",
            splits=None,
            split_seed=0,
            split_by=None,
            where=None,
            image_size=image_size,
            **settings,
        )
        _check(parts, shares, target)
        self.sets = parts
        self.shares = shares
        self.target = target

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the parts' classes, which are the same.

        Raises:
            ValueError: If they are not.
        """
        (first, classes), *others = [(name, part.classes) for name, part in self.sets.items()]
        for name, own in others:
            if own != classes:
                raise ValueError(
                    f"data.parts: the classes of {first} are {', '.join(classes)}, those of {name} "
                    f"{', '.join(own)}: give both the same, in the same order, by classes and labels"
                )
        return classes

    def read(self) -> pd.DataFrame:
        """Join the parts' box tables."""
        _ = self.classes  # refuses parts that differ
        tables = []
        for name in sorted(self.sets, key=lambda name: f"{name}/"):  # so the rows stay sorted
            part = self.sets[name]
            table = part.table.assign(path=[(part.root / p).as_posix() for p in part.table["path"]])
            for column in ("image", "group"):
                table[column] = f"{name}/" + table[column]
            tables.append(table)
        return pd.concat(tables, ignore_index=True).astype(dict(COLUMNS))

    @property
    def folders(self) -> list[Path]:
        """The folders that the parts' images lie in."""
        return [folder for part in self.sets.values() for folder in part.folders]

    def labelled(self) -> Mapping[str, str]:
        """Say which images the parts' label files speak of."""
        return {
            f"{name}/{image}": file
            for name, part in self.sets.items()
            for image, file in part.labelled().items()
        }

    def unlisted(self) -> list[str]:
        """Return the paths of the parts' images that no label file lists."""
        return [
            (part.root / path).as_posix() for part in self.sets.values() for path in part.unlisted()
        ]

    def unused(self) -> list[Path]:
        """Return the files in the parts' folders that nothing reads."""
        return [file for part in self.sets.values() for file in part.unused()]

    def divide(self, images: pd.DataFrame) -> dict[str, list[str]]:
        """Join the parts' splits."""
        names: dict[str, list[str]] = {split: [] for split in SPLITS}
        for name, part in self.sets.items():
            for split in SPLITS:
                if split == "train" or self.target in (None, name):
                    names[split] += [f"{name}/{image}" for image in part.names(split)]
        return names

    def train_sampler(self, replicas: int, rank: int, seed: int) -> TrainSampler:
        """Return what draws an epoch's images, in the shares."""
        if self.shares is None:
            return super().train_sampler(replicas, rank, seed)
        of_part = [name.partition("/")[0] for name in self.names("train")]
        lengths = [of_part.count(name) for name in self.sets]
        shares = [self.shares[name] for name in self.sets]
        return SharesSampler(lengths, shares, replicas, rank, seed, self.epoch_images)

    @rank_zero_only
    def log_counts(self) -> None:
        """Log what the parts hold, and how many images an epoch has."""
        for part in self.sets.values():
            part.log_counts()
        log.info(
            "Mixed: an epoch has %d of the %d training images of all parts",
            *(len(self.train_sampler(1, 0, 0)), len(self.names("train"))),
        )


class SharesSampler(TrainSampler):
    """Draw training images of several parts, which lie one behind the other, in given shares.

    An epoch has the most images that keep the shares without an image coming twice. Of a part with
    more than that, every epoch draws others. Like TrainSampler, it depends on seed and epoch alone.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        shares: Sequence[float],
        num_replicas: int = 1,
        rank: int = 0,
        seed: int = 0,
        drawn: int | None = None,
    ) -> None:
        """Say how many images each part has and what its share of an epoch is, by any measure.

        An epoch may be longer or shorter than that, `drawn`: then images come again, or fewer of each.

        Raises:
            ValueError: If a part would give no image.
        """
        each = min(length / share for length, share in zip(lengths, shares, strict=True))
        self.lengths = list(lengths)
        self.counts = [round(each * share) for share in shares]
        if drawn is not None:
            ends = np.cumsum([0, *shares]) / sum(shares) * drawn
            self.counts = np.diff(ends.round().astype(int)).tolist()
        if not all(self.counts):
            raise ValueError(
                f"data.shares: of parts with {' and '.join(map(str, lengths))} training images, an "
                f"epoch would have {' and '.join(map(str, self.counts))}; choose shares nearer to 1 : 1"
            )
        super().__init__(sum(lengths), num_replicas, rank, seed, drawn=sum(self.counts))

    def order(self, generator: Generator) -> NDArray[np.int64]:
        """Draw an epoch's images of all parts, shuffled."""
        starts = np.cumsum([0, *self.lengths])
        drawn = [
            start + shuffled(length, count, generator)
            for start, length, count in zip(starts, self.lengths, self.counts, strict=False)
        ]
        return generator.permutation(np.concatenate(drawn))


def _check(
    parts: dict[str, DetectionData], shares: dict[str, float] | None, target: str | None
) -> None:
    named = ", ".join(parts)
    if len(parts) < 2:
        raise ValueError(f"data.parts: a mixture has two parts or more, not {len(parts)} ({named})")
    for name in parts:
        if not re.fullmatch(r"[\w-]+", name):
            raise ValueError(f"data.parts: {name!r} is no name of letters, digits, - and _")
    if shares is not None and shares.keys() != parts.keys():
        raise ValueError(f"data.shares is about {', '.join(shares)}, and data.parts are {named}")
    for name, share in (shares or {}).items():
        if not 0 < share < float("inf"):
            raise ValueError(f"data.shares: the share of {name} is a positive number, not {share}")
    if target is not None and target not in parts:
        raise ValueError(f"data.target: there is no part {target!r}; there are {named}")
