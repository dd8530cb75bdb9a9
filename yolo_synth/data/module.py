"""Data sets as LightningDataModules: box table → split → batches.

A batch is `(images, targets)`: images uint8 [B, 3, S, S] in RGB, float in 0..1 once on the device, and a
list of B `Target`s in pixels of the network input. A training sample depends on the seed, the epoch and
the sample alone, not on the number of workers or ranks or on whether the run was interrupted.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from yolo_synth.boxes import Resize
from yolo_synth.data.cache import ImageCache
from yolo_synth.data.conditions import Where, select
from yolo_synth.data.dataset import Batch, ImageDataset, TrainSampler, draw, in_order, loader
from yolo_synth.data.groups import named_by
from yolo_synth.data.headers import image_size
from yolo_synth.data.images import Augmentation, Sample
from yolo_synth.data.options import check_options
from yolo_synth.data.splits import (
    SPLITS,
    group_split,
    part_of,
    part_split,
    random_split,
    read_split,
)
from yolo_synth.data.summary import log_counts, refuse_boxless
from yolo_synth.data.trainer import dtype_of, epoch_of, global_seed, replicas, workers_of
from yolo_synth.data.unreadable import log_unreadable
from yolo_synth.labels import CLASSES

SplitBy = Literal["image", "group", "part"]

log = logging.getLogger(__name__)


class DetectionData(LightningDataModule):
    """Serve one data set's box table as batches of training, validation and test images.

    A subclass says how its table is read. Bad input fails in `prepare_data`, which reads and checks
    everything but the pixels. All training images are used: the last batch may be smaller.
    """

    default_split: SplitBy = "image"
    """How images are divided if nothing is said."""

    default_domain: str | None = None
    """What model names and tables call such data if nothing is said; None: the class's name."""

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
        mosaic: bool = False,
        cache: str | Path | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        max_skipped: float = 0.01,
        split_by: SplitBy | None = None,
        where: Where | None = None,
        domain: str | None = None,
        groups: str | Path | None = None,
        train_images: int | None = None,
        train_seed: int | None = None,
        epoch_images: int | None = None,
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder of the data set.
            splits: Folder with train.txt, valid.txt and test.txt, a name a line; None: by `split_by`.
            split_seed: Seed of what is drawn then.
            image_size: Side of the network input, in pixels.
            resize: `letterbox` keeps the aspect and pads with grey, `stretch` fills the square.
            batch_size: Images a batch, on each device.
            num_workers: Processes that load images for a device; None: as its cores, at most 8; 0: none.
            augment: Whether training images are augmented, lightly.
            mosaic: Whether a training sample is put together from four images.
            cache: Folder that keeps images decoded at their network size (292 KB each for a street
                image at 416); filled as images are asked for, shared by all runs that name it. None
                decodes each time.
            on_error: What to do about an image that cannot be read: `raise` names it and ends the run;
                `skip` reads all once at every start and leaves out the bad ones, by name.
            max_skipped: Share of a split's images that may be skipped; of more the run ends.
            split_by: How to divide without lists: `image` draws 60, 20 and 20 % of the images, as in
                the paper; `group` the same in whole groups (sequences, rides), so that no near-duplicate
                of a test image is trained on; `part` tests on the data set's own val part (GTAV's 47
                val sequences) and holds out 20 % of its train part. None: `image`; for COCO and YOLO
                data `part`.
            where: Which images to use: an attribute (weather, scene, timeofday or group) with its
                values, as {timeofday: [night], weather: [rainy, snowy]}; or a split with conditions of
                its own, as {test: {timeofday: night}}. No condition moves an image to another split.
            domain: What model names and tables call this data; None: Real for BDD100K, Synthetic for
                GTAV, the class's name for others. Conditions are added to it (Real-night).
            groups: CSV of each image's group, as the groups.csv of `data check --out`: frames of a
                sequence, near-duplicates. It overrules what the data set says. Null leaves that.
            train_images: Train on so many of the training images, drawn one by one: a smaller number's
                are among a greater's. Null takes all.
            train_seed: Seed of that draw; null is 0.
            epoch_images: Images of an epoch: the training images, shuffled, again and again, until
                there are so many. Null shows each once.

        Raises:
            ValueError: If an option is none, or a condition is about no attribute.
        """
        super().__init__()
        self._first_epoch = 0
        check_options(locals())
        self.root = Path(root)
        self.splits = None if splits is None else Path(splits)
        self.split_by: SplitBy = split_by or self.default_split
        self.where = where or {}
        self.domain = domain
        self.groups_file = None if groups is None else Path(groups)
        self.split_seed = split_seed
        self.train_images, self.train_seed = train_images, train_seed or 0
        self.epoch_images = epoch_images
        self.image_size = image_size
        self.resize: Resize = resize
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.augment, self.mosaic = augment, mosaic
        self.cache = None if cache is None else Path(cache)
        self.on_error, self.max_skipped = on_error, max_skipped
        self._unreadable: frozenset[str] = frozenset()
        self._has_looked = False
        self._table: pd.DataFrame | None = None
        self._names: dict[str, list[str]] | None = None
        self._datasets: dict[str, ImageDataset] = {}

    @property
    def title(self) -> str:
        """What headings call this data: its domain, or else its class."""
        return self.domain or type(self).__name__

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes, which labels count."""
        return CLASSES

    @abstractmethod
    def read(self) -> pd.DataFrame:
        """Read the data set's box table and mark what its filters drop."""

    @property
    def folders(self) -> list[Path]:
        """The folders that its images lie in."""
        return [self.root]

    @abstractmethod
    def labelled(self) -> Mapping[str, str]:
        """Say which images the label files speak of, whether there is such an image or not.

        Returns:
            Name of each image → the label file.
        """

    def unlisted(self) -> list[str]:
        """Return the paths of images that are not in the table because no label file lists them."""
        return []

    def unused(self) -> list[Path]:
        """Return the files in its folders that nothing reads."""
        return []

    @property
    def table(self) -> pd.DataFrame:
        """The box table with the filters' marks; read when first asked for, then kept."""
        if self._table is None:
            table = self.read()
            if self.groups_file is not None:
                table = named_by(table, self.groups_file)
            if self.on_error == "raise":
                for path in table.loc[table["width"] == 0, "path"]:
                    image_size(self.root / path)  # says what is the matter with it
            self._table = table
        return self._table

    def names(self, split: str) -> list[str]:
        """Return the images of `train`, `valid` or `test`, in the order of the list.

        Validation, test and prediction go through them in this order; with R devices, device r
        takes every R-th from the r-th on.
        """
        if self._names is None:
            images = self.table.drop_duplicates("image")
            names = self.divide(images)
            self._names = {part: select(images, names[part], self.where, part) for part in names}
            if self.train_images is not None:
                own = self._names["train"]
                drawn = set(draw(own, self.train_images, self.train_seed, "train"))
                self._names["train"] = [name for name in own if name in drawn]
        if split not in self._names:
            raise ValueError(f"there is no split {split!r}; there are {', '.join(self._names)}")
        return [name for name in self._names[split] if name not in self._unreadable]

    def divide(self, images: pd.DataFrame) -> dict[str, list[str]]:
        """Divide the images, one row of the table each, into the parts of `SPLITS`."""
        names = images["image"]
        if self.splits is not None:
            return read_split(self.splits, names)
        if self.split_by == "group":
            return group_split(dict(zip(names, images["group"], strict=True)), self.split_seed)
        if self.split_by == "part":
            return part_split(images.assign(part=self.parts(images)), self.split_seed)
        return random_split(names, self.split_seed)

    def parts(self, images: pd.DataFrame) -> pd.Series[str]:
        """Return which split each image's own part of the data set is, "" where it has none."""
        return images["path"].map(part_of)

    def prepare_data(self) -> None:
        """Read and check table and split, and log what they hold."""
        self.skip_unreadable()
        self.log_counts()

    @rank_zero_only
    def skip_unreadable(self) -> None:
        """Find the images that cannot be read, log each, and take them out of their splits.

        Does nothing unless `on_error` says so, and nothing the second time.

        Raises:
            ValueError: If a split has more of them than `max_skipped` allows.
        """
        if self.on_error != "skip" or self._has_looked:
            return
        for split in SPLITS:
            names = self.names(split)
            what = f"{type(self).__name__} {split}"
            bad = log_unreadable(self.some(names), what, self.max_skipped, self._workers())
            self._unreadable |= {names[index] for index in bad}
        self._has_looked = True

    def setup(self, stage: str | None = None) -> None:
        """Build the data sets; all three, since they are small."""
        if self.on_error == "skip" and self.trainer is not None:
            self._unreadable = self.trainer.strategy.broadcast(self._unreadable)
        for split in SPLITS:
            self.dataset(split)

    def dataset(self, split: str) -> ImageDataset:
        """Return the images of `train`, `valid` or `test` with their targets, built once."""
        if split not in self._datasets:
            self._datasets[split] = self.some(self.names(split), augmented=split == "train")
        return self._datasets[split]

    def some(
        self, names: Sequence[str], augmented: bool = False, size: int | None = None
    ) -> ImageDataset:
        """Return images of any split with their targets; `augmented` as training images are."""
        changed = augmented and (self.augment or self.mosaic)
        how = Augmentation(self.augment, self.mosaic) if changed else None
        cache = None if self.cache is None else ImageCache(self.cache)
        side = self.image_size if size is None else size
        return ImageDataset(self.root, self.table, names, side, self.resize, how, cache)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return the training images, shuffled anew in every epoch."""
        refuse_boxless(self)
        sampler = self.train_sampler(*replicas(self.trainer), global_seed())
        # Workers fetch the first batches before Lightning tells the sampler the first epoch, which
        # is not 0 in a training that goes on; later epochs it tells in time.
        sampler.set_epoch(max(self._first_epoch, epoch_of(self.trainer)))
        return self._loader(self.dataset("train"), sampler)

    def state_dict(self) -> dict[str, int]:
        """Return what a checkpoint keeps: the epoch that a training goes on with."""
        return {"epoch": epoch_of(self.trainer)}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Begin with the epoch of a checkpoint, which is read before any image is fetched."""
        self._first_epoch = int(state_dict["epoch"])

    def train_sampler(self, replicas: int, rank: int, seed: int) -> TrainSampler:
        """Return what draws an epoch's training images: all of them, shuffled."""
        return TrainSampler(len(self.names("train")), replicas, rank, seed, self.epoch_images)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return the validation images, each once, in the list's order."""
        return self._in_order("valid")

    def test_dataloader(self) -> DataLoader[Sample]:
        """Return the test images, each once, in the list's order: `names("test")`."""
        return self._in_order("test")

    predict_dataloader = test_dataloader

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make the images float in 0..1, in the network's precision, on the device."""
        images, targets = batch
        return images.to(dtype_of(self.trainer)).div_(255), targets

    def probe(self, split: str, n: int, size: int, seed: int = 0) -> tuple[Tensor, list[str]]:
        """Draw images for an analysis, decoded and resized as in training, without augmentation.

        Seed and images of the split decide the draw; a smaller n gives the first ones of a greater n.

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
        drawn = draw(self.names(split), n, seed, split)
        dataset = self.some(drawn, size=size)
        return torch.stack([dataset[i][0] for i in range(n)]), drawn

    def groups(self, names: Sequence[str]) -> list[str]:
        """Return what each image belongs to: GTAV's sequence, BDD100K's ride, or as `groups` says."""
        table = self.table.drop_duplicates("image").set_index("image")
        return [str(group) for group in table["group"].loc[list(names)]]

    def _in_order(self, split: str) -> DataLoader[Sample]:
        dataset = self.dataset(split)
        return self._loader(dataset, in_order(dataset, *replicas(self.trainer), split))

    def _loader(self, images: ImageDataset, order: DistributedSampler[Any]) -> DataLoader[Sample]:
        return loader(images, order, self.batch_size, self._workers())

    def _workers(self) -> int:
        return workers_of(self.trainer) if self.num_workers is None else self.num_workers

    @rank_zero_only
    def log_counts(self) -> None:
        """Log how many images and boxes each split has, and what was left out."""
        log_counts(self)
