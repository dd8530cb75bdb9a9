"""What a data set holds, in tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from yolo_synth.data.module import DetectionData
from yolo_synth.data.table import REASONS
from yolo_synth.escaping import csv_text
from yolo_synth.files import write_whole
from yolo_synth.labels import class_colours
from yolo_synth.networks.yolov3.architecture import ANCHORS
from yolo_synth.networks.yolov3.targets import MATCH_IOU
from yolo_synth.survey.membership import split_of_images, splits_in_order
from yolo_synth.survey.sizes import best_iou, network_sizes

ATTRIBUTES: Final = ("weather", "scene", "timeofday")
SMALL, MEDIUM = 32.0, 96.0
"""Sides of the squares below which COCO calls a box small, and medium."""

MOST_CLASSES: Final = 12
"""Of more classes than these, figures show the ones with most boxes; the tables have all."""

_QUANTILES: Final = {"5 %": 0.05, "50 %": 0.5, "95 %": 0.95}
_FILTERS: Final = tuple(reason for reason in REASONS if reason not in ("", "no box"))
_ALL: Final = "all"


@dataclass(frozen=True)
class Counts:
    """What a data set holds.

    Attributes:
        splits: A row per split: images, those without a used box ("empty images") and of these the
            ones with no box at all ("no box"), boxes, boxes an image, and how many boxes each
            filter left out.
        classes: A row per split and class, and per split for all classes: boxes, images that have
            one, shares of COCO's sizes, quantiles of the side (root of the area) and of width over
            height, share of boxes that an anchor of YOLOv3 answers for, and mean IoU with the best
            anchor. All at network scale.
        attributes: Images per split, attribute and value; no rows where the data set tells none.
        groups: A row per sequence or ride: images, the splits that they are in, boxes that are
            used, and how many boxes each filter left out; those that lost most to filters of
            boxes, other kinds aside, come first.
        boxes: The used boxes, with their split and their width `w` and height `h` at network scale.
        images: A row per image: split, number of used boxes.
        names: Names of the data set's classes, which the boxes' labels count.
    """

    splits: pd.DataFrame
    classes: pd.DataFrame
    attributes: pd.DataFrame
    groups: pd.DataFrame
    boxes: pd.DataFrame
    images: pd.DataFrame
    names: tuple[str, ...]

    @property
    def has_groups(self) -> bool:
        """Whether any two images are of one group (sequence, ride)."""
        return bool((self.groups["images"] > 1).any())

    @property
    def shown(self) -> list[tuple[int, str, str]]:
        """Label, name and colour of the classes that figures show."""
        colours = class_colours(len(self.names))
        shown = commonest(self.boxes["label"].to_numpy(), len(self.names))
        return [(label, self.names[label], colours[label]) for label in shown]

    def write(self, folder: Path) -> None:
        """Write the four tables as CSV."""
        for name in ("splits", "classes", "attributes", "groups"):
            table: pd.DataFrame = getattr(self, name)
            text = csv_text(table, index=False, float_format="%.6g")
            write_whole(folder / f"{name}.csv", text)


def commonest(labels: NDArray[Any], classes: int) -> list[int]:
    """Return which of so many classes figures show, given the label of each box, in their order."""
    order = np.argsort(-np.bincount(labels, minlength=classes), kind="stable")
    shown: list[int] = sorted(order[:MOST_CLASSES].tolist())
    return shown


def count(data: DetectionData) -> Counts:
    """Count what a data set holds, at the network scale that its options say."""
    table = data.table
    split_of = split_of_images(data)
    order = splits_in_order(split_of)
    split: pd.Series[str] = table["image"].map(split_of)
    used = table["dropped"] == ""

    boxes = table[used].assign(split=split[used])
    boxes[["w", "h"]] = network_sizes(boxes, data.image_size, data.resize)
    first = ~table["image"].duplicated()
    images = table.loc[first, ["image", "group", *ATTRIBUTES]].assign(split=split[first])
    per_image = boxes["image"].value_counts()
    images["boxes"] = images["image"].map(per_image).fillna(0).astype("int64")
    return Counts(
        _splits(table, split, images, order),
        _classes(boxes, data.classes, order),
        _attributes(images, order),
        _groups(table, images, order),
        boxes,
        images,
        data.classes,
    )


def _parts(frame: pd.DataFrame, order: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each split, and all of them if there is more than one split."""
    for split in order:
        yield split, frame[frame["split"] == split]
    if len(order) > 1:
        yield _ALL, frame


def _splits(
    table: pd.DataFrame, split: pd.Series[str], images: pd.DataFrame, order: list[str]
) -> pd.DataFrame:
    dropped = pd.crosstab(split, table["dropped"].astype("str"))
    dropped = dropped.reindex(index=order, columns=list(REASONS), fill_value=0)
    dropped.loc[_ALL] = dropped.sum()
    rows = []
    for name, part in _parts(images, order):
        boxes, lost = part["boxes"], dropped.loc[name].astype("int64").to_dict()
        rows.append(
            {
                "split": name,
                "images": len(part),
                "empty images": int((boxes == 0).sum()),
                "no box": lost["no box"],
                "groups": part["group"].nunique(),
                "boxes": int(boxes.sum()),
                "boxes an image": boxes.mean(),
                "median boxes": boxes.median(),
                "most boxes": boxes.max(),
                **{f"dropped: {reason}": lost[reason] for reason in _FILTERS},
            }
        )
    return pd.DataFrame(rows)


def _classes(boxes: pd.DataFrame, names: Sequence[str], order: list[str]) -> pd.DataFrame:
    rows = []
    for name, part in _parts(boxes, order):
        for label, kind in enumerate(names):
            rows.append({"split": name, "class": kind, **_sizes(part[part["label"] == label])})
        rows.append({"split": name, "class": _ALL, **_sizes(part)})
    return pd.DataFrame(rows)


def _sizes(boxes: pd.DataFrame) -> dict[str, Any]:
    """Tell of some boxes' sizes; without a box all but the number is NaN."""
    sizes = boxes[["w", "h"]].to_numpy(np.float64)
    side, aspect = np.sqrt(sizes.prod(axis=1)), sizes[:, 0] / sizes[:, 1]
    fit = best_iou(sizes, ANCHORS)
    none = len(boxes) == 0
    shares: Mapping[str, Any] = {
        "small": side < SMALL,
        "medium": (side >= SMALL) & (side < MEDIUM),
        "large": side >= MEDIUM,
        "recall": fit > MATCH_IOU,
        "mean IoU": fit,
    }
    quantiles = {
        f"{name} {text}": np.nan if none else float(np.quantile(values, at))
        for name, values in (("side", side), ("aspect", aspect))
        for text, at in _QUANTILES.items()
    }
    means = {key: np.nan if none else float(np.mean(values)) for key, values in shares.items()}
    return {"boxes": len(boxes), "images": boxes["image"].nunique(), **means, **quantiles}


def _attributes(images: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    tables = []
    for attribute in ATTRIBUTES:
        values = images[attribute].astype("str")
        if (values != "").any():
            counts = pd.crosstab(values.replace("", "not said"), images["split"])
            counts = counts.reindex(columns=order).reset_index(names="value")
            counts.insert(0, "attribute", attribute)
            tables.append(counts)
    return pd.concat(tables) if tables else pd.DataFrame(columns=["attribute", "value", *order])


def _groups(table: pd.DataFrame, images: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    by_group = images.groupby("group")
    in_split = pd.crosstab(images["group"], images["split"])[order].to_numpy() > 0
    groups = by_group.size().rename("images").reset_index()
    groups["splits"] = [
        " ".join(name for name, there in zip(order, row, strict=True) if there) for row in in_split
    ]
    reasons = pd.crosstab(table["group"], table["dropped"].astype("str"))
    reasons = reasons.reindex(index=groups["group"], columns=list(REASONS), fill_value=0)
    groups["boxes"] = reasons[""].to_numpy()
    for reason in _FILTERS:
        groups[f"dropped: {reason}"] = reasons[reason].to_numpy()
    lost = reasons[[reason for reason in _FILTERS if reason != "label"]].sum(axis=1).to_numpy()
    return groups.iloc[np.argsort(-lost, kind="stable")].reset_index(drop=True)
