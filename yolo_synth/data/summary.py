"""What a data set holds, in lines for the log: images, boxes, what was left out, what splits share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from yolo_synth.data.leaks import shared_groups
from yolo_synth.data.splits import SPLITS
from yolo_synth.data.table import count_dropped

if TYPE_CHECKING:
    from yolo_synth.data.module import DetectionData

log = logging.getLogger(__name__)


def log_counts(data: DetectionData) -> None:
    """Log images and boxes of each split, groups that splits share, and boxes that are left out."""
    kind = type(data).__name__
    counts = count_dropped(data.table)
    if counts.drop("no box").sum() == 0:
        sizes = ", ".join(f"{len(data.names(split))} {split}" for split in SPLITS)
        log.info("%s: %s images, no boxes", kind, sizes)
        return
    for split in SPLITS:
        dataset = data.dataset(split)
        boxes = zip(data.classes, dataset.boxes_of_each_class(len(data.classes)), strict=True)
        log.info(
            "%s %s: %d images; boxes: %s",
            *(kind, split, len(dataset)),
            ", ".join(f"{count} {name}" for name, count in boxes),
        )
    _log_shared_groups(data)
    log.info(
        "%s: %d boxes used; left out: %d of other kinds, %d degenerate, %d small, %d hood%s; %d "
        "images have no box",
        kind,
        *counts[["kept", "label", "degenerate", "area", "hood"]],
        f", {counts['crowd']} crowd regions, set aside in evaluation" if counts["crowd"] else "",
        counts["no box"],
    )


def refuse_boxless(data: DetectionData) -> None:
    """Refuse a data set whose training images have no box.

    Raises:
        ValueError: If there is none of a class in any; says what was left out.
    """
    names = data.names("train")
    table = data.table[data.table["image"].isin(names)]
    counts = count_dropped(table)
    if not counts["kept"]:
        kinds = table.loc[table["dropped"] == "label", "category"].astype("str").unique()
        raise ValueError(
            f"none of the {len(names):,} training images has a box of a class ({', '.join(data.classes)}): "
            f"{counts['no box']:,} have no box at all, {counts['label']:,} boxes are of other kinds "
            f"({', '.join(sorted(kinds)[:10]) or 'none'}), "
            f"{counts[['degenerate', 'area', 'hood']].sum():,} were filtered; yolo-synth data check says "
            "more"
        )


def _log_shared_groups(data: DetectionData) -> None:
    rows = data.table.drop_duplicates("image")
    groups = dict(zip(rows["image"], rows["group"], strict=True))
    shared = shared_groups(groups, {split: data.names(split) for split in SPLITS})
    if shared:
        images = " and ".join(f"{one.images:,} of {one.of:,} {one.part}" for one in shared)
        numbers = " and ".join(f"{one.groups:,}" for one in shared)
        log.warning(
            "%s: %s images are of videos or rides that are trained on too (%s of them), so there may "
            "be near-duplicates on both sides; data.split_by group or part, without splits, avoids it",
            *(type(data).__name__, images, numbers),
        )
