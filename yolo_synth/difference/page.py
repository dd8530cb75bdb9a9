"""The page of a difference: one file that loads nothing and needs no script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from yolo_synth.difference.compare import Difference
from yolo_synth.difference.errors import FINDERS, KINDS
from yolo_synth.difference.gallery import A_COLOUR, B_COLOUR, SIDE, Gallery

MEANINGS = {
    "hit": "right: class and IoU of 0.5 or more",
    "localisation": "IoU 0.1 to 0.5 with a true box of its class",
    "classification": "IoU 0.5 or more with a true box of another class",
    "duplicate": "a surer detection has taken the true box",
    "background": "IoU 0.1 or less with every true box",
    "both": "class and place are wrong",
    "missed": "true boxes that no correction of class or place would find",
}
COLOURS = {"A": A_COLOUR, "B": B_COLOUR}
TITLES = {"timeofday": "time of day"}


def page(difference: Difference, names: tuple[str, str], shown: list[Gallery] | None) -> str:
    """Return the page.

    Args:
        difference: What it is about.
        names: What A and B are.
        shown: The galleries; None if pictures are not to be shown.
    """
    return _template("page.html").render(
        verdict=difference.verdict(),
        names=dict(zip("AB", names, strict=True)),
        truth=difference.truth.name,
        errors=dict(zip("AB", difference.errors, strict=True)),
        scores=_scores(difference.scores),
        found=_records(difference.found),
        finders=FINDERS,
        kinds=_records(difference.kinds.reset_index(names="kind")),
        reasons=_records(difference.reasons),
        meanings=MEANINGS,
        wrong=KINDS,
        notes=difference.notes,
        galleries=shown,
        pictures=gallery_markup(shown or [], level=2),
        has_pictures=difference.truth.root is not None,
        colours=COLOURS,
    )


def gallery_markup(shown: Sequence[Gallery], level: int) -> str:
    """Return galleries as HTML, with their style, for any page; `level` is that of their headings."""
    return _template("gallery.html").render(
        galleries=shown, side=SIDE, colours=COLOURS, level=level
    )


def _template(name: str) -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = [
        {str(key): value for key, value in row.items()} for row in table.to_dict("records")
    ]
    for row in records:
        if "part" in row:
            row["name"] = _name(str(row["part"]), str(row["of"]))
    return records


def _name(part: str, of: str) -> str:
    return "all" if part == "all" else f"{TITLES.get(part, part)}: {of}"


def _scores(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of the table with the ends of their intervals in percent of the drawing."""
    ends = scores[["difference", "low", "high"]].to_numpy(float)
    widest = max(float(np.nanmax(np.abs(ends))), 1e-6) * 1.05
    rows = _records(scores)
    for row in rows:
        for end in ("difference", "low", "high"):
            row[f"{end}_at"] = round(50 + 50 * row[end] / widest, 2) if pd.notna(row[end]) else None
        if row["low_at"] is not None:
            row["beyond"] = not row["low"] <= 0 <= row["high"]
    return rows
