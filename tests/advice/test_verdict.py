"""What cross-validation allows to say of detections whose quality is planted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from advice.test_choices import few_of

from yolo_synth.advice.choices import Choice
from yolo_synth.advice.numbers import numbers
from yolo_synth.advice.trials import Candidate, Tried
from yolo_synth.advice.verdict import judge
from yolo_synth.commands.advising import table_text, words

NAMES = ("as it is", "everything", *(f"layers {n}-{n}" for n in range(8)))


def truth(count, generator):
    boxes = [torch.rand(4, 2, generator=generator) * 60 for _ in range(count)]
    boxes = [torch.cat([corner, corner + 20], 1) for corner in boxes]
    labels = [torch.arange(4) % 2 for _ in range(count)]
    return [{"boxes": b, "labels": k} for b, k in zip(boxes, labels, strict=True)]


def found_by(targets, skill, generator):
    """Find a share `skill` of the boxes, and two false alarms a picture, with noisy scores."""
    found = []
    for target in targets:
        seen = torch.rand(4, generator=generator) < skill
        wrong = torch.rand(2, 2, generator=generator) * 60 + 200
        boxes = torch.cat([target["boxes"][seen], torch.cat([wrong, wrong + 20], 1)])
        kinds = torch.cat([target["labels"][seen], torch.tensor([0, 1])])
        scores = torch.rand(len(boxes), generator=generator)
        scores[: int(seen.sum())] += 0.3
        order = scores.argsort(descending=True)
        found.append({"boxes": boxes[order], "scores": scores[order], "labels": kinds[order]})
    return found


def judged(skills, count=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = truth(count, generator)
    few = few_of([torch.zeros(3, 8, 8, dtype=torch.uint8)] * count, targets)
    tried = [
        Tried(
            Candidate(name, (0.5, 1.0), Choice(name, ())),
            [found_by(targets, skill, generator) for _ in range(2)],
        )
        for name, skill in zip(NAMES, skills, strict=True)
    ]
    return judge(tried, few, few.folds(5))


def test_a_block_that_is_much_better_than_everything_is_advised():
    skills = [0.1, 0.3, *[0.2] * 3, 0.95, *[0.2] * 4]
    verdict = judged(skills)
    assert verdict.best == "layers 3-3"
    assert verdict.is_better
    assert 0 < verdict.low < verdict.gain < verdict.high
    text = words(verdict, 10, trained=True)[0]
    assert text.startswith("train layers 3-3: better than thawing everything in 5 of 5 folds")
    assert table_text(verdict).splitlines()[2].startswith("layers 3-3")
    kept = json.loads(json.dumps(numbers(verdict, 10, [""] * 10), allow_nan=False))
    assert (kept["best"], kept["better"], kept["won"], kept["folds"]) == ("layers 3-3", True, 5, 5)
    gain = {"value": verdict.gain, "low": verdict.low, "high": verdict.high}
    assert kept["gain"] == pytest.approx(gain)
    own = next(row for row in kept["candidates"] if row["trained"] == "everything")
    assert own["gain"] == {"value": 0, "low": None, "high": None}


def test_of_equal_candidates_none_is_told_to_be_better_and_what_is_gained_is_not_that_of_the_best():
    verdicts = [judged([0.4] * 10, seed=seed) for seed in range(20)]
    assert sum(verdict.is_better for verdict in verdicts) <= 2
    assert np.mean([verdict.table["gain"].max() for verdict in verdicts]) > 0.1
    assert abs(np.mean([verdict.gain for verdict in verdicts])) < 0.08  # two errors of the mean


def test_where_everything_is_best_that_is_said_and_also_that_nothing_helps():
    verdict = judged([0.3, 0.95, *[0.2] * 8])
    assert words(verdict, 10, trained=True) == ["no better than thawing everything"]
    nothing = words(judged([0.95, 0.2, *[0.2] * 8]), 10, trained=True)
    assert nothing[0].startswith("leave it as it is: better than thawing everything in 5 of 5")
    both = words(judged([0.9, 0.9, *[0.2] * 8], seed=2), 10, trained=True)
    assert both[0].startswith("no better than thawing everything")


def test_without_training_the_network_as_it_is_is_the_yardstick():
    generator = torch.Generator().manual_seed(0)
    targets = truth(8, generator)
    few = few_of([torch.zeros(3, 8, 8, dtype=torch.uint8)] * 8, targets)
    tried = [
        Tried(Candidate("as it is", (None,)), [found_by(targets, 0.3, generator)]),
        Tried(
            Candidate("statistics", (1.0, 0.5)),
            [found_by(targets, s, generator) for s in (0.2, 1.0)],
        ),
    ]
    verdict = judge(tried, few, few.folds(4))
    assert verdict.yardstick == "as it is"
    assert verdict.settings["statistics"] == 0.5
    told = words(verdict, 8, trained=False)[0]
    assert told.startswith(
        "estimate the batch norms' statistics anew: better than leaving it as it"
    )


@pytest.mark.parametrize("count", [5, 6])
def test_few_pictures_and_a_fold_without_a_box_are_judged(count):
    generator = torch.Generator().manual_seed(0)
    targets = truth(count, generator)
    targets[0] = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    few = few_of([torch.zeros(3, 8, 8, dtype=torch.uint8)] * count, targets)
    found = [found_by(targets[1:], skill, generator) for skill in (0.3, 0.8)]
    nothing = {
        "boxes": torch.zeros(0, 4),
        "scores": torch.zeros(0),
        "labels": torch.zeros(0).long(),
    }
    tried = [
        Tried(Candidate(name, (None,)), [[nothing, *one]])
        for name, one in zip(("as it is", "everything"), found, strict=True)
    ]
    verdict = judge(tried, few, few.folds(5))
    assert verdict.best == "everything"
    assert verdict.table["won"]["as it is"] <= 2.5
