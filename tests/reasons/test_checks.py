"""Checks before explanations: what is planted is named first, and nothing where nothing is planted.

What a network finds is drawn from the truth: boxes that are a little off, some missed, some of no object.
`benchmarks/reasons.py` does the same with networks that were trained.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from yolo_synth.reasons.checks import Check, apart, half_floor, in_order
from yolo_synth.reasons.looking import mistakes
from yolo_synth.reasons.pictures import Pictures

SIDE = 96
DRAWS = 10


def found(some: Pictures, generator: np.random.Generator):
    """Draw what a middling network finds."""
    everything = []
    for target in some.targets:
        boxes, labels = target["boxes"].numpy(), target["labels"].numpy()
        seen = generator.random(len(labels)) < 0.8
        sides = np.tile(boxes[seen, 2:] - boxes[seen, :2], 2)
        own = boxes[seen] + generator.normal(0, 0.06, sides.shape) * sides
        called = np.where(generator.random(seen.sum()) < 0.8, labels[seen], generator.integers(5))
        corner = generator.uniform(0, SIDE - 20, (2, 2))
        wrong = np.hstack([corner, corner + generator.uniform(5, 20, (2, 2))])
        everything.append(
            {
                "boxes": torch.tensor(np.vstack([own, wrong]), dtype=torch.float32),
                "scores": torch.tensor(
                    generator.uniform(0.3, 1, len(own) + 2), dtype=torch.float32
                ),
                "labels": torch.tensor(np.append(called, generator.integers(5, size=2))).long(),
            }
        )
    return everything


def with_boxes(some, change):
    targets = [{**target, "boxes": change(target["boxes"])} for target in some.targets]
    return replace(some, targets=targets)


def moved(some, generator):
    step = 8 * SIDE / 256 * generator.choice([-1, 1])
    axis = int(generator.integers(2))
    shift = torch.zeros(4)
    shift[[axis, axis + 2]] = float(step)
    return with_boxes(some, lambda boxes: boxes + shift)


def other_scale(some, generator):
    factor = float(generator.choice([0.5, 2]))

    def scaled(boxes):
        middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        return torch.cat([middle - factor * half, middle + factor * half], 1)

    return with_boxes(some, scaled)


def other_classes(some, generator):
    order = np.arange(5)
    while (order == np.arange(5)).all():
        order = generator.permutation(5)
    names = torch.tensor(order)
    return replace(some, targets=[{**t, "labels": names[t["labels"]]} for t in some.targets])


def bgr(some, generator):
    return replace(some, images=some.images[:, [2, 1, 0]])


def bordered(some, generator):
    images, at, grey = some.images.clone(), some.places[0], int(generator.integers(60, 200))
    bottom = at.top + at.height
    for edge in (slice(at.top, at.top + 3), slice(bottom - 3, bottom)):
        images[:, :, edge] = grey
    return replace(some, images=images)


PLANTED = {
    "moved": moved,
    "size of what is found": other_scale,
    "order of classes": other_classes,
    "order of channels": bgr,
    "grey borders": bordered,
}


def named(sets, draw, plant=None):
    """Return what is named, after a mistake was planted in one of the sets."""
    generator = np.random.default_rng(draw)
    seen = {name: found(some, generator) for name, some in sets.items()}
    planted = dict(sets)
    if plant is not None:
        domain = ("Real", "Synthetic")[draw % 2]
        planted[domain] = plant(sets[domain], generator)
    checks = mistakes(planted["Real"], planted["Synthetic"], (seen["Real"], seen["Synthetic"]))
    return [check.what for check in in_order(checks) if check.is_named]


@pytest.mark.parametrize("cause", PLANTED)
def test_a_planted_mistake_is_named_first(sets, cause):
    first = [(named(sets, draw, PLANTED[cause]) or [""])[0] for draw in range(DRAWS)]
    assert sum(cause in what for what in first) >= DRAWS - 1, first


def test_nothing_is_named_where_nothing_is_planted(sets):
    said = [named(sets, draw) for draw in range(DRAWS)]
    assert sum(not names for names in said) >= DRAWS - 1, said


def test_a_floor_is_what_random_halves_of_whole_groups_differ_by():
    values = np.repeat(np.arange(40.0), 2)
    groups = np.repeat(np.arange(40), 2).tolist()
    halves = []

    def difference(one, other):
        halves.append((set(np.array(groups)[one]), set(np.array(groups)[other])))
        return abs(values[one].mean() - values[other].mean())

    floor = half_floor(difference, groups)
    assert not any(one & other for one, other in halves)
    # halves of 20 among 40 numbers: the deviation of the difference is that of the numbers * 2 / sqrt(40)
    expected = 1.96 * values.std() * 2 / np.sqrt(40) * np.sqrt(40 / 39)
    assert floor == pytest.approx(expected, rel=0.2)
    assert np.isnan(half_floor(difference, groups[:6]))


def test_two_distributions_lie_apart_as_scipy_says():
    from scipy.stats import ks_2samp

    generator = np.random.default_rng(0)
    a, b = generator.normal(size=30).round(1), generator.normal(0.5, size=50).round(1)
    assert apart(a, b) == pytest.approx(ks_2samp(a, b).statistic)


def test_a_difference_is_no_mistake_however_large():
    assert not Check("pixels", "sharpness", 9.0, 0.1).is_named
    assert not Check("labels", "moved", 0.2, 0.1, 0.3, "boxes lie beside").is_named
    assert Check("labels", "moved", 0.4, 0.1, 0.3, "boxes lie beside").is_named
    assert not Check("labels", "moved", 0.4, np.nan, 0.0, "boxes lie beside").is_named
