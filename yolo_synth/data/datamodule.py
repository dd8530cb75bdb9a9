"""Data sets as LightningDataModules: box table → split → batches.

A batch is `(images, targets)`: images uint8 [B, 3, S, S] in RGB, float in 0..1 once it is on the
device, and a list of B `Target`s in pixels of the network input.

What a training sample looks like depends on the seed, the epoch and the sample alone, not on the
number of workers or ranks or on whether the run was interrupted.
"""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from yolo_synth.boxes import Resize, Target
from yolo_synth.data.annotations import (
    EDGES,
    SPLITS,
    count_dropped,
    drop_hood,
    drop_small,
    kept,
    random_split,
    read_split,
)
from yolo_synth.data.bdd100k import bdd100k_frames, read_bdd100k
from yolo_synth.data.gtav import Columns, gtav_box_files, read_gtav
from yolo_synth.data.images import Augmentation, Sample, load, use_one_thread
from yolo_synth.labels import CLASSES

Batch = tuple[Tensor, list[Target]]

log = logging.getLogger(__name__)


class DetectionData(LightningDataModule):
    """Serve one data set's box table as batches of training, validation and test images.

    A subclass says how its table is read. Bad input fails in `prepare_data`, which reads and checks
    everything but the pixels. All training images are used: the last batch may be smaller.
    """

    def __init__(
        self,
        root: str | Path,
        splits: str | Path | None = None,
        split_seed: int = 0,
        image_size: int = 416,
        resize: Resize = "letterbox",
        batch_size: int = 8,
        num_workers: int | None = None,
        augment: bool = True,
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder of the data set.
            splits: Folder with train.txt, valid.txt and test.txt, one image name a line; None draws
                60, 20 and 20 % of the images.
            split_seed: Seed of that draw.
            image_size: Side of the network input, in pixels.
            resize: `letterbox` keeps the aspect and pads with grey, `stretch` fills the square.
            batch_size: Images a batch, on each device.
            num_workers: Processes that load images, for each device; None takes one for each
                processor core that a device has, at most 8; 0 loads in the training process.
            augment: Whether training images are augmented, lightly.

        Raises:
            ValueError: If the network cannot take images of that size.
        """
        super().__init__()
        if image_size < 32 or image_size % 32:
            raise ValueError(f"data.image_size is a multiple of 32, not {image_size}")
        self.root = Path(root)
        self.splits = None if splits is None else Path(splits)
        self.split_seed = split_seed
        self.image_size = image_size
        self.resize: Resize = resize
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.augment = augment
        self._table: pd.DataFrame | None = None
        self._names: dict[str, list[str]] | None = None
        self._datasets: dict[str, ImageDataset] = {}

    @abstractmethod
    def read(self) -> pd.DataFrame:
        """Read the data set's box table and mark what its filters drop."""

    @property
    def folders(self) -> list[Path]:
        """The folders that its images lie in."""
        return [self.root]

    def labelled(self) -> Mapping[str, str] | None:
        """Say which images the label files speak of, whether there is such an image or not.

        Returns:
            Name of each image → the label file; None if the data set cannot tell.
        """
        return None

    @property
    def table(self) -> pd.DataFrame:
        """The box table with the filters' marks; read when first asked for, then kept."""
        if self._table is None:
            self._table = self.read()
        return self._table

    def names(self, split: str) -> list[str]:
        """Return the images of `train`, `valid` or `test`, in the order of the list.

        Validation, test and prediction go through them in this order; with R devices, device r
        takes every R-th from the r-th on.
        """
        if self._names is None:
            images = self.table["image"].unique()
            if self.splits is None:
                self._names = random_split(images, self.split_seed)
            else:
                self._names = read_split(self.splits, images)
        if split not in self._names:
            raise ValueError(f"there is no split {split!r}; there are {', '.join(self._names)}")
        return self._names[split]

    def prepare_data(self) -> None:
        """Read and check table and split, and log what they hold."""
        self._log_counts()

    def setup(self, stage: str | None = None) -> None:
        """Build the data sets; all three, since they are small."""
        for split in SPLITS:
            self.dataset(split)

    def dataset(self, split: str) -> ImageDataset:
        """Return the images of `train`, `valid` or `test` with their targets, built once."""
        if split not in self._datasets:
            augmentation = Augmentation() if split == "train" and self.augment else None
            self._datasets[split] = ImageDataset(
                self.root, self.table, self.names(split), self.image_size, self.resize, augmentation
            )
        return self._datasets[split]

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return the training images, shuffled anew in every epoch."""
        dataset = self.dataset("train")
        sampler = TrainSampler(len(dataset), *self._replicas(), seed=_global_seed())
        return self._loader(dataset, sampler)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return the validation images, each once, in the list's order."""
        return self._in_order("valid")

    def test_dataloader(self) -> DataLoader[Sample]:
        """Return the test images, each once, in the list's order."""
        return self._in_order("test")

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Return the test images, as in testing; `names("test")` says which they are."""
        return self._in_order("test")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make the images float in 0..1, in the network's precision, on the device."""
        images, targets = batch
        dtype: Any = torch.float32
        if self.trainer is not None and self.trainer.lightning_module is not None:
            dtype = self.trainer.lightning_module.dtype
        return images.to(dtype).div_(255), targets

    def probe(self, split: str, n: int, size: int, seed: int = 0) -> tuple[Tensor, list[str]]:
        """Draw images for an analysis, decoded and resized as in training, without augmentation.

        The draw depends on the seed and on which images the split has; a smaller n gives the first
        ones of a greater n.

        Args:
            split: `train`, `valid` or `test`.
            n: Number of images.
            size: Side of the images, in pixels.
            seed: Another seed draws other images.

        Returns:
            Images uint8 [n, 3, size, size], RGB, and their names.

        Raises:
            ValueError: If the split has fewer than n images.
        """
        names = sorted(self.names(split))
        if not 1 <= n <= len(names):
            raise ValueError(
                f"cannot draw {n} images from split {split!r}, which has {len(names)}; ask for a "
                "number between them"
            )
        drawn = [names[i] for i in np.random.default_rng(seed).permutation(len(names))[:n]]
        dataset = ImageDataset(self.root, self.table, drawn, size, self.resize)
        return torch.stack([dataset[i][0] for i in range(n)]), drawn

    def _replicas(self) -> tuple[int, int]:
        """Return the number of processes that train together, and this one's rank."""
        if self.trainer is None:
            return 1, 0
        return self.trainer.world_size, self.trainer.global_rank

    def _in_order(self, split: str) -> DataLoader[Sample]:
        dataset = self.dataset(split)
        replicas, rank = self._replicas()
        if len(dataset) < replicas:
            raise ValueError(
                f"split {split!r} has {len(dataset)} images for {replicas} devices; use fewer"
            )
        sampler = UnrepeatedDistributedSampler(dataset, replicas, rank, shuffle=False)
        return self._loader(dataset, sampler)

    def _loader(
        self, dataset: ImageDataset, sampler: DistributedSampler[Any]
    ) -> DataLoader[Sample]:
        workers = self._default_workers() if self.num_workers is None else self.num_workers
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=use_one_thread,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # so that loading leaves the run's own random state alone
        )

    def _default_workers(self) -> int:
        devices = 1 if self.trainer is None else max(1, self.trainer.num_devices)
        has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
        cores = len(os.sched_getaffinity(0)) if has_affinity else (os.cpu_count() or 1)
        return min(8, max(1, cores // devices))

    @rank_zero_only
    def _log_counts(self) -> None:
        used = kept(self.table)
        for split in SPLITS:
            names = self.names(split)
            labels = used.loc[used["image"].isin(names), "label"]
            boxes = np.bincount(labels, minlength=len(CLASSES))
            per_class = ", ".join(f"{n} {name}" for name, n in zip(CLASSES, boxes, strict=True))
            log.info(
                "%s %s: %d images; boxes: %s", type(self).__name__, split, len(names), per_class
            )
        counts = count_dropped(self.table)
        log.info(
            "%s: %d boxes used; left out: %d of other kinds, %d degenerate, %d small, %d hood; %d "
            "images have no box",
            type(self).__name__,
            *counts[["kept", "label", "degenerate", "area", "hood", "no box"]],
        )


class BDD100K(DetectionData):
    """Serve BDD100K: real street images (see `bdd100k.read_bdd100k` for its files)."""

    def read(self) -> pd.DataFrame:
        """Read the box table; the paper filters nothing here."""
        return read_bdd100k(self.root)

    def labelled(self) -> Mapping[str, str]:
        """Say which images the label files have a frame of."""
        return bdd100k_frames(self.root)


class GTAV(DetectionData):
    """Serve GTAV (Playing for Benchmarks): rendered street images (see `gtav.read_gtav`)."""

    def __init__(
        self,
        root: str | Path,
        *,
        min_area: float = 100.0,
        drop_hood: bool = True,
        columns: Columns = "auto",
        **settings: Any,  # noqa: ANN401 as DetectionData has them
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder of the data set.
            min_area: Boxes of fewer square native pixels are left out.
            drop_hood: Whether the hood of the recording vehicle is left out.
            columns: Order of the box files' first two columns; `auto` finds it out.
            **settings: Those of `DetectionData`.
        """
        super().__init__(root, **settings)
        self.min_area = min_area
        self.drop_hood = drop_hood
        self.columns: Columns = columns

    def read(self) -> pd.DataFrame:
        """Read the box table and mark small boxes and the hood."""
        table = drop_small(read_gtav(self.root, self.columns), self.min_area)
        return drop_hood(table) if self.drop_hood else table

    def labelled(self) -> Mapping[str, str]:
        """Say which frames have a box file."""
        return gtav_box_files(self.root)


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
    ) -> None:
        """Gather what the table knows of some images.

        Args:
            root: Folder that the table's paths start from.
            table: A box table; only its `kept` boxes are served.
            names: Images, each of which the table has.
            size: Side of the network input, in pixels.
            resize: `letterbox` or `stretch`.
            augmentation: Applied to `dataset[i, seed]`, if given.
        """
        self.root = root
        self.size = size
        self.resize: Resize = resize
        self.augmentation = augmentation
        images = table.drop_duplicates("image").set_index("image").loc[list(names)]
        self._paths = images["path"].to_numpy(dtype=np.str_)
        self._sizes: NDArray[np.int32] = images[["width", "height"]].to_numpy(np.int32)
        boxes = kept(table)
        image = images.index.get_indexer(pd.Index(boxes["image"]))
        order = np.argsort(image, kind="stable")[np.count_nonzero(image < 0) :]
        counts = np.bincount(image[order], minlength=len(names))
        self._offsets = np.concatenate([[0], np.cumsum(counts)])
        self._boxes: NDArray[np.float32] = boxes[EDGES].to_numpy(np.float32)[order]
        self._labels: NDArray[np.int64] = boxes["label"].to_numpy(np.int64)[order]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        index, seed = key if isinstance(key, tuple) else (key, None)
        augmentation = None if seed is None else self.augmentation
        if augmentation is not None and seed is not None:
            augmentation.seed(seed)
        rows = slice(self._offsets[index], self._offsets[index + 1])
        width, height = (int(side) for side in self._sizes[index])
        return load(
            self.root / self._paths[index],
            width,
            height,
            self.size,
            self.resize,
            self._boxes[rows],
            self._labels[rows],
            augmentation,
        )


class TrainSampler(DistributedSampler[Any]):
    """Shuffle training images and give each a seed, the same on every rank.

    Yields `(index, seed)`, a rank its share of them. Order and seeds depend on the run's seed and
    the epoch. Every rank gets as many: if the images cannot be shared evenly, the first ones of the
    epoch come twice. Being a DistributedSampler, it is left in place by Lightning and told the
    epoch, after a resume too.
    """

    def __init__(self, length: int, num_replicas: int = 1, rank: int = 0, seed: int = 0) -> None:
        """Shuffle `range(length)` for one of `num_replicas` ranks."""
        super().__init__(range(length), num_replicas, rank, seed=seed)  # type: ignore[arg-type]
        self.length = length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = np.resize(generator.permutation(self.length), self.total_size)
        seeds = generator.integers(2**32, size=self.length)
        for index in order[self.rank :: self.num_replicas].tolist():
            yield index, int(seeds[index])


class _Packed(list[Target]):
    """Targets that travel from a worker as two arrays, and arrive as a plain list.

    Tensors would travel as one open file each, and with large batches the process runs out of them.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        counts = [len(target["labels"]) for target in self]
        boxes = torch.cat([target["boxes"] for target in self]).numpy()
        labels = torch.cat([target["labels"] for target in self]).numpy()
        return _unpack, (boxes, labels, counts)


def _unpack(
    boxes: NDArray[np.float32], labels: NDArray[np.int64], counts: list[int]
) -> list[Target]:
    cuts = np.cumsum(counts)[:-1]
    return [
        {"boxes": torch.from_numpy(of_image), "labels": torch.from_numpy(kinds)}
        for of_image, kinds in zip(np.split(boxes, cuts), np.split(labels, cuts), strict=True)
    ]


def collate(samples: Sequence[Sample]) -> Batch:
    """Make a batch: images stacked to uint8 [B, 3, S, S], targets in a list."""
    return torch.stack([image for image, _ in samples]), _Packed(target for _, target in samples)


def _global_seed() -> int:
    """Return the run's seed, as Lightning's `seed_everything` leaves it; 0 if it was not called."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))
