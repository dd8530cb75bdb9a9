"""Data sets of any categories: their own classes, or others by a map that is given."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from yolo_synth.data.filters import drop_small
from yolo_synth.data.index import Content
from yolo_synth.data.module import DetectionData, SplitBy
from yolo_synth.data.splits import regroup
from yolo_synth.data.table import CROWD, box_table
from yolo_synth.labels import CLASSES, classes_of, label_map, told

Labels = Mapping[str, str | None]
"""A data set's category → one of its classes, or None where it is left out."""


class MappedData(DetectionData):
    """Serve a data set that is not known beforehand.

    Without `labels` and `classes` its own categories are its classes, in its own order; where all of them
    are called like some of person, cycle, car, bus and truck, it has these five. With `labels` its
    categories become the five, or `classes`. A subclass says how its files are read.
    """

    default_split: SplitBy = "part"

    def __init__(
        self,
        root: str | Path,
        *,
        labels: Labels | None = None,
        classes: list[str] | None = None,
        group: str | None = None,
        min_area: float = 0.0,
        **settings: Any,  # noqa: ANN401 as DetectionData has them
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            root: Folder of the data set.
            labels: What becomes of each of its categories: one of the classes, or null to leave it out;
                "*" stands for all that are not named. Those that are called like a class need not be
                named.
            classes: Names of the classes, in order. Null: with labels person, cycle, car, bus and truck;
                without, the data set's own categories.
            group: Regular expression; what its first parenthesis finds in an image's path below the
                root is its group (sequence, city), for split_by: group.
            min_area: Boxes of fewer square native pixels are left out.
            **settings: Those of `DetectionData`.

        Raises:
            ValueError: If a class is named twice, or none.
        """
        super().__init__(root, **settings)
        if classes is not None and not (classes and len(set(classes)) == len(classes)):
            raise ValueError(
                f"data.classes: {classes} are not different names of one class or more"
            )
        self.labels = labels
        self._classes = tuple(classes) if classes else CLASSES if labels else None
        self._given = classes
        self.group = group
        self.min_area = min_area
        self._splits: dict[str, str] = {}

    @abstractmethod
    def read_files(self, labels: Labels, classes: list[str] | None) -> Content:
        """Read the data set's box table, with an image a group if the files name none, and its classes.

        A column `split` says which split each image is of, "" where the files do not tell.

        Args:
            labels: The label map; empty without one.
            classes: The classes that are given.
        """

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes; the files are read where only they tell."""
        if self._classes is None:
            _ = self.table
        assert self._classes is not None
        return self._classes

    def parts(self, images: pd.DataFrame) -> pd.Series[str]:
        """Return which split each image is of, as the data set itself says."""
        return images["image"].map(self._splits)

    def read(self) -> pd.DataFrame:
        """Read the box table, keep the splits, name the groups and mark small boxes."""
        table, _, self._classes = self.read_files(self.labels or {}, self._given)
        images = table.drop_duplicates("image")
        self._splits = dict(zip(images["image"], images["split"].astype(str), strict=True))
        table = table.drop(columns="split")
        return drop_small(
            table if self.group is None else regroup(table, self.group), self.min_area
        )


def mapped_content(
    images: pd.DataFrame,
    boxes: pd.DataFrame,
    splits: Mapping[str, str],
    declared: Sequence[str],
    given: tuple[Labels, Sequence[str] | None],
    what: str,
    summary: str,
) -> Content:
    """Return the box table of a set that is not known beforehand, with each image's split, and its classes.

    Args:
        images: As `table.box_table` takes them.
        boxes: As well; a category that ends in `CROWD` is of regions of many objects.
        splits: Image → which split it is of, "" where the files do not tell.
        declared: The set's categories, in its own order.
        given: The label map and the classes that the user gave.
        what: What the set is called in messages, as `the COCO data in data/coco`.
        summary: What the log says of it.

    Raises:
        ValueError: If a category is none of the classes and not in the label map.
    """
    labels, classes = given
    used = [name for name in boxes["category"].unique() if not name.endswith(CROWD)]
    own = classes_of(declared, labels, classes)
    common = label_map(labels, declared, used, what, own)
    crowds = {f"{name}{CROWD}": common.get(name) for name in declared}
    table = box_table(images, boxes, {**common, **crowds})
    table["split"] = table["image"].map(splits).astype("category")
    return Content(table, f"{summary}{told(own)}", own)
