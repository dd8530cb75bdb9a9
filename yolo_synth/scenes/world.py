"""Objects in metres, and where they stand in the picture that a camera takes of a street.

The camera looks across the street at vehicles and people that pass before a row of houses. Size,
distance and shape of the objects are drawn from one table for both styles.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.random import Generator

from yolo_synth.labels import CLASSES

WIDTH: Final = 256
"""Width of a tiny image, in pixels."""

HEIGHT: Final = 144
"""Height of a tiny image, in pixels."""

# The camera: focal length in pixels, height over the road in metres, row of the horizon.
FOCAL, EYE, HORIZON = 208.0, 2.0, 52
KERB, FACADE, FAR = 10.6, 13.0, 48.0  # distances in metres


class Box(NamedTuple):
    """A box in whole native pixels; `right` and `bottom` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


class Thing(NamedTuple):
    """One object of a scene.

    Attributes:
        kind: A key of `_DRAWINGS`.
        box: Where all of it lies, also beyond the picture's edges.
        distance: From the camera, in metres.
        instance: Its number, the same in all frames of a drive.
        flipped: Whether it heads to the left.
        look: Seed of its colours.
    """

    kind: str
    box: Box
    distance: float
    instance: int = 0
    flipped: bool = False
    look: int = 0


class Shape(NamedTuple):
    """Size in metres, the nearest and the farthest distance of a kind of object."""

    width: float
    height: float
    near: float
    far: float


SHAPES: Final = {
    "person": Shape(1.0, 2.1, 5.4, 8.4),
    "bicycle": Shape(1.75, 1.1, 5.4, 9.0),
    "motorcycle": Shape(1.8, 1.15, 5.4, 9.0),
    "car": Shape(3.1, 1.25, 5.6, 10.4),
    "van": Shape(3.0, 1.7, 6.0, 10.4),
    "bus": Shape(5.0, 2.6, 7.4, 10.4),
    "truck": Shape(4.4, 2.4, 7.0, 10.4),
    "trailer": Shape(3.8, 2.2, 7.0, 10.4),
    "trafficlight": Shape(0.5, 1.1, 10.7, 11.5),
    "trafficsign": Shape(0.8, 0.8, 10.7, 11.5),
}


# Each class's kinds in the two data sets, and how often each is meant.
REAL_KINDS: Final = {
    "person": {"person": 1.0},
    "cycle": {"bicycle": 0.6, "motorcycle": 0.4},
    "car": {"car": 0.8, "van": 0.2},
    "bus": {"bus": 1.0},
    "truck": {"truck": 1.0},
}


GAME_KINDS: Final = REAL_KINDS | {"truck": {"truck": 0.8, "trailer": 0.2}}


def endless_deck(rng: Generator) -> Iterator[str]:
    """Yield classes for ever, each of the five once before any comes again."""
    while True:
        yield from (CLASSES[i] for i in rng.permutation(len(CLASSES)))


def drawn_kind(kinds: dict[str, float], rng: Generator) -> str:
    """Draw one of the kinds of a class, each as often as is meant."""
    return str(rng.choice(list(kinds), p=list(kinds.values())))


def uniform(rng: Generator, low: float, high: float) -> float:
    """Draw a number between two others."""
    return float(rng.uniform(low, high))


def row_at(distance: float) -> int:
    """Return the row in which the ground at a distance is seen."""
    return round(HORIZON + FOCAL * EYE / distance)


def column_at(metres: float, distance: float) -> float:
    """Return the column in which a point so far to the right at a distance is seen."""
    return WIDTH / 2 + FOCAL * metres / distance


def standing(shape: Shape, centre: float, distance: float) -> Box:
    """Return the box of an object that stands on the ground, `centre` pixels from the left."""
    width = max(3, round(shape.width * FOCAL / distance))
    height = max(3, round(shape.height * FOCAL / distance))
    left, bottom = round(centre - width / 2), row_at(distance)
    return Box(left, bottom - height, left + width, bottom)


def inside(box: Box) -> Box:
    """Cut a box off at the edges of the picture."""
    left, top = max(box.left, 0), max(box.top, 0)
    return Box(left, top, min(box.right, WIDTH), min(box.bottom, HEIGHT))


def area_of(box: Box) -> int:
    """Return the number of pixels in a box."""
    return max(0, box.right - box.left) * max(0, box.bottom - box.top)


def _covered(box: Box, by: Box) -> float:
    """Return the share of a box that lies inside another one."""
    left, top = max(box.left, by.left), max(box.top, by.top)
    common = Box(left, top, min(box.right, by.right), min(box.bottom, by.bottom))
    return area_of(common) / max(1, area_of(box))


def crowd(deck: Iterator[str], count: int, rng: Generator) -> list[Thing]:
    """Place objects of the next classes so that none hides much of another."""
    things: list[Thing] = []
    for _ in range(count):
        kind = drawn_kind(REAL_KINDS[next(deck)], rng)
        thing = _find_room(kind, things, rng)
        things.append(thing)
        if kind in ("bicycle", "motorcycle") and rng.random() < 0.4:
            things.append(rider_of(thing))
    return things


def _find_room(kind: str, others: list[Thing], rng: Generator) -> Thing:
    """Return the best of several random places: mostly in view, least overlap."""
    shape = SHAPES[kind]
    flipped, look = bool(rng.random() < 0.5), int(rng.integers(2**31))
    best, least = None, np.inf
    for _ in range(20):
        distance = uniform(rng, shape.near, shape.far)
        box = standing(shape, uniform(rng, 0.05, 0.95) * WIDTH, distance)
        overlap = max((max(_covered(box, o.box), _covered(o.box, box)) for o in others), default=0)
        outside = 1 - area_of(inside(box)) / area_of(box)
        if overlap + outside < least:
            best, least = Thing(kind, box, distance, 0, flipped, look), overlap + outside
        if least < 0.15:
            break
    assert best is not None  # for the type checker: the loop ran
    return best


def rider_of(cycle: Thing) -> Thing:
    """Return the person on a bicycle or motorcycle, a separate object in both data sets."""
    left, top, right, bottom = cycle.box
    width, height = right - left, bottom - top
    start = left + round(0.26 * width)
    box = Box(start, top - round(0.55 * height), start + round(0.46 * width), bottom - height // 5)
    return cycle._replace(
        kind="rider", box=box, distance=cycle.distance - 0.01, instance=cycle.instance + 1
    )


def seen(things: list[Thing]) -> list[Thing]:
    """Return the objects an annotator would mark: not nearly hidden, and not just a sliver."""
    return [
        thing
        for thing in things
        if area_of(inside(thing.box)) >= 0.4 * area_of(thing.box)
        and all(
            _covered(thing.box, other.box) < 0.7
            for other in things
            if other.distance < thing.distance and other.kind != "rider"
        )
    ]
