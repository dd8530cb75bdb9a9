"""Figures of what a data set holds; each function returns one, and none is shown or saved here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    PercentFormatter,
)
from numpy.typing import NDArray

from yolo_synth.analysis.figures.sheet import styled
from yolo_synth.data.table import REASONS
from yolo_synth.networks.yolov3.architecture import ANCHORS
from yolo_synth.networks.yolov3.targets import MATCH_IOU
from yolo_synth.palette import BLUE, FAINT, GREEN, INK, ORANGE, PALE, PURPLE, SKY, VERMILION
from yolo_synth.survey.counts import ATTRIBUTES, MEDIUM, SMALL, Counts
from yolo_synth.survey.sizes import best_iou

REASON_COLOURS: Final = {
    "label": FAINT,
    "degenerate": BLUE,
    "area": PURPLE,
    "hood": VERMILION,
    "crowd": SKY,
}
"""One for each reason why a box is left out."""

REASON_NAMES: Final = {
    "label": "of another kind",
    "degenerate": "degenerate",
    "area": "too small",
    "hood": "hood",
    "crowd": "crowd region",
}
"""What a picture calls them."""

_SPLIT_COLOURS: Final = {
    "train": BLUE,
    "valid": "#7FB8DA",
    "test": VERMILION,
    "unused": PALE,
}
_SIDES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@styled
def overview(counts: Counts, title: str) -> Figure:
    """Draw numbers of boxes, their sizes and shapes, what was left out, and the conditions."""
    figure = page(9.2, title)
    rows = figure.subplots(3, 2, height_ratios=[1, 1, 1])
    panels: Sequence[tuple[str, Callable[[Axes, Counts], None]]] = (
        ("Boxes of each class", _draw_classes),
        ("Boxes in an image", _draw_per_image),
        ("Side of a box at network scale (root of its area, pixels)", _draw_sides),
        ("Width over height of a box", _draw_aspects),
        ("Boxes that the filters left out (length: root of the number)", _draw_dropped),
        ("Weather, scene and time of day: share of all images", _draw_attributes),
    )
    for axes, (name, draw) in zip(rows.flat, panels, strict=True):
        axes.set_title(name, loc="left", fontsize=9.5, weight="bold")
        axes.tick_params(labelsize=8, width=0.6, length=2.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_linewidth(0.6)
        draw(axes, counts)
    return figure


def page(height: float, title: str) -> Figure:
    """Return a figure that is 12 inches wide, with its title."""
    layout = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.12)
    figure = Figure(figsize=(12, height), dpi=100, layout=layout)
    figure.suptitle(title, fontsize=12, weight="bold", x=0.012, ha="left")
    return figure


def _legend(axes: Axes, entries: Sequence[Line2D | Patch]) -> None:
    """Write a legend to the right of a panel, where it covers nothing."""
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1)}
    axes.legend(handles=list(entries), frameon=False, fontsize=8, handlelength=1.4, **place)


def _splits(counts: Counts) -> list[str]:
    return [str(split) for split in counts.splits["split"] if split != "all"]


def _draw_classes(axes: Axes, counts: Counts) -> None:
    labels, names, _ = zip(*counts.shown, strict=True)
    if len(names) < len(counts.names):
        text = f"Boxes of the {len(names)} commonest of {len(counts.names)} classes"
        axes.set_title(text, loc="left", fontsize=9.5, weight="bold")
    left = np.zeros(len(names))
    places = list(range(len(names)))
    for split in _splits(counts):
        rows = counts.classes[counts.classes["split"] == split]
        boxes = rows["boxes"].iloc[list(labels)].to_numpy(np.float64)
        axes.barh(places, boxes, left=left, color=_SPLIT_COLOURS[split], height=0.68)
        left += boxes
    share = left / max(1.0, len(counts.boxes))
    for place, number, part in zip(places, left, share, strict=True):
        axes.text(number, place, f"  {number:,.0f} ({part:.1%})", va="center", fontsize=8)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.0, left.max()) * 1.45)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    images = counts.splits.set_index("split")["images"]
    _legend(
        axes,
        [
            Patch(color=_SPLIT_COLOURS[s], label=f"{s}, {images[s]:,} images")
            for s in _splits(counts)
        ],
    )


def _draw_per_image(axes: Axes, counts: Counts) -> None:
    images = counts.images
    most = int(images["boxes"].quantile(0.995)) + 1
    edges = np.arange(-0.5, most + 1, max(1, most // 50))
    entries = []
    for split in _splits(counts):
        boxes = images.loc[images["split"] == split, "boxes"].to_numpy()
        colour = _SPLIT_COLOURS[split]
        weights = np.full(len(boxes), 1 / len(boxes))
        shares, _ = np.histogram(boxes, edges, weights=weights)
        axes.stairs(shares, edges, baseline=None, color=colour, lw=1.6)
        empty = float((boxes == 0).mean())
        text = f"{split}: {boxes.mean():.1f} on average,\n{empty:.1%} of images have none"
        entries.append(Line2D([], [], color=colour, lw=1.6, label=text))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    _legend(axes, entries)


def _curves(axes: Axes, counts: Counts, values: NDArray[np.float64], edges: np.ndarray) -> None:
    """Draw the distribution of values of the boxes over logarithmic bins, a curve a class."""
    values = np.log2(values)
    steps = np.diff(edges).mean()
    fine = np.arange(edges[0], edges[-1] + steps, steps)
    smooth = np.exp(-0.5 * (np.arange(-6, 7) / 1.5) ** 2)
    entries = []
    for label, name, colour in counts.shown:
        those = values[counts.boxes["label"].to_numpy() == label]
        if len(those) == 0:
            continue
        shares = np.histogram(np.clip(those, fine[0], fine[-1]), fine)[0] / len(those)
        curve = np.convolve(np.pad(shares, 6), smooth / smooth.sum(), "same")[6:-6]
        middle = (fine[1:] + fine[:-1]) / 2
        # A dark line beneath, so that the light colours show on white.
        axes.plot(middle, curve, color=INK, lw=2.4, alpha=0.35, solid_capstyle="round")
        axes.plot(middle, curve, color=colour, lw=1.8, solid_capstyle="round")
        text = f"{name}, median {2 ** np.median(those):.3g}"
        entries.append(Line2D([], [], color=colour, lw=3, label=text))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if entries:
        _legend(axes, entries)


def _draw_sides(axes: Axes, counts: Counts) -> None:
    side = np.sqrt((counts.boxes["w"] * counts.boxes["h"]).to_numpy(np.float64))
    _curves(axes, counts, np.maximum(side, 1), np.linspace(0, np.log2(512), 91))
    axes.set_xticks([np.log2(s) for s in _SIDES], [str(s) for s in _SIDES])
    rows = counts.classes.iloc[-1]
    top = axes.get_ylim()[1]
    axes.set_ylim(0, top * 1.25)
    spans = (("small", 1, SMALL), ("medium", SMALL, MEDIUM), ("large", MEDIUM, 512))
    for name, low, high in spans:
        if low > 1:
            axes.axvline(np.log2(low), color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=0)
        text = f"{name}\n{rows[name]:.0%}" if rows["boxes"] else name
        axes.text(np.log2(low * high) / 2, top * 1.22, text, fontsize=8, va="top", ha="center")


def _draw_aspects(axes: Axes, counts: Counts) -> None:
    aspect = (counts.boxes["w"] / counts.boxes["h"]).to_numpy(np.float64)
    _curves(axes, counts, aspect, np.linspace(-3.3, 3.3, 91))
    ticks = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)
    names = ("1:8", "1:4", "1:2", "1:1", "2:1", "4:1", "8:1")
    axes.set_xticks(np.log2(ticks), names)
    axes.axvline(0, color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=0)


def _draw_dropped(axes: Axes, counts: Counts) -> None:
    every = counts.splits.iloc[-1]
    reasons = [reason for reason in REASONS if reason in REASON_NAMES]
    if not every["dropped: hood"]:
        reasons.remove("hood")  # most data sets have none to look for
    numbers = np.array([every[f"dropped: {reason}"] for reason in reasons], np.float64)
    places = list(range(len(reasons)))
    # Square roots, so that few hoods can be seen beside many traffic signs.
    axes.barh(places, np.sqrt(numbers), color=[REASON_COLOURS[r] for r in reasons], height=0.68)
    everything = numbers.sum() + every["boxes"]
    for place, number in zip(places, numbers, strict=True):
        text = f"  {number:,.0f} ({number / max(1.0, everything):.2%} of all boxes)"
        axes.text(np.sqrt(number), place, text, va="center", fontsize=8)
    axes.set_yticks(places, [REASON_NAMES[reason] for reason in reasons])
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.0, np.sqrt(numbers.max())) * 1.5)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    text = f"{every['empty images']:,.0f} of {every['images']:,.0f} images are left without a box"
    axes.set_xlabel(text, fontsize=8, loc="left")


def _draw_attributes(axes: Axes, counts: Counts) -> None:
    table = counts.attributes
    if table.empty:
        axes.set_visible(False)  # there is nothing to say of it
        return
    numbers = table.set_index(["attribute", "value"]).sum(axis=1)
    names = [name for name in ATTRIBUTES if name in set(table["attribute"])]
    shades = (
        BLUE,
        SKY,
        "#A8D5EE",
        GREEN,
        "#8FCFB9",
        ORANGE,
        "#F3CF8A",
        PALE,
    )
    for place, name in enumerate(names):
        shares = (numbers[name] / numbers[name].sum()).sort_values(ascending=False)
        unknown = shares.index.isin(("not said", "undefined"))
        shares = pd.concat([shares[~unknown], shares[unknown]])
        start = 0.0
        for number, (value, share) in enumerate(shares.items()):
            known = number < len(shares) - unknown.sum()
            colour = shades[min(number, len(shades) - 1)] if known else shades[-1]
            axes.barh(place, share, left=start, color=colour, height=0.5, ec="white", lw=0.8)
            if share > 0.02 + 0.0115 * len(str(value)):
                axes.text(
                    start + share / 2, place, f"{value}\n{share:.0%}", fontsize=7.5,
                    ha="center", va="center", linespacing=1.1,
                    color="white" if known and number in (0, 3) else INK,
                )  # fmt: skip
            start += float(share)
    axes.set_yticks(range(len(names)), ["time of day" if n == "timeofday" else n for n in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))


@styled
def anchor_fit(counts: Counts, title: str) -> Figure:
    """Draw widths and heights of all boxes with YOLOv3's anchors, and the boxes that none answers for."""
    figure = page(5.6, title)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    _draw_plane(left, counts, figure)
    _draw_recall(right, counts)
    for axes in (left, right):
        axes.tick_params(labelsize=8, width=0.6, length=2.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_linewidth(0.6)
    return figure


def _draw_plane(axes: Axes, counts: Counts, figure: Figure) -> None:
    axes.set_title(
        "Width and height of the boxes at network scale, in pixels",
        loc="left",
        fontsize=9.5,
        weight="bold",
    )
    width, height = (np.maximum(counts.boxes[side].to_numpy(np.float64), 1) for side in "wh")
    edges = np.geomspace(1, 512, 82)
    if len(width):
        *_, image = axes.hist2d(width, height, [edges, edges], norm=LogNorm(), cmap="GnBu")
        bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=30)
        bar.set_label("boxes", fontsize=8)
        bar.ax.tick_params(labelsize=8)
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
        bar.outline.set_linewidth(0.4)
    fine = np.geomspace(1, 512, 200)
    plane = np.stack(np.meshgrid(fine, fine), axis=-1).reshape(-1, 2)
    reach = best_iou(plane, ANCHORS).reshape(200, 200)
    axes.contour(fine, fine, reach, [MATCH_IOU], colors=VERMILION, linewidths=1.4)
    axes.plot(*np.array(ANCHORS).T, "s", color=VERMILION, mec="white", ms=6.5)
    axes.set(xscale="log", yscale="log", xlim=(1, 512), ylim=(1, 512))
    axes.set_xlabel("width", fontsize=8)
    axes.set_ylabel("height", fontsize=8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(list(_SIDES)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_aspect("equal")
    axes.legend(
        handles=[
            Line2D(
                [], [], marker="s", color=VERMILION, mec="white", ls="", label="YOLOv3's anchors"
            ),
            Line2D([], [], color=VERMILION, lw=1.4, label="an anchor answers\ninside this line"),
        ],
        loc="lower right",
        frameon=False,
        fontsize=8,
        handlelength=1.4,
    )


def _draw_recall(axes: Axes, counts: Counts) -> None:
    axes.set_title(
        "Share of the boxes that an anchor answers for", loc="left", fontsize=9.5, weight="bold"
    )
    last = counts.classes["split"].iloc[-1]
    rows = counts.classes[counts.classes["split"] == last]
    rows = rows.iloc[[*(label for label, *_ in counts.shown), -1]]
    names = rows["class"].tolist()
    colours = [*(colour for *_, colour in counts.shown), PALE]
    places = list(range(len(names)))
    recall = rows["recall"].fillna(0).to_numpy(np.float64)
    axes.barh(places, recall, color=colours, height=0.62, ec=INK, lw=0.4)
    for place, (_, row) in zip(places, rows.iterrows(), strict=True):
        text = f"{row['recall']:.2%}, mean IoU {row['mean IoU']:.3f}" if row["boxes"] else "no box"
        axes.text(0.012, place, text, va="center", fontsize=8, color=INK)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
