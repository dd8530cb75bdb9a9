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
    """A panel on the page.

    Attributes:
        key: Its address in the page.
        title: Its heading.
        caption: What its pictures show.
        curves: Pictures of curves.
        pairs: Pairs of networks, shown as tracks and as maps.
        svg: A picture for readers whose browser runs no script.
        pictures: SVG pictures, drawn beforehand.
        galleries: What networks find, as small photographs.
        said: Its sentences, which the report adds.
        tables: Its tables that are shown; the same.
    """

    key: str
    title: str
    caption: str = ""
    curves: Sequence[Curves] = ()
    pairs: Sequence[Comparison] = ()
    svg: str = ""
    pictures: Sequence[str] = ()
    galleries: Sequence[Pictures] = ()
    said: Sequence[str] = ()
    tables: Sequence[Table] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not any(self[3:])


class Finding(NamedTuple):
    """A sentence of the card, and the section that shows what it rests on.

    Attributes:
        text: The sentence, with its number and interval.
        key: The section's address.
        title: Its heading.
    """

    text: str
    key: str
    title: str


@dataclass(frozen=True)
class Report:
    """All that a report says.

    Attributes:
        title: Its title.
        card: What to know first, in a few sentences.
        notes: What was left out, and what differs from the paper's study.
        structure: The networks' layers.
        sections: The panels.
    """

    title: str
    card: Sequence[Finding]
    notes: Sequence[str]
    structure: Structure
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
        section: What the page shows besides tables and sentences.
        short: The panel's sentence of the card: one short one with a number and its interval, which
            says `undecided` where the interval does; nothing where there is nothing to say.
    """

    key: str
    title: str
    compute: Callable[[Study], Result]
    tables: Callable[[Result], Iterable[Table]] | None = None
    sentences: Callable[[Result], Iterable[str]] | None = None
    figures: Callable[[Result], Iterable[Drawing]] | None = None
    section: Callable[[Result], Section] | None = None
    short: Callable[[Result], str] | None = None
