"""The report as one HTML file that needs nothing else: no network, no other file, no plotting library.

In web/, page.html is its template, page.css its style, and the scripts draw its figures onto canvases,
from the arrays that are packed into the page.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
from jinja2 import Environment
from matplotlib.colors import to_hex

from yolo_synth import palette
from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.figures import ribbon, tracks
from yolo_synth.analysis.similarity.series import Values
from yolo_synth.comparison import Comparison
from yolo_synth.difference.page import gallery_markup
from yolo_synth.files import write_whole
from yolo_synth.report.html_tables import html_table
from yolo_synth.report.packing import TRACK_PRECISION, packed_matrices, packed_rows
from yolo_synth.report.panel import Curves, Report
from yolo_synth.report.words import BRACKETS

LIMIT: Final = 3_000_000
"""Bytes that a page stays under, pictures aside, by giving up precision where it must."""

PRECISIONS: Final = (0.001, 0.002, 0.005, 0.01, 0.02)
"""Steps that the matrices' values are rounded to: the first with which the page stays under `LIMIT`."""

MEASURES: Final = {"debiased": "Debiased CKA", "biased": "Biased CKA"}
"""The maps of a pair, the one that is shown first first; of `debiased` are the tracks."""

ROWS: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "null",
        "label": "images permuted, 95\N{NARROW NO-BREAK SPACE}% point",
        "short": "null",
        "draw": "area",
    },
    {
        "name": "low",
        "to": "high",
        "label": "95\N{NARROW NO-BREAK SPACE}% interval over images",
        "draw": "band",
    },
    {
        "name": "biased",
        "label": "biased CKA",
        "short": "biased",
        "draw": "line",
        "colour": palette.GREY,
        "width": 1.1,
        "dash": [1.2, 2.4],
    },
    {"name": "p", "short": "p"},
    {
        "name": "untrained",
        "label": "two untrained networks",
        "short": "untrained",
        "draw": "line",
        "colour": "#8A9096",
        "width": 0.9,
        "dash": [4, 2, 1, 2],
    },
    {
        "name": "ceiling",
        "label": "two seeds of one model",
        "short": "two seeds",
        "draw": "line",
        "colour": palette.INK,
        "width": 1,
        "dash": [7, 3],
    },
    {
        "name": "partial",
        "label": "given the common initial state",
        "short": "given start",
        "draw": "line",
        "width": 1,
        "dash": [3, 2],
    },
    {"name": "debiased", "label": "debiased CKA", "draw": "line", "width": 1.8},
)
"""What a track shows besides its marks, from behind to before: drawn how, called what in the legend and
where it is read at a layer. Lines without a colour have the track's."""

SCRIPTS: Final = ("arrays", "drawing", "tracks", "curves", "maps", "gallery", "export", "start")
"""The page's scripts, in their order; together they are one."""

_WEB: Final = Path(__file__).with_name("web")


def write_page(report: Report, path: Path) -> None:
    """Write a report as one self-contained HTML file.

    It opens from disk in any browser of 2023 or later and loads nothing. Values per layer and the
    matrices' cells are rounded to 0.001, the latter coarser if the page would reach `LIMIT` otherwise;
    it says how much. A report without pairs has no figures.

    Args:
        report: What to show.
        path: File to write.

    Raises:
        ValueError: If an array has not one value per layer, or the tables alone reach `LIMIT`.
    """
    _check(report)
    pairs = _pairs(report)
    for precision in PRECISIONS:
        page = _page(report, precision).encode()
        if len(page) - _of_pictures(report) < LIMIT:
            break
    else:
        raise ValueError(
            f"{path}: {len(page):,} bytes even with values rounded to {PRECISIONS[-1]}, and the limit "
            f"is {LIMIT:,}: leave out some of the {len(pairs)} comparisons"
        )
    write_whole(path, page)


def _pairs(report: Report) -> list[Comparison]:
    return [pair for section in report.sections for pair in section.pairs]


def _of_pictures(report: Report) -> int:
    """Return how many letters the pictures take, which have a limit of their own."""
    galleries = (g for s in report.sections for one in s.galleries for g in one.galleries)
    return sum(len(tile.picture) for gallery in galleries for tile in gallery.tiles)


def _check(report: Report) -> None:
    layers = len(report.structure)
    for pair in _pairs(report):
        for name, cells in (("biased", pair.biased), ("debiased", pair.debiased)):
            if cells.shape != (layers, layers):
                raise ValueError(
                    f"{pair.name}: {name} has shape {list(cells.shape)} where the network's layers "
                    f"ask for {[layers, layers]}"
                )
        for series in pair.series.values():
            series.check(layers, pair.name)
    for section in report.sections:
        for curves in section.curves:
            for name, series in curves.lines.items():
                series.check(layers, name)


def _page(report: Report, precision: float) -> str:
    pairs, layers = _pairs(report), len(report.structure)
    with_curves = [section.key for section in report.sections if section.curves]
    template = Environment(autoescape=True, keep_trailing_newline=True).from_string(
        _text("page.html")
    )
    return template.render(
        report=report,
        brackets=BRACKETS,
        unbroken=_unbroken,
        numbers={key: number for number, key in enumerate(with_curves, 4)},
        gallery_markup=gallery_markup,
        html_table=html_table,
        css=_text("page.css"),
        js="\n".join(_text(f"{name}.js") for name in SCRIPTS),
        # `<` could only end the script element: as an escape it is the same JSON.
        data=json.dumps(_data(report, precision), allow_nan=False).replace("<", "\\u003c"),
        rows=packed_rows([row for pair in pairs for row in _rows(pair).values()], layers),
        matrices=packed_matrices(pairs, layers, precision),
    )


def _unbroken(text: str) -> str:
    """Keep a number and its interval on one line."""
    return re.sub(
        r" (\[[^]]*])", lambda found: f" {found[1]}".replace(" ", "\N{NO-BREAK SPACE}"), text
    )


def _text(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")


def _data(report: Report, precision: float) -> dict[str, Any]:
    """Return what the page's script has to know besides the packed arrays."""
    pairs = _pairs(report)
    return {
        "precision": precision,
        "trackPrecision": TRACK_PRECISION,
        "networks": len(
            {label for p in pairs for label in (p.first, p.second) if not label.is_initial}
        ),
        "structure": _structure(report.structure),
        "measures": list(MEASURES.items()),
        "rows": ROWS,
        "pairs": [_pair(pair) for pair in pairs],
        "sections": [
            {"key": section.key, "curves": [_curves(curves) for curves in section.curves]}
            for section in report.sections
            if section.curves
        ],
        "kindColours": ribbon.kind_colours(report.structure),
        "kindMarkers": ribbon.KIND_MARKERS,
        "kindNames": ribbon.KIND_NAMES,
        "trackColours": tracks.COLOURS,
        "headShade": ribbon.HEAD_SHADE,
        "ink": palette.INK,
        "grey": palette.GREY,
        "shade": palette.SHADE,
        "faint": palette.FAINT,
        "viridis": [to_hex(colour) for colour in matplotlib.colormaps["viridis"](range(256))],
    }


def _pair(pair: Comparison) -> dict[str, Any]:
    first, second = pair.seeds
    return {
        "first": pair.first.name,
        "second": pair.second.name,
        "probe": pair.probe,
        "images": pair.images,
        "size": pair.size,
        "runs": f"seed {first}" if first == second else "across seeds",
        "rows": list(_rows(pair)),
    }


def _rows(pair: Comparison) -> dict[str, Values]:
    """Return what the tracks of a pair show, and what is read at a layer, by name."""
    judged = pair.debiased_series.columns("debiased")
    names = ("debiased", "low", "high", "null", "untrained", "p", "ceiling")
    rows = {name: judged[name] for name in names if name in judged}
    rows["biased"] = pair.biased_series.value
    if "partial" in pair.series:
        rows["partial"] = pair.series["partial"].value
    return rows


def _curves(curves: Curves) -> dict[str, Any]:
    return {
        "title": curves.title,
        "size": curves.size,
        "lines": [
            {
                "name": name,
                "group": curves.groups[name],
                "values": _listed(series.value),
                **{
                    row: _listed(series.columns("")[row])
                    for row in ("null", "low", "high")
                    if row in series.columns("")
                },
            }
            for name, series in curves.lines.items()
        ],
        "distance": curves.distance,
    }


def _listed(values: Values) -> list[float | None]:
    """Return values per layer rounded to `TRACK_PRECISION`, None where they are not defined."""
    return [round(float(value), 3) if np.isfinite(value) else None for value in values]


def _structure(structure: Structure) -> dict[str, Any]:
    return {
        "kinds": structure.kinds,
        "names": structure.names,
        "sources": structure.sources,
        "strides": structure.strides,
        "backboneEnd": structure.backbone_end,
        "thickness": [round(value, 4) for value in ribbon.thickness(structure)],
        "regions": [[region.start, region.stop] for region in structure.regions],
        "skips": structure.skips,
    }
