"""What `data preview` does: a contact sheet of images with their boxes, or with those left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch, Rectangle
from tqdm import tqdm

from yolo_synth.analysis.figures.sheet import styled
from yolo_synth.boxes import place
from yolo_synth.data.images import Pixels, decode, shrink
from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import open_data
from yolo_synth.data.splits import SPLITS
from yolo_synth.escaping import say
from yolo_synth.files import write_whole
from yolo_synth.labels import class_colours
from yolo_synth.palette import INK
from yolo_synth.survey.charts import REASON_COLOURS, REASON_NAMES

TILE: Final = 480
"""Longer side of an image on the sheet, in pixels."""

_COLUMNS: Final = 3
_GAP, _CAPTION, _HEAD = 10, 20, 62  # pixels
_DPI: Final = 100
_VISIBLE: Final = 8  # pixels; a smaller box gets a ring around it


def write_sheet(
    data: str, split: str, images: int, seed: int, dropped: bool, out: str, trust: bool
) -> None:
    """Draw images of a split at random with their boxes, into a file."""
    path = Path(out)
    if split not in SPLITS:
        raise ValueError(f"--split is {', '.join(SPLITS[:-1])} or {SPLITS[-1]}, not {split}")
    module = open_data(data, trust=trust)
    names = set(module.names(split))
    table = module.table[module.table["image"].isin(names) & (module.table["width"] > 0)]
    boxes = table[table["dropped"] == ""]
    if dropped:
        boxes = table[table["dropped"].isin(list(REASON_NAMES))]
        drawn = _draw_by_reason(boxes, images, seed)
        if not drawn:
            say(f"no filter left out a box in {split} of {data}; {out} is not written")
            return
    else:
        with_boxes = _shuffled(boxes["image"].unique(), seed)
        empty = _shuffled(sorted(set(table["image"]) - set(with_boxes)), seed)
        drawn = [*with_boxes, *empty][:images]
    boxes = boxes[boxes["image"].isin(drawn)]
    names_of = REASON_NAMES if dropped else dict(enumerate(module.classes))
    boxes = boxes.assign(key=[names_of[key] for key in boxes["dropped" if dropped else "label"]])
    of_reasons = {REASON_NAMES[reason]: REASON_COLOURS[reason] for reason in REASON_NAMES}
    of_classes = dict(zip(module.classes, class_colours(len(module.classes)), strict=True))
    colours = of_reasons if dropped else of_classes
    pixels = _load(module, drawn)
    what = "boxes that filters left out" if dropped else "boxes that are used"
    title = f"{module.title} {split}: {len(drawn)} of {len(names):,} images, {what}"
    sheet = contact_sheet(pixels, boxes, colours, title)
    write_whole(path, lambda file: sheet.savefig(file, format=path.suffix[1:].lower(), dpi=_DPI))
    say(f"{out}: {len(drawn)} images, {len(boxes)} {what}")


def _shuffled(names: Sequence[str] | np.ndarray, seed: int) -> list[str]:
    """Return names in a random order that does not depend on the one they come in."""
    in_order = sorted(names)
    return [in_order[i] for i in np.random.default_rng(seed).permutation(len(in_order))]


def _draw_by_reason(boxes: pd.DataFrame, images: int, seed: int) -> list[str]:
    """Draw images that boxes were dropped in: one for each reason in turn, the last reason first."""
    queues = [
        _shuffled(boxes.loc[boxes["dropped"] == reason, "image"].unique(), seed)
        for reason in reversed(REASON_NAMES)
    ]
    drawn: dict[str, None] = {}
    for turn in range(max(map(len, queues))):
        for queue in queues:
            fresh = [name for name in queue[turn : turn + 1] if name not in drawn]
            drawn.update(dict.fromkeys(fresh))
            if len(drawn) == images:
                return list(drawn)
    return list(drawn)


def _load(module: DetectionData, names: Sequence[str]) -> dict[str, tuple[Pixels, float]]:
    """Return images by name, each with the factor from native pixels to those of its tile."""
    rows = module.table.drop_duplicates("image").set_index("image").loc[list(names)]
    loaded = {}
    paths = zip(names, rows["path"], rows["width"], rows["height"], strict=True)
    for name, path, width, height in tqdm(
        list(paths), "read", unit="image", leave=False, disable=None
    ):
        spot = place(int(width), int(height), TILE)
        loaded[name] = (shrink(decode(module.root / path, width, height, spot), spot), spot.scale_x)
    return loaded


@styled
def contact_sheet(
    images: Mapping[str, tuple[Pixels, float]],
    boxes: pd.DataFrame,
    colours: Mapping[str, str],
    title: str,
) -> Figure:
    """Draw images with boxes, three a row, and a legend of what the colours mean.

    Args:
        images: Name → pixels, and the factor from native pixels to these.
        boxes: Columns image, x1, y1, x2, y2 in native pixels, and `key`.
        colours: Colour of each key.
        title: Stands above all.
    """
    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    tall = max(pixels.shape[0] for pixels, _ in images.values())
    width = max(2, columns) * (TILE + _GAP) + _GAP
    height = _HEAD + rows * (tall + _CAPTION + _GAP) + _GAP
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.text(_GAP / width, 1 - 12 / height, title, fontsize=11, weight="bold", va="top")
    numbers = boxes["key"].value_counts()
    figure.legend(
        handles=[
            Patch(fc=colours[key], ec=INK, lw=0.4, label=f"{key} {numbers[key]}")
            for key in colours
            if key in numbers
        ],
        loc="upper left",
        bbox_to_anchor=(_GAP / width, 1 - 32 / height),
        ncols=6,
        frameon=False,
        fontsize=9,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.2,
        columnspacing=1.6,
    )
    by_image = dict(tuple(boxes.groupby("image")))
    for number, (name, (pixels, scale)) in enumerate(images.items()):
        row, column = divmod(number, columns)
        left = _GAP + column * (TILE + _GAP)
        top = _HEAD + row * (tall + _CAPTION + _GAP)
        high, wide = pixels.shape[:2]
        axes = figure.add_axes(
            (left / width, 1 - (top + high) / height, wide / width, high / height)
        )
        axes.set_axis_off()
        axes.imshow(pixels, interpolation="nearest", aspect="auto")
        axes.set_xlim(0, wide)
        axes.set_ylim(high, 0)
        own = by_image.get(name)
        caption = name
        if own is not None:
            _draw_boxes(axes, own, scale, colours)
            caption += ": " + ", ".join(
                f"{n} {key}" for key, n in own["key"].value_counts().items()
            )
        figure.text(left / width, 1 - (top + high + 4) / height, caption, fontsize=7.5, va="top")
    return figure


def _draw_boxes(axes: Axes, boxes: pd.DataFrame, scale: float, colours: Mapping[str, str]) -> None:
    halo = [patheffects.withStroke(linewidth=2.8, foreground="#00000090")]
    edges = boxes[["x1", "y1", "x2", "y2"]].to_numpy(np.float64) * scale
    for (x1, y1, x2, y2), key in zip(edges, boxes["key"], strict=True):
        style: dict[str, Any] = {"fill": False, "ec": colours[key], "lw": 1.4, "path_effects": halo}
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **style))
        if max(abs(x2 - x1), abs(y2 - y1)) < _VISIBLE:
            axes.add_patch(Circle(((x1 + x2) / 2, (y1 + y2) / 2), _VISIBLE, **style))
