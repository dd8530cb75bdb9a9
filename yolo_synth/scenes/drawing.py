"""A street and its objects → pixels: drawn, and made to look like a photograph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from yolo_synth.scenes.street import Colour, House, Street, Style
from yolo_synth.scenes.world import (
    FACADE,
    FOCAL,
    HEIGHT,
    HORIZON,
    KERB,
    WIDTH,
    Box,
    Shape,
    Thing,
    column_at,
    row_at,
    standing,
    uniform,
)

Picture = NDArray[np.uint8]

Floats = NDArray[np.float32]

Points = Sequence[tuple[float, float]]

_FINE: Final = 2  # drawn so many times finer, then averaged: smooth edges, exact boxes


class _Brush:
    """Draws inside a box; points are shares of its width and height, from the upper left corner."""

    def __init__(self, picture: Picture, box: Box, *, flipped: bool = False) -> None:
        self.picture = picture
        self.flipped = flipped
        self.origin = np.array([box.left, box.top], np.float64) * _FINE
        # Filling paints the last point too, so the far edge is one fine pixel short of the box.
        self.extent = np.array([box.right - box.left, box.bottom - box.top]) * _FINE - 1.0

    def _points(self, points: Points | NDArray[np.float64]) -> NDArray[np.int32]:
        unit = np.asarray(points, np.float64)
        if self.flipped:
            unit = unit * [-1, 1] + [1, 0]
        return np.rint(self.origin + unit * self.extent).astype(np.int32)

    def shape(self, points: Points, colour: Colour) -> None:
        """Fill a polygon."""
        cv2.fillPoly(self.picture, [self._points(points)], colour)

    def block(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill an upright rectangle."""
        self.shape([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def blocks(self, boxes: Iterable[tuple[float, float, float, float]], colour: Colour) -> None:
        """Fill many upright rectangles that do not overlap."""
        corners = [self._points([(x, y), (z, y), (z, w), (x, w)]) for x, y, z, w in boxes]
        cv2.fillPoly(self.picture, corners, colour)

    def wheel(self, centre: float, radius: float, colour: Colour, hub: Colour | None) -> None:
        """Draw a round wheel that stands on the box's lower edge; without a hub it is a rim.

        Args:
            centre: Its place, a share of the width.
            radius: A share of the height.
            colour: Of the tyre.
            hub: Of the inner disc.
        """
        across = radius * self.extent[1] / self.extent[0]
        middle = min(max(centre, across), 1 - across)
        outer = self._points(np.array([middle, 1 - radius]) + _CIRCLE * [across, radius])
        inner = self._points(np.array([middle, 1 - radius]) + _CIRCLE * [across, radius] * 0.62)
        if hub is None:
            cv2.fillPoly(self.picture, [outer, inner], colour)  # even-odd: a ring
        else:
            cv2.fillPoly(self.picture, [outer], colour)
            cv2.fillPoly(self.picture, [inner], hub)

    def disc(self, x: float, y: float, across: float, down: float, colour: Colour) -> None:
        """Fill an ellipse with these half axes."""
        cv2.fillPoly(
            self.picture, [self._points(np.array([x, y]) + _CIRCLE * [across, down])], colour
        )

    def bars(self, lines: Iterable[Points], share: float, colour: Colour) -> None:
        """Draw lines as thick as a share of the height."""
        thick = max(1, round(share * float(self.extent[1])))
        for line in lines:
            cv2.polylines(self.picture, [self._points(line)], False, colour, thick)


_ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE: Final = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_BLACK: Final = (25, 22, 22)
_STEEL: Final = (150, 150, 150)
_SKINS: Final = ((150, 185, 235), (110, 145, 200), (60, 85, 130))


def _draw_person(brush: _Brush, style: Style, rng: Generator) -> None:
    skin = _SKINS[int(rng.integers(3))]
    shirt, trousers = style.colour(rng), style.colour(rng, 0.6)
    brush.shape([(0.3, 0.5), (0.52, 0.5), (0.34, 1), (0.06, 1), (0.06, 0.96)], trousers)
    brush.shape([(0.48, 0.5), (0.7, 0.5), (0.94, 0.96), (0.94, 1), (0.66, 1)], trousers)
    brush.shape([(0.22, 0.21), (0.4, 0.24), (0.2, 0.55), (0, 0.55), (0, 0.5)], shirt)
    brush.shape([(0.78, 0.21), (0.6, 0.24), (0.8, 0.55), (1, 0.55), (1, 0.5)], shirt)
    brush.shape([(0.24, 0.2), (0.76, 0.2), (0.72, 0.54), (0.28, 0.54)], shirt)
    brush.disc(0.5, 0.1, 0.2, 0.1, skin)
    brush.shape([(0.3, 0.09), (0.36, 0.02), (0.5, 0), (0.64, 0.02), (0.7, 0.09)], _BLACK)


def _draw_rider(brush: _Brush, style: Style, rng: Generator) -> None:
    skin = _SKINS[int(rng.integers(3))]
    shirt, trousers = style.colour(rng), style.colour(rng, 0.6)
    brush.shape([(0, 0.55), (0.3, 0.55), (0.75, 0.72), (0.6, 1), (0.4, 1), (0.5, 0.78)], trousers)
    brush.shape([(0, 0.58), (0, 0.5), (0.35, 0.2), (0.7, 0.25), (0.35, 0.62)], shirt)
    brush.shape([(0.5, 0.22), (0.7, 0.25), (1, 0.5), (1, 0.58), (0.9, 0.58)], shirt)
    brush.disc(0.62, 0.12, 0.2, 0.12, skin)
    brush.shape([(0.42, 0.1), (0.48, 0.02), (0.62, 0), (0.76, 0.02), (0.82, 0.1)], shirt)


def _draw_bicycle(brush: _Brush, style: Style, rng: Generator) -> None:
    frame = style.colour(rng)
    for centre in (0.0, 1.0):
        brush.wheel(centre, 0.36, _BLACK, None)
    hind, crank, fork = (0.22, 0.64), (0.48, 0.68), (0.78, 0.64)
    seat, head = (0.36, 0.24), (0.69, 0.2)
    brush.bars([[hind, crank, head, seat, hind], [seat, crank], [head, fork]], 0.06, frame)
    brush.block(0.26, 0.15, 0.44, 0.23, _BLACK)
    brush.block(0.58, 0, 0.72, 0.07, _BLACK)
    brush.bars([[(0.67, 0.07), head]], 0.06, frame)


def _draw_motorcycle(brush: _Brush, style: Style, rng: Generator) -> None:
    paint = style.colour(rng)
    for centre in (0.0, 1.0):
        brush.wheel(centre, 0.34, _BLACK, _STEEL)
    brush.bars([[(0.66, 0.1), (0.82, 0.66)], [(0.18, 0.66), (0.5, 0.6)]], 0.08, _STEEL)
    brush.shape([(0.3, 0.5), (0.62, 0.4), (0.68, 0.78), (0.34, 0.82)], _STEEL)
    brush.shape([(0.42, 0.28), (0.66, 0.16), (0.74, 0.44), (0.5, 0.56)], paint)
    brush.shape([(0.08, 0.34), (0.44, 0.32), (0.48, 0.48), (0.16, 0.48)], _BLACK)
    brush.shape([(0.6, 0), (0.68, 0), (0.74, 0.16), (0.64, 0.18)], _STEEL)


def _draw_car(brush: _Brush, style: Style, rng: Generator) -> None:
    paint = style.colour(rng)
    hull = [(0, 0.8), (0, 0.48), (0.04, 0.42), (0.18, 0.38), (0.3, 0), (0.64, 0)]
    hull += [(0.78, 0.38), (0.95, 0.46), (1, 0.56), (1, 0.8), (0.96, 0.86), (0.03, 0.86)]
    brush.shape(hull, paint)
    brush.shape([(0.24, 0.37), (0.33, 0.08), (0.46, 0.08), (0.46, 0.37)], style.glass)
    brush.shape([(0.5, 0.37), (0.5, 0.08), (0.62, 0.08), (0.72, 0.37)], style.glass)
    brush.block(0.95, 0.5, 0.995, 0.6, (180, 250, 255))
    brush.block(0.005, 0.5, 0.04, 0.6, (50, 50, 220))
    for centre in (0.2, 0.79):
        brush.wheel(centre, 0.24, _BLACK, _STEEL)


def _draw_van(brush: _Brush, style: Style, rng: Generator) -> None:
    paint = style.colour(rng)
    hull = [(0, 0.88), (0, 0.06), (0.04, 0), (0.66, 0), (0.82, 0.34), (0.97, 0.46), (1, 0.56)]
    brush.shape([*hull, (1, 0.86)], paint)
    brush.shape([(0.56, 0.38), (0.56, 0.1), (0.65, 0.1), (0.78, 0.38)], style.glass)
    brush.block(0.32, 0.1, 0.52, 0.38, style.glass)
    brush.block(0.95, 0.54, 0.995, 0.62, (180, 250, 255))
    for centre in (0.2, 0.8):
        brush.wheel(centre, 0.19, _BLACK, _STEEL)


def _draw_bus(brush: _Brush, style: Style, rng: Generator) -> None:
    paint = style.colour(rng)
    brush.shape([(0, 0.92), (0, 0.04), (0.02, 0), (0.97, 0), (1, 0.06), (1, 0.92)], paint)
    brush.blocks([(0.03 + 0.135 * k, 0.16, 0.14 + 0.135 * k, 0.46) for k in range(6)], style.glass)
    brush.block(0.86, 0.16, 0.99, 0.84, style.glass)
    brush.block(0.92, 0.16, 0.935, 0.84, paint)
    brush.block(0, 0.58, 0.84, 0.64, style.colour(rng))
    for centre in (0.18, 0.76):
        brush.wheel(centre, 0.14, _BLACK, _STEEL)


def _draw_truck(brush: _Brush, style: Style, rng: Generator) -> None:
    cargo, cab = style.colour(rng), style.colour(rng)
    brush.block(0.02, 0.8, 0.98, 0.88, _BLACK)
    brush.block(0, 0, 0.68, 0.8, cargo)
    cabin = [(0.71, 0.86), (0.71, 0.24), (0.88, 0.24), (0.95, 0.5), (1, 0.54), (1, 0.86)]
    brush.shape(cabin, cab)
    brush.shape([(0.77, 0.5), (0.77, 0.3), (0.87, 0.3), (0.92, 0.5)], style.glass)
    for centre in (0.13, 0.27, 0.86):
        brush.wheel(centre, 0.15, _BLACK, _STEEL)


def _draw_trailer(brush: _Brush, style: Style, rng: Generator) -> None:
    brush.block(0.04, 0.8, 0.96, 0.86, _BLACK)
    brush.block(0, 0, 0.93, 0.8, style.colour(rng))
    brush.block(0.93, 0.76, 1, 0.82, _STEEL)
    brush.block(0.78, 0.86, 0.81, 0.96, _STEEL)
    for centre in (0.14, 0.28):
        brush.wheel(centre, 0.16, _BLACK, _STEEL)


def _draw_trafficlight(brush: _Brush, style: Style, rng: Generator) -> None:
    brush.block(0, 0, 1, 1, _BLACK)
    for y, colour in ((0.2, (40, 40, 110)), (0.5, (40, 110, 120)), (0.8, (90, 240, 60))):
        brush.disc(0.5, y, 0.32, 0.13, colour)


def _draw_trafficsign(brush: _Brush, style: Style, rng: Generator) -> None:
    brush.disc(0.5, 0.5, 0.5, 0.5, (50, 50, 215))
    brush.disc(0.5, 0.5, 0.34, 0.34, (245, 245, 245))


def _draw_hood(brush: _Brush, style: Style, rng: Generator) -> None:
    paint = style.colour(rng, 0.7)
    crest = [(0, 1), (0, 0.7), (0.06, 0.34), (0.2, 0.1), (0.36, 0), (0.64, 0), (0.8, 0.1)]
    brush.shape([*crest, (0.94, 0.34), (1, 0.7), (1, 1)], paint)
    brush.shape([(0.3, 0.3), (0.7, 0.3), (0.74, 1), (0.26, 1)], style.colour(rng, 0.9))


_DRAWINGS: Final[dict[str, Callable[[_Brush, Style, Generator], None]]] = {
    "person": _draw_person,
    "rider": _draw_rider,
    "bicycle": _draw_bicycle,
    "motorcycle": _draw_motorcycle,
    "car": _draw_car,
    "van": _draw_van,
    "bus": _draw_bus,
    "truck": _draw_truck,
    "trailer": _draw_trailer,
    "trafficlight": _draw_trafficlight,
    "trafficsign": _draw_trafficsign,
    "hood": _draw_hood,
}


def draw(street: Street, things: list[Thing], camera: float) -> Picture:
    """Draw a scene, far things first; uint8 [HEIGHT, WIDTH, 3], BGR."""
    picture: Picture = np.empty((HEIGHT * _FINE, WIDTH * _FINE, 3), np.uint8)
    _draw_street(picture, street, camera)
    for thing in sorted(things, key=lambda thing: -thing.distance):
        draw_thing(picture, thing, street.style)
    return cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.uint8)


def draw_thing(picture: Picture, thing: Thing, style: Style) -> None:
    """Draw one object into a picture that is `_FINE` times finer."""
    if thing.kind in ("trafficlight", "trafficsign"):
        middle = (thing.box.left + thing.box.right) // 2
        pole = Box(middle, thing.box.bottom, middle + 1, row_at(thing.distance))
        _Brush(picture, pole).block(0, 0, 1, 1, _STEEL)
    brush = _Brush(picture, thing.box, flipped=thing.flipped)
    _DRAWINGS[thing.kind](brush, style, np.random.default_rng(thing.look))


def _draw_street(picture: Picture, street: Street, camera: float) -> None:
    facade, kerb = row_at(FACADE), row_at(KERB)
    steps = 2 if street.style.vivid else facade  # of the sky's colour, from the top downwards
    sky = np.linspace(street.sky, street.haze, steps).astype(np.uint8)
    picture[: facade * _FINE] = sky.repeat(facade * _FINE // steps, axis=0)[:, None]
    picture[facade * _FINE : kerb * _FINE] = street.pavement
    picture[kerb * _FINE :] = street.road
    _draw_side_street(picture, street, camera)
    for house in street.houses:
        _draw_house(picture, house, camera)
    for place in street.trees:
        _draw_tree(picture, street, place - camera)
    picture[kerb * _FINE : (kerb + 1) * _FINE] = street.line
    for start in np.arange(-9.6, 12.0, 2.4) - camera % 2.4:
        left, right = round(column_at(start, 8.0)), round(column_at(start + 1.2, 8.0))
        _Brush(picture, Box(left, row_at(8.0), right, row_at(8.0) + 2)).block(
            0, 0, 1, 1, street.line
        )


def _draw_side_street(picture: Picture, street: Street, camera: float) -> None:
    """Draw the street that leads away between two houses, up to the horizon."""
    middle = column_at(street.gap - camera, FACADE)
    foot, left, right = row_at(FACADE), middle - 26, middle + 26
    corners = np.array([(middle - 8, HORIZON), (middle + 8, HORIZON), (right, foot), (left, foot)])
    cv2.fillPoly(picture, [np.rint(corners * _FINE).astype(np.int32)], street.road)


def _draw_house(picture: Picture, house: House, camera: float) -> None:
    left, right = (round(column_at(x - camera, FACADE)) for x in (house.left, house.right))
    if right < 0 or left > WIDTH:
        return
    foot = row_at(FACADE)
    brush = _Brush(picture, Box(left, foot - round(house.height * FOCAL / FACADE), right, foot))
    brush.block(0, 0, 1, 1, house.wall)
    across, down = 1 / house.columns, 1 / house.floors
    windows = [
        (across * (i + 0.25), down * (j + 0.25), across * (i + 0.75), down * (j + 0.75))
        for i in range(house.columns)
        for j in range(house.floors)
    ]
    brush.blocks(windows, house.window)


def _draw_tree(picture: Picture, street: Street, metres: float) -> None:
    box = standing(Shape(1.6, 3.0, 0, 0), column_at(metres, 12.2), 12.2)
    if box.right < 0 or box.left > WIDTH:
        return
    brush = _Brush(picture, box)
    leaves = (60, 170, 50) if street.style.vivid else (45, 75, 60)
    brush.block(0.44, 0.5, 0.56, 1, (45, 70, 100))
    brush.disc(0.5, 0.35, 0.5, 0.35, leaves)


def jpeg(picture: Picture, quality: int) -> bytes:
    """Compress a picture."""
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def photograph(picture: Picture, weather: str, timeofday: str, rng: Generator) -> bytes:
    """Make a drawing look like a cheap camera's photograph, and compress it."""
    light = {"daytime": (0.65, 1.0), "dawn/dusk": (0.5, 0.75), "night": (0.3, 0.5)}[timeofday]
    tint = {"daytime": (1.0, 1.0, 1.0), "dawn/dusk": (0.8, 0.95, 1.1), "night": (1.0, 0.9, 0.9)}
    scene: Floats = picture.astype(np.float32) * (
        1 + 0.18 * _patches(rng, 48) + 0.12 * _patches(rng, 4)
    )
    if weather in ("foggy", "rainy"):
        mist = uniform(rng, 0.2, 0.45) if weather == "foggy" else 0.15
        scene = scene * (1 - mist) + 175 * mist
    cast = np.array(tint[timeofday]) * rng.uniform(0.88, 1.12, 3) * uniform(rng, *light)
    blurred = np.asarray(cv2.GaussianBlur(scene, (0, 0), uniform(rng, 0.9, 1.9)), np.float32)
    noise = rng.standard_normal(scene.shape, np.float32) * np.float32(rng.uniform(7.0, 18.0))
    photograph = np.clip(blurred * cast.astype(np.float32) + noise, 0, 255).astype(np.uint8)
    return jpeg(photograph, quality=int(rng.integers(45, 76)))


def _patches(rng: Generator, size: int) -> Floats:
    """Return random blotches of about `size` pixels, [HEIGHT, WIDTH, 1]."""
    coarse = rng.standard_normal((HEIGHT // size + 2, WIDTH // size + 2), np.float32)
    fine = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine, np.float32)[..., None]
