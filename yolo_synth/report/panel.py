"""What a panel of the report is: a subject, computed of the study, with tables, sentences and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import pandas as pd

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.comparison import Comparison
from yolo_synth.difference.gallery import Gallery
from yolo_synth.report.figures import Drawing
from yolo_synth.report.study import Study


@dataclass(frozen=True)
class Table:
    """One table of the report.

    Attributes:
        key: Its file name, as `table_2`.
        title: What it is.
        caption: What it says, the units, and what differs from the paper.
        frame: Numbers, unformatted; the index names the rows.
        is_data: Whether it is for programs alone: written as CSV, and not shown.
    """

    key: str
    title: str
    caption: str
    frame: pd.DataFrame
    is_data: bool = False


class Curves(NamedTuple):
    """A picture of curves over the layers.

    Attributes:
        title: What it shows.
        size: Side of the probe images in pixels.
        lines: Name → what is known of it; what chance gives is drawn behind, the highest of each layer.
        groups: Name → what it is one of; lines of one group share a colour.
        distance: Whether low values mean alike: chance is then drawn from the lowest upwards.
    """

    title: str
    size: int
    lines: Mapping[str, LayerSeries]
    groups: Mapping[str, str]
    distance: bool = False


class Pictures(NamedTuple):
    """Galleries of what two networks find.

    Attributes:
        title: On what.
        text: Which networks, and what they find.
        galleries: The pictures.
    """

    title: str
    text: str
    galleries: Sequence[Gallery]


class Section(NamedTuple):
    """What a panel has on the page besides tables and sentences.

    Attributes:
        key: Its address in the page.
        title: Its heading.
        caption: What its pictures show.
        curves: Pictures of curves.
        pairs: Pairs of networks, shown as tracks and as maps.
        svg: A picture for readers whose browser runs no script.
        pictures: SVG pictures, drawn beforehand.
        galleries: What networks find, as small photographs.
    """

    key: str
    title: str
    caption: str
    curves: Sequence[Curves] = ()
    pairs: Sequence[Comparison] = ()
    svg: str = ""
    pictures: Sequence[str] = ()
    galleries: Sequence[Pictures] = ()


@dataclass(frozen=True)
class Report:
    """All that a report says.

    Attributes:
        title: Its title.
        findings: Sentences with the numbers that they rest on.
        notes: What was left out, and what differs from the paper's study.
        structure: The networks' layers.
        tables: The tables that are shown.
        sections: What the panels have on the page besides.
    """

    title: str
    findings: Sequence[str]
    notes: Sequence[str]
    structure: Structure
    tables: Sequence[Table]
    sections: Sequence[Section] = ()


Result = TypeVar("Result")


@dataclass(frozen=True)
class Panel(Generic[Result]):
    """One subject of the report; of what it computes it has as many of the others as make sense.

    Attributes:
        key: Its name.
        title: What it is about.
        compute: Makes its result of the study.
        tables: What is written and shown as tables.
        sentences: Findings, the most important first.
        figures: What is drawn into files.
        section: What the page shows besides.
    """

    key: str
    title: str
    compute: Callable[[Study], Result]
    tables: Callable[[Result], Iterable[Table]] | None = None
    sentences: Callable[[Result], Iterable[str]] | None = None
    figures: Callable[[Result], Iterable[Drawing]] | None = None
    section: Callable[[Result], Section] | None = None
