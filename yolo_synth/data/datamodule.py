"""Data sets as LightningDataModules: box table → split → batches.

A batch is `(images, targets)`: images uint8 [B, 3, S, S] in RGB, float in 0..1 once it is on the
device, and a list of B `Target`s in pixels of the network input.

What a training sample looks like depends on the seed, the epoch and the sample alone, not on the
number of workers or ranks or on whether the run was interrupted.
"""

from __future__ import annotations

import logging
import os
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from yolo_synth.boxes import Resize
from yolo_synth.data.annotations import (
    COLUMNS,
    SPLITS,
    count_dropped,
    drop_hood,
    drop_small,
    image_size,
    random_split,
    read_split,
)
from yolo_synth.data.bdd100k import bdd100k_frames, read_bdd100k
from yolo_synth.data.cache import ImageCache
from yolo_synth.data.coco import coco_entries, read_with_splits, unlisted_images
from yolo_synth.data.dataset import Batch, ImageDataset, TrainSampler, collate
from yolo_synth.data.gtav import Columns, gtav_box_files, read_gtav
from yolo_synth.data.images import (
    Augmentation,
    Sample,
    use_one_thread,
)
from yolo_synth.data.splits import (
    Where,
    check_where,
    group_split,
    part_of,
    part_split,
    regroup,
    select,
    shared_groups,
)
from yolo_synth.data.unreadable import unreadable
from yolo_synth.data.yolo import read_yolo, yolo_label_files
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
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder of the data set.
            splits: Folder with train.txt, valid.txt and test.txt, one image name a line; None divides
                the images by `split_by`.
            split_seed: Seed of what is drawn then.
            image_size: Side of the network input, in pixels.
            resize: `letterbox` keeps the aspect and pads with grey, `stretch` fills the square.
            batch_size: Images a batch, on each device.
            num_workers: Processes that load images, for each device; None takes one for each
                processor core that a device has, at most 8; 0 loads in the training process.
            augment: Whether training images are augmented, lightly.
            mosaic: Whether a training sample is put together from four images. Without a cache, all
                four are decoded for it.
            cache: Folder that keeps images decoded at their network size (292 KB each for a street
                image at 416), so that only the first epoch of the first run decodes them; filled as
                images are asked for, and shared by all runs that name it. None decodes each time.
            on_error: What to do about an image that cannot be read: `raise` ends the run when it
                comes up and names it; `skip` reads all images once at every start, names the bad
                ones and leaves them out of training and of every measure.
            max_skipped: Share of a split's images that may be skipped; of more, something else is
                wrong, and the run ends.
            split_by: How to divide without lists: `image` draws 60, 20 and 20 % of the images, as in
                the paper; `group` the same in whole sequences (GTAV) or rides (BDD100K), so that no
                near-duplicate of a test image is trained on; `part` tests on the data set's own val
                part (GTAV's 47 val sequences, BDD100K's val) and holds out 20 % of its train part for
                validation. None: `image`; for COCO and YOLO data `part`.
            where: Which images to use: an attribute (weather, scene, timeofday or group) with the
                values that it may have, as {timeofday: [night], weather: [rainy, snowy]}; or a split
                (train, valid or test) with such conditions of its own, as {test: {timeofday: night}}.
                The division comes first, so no condition moves an image to another split.
            domain: What model names and tables call this data; None: Real for BDD100K, Synthetic for
                GTAV, the class's name for others. Conditions are added to it (Real-night).

        Raises:
            ValueError: If the network cannot take images of that size, if a condition is about no
                attribute, if both `splits` and `split_by` are given, or if `domain` is no name, or
                a share is not one.
        """
        super().__init__()
        self._first_epoch = 0
        if image_size < 32 or image_size % 32:
            raise ValueError(f"data.image_size is a multiple of 32, not {image_size}")
        if not 0 <= max_skipped < 1:
            raise ValueError(f"data.max_skipped is a share of images, 0 to 1, not {max_skipped}")
        if splits is not None and split_by is not None:
            raise ValueError(
                f"data.splits ({splits}) and data.split_by ({split_by}) are both given: choose one, "
                "the other is null"
            )
        if domain is not None and not re.fullmatch(r"\w[\w+.-]*", domain):
            raise ValueError(f"data.domain: {domain!r} is no name of letters, digits, - _ + and .")
        check_where(where or {})
        self.root = Path(root)
        self.splits = None if splits is None else Path(splits)
        self.split_by: SplitBy = split_by or self.default_split
        self.where = where or {}
        self.domain = domain
        self.split_seed = split_seed
        self.image_size = image_size
        self.resize: Resize = resize
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.augment = augment
        self.mosaic = mosaic
        self.cache = None if cache is None else Path(cache)
        self.on_error = on_error
        self.max_skipped = max_skipped
        self._unreadable: frozenset[str] = frozenset()
        self._has_looked = False
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

    @abstractmethod
    def labelled(self) -> Mapping[str, str]:
        """Say which images the label files speak of, whether there is such an image or not.

        Returns:
            Name of each image → the label file.
        """

    def unlisted(self) -> list[str]:
        """Return the paths of images that are not in the table because no label file lists them."""
        return []

    @property
    def table(self) -> pd.DataFrame:
        """The box table with the filters' marks; read when first asked for, then kept."""
        if self._table is None:
            table = self.read()
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
        self._log_counts()

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
            limit = int(self.max_skipped * len(names))
            dataset = self._images(names, self.image_size)
            bad = unreadable(dataset, self._workers(), limit, f"reading {split} images")
            if len(bad) > limit:
                raise ValueError(
                    f"more than {limit} of the {len(names)} {split} images cannot be read, and "
                    "data.max_skipped allows no more: fetch them anew, or raise it; one is "
                    f"{list(bad.values())[-1]}"
                )
            for message in bad.values():
                log.warning("left out: %s", message)
            if bad:
                log.warning(
                    "%s %s: %d of %d images are left out of all that follows, because they cannot be "
                    "read",
                    *(type(self).__name__, split, len(bad), len(names)),
                )
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
            augmented = split == "train" and (self.augment or self.mosaic)
            augmentation = Augmentation(self.augment, self.mosaic) if augmented else None
            self._datasets[split] = self._images(self.names(split), self.image_size, augmentation)
        return self._datasets[split]

    def _images(
        self, names: Sequence[str], size: int, augmentation: Augmentation | None = None
    ) -> ImageDataset:
        cache = None if self.cache is None else ImageCache(self.cache)
        return ImageDataset(self.root, self.table, names, size, self.resize, augmentation, cache)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return the training images, shuffled anew in every epoch."""
        sampler = self.train_sampler(*self._replicas(), _global_seed())
        # Workers fetch the first batches before Lightning tells the sampler the first epoch, which
        # is not 0 in a training that goes on; later epochs it tells in time.
        sampler.set_epoch(max(self._first_epoch, self._epoch()))
        return self._loader(self.dataset("train"), sampler)

    def _epoch(self) -> int:
        """Return the epoch under way, or between two the next; 0 before a checkpoint is read."""
        if self.trainer is None:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        return int(progress.processed)

    def state_dict(self) -> dict[str, int]:
        """Return what a checkpoint keeps: the epoch that a training goes on with."""
        return {"epoch": self._epoch()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Begin with the epoch of a checkpoint, which is read before any image is fetched."""
        self._first_epoch = int(state_dict["epoch"])

    def train_sampler(self, replicas: int, rank: int, seed: int) -> TrainSampler:
        """Return what draws an epoch's training images: all of them, shuffled."""
        return TrainSampler(len(self.names("train")), replicas, rank, seed)

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
        dataset = self._images(drawn, size)
        return torch.stack([dataset[i][0] for i in range(n)]), drawn

    def groups(self, names: Sequence[str]) -> list[str]:
        """Return what each image belongs to: GTAV's sequence, BDD100K's ride."""
        table = self.table.drop_duplicates("image").set_index("image")
        return [str(group) for group in table["group"].loc[list(names)]]

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
        workers = self._workers()
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

    def _workers(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        devices = 1 if self.trainer is None else max(1, self.trainer.num_devices)
        has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
        cores = len(os.sched_getaffinity(0)) if has_affinity else (os.cpu_count() or 1)
        return min(8, max(1, cores // devices))

    @rank_zero_only
    def _log_counts(self) -> None:
        for split in SPLITS:
            dataset = self.dataset(split)
            boxes = zip(CLASSES, dataset.boxes_of_each_class(), strict=True)
            log.info(
                "%s %s: %d images; boxes: %s",
                *(type(self).__name__, split, len(dataset)),
                ", ".join(f"{count} {name}" for name, count in boxes),
            )
        self._log_shared_groups()
        counts = count_dropped(self.table)
        log.info(
            "%s: %d boxes used; left out: %d of other kinds, %d degenerate, %d small, %d hood; %d "
            "images have no box",
            type(self).__name__,
            *counts[["kept", "label", "degenerate", "area", "hood", "no box"]],
        )

    def _log_shared_groups(self) -> None:
        rows = self.table.drop_duplicates("image")
        groups = dict(zip(rows["image"], rows["group"], strict=True))
        shared = shared_groups(groups, {split: self.names(split) for split in SPLITS})
        if shared:
            images = " and ".join(f"{one.images:,} of {one.of:,} {one.part}" for one in shared)
            numbers = " and ".join(f"{one.groups:,}" for one in shared)
            log.warning(
                "%s: %s images are of videos or rides that are trained on too (%s of them), so there may "
                "be near-duplicates on both sides; data.split_by group or part, without splits, avoids it",
                *(type(self).__name__, images, numbers),
            )


class BDD100K(DetectionData):
    """Serve BDD100K: real street images (see `bdd100k.read_bdd100k` for its files)."""

    def __init__(
        self,
        root: str | Path,
        *,
        label_root: str | Path | None = None,
        **settings: Any,  # noqa: ANN401 as DetectionData has them
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder of the data set.
            label_root: Where its labels lie, if not in root: a folder, or one file for all images.
            **settings: Those of `DetectionData`.
        """
        super().__init__(root, **settings)
        self.label_root = label_root

    def read(self) -> pd.DataFrame:
        """Read the box table; the paper filters nothing here."""
        return read_bdd100k(self.root, self.label_root)

    def labelled(self) -> Mapping[str, str]:
        """Say which images the label files have a frame of."""
        return bdd100k_frames(self.root, self.label_root)


class GTAV(DetectionData):
    """Serve GTAV (Playing for Benchmarks): rendered street images (see `gtav.read_gtav`)."""

    def __init__(
        self,
        root: str | Path,
        *,
        min_area: float = 100.0,
        drop_hood: bool = True,
        columns: Columns = "auto",
        label_root: str | Path | None = None,
        **settings: Any,  # noqa: ANN401 as DetectionData has them
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder of the data set.
            min_area: Boxes of fewer square native pixels are left out.
            drop_hood: Whether the hood of the recording vehicle is left out.
            columns: Order of the box files' first two columns; `auto` finds it out.
            label_root: Folder in which its boxes lie (train/bb), if not in root.
            **settings: Those of `DetectionData`.
        """
        super().__init__(root, **settings)
        self.min_area = min_area
        self.drop_hood = drop_hood
        self.columns: Columns = columns
        self.label_root = label_root

    def read(self) -> pd.DataFrame:
        """Read the box table and mark small boxes and the hood.

        Dividing by part takes the val sequences as well. Their numbers may be those of train again, so
        their images and groups are called `val_001_00001.jpg` and `val_001`.
        """
        table = read_gtav(self.root, self.columns, self.label_root)
        if self.split_by == "part" and self.splits is None:
            table = pd.concat([table, self._read_val()], ignore_index=True).astype(dict(COLUMNS))
        table = drop_small(table, self.min_area)
        return drop_hood(table) if self.drop_hood else table

    def labelled(self) -> Mapping[str, str]:
        """Say which frames have a box file."""
        found = gtav_box_files(self.root, self.label_root)
        if self.split_by == "part" and self.splits is None:
            of_val = gtav_box_files(self.root / "val", self._val_labels)
            found |= {f"val_{name}": file for name, file in of_val.items()}
        return found

    @property
    def _val_labels(self) -> Path | None:
        return None if self.label_root is None else Path(self.label_root) / "val"

    def _read_val(self) -> pd.DataFrame:
        folder = self.root / "val"
        if not (folder / "img").is_dir():
            raise FileNotFoundError(
                f"no folder {folder / 'img'}: split_by part tests on GTAV's val sequences; unpack them "
                f"there (val/img and val/bb), or use split_by group"
            )
        table = read_gtav(folder, self.columns, self._val_labels)
        for name, prefix in (("image", "val_"), ("group", "val_"), ("path", "val/")):
            table[name] = prefix + table[name]
        return table


Labels = dict[str, str | None]
"""A data set's category → one of `labels.CLASSES`, or None where it is left out."""


class MappedData(DetectionData):
    """Serve a data set whose categories become the five classes by a map that is given.

    A subclass says how its files are read.
    """

    default_split: SplitBy = "part"

    def __init__(
        self,
        root: str | Path,
        *,
        labels: Labels | None = None,
        group: str | None = None,
        min_area: float = 0.0,
        **settings: Any,  # noqa: ANN401 as DetectionData has them
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder of the data set.
            labels: What becomes of each of its categories: person, cycle, car, bus or truck, or null to
                leave it out; "*" stands for all that are not named. Those that are called like one of
                the five need not be named.
            group: Regular expression; what its first parenthesis finds in an image's path below the
                root is its group (sequence, city), for split_by: group.
            min_area: Boxes of fewer square native pixels are left out.
            **settings: Those of `DetectionData`.
        """
        super().__init__(root, **settings)
        self.labels = labels
        self.group = group
        self.min_area = min_area

    @abstractmethod
    def read_files(self) -> pd.DataFrame:
        """Read the data set's box table, with an image a group if the files name none."""

    def read(self) -> pd.DataFrame:
        """Read the box table, name the groups and mark small boxes."""
        table = self.read_files()
        return drop_small(
            table if self.group is None else regroup(table, self.group), self.min_area
        )


class COCO(MappedData):
    """Serve a data set in COCO's format (see `coco.read_coco` for its files)."""

    def __init__(
        self,
        root: str | Path,
        *,
        annotations: str | None = None,
        images: str | None = None,
        **settings: Any,  # noqa: ANN401 as MappedData has them
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder of the data set.
            annotations: JSON file below the root; {part} in it stands for train, val, valid and test.
                Null looks for annotations/instances_{part}.json and other usual names.
            images: Folder below the root from which file names start; it may have {part} as well. Null
                looks in the root, images, {part} and other usual ones.
            **settings: Those of `MappedData`.
        """
        super().__init__(root, **settings)
        self.annotations = annotations
        self.images = images
        self._splits: dict[str, str] = {}

    def read_files(self) -> pd.DataFrame:
        """Read the box table, and keep which split each image's JSON file is of."""
        table = read_with_splits(self.root, self.annotations, self.images, self.labels)
        images = table.drop_duplicates("image")
        self._splits = dict(zip(images["image"], images["split"].astype(str), strict=True))
        return table.drop(columns="split")

    def parts(self, images: pd.DataFrame) -> pd.Series[str]:
        """Return which split each image's JSON file is of."""
        return images["image"].map(self._splits)

    def labelled(self) -> Mapping[str, str]:
        """Say which images the JSON files list."""
        return coco_entries(self.root, self.annotations, self.images)

    def unlisted(self) -> list[str]:
        """Return the images that no JSON file lists, though it lists others of their folder."""
        return unlisted_images(self.root, self.annotations, self.images)


class YOLO(MappedData):
    """Serve a data set in YOLO's text format (see `yolo.read_yolo` for its files)."""

    def read_files(self) -> pd.DataFrame:
        """Read the box table."""
        return read_yolo(self.root, self.labels)

    def labelled(self) -> Mapping[str, str]:
        """Say which images have a label file."""
        return yolo_label_files(self.root)


def _global_seed() -> int:
    """Return the run's seed, as Lightning's `seed_everything` leaves it; 0 if it was not called."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))
