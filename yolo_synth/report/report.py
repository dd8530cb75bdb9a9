"""Report: the paper's tables and figures, and what it lacks, from a folder of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from yolo_synth.claims import claimed
from yolo_synth.escaping import markdown_text, say
from yolo_synth.files import write_whole
from yolo_synth.report.figures import Drawing, write_figures
from yolo_synth.report.notes import differences, sample_notes
from yolo_synth.report.page import write_page
from yolo_synth.report.panel import Finding, Panel, Report, Section
from yolo_synth.report.panels import (
    diagnosis,
    freezing,
    gap,
    opinion,
    outputs,
    pictures,
    remedies,
    scorecard,
    scores,
    similarity,
    start,
    verdicts,
)
from yolo_synth.report.panels import (
    objects as boxes,
)
from yolo_synth.report.panels.similarity_figures import HEADLINE
from yolo_synth.report.study import Study
from yolo_synth.report.tables import write_table
from yolo_synth.report.words import BRACKETS

PANELS: Final[tuple[Panel[Any], ...]] = (
    similarity.PANEL,
    scores.PANEL,
    verdicts.PANEL,
    start.PANEL,
    freezing.PANEL,
    remedies.PANEL,
    gap.PANEL,
    opinion.PANEL,
    boxes.PANEL,
    diagnosis.PANEL,
    pictures.PANEL,
    outputs.PANEL,
    scorecard.PANEL,
)
"""The report, in its order. The card has it too: how large the gap is, where the networks part, what
training added, what freezing changed, what to try next."""

CARD: Final = 5
"""Sentences of the card, at most."""


def write_report(study: Study, folder: Path, draw_all: bool) -> None:
    """Write tables, figures and page of a study into a folder, and print what matters most of it."""
    with claimed(folder, "writes a report"):
        result = write_panels(study, folder, draw_all)
        write_page(result, folder / "report.html")
    for number, finding in enumerate(result.card, 1):
        say(f"{number}. {finding.text}")
    for note in result.notes:
        say(note)
    say(f"{folder}: report.html, findings.md, tables/, figures/ and matrices/")


def write_panels(study: Study, folder: Path, draw_all: bool) -> Report:
    """Compute what is missing, write all but the page into a folder and return what the page shows."""
    card: list[Finding] = []
    sections: list[Section] = []
    drawings: list[Drawing] = []
    for panel in PANELS:
        result = panel.compute(study)
        tables = list(panel.tables(result)) if panel.tables else []
        for table in tables:
            write_table(table, folder / "tables")
            study.tables[table.key] = table.frame
        drawings += panel.figures(result) if panel.figures else ()
        own = panel.section(result) if panel.section else Section(panel.key, panel.title)
        section = own._replace(
            said=list(panel.sentences(result)) if panel.sentences else (),
            tables=[table for table in tables if not table.is_data],
        )
        if not section.is_empty:
            sections.append(section)
        if panel.short and (text := panel.short(result)):
            card.append(Finding(text, section.key, section.title))
    notes = [*study.notes, *differences(study), *sample_notes(study)]
    report = Report(HEADLINE, card[:CARD], notes, study.structure, sections)
    write_whole(folder / "findings.md", _as_text(report))
    chosen = [drawing for drawing in drawings if draw_all or drawing.is_papers]
    write_figures(chosen, folder / "figures")
    return report


def _as_text(report: Report) -> str:
    """Return all sentences as Markdown, the card first."""
    lines = [f"# {report.title}", ""]
    for number, (text, key, title) in enumerate(report.card, 1):
        lines.append(f"{number}. {markdown_text(text)} ([{title}](report.html#{key}))")
    lines += ["", BRACKETS, ""] if report.card else []
    said = [(section.title, section.said) for section in report.sections]
    for title, sentences in [*said, ("Notes", report.notes)]:
        if sentences:
            lines += [f"## {title}", "", *(f"- {markdown_text(one)}" for one in sentences), ""]
    return "\n".join(lines)
