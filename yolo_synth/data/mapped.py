"""Data sets whose categories become the five classes by a map that is given."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import pandas as pd

from yolo_synth.data.filters import drop_small
from yolo_synth.data.module import DetectionData, SplitBy
from yolo_synth.data.splits import regroup

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
        self._splits: dict[str, str] = {}

    @abstractmethod
    def read_files(self) -> pd.DataFrame:
        """Read the data set's box table, with an image a group if the files name none.

        A column `split` says which split each image is of, "" where the files do not tell.
        """

    def parts(self, images: pd.DataFrame) -> pd.Series[str]:
        """Return which split each image is of, as the data set itself says."""
        return images["image"].map(self._splits)

    def read(self) -> pd.DataFrame:
        """Read the box table, keep the splits, name the groups and mark small boxes."""
        table = self.read_files()
        images = table.drop_duplicates("image")
        self._splits = dict(zip(images["image"], images["split"].astype(str), strict=True))
        table = table.drop(columns="split")
        return drop_small(
            table if self.group is None else regroup(table, self.group), self.min_area
        )
