"""Two lists of detections in the same images: which is better, how sure is that, and on what."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from yolo_synth.difference.errors import (
    Errors,
    box_table,
    error_table,
    errors,
    found_table,
    reason_table,
)
from yolo_synth.difference.precision import matches
from yolo_synth.difference.results import Found, Results, read_results
from yolo_synth.difference.scores import FEWEST_GROUPS, score_table
from yolo_synth.difference.truth import Truth, read_truth

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Difference:
    """What sets detector B apart from detector A.

    Attributes:
        truth: What is really there.
        lists: The detections of A and B that count.
        errors: What is right and wrong of each from its confidence on.
        boxes: A row a true box: who finds it, and why the other does not (see `box_table`).
    """

    truth: Truth
    lists: tuple[Results, Results]
    errors: tuple[Errors, Errors]
    boxes: pd.DataFrame

    @cached_property
    def scores(self) -> pd.DataFrame:
        """MAP of both and the difference B - A with its 95 % interval (see `score_table`)."""
        return score_table(*self.lists, self.truth)

    @property
    def found(self) -> pd.DataFrame:
        """How many true boxes both, A only, B only or neither find, by class, size and condition."""
        return found_table(self.boxes)

    @property
    def kinds(self) -> pd.DataFrame:
        """How many hits, errors of each kind and missed boxes A and B have."""
        return error_table(self.errors)

    @property
    def reasons(self) -> pd.DataFrame:
        """Why true boxes are not found, by who finds them."""
        return reason_table(self.boxes)

    @property
    def notes(self) -> list[str]:
        """What was left out or is remarkable, a sentence each."""
        return [note for each in self.lists for note in each.notes]

    def verdict(self) -> str:
        """Say in a sentence whether B is better, by how much, and how sure that is."""
        row = self.scores.iloc[0]
        where = f"{row['images']:,} images"
        if row["groups"] != row["images"]:
            where += f" in {row['groups']:,} groups"
        values = f"mAP@0.5 is {row['A']:.3f} for A and {row['B']:.3f} for B"
        if pd.isna(row["low"]):
            return (
                f"Whether A and B differ cannot be told: {values}, but {where} are too few for an "
                f"interval, which takes {FEWEST_GROUPS} independent ones."
            )
        between = (
            f"{values}, and the difference {row['difference']:+.3f} has the 95 % interval "
            f"{row['low']:+.3f} to {row['high']:+.3f} over {where}"
        )
        if row["low"] <= 0 <= row["high"]:
            return f"A and B cannot be told apart: {between}, which holds 0."
        better, worse = "BA" if row["difference"] > 0 else "AB"
        return f"{better} is better than {worse} by {abs(row['difference']):.3f}: {between}."


def compare_detections(
    a: Found,
    b: Found,
    truth: str | Path | Truth,
    *,
    pictures: str | Path | None = None,
    confidence: float | None = None,
) -> Difference:
    """Compare what two detectors found in the same images.

    Args:
        a: COCO result file of detector A, or the list that one would hold.
        b: Those of detector B.
        truth: COCO file, data file (its test images), or what `read_truth` returned.
        pictures: Folder of a COCO file's pictures; by default they are looked for beside the file.
        confidence: Least score of a detection that counts as shown, where true boxes found and kinds of
            error are told; None takes for each the one at which its F1 is best. mAP takes all.

    Returns:
        Tables and a verdict. What was left out is in its `notes` and in the log.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If a file is malformed, or belongs to another truth.
    """
    check_confidence(confidence)
    there = truth if isinstance(truth, Truth) else read_truth(truth, pictures)
    lists = (read_results(a, there, "A"), read_results(b, there, "B"))
    for note in (note for each in lists for note in each.notes):
        log.warning(note)
    first, second = (errors(x, there, matches(x, there), confidence) for x in lists)
    return Difference(
        there,
        lists,
        (first, second),
        box_table(there, lists, (first, second)),
    )


def check_confidence(confidence: float | None) -> None:
    """Refuse a least score that is none."""
    if confidence is not None and not 0 <= confidence <= 1:
        raise ValueError(f"confidence is a score from 0 to 1, not {confidence}")
