"""A split's images as a PyTorch data set: loaded one by one, shuffled, and gathered to batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, default_collate

from yolo_synth.boxes import Resize, Target, place
from yolo_synth.data.cache import ImageCache
from yolo_synth.data.headers import image_size
from yolo_synth.data.images import (
    Augmentation,
    ImageError,
    Picture,
    Sample,
    centred,
    read,
    shrink_boxes,
    use_one_thread,
)
from yolo_synth.data.table import EDGES, kept

Batch = tuple[Tensor, list[Target]]
"""Images, uint8 [B, 3, S, S], and a target for each."""


class ImageDataset(Dataset[Sample]):
    """Hold a split's files and boxes in a few arrays, and load an image when it is asked for.

    `dataset[i]` is image i as it is, `dataset[i, seed]` is image i augmented as the seed says.
    Arrays rather than Python objects, so that worker processes share their memory.
    """

    def __init__(
        self,
        root: Path,
        table: pd.DataFrame,
        names: Sequence[str],
        size: int,
        resize: Resize,
        augmentation: Augmentation | None = None,
        cache: ImageCache | None = None,
    ) -> None:
        """Gather what the table knows of some images.

        Args:
            root: Folder that the table's paths start from.
            table: A box table; only its `kept` boxes are served.
            names: Images, each of which the table has.
            size: Side of the network input, in pixels.
            resize: `letterbox` or `stretch`.
            augmentation: Applied to `dataset[i, seed]`, if given.
            cache: Keeps the images once they are decoded, if given.
        """
        self.root = root
        self.size = size
        self.resize: Resize = resize
        self.augmentation = augmentation
        self._read = read if cache is None else cache.read
        images = table[["image", "path", "width", "height"]].drop_duplicates("image")
        images = images.set_index("image").loc[list(names)]
        self._paths = images["path"].to_numpy(dtype=np.str_)
        self._sizes: NDArray[np.int32] = images[["width", "height"]].to_numpy(np.int32)
        rows = table[["image", "label", "dropped", *EDGES]]
        self._offsets, self._boxes, self._labels = _by_image(images.index, kept(rows))
        self._crowds = _by_image(images.index, rows[rows["dropped"] == "crowd"])

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        index, seed = key if isinstance(key, tuple) else (key, None)
        if seed is None or self.augmentation is None:
            picture = self.picture(index)
            image, target = centred(picture, self.size)
            return image, self._with_crowds(target, index)
        generator = np.random.default_rng(seed)
        others = generator.integers(len(self), size=3).tolist() if self.augmentation.mosaic else []
        pictures = [self.picture(number) for number in (index, *others)]
        return self.augmentation.sample(pictures, self.size, generator)

    def boxes_of_each_class(self, classes: int) -> list[int]:
        """Count the boxes of each of so many classes."""
        counts: list[int] = np.bincount(self._labels, minlength=classes).tolist()
        return counts

    def digest(self) -> str:
        """Return 64 digits that tell what is served: the images' files byte by byte, boxes, labels.

        Raises:
            OSError: If a file cannot be read.
        """
        total = hashlib.sha256(f"{self.size} {self.resize}".encode())
        served = (self._paths, self._sizes, self._offsets, self._boxes, self._labels)
        for values in (*served, *(self._crowds if len(self._crowds[1]) else ())):
            total.update(f"{values.dtype} {values.shape}".encode())
            total.update(np.ascontiguousarray(values).tobytes())
        for path in self._paths:
            with (self.root / path).open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        return total.hexdigest()

    def picture(self, index: int) -> Picture:
        """Return an image at its size in the network input, without padding, and its boxes."""
        rows = slice(self._offsets[index], self._offsets[index + 1])
        width, height = self._sizes[index].tolist()
        path = self.root / self._paths[index]
        if not width:
            raise ImageError(_what_is_wrong(path))
        placement = place(width, height, self.size, self.resize)
        pixels = self._read(path, width, height, placement)
        return Picture(pixels, shrink_boxes(self._boxes[rows], placement), self._labels[rows])

    def _with_crowds(self, target: Target, index: int) -> Target:
        """Add an image's crowd regions to its target, if there are any."""
        offsets, boxes, labels = self._crowds
        rows = slice(offsets[index], offsets[index + 1])
        if rows.start == rows.stop:
            return target
        width, height = self._sizes[index].tolist()
        moved = place(width, height, self.size, self.resize).to_network(torch.tensor(boxes[rows]))
        target["crowd_boxes"] = moved.clamp(0, self.size)
        target["crowd_labels"] = torch.tensor(labels[rows])
        return target


def _by_image(
    images: pd.Index, boxes: pd.DataFrame
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Sort the boxes of some images by image; the first array says where each image's begin."""
    image = images.get_indexer(pd.Index(boxes["image"]))
    order = np.argsort(image, kind="stable")[np.count_nonzero(image < 0) :]
    counts = np.bincount(image[order], minlength=len(images))
    return (
        np.concatenate([[0], np.cumsum(counts)]),
        boxes[EDGES].to_numpy(np.float32)[order],
        boxes["label"].to_numpy(np.int64)[order],
    )


def _what_is_wrong(path: Path) -> str:
    """Say why an image has no size in the table."""
    try:
        image_size(path)
    except ValueError as error:
        return str(error)
    return f"{path} could not be read when its labels were, and can be now; start again"


class TrainSampler(DistributedSampler[Any]):
    """Shuffle training images and give each a seed, the same on every rank.

    Yields `(index, seed)`, a rank its share of them. Order and seeds depend on the run's seed and
    the epoch. Every rank gets as many: if the images cannot be shared evenly, the first ones of the
    epoch come twice. Being a DistributedSampler, it is left in place by Lightning and told the
    epoch; the first one, which after a resume is not 0, by the data module.
    """

    def __init__(
        self,
        length: int,
        num_replicas: int = 1,
        rank: int = 0,
        seed: int = 0,
        drawn: int | None = None,
    ) -> None:
        """Shuffle `range(length)` for one of `num_replicas` ranks; an epoch has all, or `drawn`.

        Where `drawn` is more, it goes through all again and again, each time shuffled anew.
        """
        self.drawn = length if drawn is None else drawn
        super().__init__(range(self.drawn), num_replicas, rank, seed=seed)  # type: ignore[arg-type]
        self.length = length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = np.resize(self.order(generator), self.total_size)
        seeds = generator.integers(2**32, size=max(self.length, self.drawn))
        # An image that comes again is augmented anew.
        own = (
            np.resize(np.arange(self.drawn), self.total_size) if self.drawn > self.length else order
        )
        mine = slice(self.rank, None, self.num_replicas)
        for index, number in zip(order[mine].tolist(), own[mine].tolist(), strict=True):
            yield index, int(seeds[number])

    def order(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Draw an epoch's images, in order, by their number in the data set."""
        return shuffled(self.length, self.drawn, generator)


def shuffled(length: int, drawn: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Shuffle `range(length)` as often as it takes to have `drawn` of it, and return so many."""
    turns = [generator.permutation(length) for _ in range(max(1, -(-drawn // max(1, length))))]
    return np.concatenate(turns)[:drawn]


class _Packed(list[Target]):
    """Targets that travel from a worker as two arrays, and arrive as a plain list.

    Tensors would travel as one open file each, and with large batches the process runs out of them.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        crowds = [number for number, target in enumerate(self) if "crowd_boxes" in target]
        return _unpack, (
            *_packed([(target["boxes"], target["labels"]) for target in self]),
            crowds,
            *_packed([(self[n]["crowd_boxes"], self[n]["crowd_labels"]) for n in crowds]),
        )


Arrays = tuple[NDArray[np.float32], NDArray[np.int64], list[int]]


def _packed(pairs: Sequence[tuple[Tensor, Tensor]]) -> Arrays:
    """Return boxes and labels of some images one after the other, and how many each has."""
    if not pairs:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64), []
    boxes, labels = (torch.cat(column).numpy() for column in zip(*pairs, strict=True))
    return boxes, labels, [len(kinds) for _, kinds in pairs]


def _unpacked(
    boxes: NDArray[np.float32], labels: NDArray[np.int64], counts: list[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    cuts = np.cumsum(counts)[:-1]
    for of_image, kinds in zip(np.split(boxes, cuts), np.split(labels, cuts), strict=True):
        yield torch.from_numpy(of_image), torch.from_numpy(kinds)


def _unpack(
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    counts: list[int],
    with_crowds: list[int],
    *crowds: Any,  # noqa: ANN401 - those of `_unpacked`
) -> list[Target]:
    targets: list[Target] = [
        {"boxes": of_image, "labels": kinds} for of_image, kinds in _unpacked(boxes, labels, counts)
    ]
    regions = _unpacked(*crowds) if with_crowds else iter(())
    for number, (of_image, kinds) in zip(with_crowds, regions, strict=True):
        targets[number] |= {"crowd_boxes": of_image, "crowd_labels": kinds}
    return targets


def collate(samples: Sequence[Sample]) -> Batch:
    """Make a batch: images stacked to uint8 [B, 3, S, S], targets in a list."""
    # default_collate stacks right into the memory that a worker shares.
    images: Tensor = default_collate([image for image, _ in samples])
    return images, _Packed(target for _, target in samples)


def draw(names: Sequence[str], n: int, seed: int, split: str) -> list[str]:
    """Draw n of a split's images, whatever order they come in.

    Raises:
        ValueError: If there are fewer.
    """
    if not 1 <= n <= len(names):
        raise ValueError(
            f"cannot draw {n} images from split {split!r}, which has {len(names)}; ask for a "
            "number between them"
        )
    in_order = sorted(names)
    return [in_order[i] for i in np.random.default_rng(seed).permutation(len(names))[:n]]


def in_order(
    dataset: ImageDataset, replicas: int, rank: int, split: str
) -> DistributedSampler[Any]:
    """Return what goes through a split's images in their order: a device takes every R-th.

    Raises:
        ValueError: If there are more devices than images.
    """
    if len(dataset) < replicas:
        raise ValueError(
            f"split {split!r} has {len(dataset)} images for {replicas} devices; use fewer"
        )
    return UnrepeatedDistributedSampler(dataset, replicas, rank, shuffle=False)


def loader(
    dataset: ImageDataset, sampler: DistributedSampler[Any], batch_size: int, workers: int
) -> DataLoader[Sample]:
    """Return what gathers samples to batches, in this process or in workers that stay."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=use_one_thread,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # so that loading leaves the run's own random state alone
    )
