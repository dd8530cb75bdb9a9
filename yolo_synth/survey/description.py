"""What `data describe` does: what a data set holds, printed, as tables and as figures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import pandas as pd

from yolo_synth.data.source import open_data
from yolo_synth.escaping import say
from yolo_synth.files import write_whole
from yolo_synth.survey import charts
from yolo_synth.survey.counts import Counts, count
from yolo_synth.survey.heat import places

_MOST_GROUPS: Final = 10


def write_description(data: str, out: str | None, trust: bool) -> None:
    """Print and draw what a data set holds."""
    module = open_data(data, trust=trust)
    counts = count(module)
    folder = Path(out) if out else Path("description") / Path(data).stem
    scale = f"{module.image_size} x {module.image_size}, {module.resize}"
    say(_text(counts, scale))
    counts.write(folder)
    name = f"{module.title} ({data})"
    figures = {
        "overview": charts.overview(counts, f"{name} at {scale}"),
        "anchors": charts.anchor_fit(counts, f"{name} at {scale}"),
        "places": places(module.table, module.classes, f"{name}: where the boxes are"),
    }
    for key, figure in figures.items():
        draw = partial(figure.savefig, format="png", dpi=150)
        write_whole(folder / f"{key}.png", draw)
    say(f"{folder}: {', '.join(f'{key}.png' for key in figures)} and four tables as CSV")


def _text(counts: Counts, scale: str) -> str:
    """Return the tables as text, transposed where they are wide."""
    classes = counts.classes.drop(columns=["aspect 5 %", "aspect 95 %"]).rename(
        columns={
            "side 5 %": "side 5%",
            "side 50 %": "50%",
            "side 95 %": "95%",
            "aspect 50 %": "aspect",
        }
    )
    shares = ["small", "medium", "large", "recall"]
    classes[shares] = classes[shares].map(lambda s: "-" if pd.isna(s) else f"{s:.1%}")
    splits = counts.splits.set_index("split").T
    without = [] if counts.has_groups else ["groups"]
    without += [] if (splits.loc["dropped: hood"] > 0).any() else ["dropped: hood"]
    parts = [
        _table(splits.drop(index=without).reset_index(names="")),
        f"Boxes at {scale}: share of COCO's small, medium and large; side (root of the area) in\n"
        "pixels; width over height, median; share that an anchor of YOLOv3 answers for (recall), and\n"
        "mean IoU with the best anchor\n\n" + _table(classes),
    ]
    if not counts.attributes.empty:
        parts.append("Images by condition\n\n" + _table(counts.attributes))
    groups = counts.groups
    dropped = groups.columns[groups.columns.str.startswith("dropped: ")]
    filters = dropped.drop("dropped: label")
    lost = groups[groups[filters].sum(axis=1) > 0]
    if not counts.has_groups:
        return "\n\n".join(parts)
    if len(lost):
        parts.append(
            f"{len(lost)} of {len(groups)} sequences or rides lost boxes to filters (other kinds of "
            f"objects aside); the first {min(len(lost), _MOST_GROUPS)}:\n\n"
            + _table(lost.head(_MOST_GROUPS).rename(columns=lambda name: name.split(": ")[-1]))
        )
    else:
        parts.append(f"No filter left out a box in any of the {len(groups)} sequences or rides.")
    return "\n\n".join(parts)


def _table(frame: pd.DataFrame) -> str:
    text = frame.copy()
    for name in text.columns:
        text[name] = [_cell(value) for value in text[name]]
    return text.to_string(index=False)


def _cell(value: object) -> str:
    if isinstance(value, float):
        if value != value:
            return "-"
        return f"{value:,.0f}" if value == round(value) else f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
