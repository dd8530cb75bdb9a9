"""A street of one of the two styles: its houses, trees, lights and signs, in metres."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Final, NamedTuple

from numpy.random import Generator

from yolo_synth.scenes.world import (
    FACADE,
    FAR,
    FOCAL,
    SHAPES,
    WIDTH,
    Thing,
    area_of,
    column_at,
    inside,
    standing,
    uniform,
)

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """How the objects and houses of a data set are coloured.

    Attributes:
        saturation: Range of the objects' saturation.
        value: Range of their value.
        wall_saturation: Range of the houses' saturation.
        wall_value: Range of their value.
        glass: Colour of the vehicles' windows.
        vivid: Whether sky, trees and lines are bright and the same in every street.
    """

    saturation: tuple[float, float]
    value: tuple[float, float]
    wall_saturation: tuple[float, float]
    wall_value: tuple[float, float]
    glass: Colour
    vivid: bool

    def colour(self, rng: Generator, light: float = 1.0) -> Colour:
        """Return a random colour of an object; `light` darkens it."""
        hue, saturation = rng.random(), rng.uniform(*self.saturation)
        return _bgr(hue, saturation, light * rng.uniform(*self.value))

    def wall(self, rng: Generator) -> Colour:
        """Return a random colour of a house."""
        return _bgr(rng.random(), rng.uniform(*self.wall_saturation), rng.uniform(*self.wall_value))


REAL: Final = Style(
    saturation=(0.05, 0.35),
    value=(0.2, 0.8),
    wall_saturation=(0.05, 0.35),
    wall_value=(0.2, 0.65),
    glass=(215, 195, 165),
    vivid=False,
)


GAME: Final = Style(
    saturation=(0.8, 1.0),
    value=(0.75, 1.0),
    wall_saturation=(0.2, 0.4),
    wall_value=(0.8, 0.95),
    glass=(95, 60, 35),
    vivid=True,
)


def _bgr(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, min(saturation, 1), min(value, 1))
    return round(255 * blue), round(255 * green), round(255 * red)


class House(NamedTuple):
    """A house: where its front begins and ends and how high it is, in metres, and how it looks."""

    left: float
    right: float
    height: float
    wall: Colour
    window: Colour
    columns: int
    floors: int


@dataclass(frozen=True)
class Street:
    """A street in metres; `camera` below is how far the camera has moved along it."""

    style: Style
    sky: Colour
    haze: Colour
    road: Colour
    pavement: Colour
    line: Colour
    houses: tuple[House, ...]
    trees: tuple[float, ...]
    lights: tuple[float, ...]
    signs: tuple[float, ...]
    gap: float
    numbers: tuple[int, ...]

    def signals(self, camera: float) -> list[Thing]:
        """Return the traffic lights and signs in view."""
        things = []
        for kind, places, lift in (
            ("trafficlight", self.lights, 2.2),
            ("trafficsign", self.signs, 1.5),
        ):
            for place, number in zip(places, self.numbers, strict=False):
                box = standing(SHAPES[kind], column_at(place - camera, 11.0), 11.0)
                up = round(lift * FOCAL / 11.0)
                box = box._replace(top=box.top - up, bottom=box.bottom - up)
                things.append(Thing(kind, box, 11.0, number + len(kind)))
        return [thing for thing in things if area_of(inside(thing.box)) == area_of(thing.box)]

    def far_cars(self, camera: float, frame: int) -> list[Thing]:
        """Return the car that drives far off in the side street, less than 100 square pixels."""
        centre = column_at(self.gap - camera, FACADE) + frame % 5 - 2
        if not 12 < centre < WIDTH - 12:
            return []
        box = standing(SHAPES["car"], centre, FAR)
        return [Thing("car", box, FAR, self.numbers[-1], look=self.numbers[-1])]


def build_street(rng: Generator, style: Style, *, tall: bool, lit: bool) -> Street:
    """Build a street: houses with one side street between them, trees, lights, signs."""
    gap = uniform(rng, -5.0, 7.0)
    houses, left = [], -10.0
    while left < 22.0:
        width = uniform(rng, 2.4, 4.5)
        height = uniform(rng, 4.5, 9.0) if tall else uniform(rng, 2.4, 3.8)
        right = left + width
        if not (left - 0.8 < gap < right + 0.8):
            window = (120, 215, 250) if lit else (230, 200, 160) if style.vivid else (105, 90, 80)
            floors, columns = max(1, round(height / 1.6)), max(2, round(width / 1.1))
            houses.append(House(left, right, height, style.wall(rng), window, columns, floors))
        left = right
    grey = 0.38 + rng.uniform(-0.06, 0.06)
    return Street(
        style=style,
        sky=(250, 190, 90) if style.vivid else _bgr(0.58, uniform(rng, 0.02, 0.3), 0.8),
        haze=(255, 235, 190) if style.vivid else _bgr(0.1, uniform(rng, 0.0, 0.15), 0.85),
        road=_bgr(0.62, 0.08, grey),
        pavement=_bgr(0.1, 0.1, grey + 0.3),
        line=(255, 255, 255) if style.vivid else _bgr(0.13, 0.1, uniform(rng, 0.65, 0.9)),
        houses=tuple(houses),
        trees=tuple(x for x in rng.uniform(-8, 18, size=5).tolist() if abs(x - gap) > 2.5),
        lights=tuple(rng.uniform(-6, 14, size=2).tolist()),
        signs=tuple(rng.uniform(-6, 14, size=2).tolist()),
        gap=gap,
        numbers=tuple(rng.integers(1_000, 4_000_000, size=3).tolist()),
    )
