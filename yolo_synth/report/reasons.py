"""The page of `why`: its card, its pictures and its tables, and the same as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jinja2 import Environment

from yolo_synth.escaping import csv_text
from yolo_synth.files import write_whole
from yolo_synth.reasons.answer import Answer
from yolo_synth.reasons.checks import check_table
from yolo_synth.report.html_tables import html_table
from yolo_synth.report.panel import Table

PAGE: Final = "why.html"
SAID: Final = "why.json"
"""The card for other programs, and for the report."""

_WEB: Final = Path(__file__).with_name("web")


def write_answer(answer: Answer, folder: Path) -> None:
    """Write `why.html`, which loads nothing and needs no script, `why.json` and a CSV a table."""
    tables = list(_tables(answer))
    for table in tables:
        write_whole(folder / f"{table.key}.csv", csv_text(table.frame.reset_index(), index=False))
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (_WEB / "why.html").read_text(encoding="utf-8")
    )
    page = template.render(
        title=f"Why {answer.names[0]} is not as good on {answer.gap.domains[0]} images",
        css=(_WEB / "page.css").read_text(encoding="utf-8"),
        findings=answer.sentences(),
        tables=[html_table(table) for table in tables],
    )
    write_whole(folder / PAGE, page)
    said = {"sentences": answer.sentences()}
    write_whole(folder / SAID, json.dumps(said, indent=1) + "\n")


def _tables(answer: Answer) -> Iterator[Table]:
    real, synthetic = answer.gap.domains
    yield Table(
        "gap",
        "The gap",
        f"mAP@0.5 on {answer.images[0]} {real} and {answer.images[1]} {synthetic} test images, with its "
        "95 % interval over images (jackknife over whole sequences).",
        answer.gap.table(answer.names),
    )
    yield Table(
        "checks",
        "Checks before explanations",
        "How far the sets differ, and how much a remedy would help, beside what halves of one set reach. "
        "Only a mistake is named, and only beyond its floor: synthetic images are others than real ones. "
        "Boxes, classes and scale are judged by what a network finds, in each set the one that is best "
        "there: the gain in overlap, or in boxes of the right class, chosen on one half and tried on the "
        "other.",
        check_table(answer.checks),
    )
    if answer.recalibration.trials:
        yield Table(
            "recalibration",
            "Batch norms recalibrated",
            f"Means and variances of {real} images without labels, none a test image, in place of the "
            "network's own, whole or half. Differences to the network as it was, paired over the images.",
            answer.recalibration.table(),
        )
