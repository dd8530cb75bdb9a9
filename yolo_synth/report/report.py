"""Report: the paper's tables and figures, and what it lacks, from a folder of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from yolo_synth.analysis.similarity.judging import INTERVAL_IMAGES
from yolo_synth.analysis.similarity.measures import OPINIONS
from yolo_synth.analysis.similarity.opinions import chosen
from yolo_synth.analysis.similarity.seeds import MARGIN, check_margin
from yolo_synth.claims import claimed
from yolo_synth.escaping import markdown_text, say
from yolo_synth.files import write_whole
from yolo_synth.report.figures import Drawing, write_figures
from yolo_synth.report.notes import differences, sample_notes
from yolo_synth.report.page import write_page
from yolo_synth.report.panel import Panel, Report, Section, Table
from yolo_synth.report.panels import (
    diagnosis,
    freezing,
    gap,
    opinion,
    outputs,
    pictures,
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

# First what training added: most of the plain similarity can come from the common start.
PANELS: Final[tuple[Panel[Any], ...]] = (
    start.PANEL,
    scores.PANEL,
    diagnosis.PANEL,
    outputs.PANEL,
    pictures.PANEL,
    similarity.PANEL,
    verdicts.PANEL,
    opinion.PANEL,
    gap.PANEL,
    boxes.PANEL,
    freezing.PANEL,
    scorecard.PANEL,
)
"""The report, in its order."""


def report(
    runs: str,
    out: str = "report",
    images: int = 200,
    sizes: tuple[int, ...] = (32, 64, 128),
    data: str | tuple[str, ...] = (),
    figures: Literal["paper", "all"] = "paper",
    measures: str = ",".join(OPINIONS),
    margin: float = MARGIN,
    objects: bool = False,
    no_pictures: bool = False,
    *,
    trust: bool = False,
) -> None:
    """Write the paper's tables and figures for a folder of runs, and what the paper lacks.

    Tables 2 to 5 as CSV, Markdown and LaTeX, Figures 4 to 12 as PNG and SVG, the matrices as npz, and
    report.html that shows all of it. Runs that are broken or not finished are named and left out.
    What is missing is computed and kept in the run folders; a second call computes nothing again.

    Args:
        runs: Folder of run folders, wherever they were trained.
        out: Folder to write to.
        images: How many test images of each domain to show to the networks.
        sizes: Sides of the images for the similarities, in pixels, such as the networks take.
            The paper has 32, 64 and 128; 416 is possible and slow.
        data: File that names further test images, as experiments/data/bdd100k_night.yaml, or several,
            as [FILE, FILE].
        figures: The figures to write as files: the paper's, or all, of every pair, probe and size. The
            page shows all and gives each as SVG or PNG.
        measures: The second opinion: measures beside CKA, separated by commas, as `compare` takes them.
        margin: By which fraction two models may be less or more alike than two seeds of one model and
            still be called as alike as those; to be chosen before looking.
        objects: Whether to look at true boxes and boxes of the background too, of the first two networks
            that are compared; the verb objects keeps the boxes' features.
        no_pictures: Whether to leave pictures out of the page, for data that may not be shared.
        trust: Whether classes from elsewhere that run folders and files name are imported and run.
    """
    check_margin(margin, "--margin")
    if images < INTERVAL_IMAGES:
        raise ValueError(f"--images is at least {INTERVAL_IMAGES}, not {images}")
    if not sizes:
        raise ValueError("--sizes names no side of the images; the paper's are 32, 64 and 128")
    folder = Path(out)
    with claimed(folder, "writes a report"):
        matrices = folder / "matrices"
        study = Study(runs, matrices, images, sizes, data, trust, chosen(measures), margin, objects)
        study.has_pictures = not no_pictures
        result = write_panels(study, folder, draw_all=figures == "all")
        write_page(result, folder / "report.html")
    for note in result.notes:
        say(note)
    say(f"{out}: report.html, findings.md, tables/, figures/ and matrices/")


def write_panels(study: Study, folder: Path, draw_all: bool = False) -> Report:
    """Compute what is missing, write all but the page into a folder and return what the page shows."""
    tables: list[Table] = []
    findings: list[str] = []
    sections: list[Section] = []
    drawings: list[Drawing] = []
    for panel in PANELS:
        result = panel.compute(study)
        tables += panel.tables(result) if panel.tables else ()
        findings += panel.sentences(result) if panel.sentences else ()
        drawings += panel.figures(result) if panel.figures else ()
        sections += [panel.section(result)] if panel.section else ()
    notes = [*study.notes, *differences(study), *sample_notes(study)]
    for table in tables:
        write_table(table, folder / "tables")
    lines = [f"# {HEADLINE}", "", *_items(findings), "", "## Notes", "", *_items(notes), ""]
    write_whole(folder / "findings.md", "\n".join(lines))
    chosen = [drawing for drawing in drawings if draw_all or drawing.is_papers]
    write_figures(chosen, folder / "figures")
    shown = [table for table in tables if not table.is_data]
    return Report(HEADLINE, findings, notes, study.structure, shown, sections)


def _items(sentences: list[str]) -> list[str]:
    return [f"- {markdown_text(sentence)}" for sentence in sentences]
