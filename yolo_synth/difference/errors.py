"""Which true boxes each list finds, and what is wrong with what it shows elsewhere.

The kinds of error are those of Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection
Errors", ECCV 2020, of the detections that hit nothing at IoU 0.5, the first that fits:

- localisation: overlaps a true box of its class by 0.1 to 0.5;
- classification: overlaps a true box of another class by 0.5 or more;
- duplicate: overlaps by 0.5 or more a true box of its class that a surer detection has taken;
- background: overlaps no true box by more than 0.1;
- both: none of these, so class and place are wrong.

A true box that is not found is missed by reason of the surest detection that a better place or class
would have made a hit (localisation or classification), or else missed altogether. A kind and a hit need
a decision, so they are about detections from some confidence on: by default, for each list, the one at
which its F1 is best.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from yolo_synth.boxes import iou
from yolo_synth.difference.precision import Matches
from yolo_synth.difference.results import Results
from yolo_synth.difference.truth import CONDITIONS, Truth, told
from yolo_synth.matching import Flags, Floats, Integers, pairs

KINDS: Final = ("localisation", "classification", "duplicate", "background", "both")
"""Kinds of wrong detections, in the order in which they are tried."""

FINDERS: Final = ("both", "A", "B", "neither")
"""Who may find a true box."""

NEAR, FAR = 0.5, 0.1
"""TIDE's thresholds of the foreground and of the background."""

_CHUNK: Final = 500
"""Images whose pairs of boxes are looked at together."""

Names = NDArray[np.str_]


@dataclass(frozen=True)
class Errors:
    """What is right and wrong of a list from a confidence on.

    Attributes:
        confidence: Least score that is looked at.
        f1: F1 of all classes together there.
        shown: [detections], those that are looked at.
        kind: [detections], `hit`, one of `KINDS`, or "" (not looked at, or in a crowd).
        finder: [true boxes], the detection that hits each, -1 for none.
        reason: [true boxes], `found`, `localisation`, `classification` or `missed`.
    """

    confidence: float
    f1: float
    shown: Flags
    kind: Names
    finder: Integers
    reason: Names


def errors(
    results: Results, truth: Truth, found: Matches, confidence: float | None = None
) -> Errors:
    """Tell what is right and wrong.

    Args:
        results: The detections.
        truth: What is really there.
        found: What they hit.
        confidence: Least score to look at; None takes the one at which F1 is best.
    """
    if confidence is None:
        confidence = best_confidence(results, found)
    shown = results.scores >= confidence
    hit = found.hits[:, 0] & shown
    finder = np.full(len(truth.boxes.label), -1)
    finder[found.taken[hit]] = np.flatnonzero(hit)
    real = ~truth.crowd
    kind = np.full(len(shown), "", "<U14")
    kind[hit] = "hit"
    wrong = np.flatnonzero(shown & ~hit & found.counts[:, 0])
    kind[wrong], fixed, fix = _kinds(results, truth, wrong, finder >= 0)
    reason = np.where(finder >= 0, "found", "missed").astype("<U14")
    order = np.argsort(results.scores[wrong], kind="stable")  # so that the surest has the last word
    order = order[fixed[order] >= 0]
    order = order[finder[fixed[order]] < 0]
    reason[fixed[order]] = fix[order]
    right = int(hit.sum())
    f1 = 2 * right / max(1, right + len(wrong) + int(real.sum()))
    return Errors(confidence, f1, shown, kind, finder, reason)


def best_confidence(results: Results, found: Matches) -> float:
    """Return the score from which on the detections have the best F1, all classes together."""
    counted = np.flatnonzero(found.counts[:, 0])
    order = counted[np.argsort(-results.scores[counted], kind="stable")]
    if not len(order):
        return 0.0
    scores, right = results.scores[order], np.cumsum(found.hits[order, 0])
    f1 = 2 * right / (np.arange(1, len(order) + 1) + (~found.aside).sum())
    last = np.append(scores[1:] != scores[:-1], True)  # of equal scores all are shown or none
    return float(scores[np.argmax(np.where(last, f1, -1))])


def _kinds(
    results: Results, truth: Truth, wrong: Integers, used: Flags
) -> tuple[Names, Integers, Names]:
    """Return kinds of wrong detections, the true box that a correction would hit (or -1), and its kind."""
    kind = np.full(len(wrong), "background", "<U14")
    fixed = np.full(len(wrong), -1)
    image = results.boxes.image[wrong]
    real = np.flatnonzero(~truth.crowd)
    real = real[np.argsort(truth.boxes.image[real], kind="stable")]
    of_real = truth.boxes.image[real]
    starts = np.arange(0, len(truth.images) + _CHUNK, _CHUNK)
    for begin, end in pairwise(starts.tolist()):
        mine = np.arange(*np.searchsorted(image, (begin, end)))
        theirs = real[slice(*np.searchsorted(of_real, (begin, end)))]
        left, right = pairs(image[mine], truth.boxes.image[theirs])
        if not len(left):
            continue
        left, right = mine[left], theirs[right]
        overlap = iou(results.boxes.corners[wrong[left]], truth.boxes.corners[right])
        same = results.boxes.label[wrong[left]] == truth.boxes.label[right]
        own, own_box = _best(np.where(same, overlap, 0), left, right, len(wrong))
        other, other_box = _best(np.where(same, 0, overlap), left, right, len(wrong))
        taken, _ = _best(np.where(same & used[right], overlap, 0), left, right, len(wrong))
        conditions = [
            (own >= FAR) & (own <= NEAR),
            other >= NEAR,
            taken >= NEAR,
            np.maximum(own, other) <= FAR,
        ]
        here = np.zeros(len(wrong), bool)
        here[mine] = True
        kind[here] = np.select(conditions, KINDS[:4], KINDS[4])[here]
        fixed[here] = np.select(conditions[:2], [own_box, other_box], -1)[here]
    return kind, fixed, kind


def _best(overlap: Floats, left: Integers, right: Integers, length: int) -> tuple[Floats, Integers]:
    """Return of each detection the greatest overlap and with which true box; pairs are by detection."""
    best, box = np.zeros(length), np.full(length, -1)
    starts = np.flatnonzero(np.diff(left, prepend=-1))
    best[left[starts]] = np.maximum.reduceat(overlap, starts)
    reached = np.flatnonzero(overlap == best[left])[::-1]  # the first of equal ones is written last
    box[left[reached]] = right[reached]
    return best, box


def box_table(
    truth: Truth, lists: tuple[Results, Results], both: tuple[Errors, Errors]
) -> pd.DataFrame:
    """Return a row a true box: where it is, who finds it, and why the other does not.

    Columns: image, box (the truth's id), class, size, x1, y1, x2, y2 in pixels of the picture, the
    conditions that the truth tells, `found_by` (one of `FINDERS`), and of each list `reason_a`
    (found, localisation, classification, missed) and `score_a` of the detection that finds it.
    """
    boxes = truth.boxes
    table = pd.DataFrame(
        {
            "image": truth.images["name"].to_numpy(object)[boxes.image],
            "box": np.array(truth.ids, object).astype(str),
            "class": np.array(truth.classes, object)[boxes.label],
            "size": truth.size,
            **dict(zip(("x1", "y1", "x2", "y2"), boxes.corners.T, strict=True)),
        }
    )
    for condition in CONDITIONS:
        values = truth.images[condition].to_numpy(object)
        if told(values):
            table[condition] = values[boxes.image]
    a, b = (each.finder >= 0 for each in both)
    table["found_by"] = np.select([a & b, a, b], FINDERS[:3], FINDERS[3])
    for side, results, each in zip("ab", lists, both, strict=True):
        table[f"reason_{side}"] = each.reason
        scores = np.append(results.scores, np.nan)
        table[f"score_{side}"] = scores[each.finder]
    return table[~truth.crowd].reset_index(drop=True)


def error_table(both: tuple[Errors, Errors]) -> pd.DataFrame:
    """Return how many of each kind there are: a row a kind, columns A and B; `missed` are true boxes."""
    counts = {
        side: {
            "hit": int((each.kind == "hit").sum()),
            **{kind: int((each.kind == kind).sum()) for kind in KINDS},
            "missed": int((each.reason == "missed").sum()),
        }
        for side, each in zip("AB", both, strict=True)
    }
    return pd.DataFrame(counts)


def found_table(boxes: pd.DataFrame) -> pd.DataFrame:
    """Return how many true boxes both, A only, B only or neither find: of all, class, size, condition."""
    named = [("all", ""), *(("class", x) for x in pd.unique(boxes["class"]))]
    named += [("size", x) for x in ("small", "medium", "large")]
    for condition in CONDITIONS:
        if condition in boxes:
            named += [(condition, x) for x in told(boxes[condition].to_numpy(object))]
    rows = []
    for part, of in named:
        some = boxes if part == "all" else boxes[boxes[part] == of]
        counts = some["found_by"].value_counts()
        rows.append((part, of, len(some), *(int(counts.get(who, 0)) for who in FINDERS)))
    table = pd.DataFrame(rows, columns=["part", "of", "boxes", *FINDERS])
    return table[table["boxes"] > 0].reset_index(drop=True)


def reason_table(boxes: pd.DataFrame) -> pd.DataFrame:
    """Return why true boxes are not found: a row who finds it and a kind, the columns the lists."""
    rows = []
    for who, side in (("A", "b"), ("B", "a"), ("neither", "a"), ("neither", "b")):
        counts = boxes.loc[boxes["found_by"] == who, f"reason_{side}"].value_counts()
        kinds = ("localisation", "classification", "missed")
        rows.append((who, side.upper(), *(int(counts.get(kind, 0)) for kind in kinds)))
    return pd.DataFrame(rows, columns=["found_by", "not_by", *kinds])
