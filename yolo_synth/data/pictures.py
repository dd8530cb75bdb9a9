"""A folder of pictures without any label → box table without a box."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from yolo_synth.data.headers import image_sizes
from yolo_synth.data.index import Content, indexed
from yolo_synth.data.listing import IMAGES, list_below, paths_below
from yolo_synth.data.module import DetectionData
from yolo_synth.data.table import box_frame, box_table


class Pictures(DetectionData):
    """Serve the pictures of a folder and of the folders in it, which have no labels.

    For what needs no labels: similarity, gaps between domains, detection. All pictures are test images,
    so nothing can be trained on them.
    """

    def read(self) -> pd.DataFrame:
        """Read which pictures there are, and their sizes."""
        root = self.root
        listings = list_below(root, root, IMAGES) if root.is_dir() else ()
        paths = paths_below(root, listings)
        if not paths:
            raise FileNotFoundError(
                f"no pictures in {root}: looked for files that end in {', '.join(IMAGES)}"
            )
        return indexed(root, "pictures", listings, {}, partial(_read, root, paths)).table

    def divide(self, images: pd.DataFrame) -> dict[str, list[str]]:
        """Make every picture a test image, unless lists say otherwise."""
        if self.splits is not None:
            return super().divide(images)
        return {"train": [], "valid": [], "test": images["image"].tolist()}

    def labelled(self) -> Mapping[str, str]:
        """Say that no label file speaks of any picture."""
        return {}


def _read(root: Path, paths: list[str]) -> Content:
    images = pd.DataFrame({"image": paths, "path": paths, "group": paths})
    images[["width", "height"]] = image_sizes([root / path for path in paths])
    boxes = box_frame([], [], [])
    return Content(
        box_table(images, boxes, {}), f"Pictures in {root}: {len(paths)}, without labels"
    )
