"""What is missed: counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from yolo_synth.reasons.answer import miss_sentence
from yolo_synth.reasons.misses import miss_table, misses


def found(some, seen):
    """Return detections of the true boxes that `seen(side in the picture, label)` says, right on them."""
    everything = []
    for target, at in zip(some.targets, some.places, strict=True):
        sides = (target["boxes"][:, 2:] - target["boxes"][:, :2]).prod(1).sqrt() / at.scale_x
        keep = torch.tensor(
            [bool(seen(float(s), int(n))) for s, n in zip(sides, target["labels"], strict=True)],
            dtype=torch.bool,
        )
        everything.append(
            {
                "boxes": target["boxes"][keep],
                "scores": torch.full((int(keep.sum()),), 0.9),
                "labels": target["labels"][keep],
            }
        )
    return everything


@pytest.fixture(scope="module")
def real(sets):
    some = sets["Real"]
    return replace(some, timeofday=["night", "daytime"] * (len(some) // 2))


def test_small_boxes_that_are_missed_are_counted_and_named(real):
    parts = misses(real, found(real, lambda side, _: side >= 32), found(real, lambda *_: True))
    named = {part.name: part for part in parts}
    everything, small = named["all"], named["below 32 px"]
    sides = [
        (t["boxes"][:, 2:] - t["boxes"][:, :2]).prod(1).sqrt() / at.scale_x
        for t, at in zip(real.targets, real.places, strict=True)
    ]
    assert everything.boxes == sum(map(len, sides))
    assert small.missed == small.boxes == sum(int((one < 32).sum()) for one in sides)
    assert everything.missed == everything.oracle == small.missed
    assert small.more.value == pytest.approx(1)
    said = miss_sentence(parts, "Real")
    assert f"{small.missed} are missed" in said
    assert "below 32 px (100 % of them" in said
    table = miss_table(parts)
    times = table.loc[["night", "daytime"], "true boxes"].sum()
    assert times == table.loc["all", "true boxes"]


def test_a_class_that_is_never_found_is_named_and_luck_is_not(real):
    parts = misses(real, found(real, lambda _, label: label != 2))
    assert "car (100 % of them" in miss_sentence(parts, "Real")
    generator = np.random.default_rng(3)
    quiet = [
        miss_sentence(misses(real, found(real, lambda *_: generator.random() < 0.6)), "Real")
        for _ in range(6)
    ]
    assert sum("no class, size or time" in said for said in quiet) >= 3
