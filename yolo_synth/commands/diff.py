"""Diff: what sets two detectors apart, from what they found in the same images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from yolo_synth.difference.compare import Difference, compare_detections
from yolo_synth.difference.gallery import galleries, with_pictures
from yolo_synth.difference.page import page
from yolo_synth.escaping import csv_text, say
from yolo_synth.files import write_whole

TABLE, SCORES, PAGE = "boxes.parquet", "scores.csv", "diff.html"


def diff(
    a: str,
    b: str,
    truth: str = "",
    out: str = "diff",
    no_pictures: bool = False,
    pictures: str | None = None,
    confidence: float | None = None,
) -> None:
    """Say whether detector B is better than A, how sure that is, and on which pictures.

    mAP of both, as COCO's, and the difference with a 95 % interval over the same images (whole
    sequences where the truth names some), by class, size and condition; the true boxes that both, one
    or neither finds; the kinds of error. Written into the folder OUT: diff.html, a page that loads
    nothing; scores.csv; boxes.parquet, a row a true box.

    Args:
        a: COCO result file of detector A.
        b: COCO result file of detector B.
        truth: What is really there: a COCO file, or a data file whose test images are taken.
        out: Folder to write to.
        no_pictures: Whether to leave pictures out of the page, for data that may not be shared.
        pictures: Folder of a COCO file's pictures; by default they are looked for beside the file.
        confidence: Least score of a detection that counts as shown, where boxes found and kinds of
            error are told; by default that of each detector's best F1. mAP takes all.
    """
    if not truth:
        raise ValueError("diff needs --truth: the COCO file or data file that says what is there")
    found = compare_detections(a, b, truth, pictures=pictures, confidence=confidence)
    folder = Path(out)
    shown = None if no_pictures else with_pictures(galleries(found), found)
    write_whole(folder / SCORES, csv_text(found.scores, index=False))
    write_whole(folder / TABLE, lambda file: found.boxes.to_parquet(file, index=False))
    write_whole(folder / PAGE, page(found, (a, b), shown))
    say(summary(found), f"see {folder / PAGE}")


def summary(found: Difference) -> str:
    """Return the tables and the verdict as text."""
    scores = found.scores.copy()
    scores["of"] = (scores["part"] + " " + scores["of"]).str.strip()
    digits = {
        "A": "{:.3f}",
        "B": "{:.3f}",
        "difference": "{:+.3f}",
        "low": "{:+.3f}",
        "high": "{:+.3f}",
    }
    formats = {name: form.format for name, form in digits.items()}
    parts = [
        scores.drop(columns="part").to_string(index=False, formatters=formats, na_rep="-"),
        _boxes(found.found.iloc[0]),
        found.kinds.T.to_string(),
        found.verdict(),
    ]
    return "\n\n".join(parts)


def _boxes(row: pd.Series) -> str:
    return (
        f"of {row['boxes']:,} true boxes both find {row['both']:,}, only A {row['A']:,}, only B "
        f"{row['B']:,}, neither {row['neither']:,}"
    )
