"""What cross-validation allows to say: whether a candidate is better than training everything.

Every picture is judged by a network that was not taught it. How a candidate is trained (its setting) is
chosen for each fold by the other folds. That the best of many candidates looks better than it is, is taken
out in the same way: `Verdict.chosen` is what comes out where in each fold that candidate speaks which is
the best on the other folds. Its difference from training everything is what the advice gains.

The intervals are the jackknife's over groups of pictures (`difference.scores`), as wide as all candidates
at once ask for (Bonferroni). They know what other pictures would have given for these trainings, and not
that other trainings differ; therefore the folds have to agree too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from torchmetrics.utilities import dim_zero_cat

from yolo_synth.advice.choices import EVERYTHING
from yolo_synth.advice.pictures import Few
from yolo_synth.advice.trials import AS_IT_IS, Setting, Tried
from yolo_synth.average_precision import AveragePrecision
from yolo_synth.boxes import Detection, Target
from yolo_synth.difference.scores import interval
from yolo_synth.matching import average_precision
from yolo_synth.scoring import without_blocks

LEVEL: Final = 0.95
"""Of all intervals of a table at once."""

AGREEING: Final = 0.75
"""Share of the folds that the best has to win against training everything."""

Folds = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Verdict:
    """What is advised.

    Attributes:
        table: A row a candidate, the best first: `map50` of pictures that it was not taught, `low` and
            `high` of the difference from training everything (`gain`), and `won`, folds in which it
            is better than that, ties half.
        best: The candidate that ranks first, by name.
        settings: How each candidate is best trained on all pictures.
        gain: What choosing the best by the other folds gains over the yardstick.
        low: Lower end of its interval; NaN with too few groups of pictures.
        high: Upper end.
        chosen: How often the best is chosen too where one fold is left out.
        folds: Their number.
        yardstick: What the candidates are compared with: training everything, or the network as it is.
    """

    table: pd.DataFrame
    best: str
    settings: dict[str, Setting]
    gain: float
    low: float
    high: float
    chosen: int
    folds: int
    yardstick: str

    @property
    def won(self) -> float:
        """Folds in which the best is better than the yardstick."""
        return float(self.table["won"][self.best])

    @property
    def is_better(self) -> bool:
        """Whether the best is shown to be better than the yardstick."""
        agree = min(self.won, self.chosen) >= AGREEING * self.folds
        return self.best != self.yardstick and agree and self.low > 0


class _Measured:
    """What was found in all pictures, matched once; measured on all or on some."""

    def __init__(self, found: Sequence[Detection], targets: Sequence[Target], few: Few) -> None:
        metric = AveragePrecision(few.classes)
        metric.update(found, targets)
        boxes = [np.bincount(one["labels"], minlength=len(few.classes)) for one in targets]
        self._objects = np.stack(boxes)
        self.without = without_blocks(metric, self._objects, few.groups)
        scores, labels, images, hits = (
            dim_zero_cat(state).cpu().numpy() if len(state) else np.zeros((0, 1), int)
            for state in (metric.scores, metric.labels, metric.images, metric.hits)
        )
        order = np.lexsort([images, -scores.ravel()])
        self._labels, self._images, self._hits = labels[order], images[order], hits[order, :1]

    def map50(self, pictures: Sequence[int]) -> float:
        """Measure mAP@0.5 on some of the pictures; NaN if they have no box."""
        here = np.isin(self._images, pictures)
        objects = self._objects[list(pictures)].sum(0)
        each = []
        for label in np.flatnonzero(objects):
            hits = self._hits[here & (self._labels == label)]
            each.append(average_precision(hits > 0, int(objects[label]), hits < 0)[0])
        return float(np.mean(each)) if each else float("nan")


def judge(tried: Sequence[Tried], few: Few, folds: Folds) -> Verdict:
    """Say which candidate is the best, and whether it is better than training everything.

    Without training, the network as it is takes the place of everything.

    Args:
        tried: What came of each.
        few: The pictures.
        folds: Numbers of the pictures of each fold.
    """
    targets = few.batch(range(len(few)))[1]
    everyone = range(len(few))
    others = [[i for other in folds if other is not fold for i in other] for fold in folds]
    honest, settings, elsewhere = [], [], []
    for one in tried:
        measured = [_Measured(found, targets, few) for found in one.found]
        rest = np.array([[x.map50(pictures) for pictures in others] for x in measured])
        rest = np.nan_to_num(rest)  # [settings, folds], on all other folds
        elsewhere.append(rest.max(0))
        honest.append(_joined([one.found[setting] for setting in rest.argmax(0)], folds))
        settings.append(int(np.argmax([x.map50(everyone) for x in measured])))
    names = [one.candidate.name for one in tried]
    yardstick = names.index(EVERYTHING if EVERYTHING in names else AS_IT_IS)
    level = 1 - (1 - LEVEL) / max(1, len(tried) - 1)
    scores = [_Measured(found, targets, few) for found in honest]
    rows = []
    for own in scores:
        won = [_won(own.map50(fold), scores[yardstick].map50(fold)) for fold in folds]
        gain = _gain(own, scores[yardstick], everyone, level)
        rows.append((own.map50(everyone), *gain, sum(won)))
    columns = ["map50", "gain", "low", "high", "won"]
    table = pd.DataFrame(rows, pd.Index(names, name="trained"), columns)
    best = int(np.argmax(table["map50"]))
    leaders = np.argmax(elsewhere, 0).tolist()
    chosen = _joined([honest[leader] for leader in leaders], folds)
    return Verdict(
        table.sort_values("map50", ascending=False, kind="stable"),
        names[best],
        {
            one.candidate.name: one.candidate.settings[setting]
            for one, setting in zip(tried, settings, strict=True)
        },
        *_gain(_Measured(chosen, targets, few), scores[yardstick], everyone, level),
        leaders.count(best),
        len(folds),
        names[yardstick],
    )


def _joined(of_fold: Sequence[Sequence[Detection]], folds: Folds) -> list[Detection]:
    """Return for each picture what the list of its fold has."""
    joined = {i: found[i] for found, fold in zip(of_fold, folds, strict=True) for i in fold}
    return [joined[i] for i in range(len(joined))]


def _gain(
    own: _Measured, other: _Measured, pictures: Sequence[int], level: float
) -> tuple[float, float, float]:
    """Return a difference of mAP@0.5 on all pictures and its interval; NaN where nobody knows."""
    gain = own.map50(pictures) - other.map50(pictures)
    if own is other or not own.without or len(own.without) != len(other.without):
        return gain, float("nan"), float("nan")
    return gain, *interval(gain, np.array(own.without) - np.array(other.without), level)


def _won(own: float, other: float) -> float:
    """Return 1, or 0, or ½ of a tie, which a fold without boxes is too."""
    return 0.5 if not abs(own - other) > 0 else float(own > other)
