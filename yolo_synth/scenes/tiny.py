"""Small drawn street scenes in the true on-disk formats of BDD100K and of VIPER (GTAV).

They stand in for the two data sets wherever those are too large or not at hand: a first run, tests,
notebooks. A camera looks across a street at vehicles and people that pass before a row of houses.
The "real" pictures are dull, textured, blurred and noisy, by day and by night; the "synthetic" ones
are flat, bright and clean. Size, distance and shape of the objects are drawn from one table for both.
"""

from __future__ import annotations

import colorsys
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from yolo_synth.labels import CLASSES, GTAV_CLASSES

WIDTH: Final = 256
"""Width of a tiny image, in pixels."""

HEIGHT: Final = 144
"""Height of a tiny image, in pixels."""

FEWEST_IMAGES: Final = 30
"""With fewer images a split could lack a class."""

_RECIPE: Final = 1  # to be raised whenever the same arguments give other files
_FINE: Final = 2  # drawn so many times finer, then averaged: smooth edges, exact boxes

# The camera: focal length in pixels, height over the road in metres, row of the horizon.
_FOCAL, _EYE, _HORIZON = 208.0, 2.0, 52
_KERB, _FACADE, _FAR = 10.6, 13.0, 48.0  # distances in metres

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]


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


_SHAPES: Final = {
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
_REAL_KINDS: Final = {
    "person": {"person": 1.0},
    "cycle": {"bicycle": 0.6, "motorcycle": 0.4},
    "car": {"car": 0.8, "van": 0.2},
    "bus": {"bus": 1.0},
    "truck": {"truck": 1.0},
}
_GAME_KINDS: Final = _REAL_KINDS | {"truck": {"truck": 0.8, "trailer": 0.2}}

_BDD100K_NAMES: Final = {
    "person": "person",
    "rider": "rider",
    "bicycle": "bike",
    "motorcycle": "motor",
    "car": "car",
    "van": "car",
    "bus": "bus",
    "truck": "truck",
    "trafficlight": "traffic light",
    "trafficsign": "traffic sign",
}
_GTAV_NAMES: Final = {"rider": "person", "hood": "car"}  # the others are called as here


def write_tiny(root: str | Path, images: int = 500, seed: int = 0) -> None:
    """Write two small data sets of drawn street scenes, and the lists that split them.

    Under `root`: `bdd100k/images/100k/{train,val}/*.jpg` with
    `bdd100k/labels/bdd100k_labels_images_{train,val}.json` (the 2018 format),
    `gtav/train/{img,bb}/SEQ/SEQ_FRAME.{jpg,csv}` (columns class, instance, left, top, right, bottom
    and 22 more), `splits/{bdd100k,gtav}/{train,valid,test}.txt` (60/20/20) and, last of all,
    `tiny.json` with the arguments. The same arguments give the same bytes. All five classes are in
    every split, and no drive of `gtav` is in two splits. Odd cases of the originals are in as well:
    images without a label entry, without objects, without a box file, boxes of other categories,
    degenerate and very small boxes, and the hood of the camera's own car.

    Args:
        root: Folder to write into; it is made. If it already holds what this call would write, it is
            left as it is.
        images: Number of images of each of the two data sets, 30 at least.
        seed: Seed of everything drawn.

    Raises:
        ValueError: If there are too few images, or the folder holds anything else.
    """
    root = Path(root)
    if images < FEWEST_IMAGES:
        raise ValueError(
            f"images={images} is too few for all five classes in every split; "
            f"ask for {FEWEST_IMAGES} at least"
        )
    arguments = {"recipe": _RECIPE, "images": images, "seed": seed}
    if _is_there(root, arguments):
        return
    _write_bdd100k(root, images, np.random.default_rng([seed, 0]))
    _write_gtav(root, images, np.random.default_rng([seed, 1]))
    (root / "tiny.json").write_text(json.dumps(arguments) + "\n")


def _is_there(root: Path, arguments: dict[str, int]) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record = root / "tiny.json"
    if not record.is_file():
        raise ValueError(
            f"{root} already holds something, and no finished tiny data set (there is no tiny.json); "
            "remove it or name another folder"
        )
    if record.read_text() != json.dumps(arguments) + "\n":
        raise ValueError(
            f"{root} already holds a tiny data set made with {record.read_text().strip()}, not with "
            f"{json.dumps(arguments)}; remove it or name another folder"
        )
    return True


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _write_splits(folder: Path, splits: dict[str, list[str]], rng: Generator, end: str) -> None:
    for split, names in splits.items():
        shuffled = [names[i] for i in rng.permutation(len(names))]
        _write(folder / f"{split}.txt", ("\n".join(shuffled) + end).encode())


def _cut(items: Sequence[int]) -> dict[str, list[int]]:
    """Cut a sequence 60/20/20."""
    train, valid = round(0.6 * len(items)), round(0.8 * len(items))
    return {
        "train": list(items[:train]),
        "valid": list(items[train:valid]),
        "test": list(items[valid:]),
    }


def _deck(rng: Generator) -> Iterator[str]:
    """Yield classes for ever, each of the five once before any comes again."""
    while True:
        yield from (CLASSES[i] for i in rng.permutation(len(CLASSES)))


def _kind(kinds: dict[str, float], rng: Generator) -> str:
    return str(rng.choice(list(kinds), p=list(kinds.values())))


def _uniform(rng: Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


# ------------------------------------------------------------------------------------------ BDD100K


def _write_bdd100k(root: Path, images: int, rng: Generator) -> None:
    names = _bdd100k_names(images, rng)
    splits = _cut([int(i) for i in rng.permutation(images)])
    frames: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    for members in splits.values():
        deck = _deck(rng)
        for place, index in enumerate(members):
            # Every split has images of both official folders, about 7 to 1.
            official = "val" if place % 8 == 1 else "train"
            frame, picture = _bdd100k_frame(names[index], place, deck, rng)
            _write(root / f"bdd100k/images/100k/{official}/{names[index]}", picture)
            # As a few of the original images, one in eighty has no entry at all.
            if place % 80 != 5:
                frames[official].append(frame)
    for official, entries in frames.items():
        entries.sort(key=lambda entry: str(entry["name"]))
        path = root / f"bdd100k/labels/bdd100k_labels_images_{official}.json"
        _write(path, json.dumps(entries, indent=1).encode())
    lists = {split: [names[i] for i in members] for split, members in splits.items()}
    _write_splits(root / "splits/bdd100k", lists, rng, end="\n")


def _bdd100k_names(images: int, rng: Generator) -> list[str]:
    """Return names such as `be76ea62-78b2c8f8.jpg`; about one ride in ten has two images."""
    names: list[str] = []
    while len(names) < images:
        ride, image = (f"{number:08x}" for number in rng.integers(2**32, size=2))
        if names and rng.random() < 0.1:
            ride = names[-1].split("-")[0]
        names.append(f"{ride}-{image}.jpg")
    return names


def _bdd100k_frame(
    name: str, place: int, deck: Iterator[str], rng: Generator
) -> tuple[dict[str, Any], bytes]:
    """Draw one image; `place`, its position in its split, decides which odd case it shows."""
    weather = str(rng.choice(["clear", "overcast", "partly cloudy", "rainy", "foggy"]))
    timeofday = str(rng.choice(["daytime", "night", "dawn/dusk"], p=[0.55, 0.25, 0.2]))
    scene = str(rng.choice(["city street", "residential"], p=[0.7, 0.3]))
    street = _street(rng, _REAL, tall=scene == "city street", lit=timeofday == "night")
    bare, without_boxes = place % 40 == 3, place % 40 == 9
    things = []
    if not (bare or without_boxes):
        things = _crowd(deck, 3 if place < 3 else int(rng.integers(1, 5)), rng)
        things += street.signals(camera=0.0)
    picture = _draw(street, things, camera=0.0)
    labels = [_bdd100k_label(thing) for thing in _seen(things)]
    if place % 30 == 2:
        degenerate = {"x1": 40.0, "y1": 96.5, "x2": 40.0, "y2": 101.25}
        labels.append(_bdd100k_entry("car", _SIGHT, {"box2d": degenerate}))
    if not bare:
        labels += _bdd100k_areas()
    frame = {
        "name": name,
        "attributes": {"weather": weather, "scene": scene, "timeofday": timeofday},
        "timestamp": 10000,
        "labels": [label | {"id": number} for number, label in enumerate(labels)],
    }
    return frame, _photograph(picture, weather, timeofday, rng)


_SIGHT: Final = {"occluded": False, "truncated": False, "trafficLightColor": "none"}


def _bdd100k_entry(
    category: str, attributes: dict[str, Any], where: dict[str, Any]
) -> dict[str, Any]:
    entry = {"category": category, "attributes": attributes}
    return entry | {"manualShape": True, "manualAttributes": True} | where


def _bdd100k_label(thing: Thing) -> dict[str, Any]:
    box = _inside(thing.box)
    sight = _SIGHT | {"truncated": box != thing.box}
    if thing.kind == "trafficlight":
        sight["trafficLightColor"] = "green"
    corners = dict(zip(("x1", "y1", "x2", "y2"), map(float, box), strict=True))
    return _bdd100k_entry(_BDD100K_NAMES[thing.kind], sight, {"box2d": corners})


def _bdd100k_areas() -> list[dict[str, Any]]:
    """Return the lane and the drivable area, which have a polygon and no box."""
    row = float(_row(8.0))
    line = {"vertices": [[0.0, row], [float(WIDTH), row]], "types": "LL", "closed": False}
    near, far, right = float(HEIGHT), float(_row(_KERB)), float(WIDTH)
    corners = [[0.0, near], [0.0, far], [right, far], [right, near]]
    area = {"vertices": corners, "types": "LLLL", "closed": True}
    style = {"direction": "parallel", "style": "dashed", "type": "single white"}
    return [
        _bdd100k_entry("lane", style, {"poly2d": [line]}),
        _bdd100k_entry("drivable area", {"areaType": "direct"}, {"poly2d": [area]}),
    ]


# --------------------------------------------------------------------------------------------- GTAV


def _write_gtav(root: Path, images: int, rng: Generator) -> None:
    # Five drives at least, so that each split has whole drives; about ten frames each.
    drives = 5 * max(1, round(images / 50))
    numbers = [int(n) + 1 for n in np.sort(rng.permutation(max(77, drives))[:drives])]
    lengths = [len(part) for part in np.array_split(np.arange(images), drives)]
    splits = _cut([int(i) for i in rng.permutation(drives)])
    lists: dict[str, list[str]] = {}
    for split, members in splits.items():
        lists[split] = []
        for place, index in enumerate(members):
            frames = _drive(
                lengths[index], walking=place % 3 == 2, near_car=place % 4 == 0, rng=rng
            )
            first = int(rng.integers(1, 400))
            for offset, (picture, boxes) in enumerate(frames):
                stem = f"{numbers[index]:03d}_{first + offset:05d}"
                folder = f"{numbers[index]:03d}"
                _write(root / f"gtav/train/img/{folder}/{stem}.jpg", picture)
                if boxes is not None:
                    _write(root / f"gtav/train/bb/{folder}/{stem}.csv", boxes.encode())
                lists[split].append(f"{stem}.jpg")
    _write_splits(root / "splits/gtav", lists, rng, end="")


class _Pass(NamedTuple):
    """An object that crosses the view.

    Attributes:
        thing: The object; its box is yet to be found.
        start: Frame in which it enters, also between two frames.
        duration: Frames until it has left.
        ridden: Whether a rider is on it.
    """

    thing: Thing
    start: float
    duration: float
    ridden: bool


def _drive(
    frames: int, *, walking: bool, near_car: bool, rng: Generator
) -> Iterator[tuple[bytes, str | None]]:
    """Yield JPEG and box file, or None for no file, of each frame of one drive."""
    street = _street(rng, _GAME, tall=rng.random() < 0.7, lit=False)
    hood = Box(round(0.05 * WIDTH), round(0.9 * HEIGHT), round(0.95 * WIDTH), HEIGHT)
    own_car = Thing("hood", hood, 1.0, _instance(rng), look=int(rng.integers(2**31)))
    passes = _passes(frames, near_car=near_car, rng=rng)
    speed = _uniform(rng, 0.1, 0.25) if walking else _uniform(rng, 0.35, 0.7)
    for frame in range(frames):
        camera = speed * frame
        # A walk begins and ends in an empty street: first an empty box file, at last none.
        still = walking and frame in (0, frames - 1)
        objects = [] if still else [thing for p in passes for thing in _passing(p, frame)]
        objects += [] if still else street.signals(camera) + street.far_cars(camera, frame)
        own = [] if walking else [own_car]
        boxes = "".join(map(_gtav_row, _seen(objects) + own))
        picture = _jpeg(_draw(street, objects + own, camera), quality=95)
        yield picture, None if still and frame else boxes


def _instance(rng: Generator) -> int:
    """Return a number as the game counts its objects, never to be taken for a class."""
    return int(rng.integers(1_000, 4_000_000))


def _passes(frames: int, *, near_car: bool, rng: Generator) -> list[_Pass]:
    """Let the five classes pass one after the other, two or so of them at a time."""
    deck = _deck(rng)
    count = max(5, round(0.55 * frames))
    passes = []
    for start in np.linspace(-1.0, frames - 2.5, count) + rng.uniform(-0.3, 0.3, count):
        kind = _kind(_GAME_KINDS[next(deck)], rng)
        distance = _uniform(rng, _SHAPES[kind].near, _SHAPES[kind].far)
        ridden = kind in ("bicycle", "motorcycle") and rng.random() < 0.4
        duration = _uniform(rng, 3.4, 4.8)
        passes.append(_Pass(_traveller(kind, distance, rng), float(start), duration, ridden))
    if near_car:  # an ordinary car so near that the lower edge cuts it
        start = _uniform(rng, 0.5, frames - 4.5)
        passes.append(_Pass(_traveller("car", 4.2, rng), start, 3.5, ridden=False))
    return passes


def _traveller(kind: str, distance: float, rng: Generator) -> Thing:
    flipped, look = bool(rng.random() < 0.5), int(rng.integers(2**31))
    return Thing(kind, Box(0, 0, 0, 0), distance, _instance(rng), flipped, look)


def _passing(one: _Pass, frame: int) -> list[Thing]:
    """Return the object (and its rider) where it is in a frame, or nothing before and after."""
    done = (frame - one.start) / one.duration
    if not 0 <= done <= 1:
        return []
    centre = WIDTH * (1.1 * done - 0.05)
    centre = WIDTH - centre if one.thing.flipped else centre
    box = _stand(_SHAPES[one.thing.kind], centre, one.thing.distance)
    thing = one.thing._replace(box=box)
    return [thing, _rider(thing)] if one.ridden else [thing]


def _gtav_row(thing: Thing) -> str:
    """Return class, instance, left, top, right, bottom, 6 numbers of a 3D box, 16 of its matrix."""
    number = GTAV_CLASSES.index(_GTAV_NAMES.get(thing.kind, thing.kind))
    box = _inside(thing.box)
    metres = thing.distance / _FOCAL
    wide, high = (box.right - box.left) * metres / 2, (box.bottom - box.top) * metres / 2
    across = ((box.left + box.right) / 2 - WIDTH / 2) * metres
    up = (_HORIZON - (box.top + box.bottom) / 2) * metres
    matrix = np.eye(4)
    matrix[:3, 3] = across, up, thing.distance
    solid = [-wide, -high, -wide / 2, wide, high, wide / 2, *matrix.ravel()]
    flat = [str(n) for n in (number, thing.instance, *box)]
    return ",".join(flat + [f"{n:.4f}" for n in solid]) + "\n"


# ------------------------------------------------------------------------------------- arrangement


def _row(distance: float) -> int:
    """Return the row in which the ground at a distance is seen."""
    return round(_HORIZON + _FOCAL * _EYE / distance)


def _stand(shape: Shape, centre: float, distance: float) -> Box:
    """Return the box of an object that stands on the ground, `centre` pixels from the left."""
    width = max(3, round(shape.width * _FOCAL / distance))
    height = max(3, round(shape.height * _FOCAL / distance))
    left, bottom = round(centre - width / 2), _row(distance)
    return Box(left, bottom - height, left + width, bottom)


def _inside(box: Box) -> Box:
    left, top = max(box.left, 0), max(box.top, 0)
    return Box(left, top, min(box.right, WIDTH), min(box.bottom, HEIGHT))


def _area(box: Box) -> int:
    return max(0, box.right - box.left) * max(0, box.bottom - box.top)


def _covered(box: Box, by: Box) -> float:
    """Return the share of a box that lies inside another one."""
    left, top = max(box.left, by.left), max(box.top, by.top)
    common = Box(left, top, min(box.right, by.right), min(box.bottom, by.bottom))
    return _area(common) / max(1, _area(box))


def _crowd(deck: Iterator[str], count: int, rng: Generator) -> list[Thing]:
    """Place objects of the next classes so that none hides much of another."""
    things: list[Thing] = []
    for _ in range(count):
        kind = _kind(_REAL_KINDS[next(deck)], rng)
        thing = _find_room(kind, things, rng)
        things.append(thing)
        if kind in ("bicycle", "motorcycle") and rng.random() < 0.4:
            things.append(_rider(thing))
    return things


def _find_room(kind: str, others: list[Thing], rng: Generator) -> Thing:
    """Return the best of several random places: mostly in view, least overlap."""
    shape = _SHAPES[kind]
    flipped, look = bool(rng.random() < 0.5), int(rng.integers(2**31))
    best, least = None, np.inf
    for _ in range(20):
        distance = _uniform(rng, shape.near, shape.far)
        box = _stand(shape, _uniform(rng, 0.05, 0.95) * WIDTH, distance)
        overlap = max((max(_covered(box, o.box), _covered(o.box, box)) for o in others), default=0)
        outside = 1 - _area(_inside(box)) / _area(box)
        if overlap + outside < least:
            best, least = Thing(kind, box, distance, 0, flipped, look), overlap + outside
        if least < 0.15:
            break
    assert best is not None  # for the type checker: the loop ran
    return best


def _rider(cycle: Thing) -> Thing:
    """Return the person on a bicycle or motorcycle, a separate object in both data sets."""
    left, top, right, bottom = cycle.box
    width, height = right - left, bottom - top
    start = left + round(0.26 * width)
    box = Box(start, top - round(0.55 * height), start + round(0.46 * width), bottom - height // 5)
    return cycle._replace(
        kind="rider", box=box, distance=cycle.distance - 0.01, instance=cycle.instance + 1
    )


def _seen(things: list[Thing]) -> list[Thing]:
    """Return the objects an annotator would mark: not nearly hidden, and not just a sliver."""
    return [
        thing
        for thing in things
        if _area(_inside(thing.box)) >= 0.4 * _area(thing.box)
        and all(
            _covered(thing.box, other.box) < 0.7
            for other in things
            if other.distance < thing.distance and other.kind != "rider"
        )
    ]


# ------------------------------------------------------------------------------------------- street


@dataclass(frozen=True)
class _Style:
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


_REAL: Final = _Style(
    saturation=(0.05, 0.35),
    value=(0.2, 0.8),
    wall_saturation=(0.05, 0.35),
    wall_value=(0.2, 0.65),
    glass=(215, 195, 165),
    vivid=False,
)
_GAME: Final = _Style(
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


class _House(NamedTuple):
    left: float
    right: float
    height: float
    wall: Colour
    window: Colour
    columns: int
    floors: int


@dataclass(frozen=True)
class _Street:
    """A street in metres; `camera` below is how far the camera has moved along it."""

    style: _Style
    sky: Colour
    haze: Colour
    road: Colour
    pavement: Colour
    line: Colour
    houses: tuple[_House, ...]
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
                box = _stand(_SHAPES[kind], _column(place - camera, 11.0), 11.0)
                up = round(lift * _FOCAL / 11.0)
                box = box._replace(top=box.top - up, bottom=box.bottom - up)
                things.append(Thing(kind, box, 11.0, number + len(kind)))
        return [thing for thing in things if _area(_inside(thing.box)) == _area(thing.box)]

    def far_cars(self, camera: float, frame: int) -> list[Thing]:
        """Return the car that drives far off in the side street, less than 100 square pixels."""
        centre = _column(self.gap - camera, _FACADE) + frame % 5 - 2
        if not 12 < centre < WIDTH - 12:
            return []
        box = _stand(_SHAPES["car"], centre, _FAR)
        return [Thing("car", box, _FAR, self.numbers[-1], look=self.numbers[-1])]


def _column(metres: float, distance: float) -> float:
    """Return the column in which a point so far to the right at a distance is seen."""
    return WIDTH / 2 + _FOCAL * metres / distance


def _street(rng: Generator, style: _Style, *, tall: bool, lit: bool) -> _Street:
    """Build a street: houses with one side street between them, trees, lights, signs."""
    gap = _uniform(rng, -5.0, 7.0)
    houses, left = [], -10.0
    while left < 22.0:
        width = _uniform(rng, 2.4, 4.5)
        height = _uniform(rng, 4.5, 9.0) if tall else _uniform(rng, 2.4, 3.8)
        right = left + width
        if not (left - 0.8 < gap < right + 0.8):
            window = (120, 215, 250) if lit else (230, 200, 160) if style.vivid else (105, 90, 80)
            floors, columns = max(1, round(height / 1.6)), max(2, round(width / 1.1))
            houses.append(_House(left, right, height, style.wall(rng), window, columns, floors))
        left = right
    grey = 0.38 + rng.uniform(-0.06, 0.06)
    return _Street(
        style=style,
        sky=(250, 190, 90) if style.vivid else _bgr(0.58, _uniform(rng, 0.02, 0.3), 0.8),
        haze=(255, 235, 190) if style.vivid else _bgr(0.1, _uniform(rng, 0.0, 0.15), 0.85),
        road=_bgr(0.62, 0.08, grey),
        pavement=_bgr(0.1, 0.1, grey + 0.3),
        line=(255, 255, 255) if style.vivid else _bgr(0.13, 0.1, _uniform(rng, 0.65, 0.9)),
        houses=tuple(houses),
        trees=tuple(x for x in rng.uniform(-8, 18, size=5).tolist() if abs(x - gap) > 2.5),
        lights=tuple(rng.uniform(-6, 14, size=2).tolist()),
        signs=tuple(rng.uniform(-6, 14, size=2).tolist()),
        gap=gap,
        numbers=tuple(rng.integers(1_000, 4_000_000, size=3).tolist()),
    )


# ------------------------------------------------------------------------------------------ drawing


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


def _draw_person(brush: _Brush, style: _Style, rng: Generator) -> None:
    skin = _SKINS[int(rng.integers(3))]
    shirt, trousers = style.colour(rng), style.colour(rng, 0.6)
    brush.shape([(0.3, 0.5), (0.52, 0.5), (0.34, 1), (0.06, 1), (0.06, 0.96)], trousers)
    brush.shape([(0.48, 0.5), (0.7, 0.5), (0.94, 0.96), (0.94, 1), (0.66, 1)], trousers)
    brush.shape([(0.22, 0.21), (0.4, 0.24), (0.2, 0.55), (0, 0.55), (0, 0.5)], shirt)
    brush.shape([(0.78, 0.21), (0.6, 0.24), (0.8, 0.55), (1, 0.55), (1, 0.5)], shirt)
    brush.shape([(0.24, 0.2), (0.76, 0.2), (0.72, 0.54), (0.28, 0.54)], shirt)
    brush.disc(0.5, 0.1, 0.2, 0.1, skin)
    brush.shape([(0.3, 0.09), (0.36, 0.02), (0.5, 0), (0.64, 0.02), (0.7, 0.09)], _BLACK)


def _draw_rider(brush: _Brush, style: _Style, rng: Generator) -> None:
    skin = _SKINS[int(rng.integers(3))]
    shirt, trousers = style.colour(rng), style.colour(rng, 0.6)
    brush.shape([(0, 0.55), (0.3, 0.55), (0.75, 0.72), (0.6, 1), (0.4, 1), (0.5, 0.78)], trousers)
    brush.shape([(0, 0.58), (0, 0.5), (0.35, 0.2), (0.7, 0.25), (0.35, 0.62)], shirt)
    brush.shape([(0.5, 0.22), (0.7, 0.25), (1, 0.5), (1, 0.58), (0.9, 0.58)], shirt)
    brush.disc(0.62, 0.12, 0.2, 0.12, skin)
    brush.shape([(0.42, 0.1), (0.48, 0.02), (0.62, 0), (0.76, 0.02), (0.82, 0.1)], shirt)


def _draw_bicycle(brush: _Brush, style: _Style, rng: Generator) -> None:
    frame = style.colour(rng)
    for centre in (0.0, 1.0):
        brush.wheel(centre, 0.36, _BLACK, None)
    hind, crank, fork = (0.22, 0.64), (0.48, 0.68), (0.78, 0.64)
    seat, head = (0.36, 0.24), (0.69, 0.2)
    brush.bars([[hind, crank, head, seat, hind], [seat, crank], [head, fork]], 0.06, frame)
    brush.block(0.26, 0.15, 0.44, 0.23, _BLACK)
    brush.block(0.58, 0, 0.72, 0.07, _BLACK)
    brush.bars([[(0.67, 0.07), head]], 0.06, frame)


def _draw_motorcycle(brush: _Brush, style: _Style, rng: Generator) -> None:
    paint = style.colour(rng)
    for centre in (0.0, 1.0):
        brush.wheel(centre, 0.34, _BLACK, _STEEL)
    brush.bars([[(0.66, 0.1), (0.82, 0.66)], [(0.18, 0.66), (0.5, 0.6)]], 0.08, _STEEL)
    brush.shape([(0.3, 0.5), (0.62, 0.4), (0.68, 0.78), (0.34, 0.82)], _STEEL)
    brush.shape([(0.42, 0.28), (0.66, 0.16), (0.74, 0.44), (0.5, 0.56)], paint)
    brush.shape([(0.08, 0.34), (0.44, 0.32), (0.48, 0.48), (0.16, 0.48)], _BLACK)
    brush.shape([(0.6, 0), (0.68, 0), (0.74, 0.16), (0.64, 0.18)], _STEEL)


def _draw_car(brush: _Brush, style: _Style, rng: Generator) -> None:
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


def _draw_van(brush: _Brush, style: _Style, rng: Generator) -> None:
    paint = style.colour(rng)
    hull = [(0, 0.88), (0, 0.06), (0.04, 0), (0.66, 0), (0.82, 0.34), (0.97, 0.46), (1, 0.56)]
    brush.shape([*hull, (1, 0.86)], paint)
    brush.shape([(0.56, 0.38), (0.56, 0.1), (0.65, 0.1), (0.78, 0.38)], style.glass)
    brush.block(0.32, 0.1, 0.52, 0.38, style.glass)
    brush.block(0.95, 0.54, 0.995, 0.62, (180, 250, 255))
    for centre in (0.2, 0.8):
        brush.wheel(centre, 0.19, _BLACK, _STEEL)


def _draw_bus(brush: _Brush, style: _Style, rng: Generator) -> None:
    paint = style.colour(rng)
    brush.shape([(0, 0.92), (0, 0.04), (0.02, 0), (0.97, 0), (1, 0.06), (1, 0.92)], paint)
    brush.blocks([(0.03 + 0.135 * k, 0.16, 0.14 + 0.135 * k, 0.46) for k in range(6)], style.glass)
    brush.block(0.86, 0.16, 0.99, 0.84, style.glass)
    brush.block(0.92, 0.16, 0.935, 0.84, paint)
    brush.block(0, 0.58, 0.84, 0.64, style.colour(rng))
    for centre in (0.18, 0.76):
        brush.wheel(centre, 0.14, _BLACK, _STEEL)


def _draw_truck(brush: _Brush, style: _Style, rng: Generator) -> None:
    cargo, cab = style.colour(rng), style.colour(rng)
    brush.block(0.02, 0.8, 0.98, 0.88, _BLACK)
    brush.block(0, 0, 0.68, 0.8, cargo)
    cabin = [(0.71, 0.86), (0.71, 0.24), (0.88, 0.24), (0.95, 0.5), (1, 0.54), (1, 0.86)]
    brush.shape(cabin, cab)
    brush.shape([(0.77, 0.5), (0.77, 0.3), (0.87, 0.3), (0.92, 0.5)], style.glass)
    for centre in (0.13, 0.27, 0.86):
        brush.wheel(centre, 0.15, _BLACK, _STEEL)


def _draw_trailer(brush: _Brush, style: _Style, rng: Generator) -> None:
    brush.block(0.04, 0.8, 0.96, 0.86, _BLACK)
    brush.block(0, 0, 0.93, 0.8, style.colour(rng))
    brush.block(0.93, 0.76, 1, 0.82, _STEEL)
    brush.block(0.78, 0.86, 0.81, 0.96, _STEEL)
    for centre in (0.14, 0.28):
        brush.wheel(centre, 0.16, _BLACK, _STEEL)


def _draw_trafficlight(brush: _Brush, style: _Style, rng: Generator) -> None:
    brush.block(0, 0, 1, 1, _BLACK)
    for y, colour in ((0.2, (40, 40, 110)), (0.5, (40, 110, 120)), (0.8, (90, 240, 60))):
        brush.disc(0.5, y, 0.32, 0.13, colour)


def _draw_trafficsign(brush: _Brush, style: _Style, rng: Generator) -> None:
    brush.disc(0.5, 0.5, 0.5, 0.5, (50, 50, 215))
    brush.disc(0.5, 0.5, 0.34, 0.34, (245, 245, 245))


def _draw_hood(brush: _Brush, style: _Style, rng: Generator) -> None:
    paint = style.colour(rng, 0.7)
    crest = [(0, 1), (0, 0.7), (0.06, 0.34), (0.2, 0.1), (0.36, 0), (0.64, 0), (0.8, 0.1)]
    brush.shape([*crest, (0.94, 0.34), (1, 0.7), (1, 1)], paint)
    brush.shape([(0.3, 0.3), (0.7, 0.3), (0.74, 1), (0.26, 1)], style.colour(rng, 0.9))


_DRAWINGS: Final[dict[str, Callable[[_Brush, _Style, Generator], None]]] = {
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


def _draw(street: _Street, things: list[Thing], camera: float) -> Picture:
    """Draw a scene, far things first; uint8 [HEIGHT, WIDTH, 3], BGR."""
    picture: Picture = np.empty((HEIGHT * _FINE, WIDTH * _FINE, 3), np.uint8)
    _draw_street(picture, street, camera)
    for thing in sorted(things, key=lambda thing: -thing.distance):
        _draw_thing(picture, thing, street.style)
    return cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _draw_thing(picture: Picture, thing: Thing, style: _Style) -> None:
    if thing.kind in ("trafficlight", "trafficsign"):
        middle = (thing.box.left + thing.box.right) // 2
        pole = Box(middle, thing.box.bottom, middle + 1, _row(thing.distance))
        _Brush(picture, pole).block(0, 0, 1, 1, _STEEL)
    brush = _Brush(picture, thing.box, flipped=thing.flipped)
    _DRAWINGS[thing.kind](brush, style, np.random.default_rng(thing.look))


def _draw_street(picture: Picture, street: _Street, camera: float) -> None:
    facade, kerb = _row(_FACADE), _row(_KERB)
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
        left, right = round(_column(start, 8.0)), round(_column(start + 1.2, 8.0))
        _Brush(picture, Box(left, _row(8.0), right, _row(8.0) + 2)).block(0, 0, 1, 1, street.line)


def _draw_side_street(picture: Picture, street: _Street, camera: float) -> None:
    """Draw the street that leads away between two houses, up to the horizon."""
    middle = _column(street.gap - camera, _FACADE)
    foot, left, right = _row(_FACADE), middle - 26, middle + 26
    corners = np.array(
        [(middle - 8, _HORIZON), (middle + 8, _HORIZON), (right, foot), (left, foot)]
    )
    cv2.fillPoly(picture, [np.rint(corners * _FINE).astype(np.int32)], street.road)


def _draw_house(picture: Picture, house: _House, camera: float) -> None:
    left, right = (round(_column(x - camera, _FACADE)) for x in (house.left, house.right))
    if right < 0 or left > WIDTH:
        return
    foot = _row(_FACADE)
    brush = _Brush(picture, Box(left, foot - round(house.height * _FOCAL / _FACADE), right, foot))
    brush.block(0, 0, 1, 1, house.wall)
    across, down = 1 / house.columns, 1 / house.floors
    windows = [
        (across * (i + 0.25), down * (j + 0.25), across * (i + 0.75), down * (j + 0.75))
        for i in range(house.columns)
        for j in range(house.floors)
    ]
    brush.blocks(windows, house.window)


def _draw_tree(picture: Picture, street: _Street, metres: float) -> None:
    box = _stand(Shape(1.6, 3.0, 0, 0), _column(metres, 12.2), 12.2)
    if box.right < 0 or box.left > WIDTH:
        return
    brush = _Brush(picture, box)
    leaves = (60, 170, 50) if street.style.vivid else (45, 75, 60)
    brush.block(0.44, 0.5, 0.56, 1, (45, 70, 100))
    brush.disc(0.5, 0.35, 0.5, 0.35, leaves)


# ------------------------------------------------------------------------------------- photography


def _jpeg(picture: Picture, quality: int) -> bytes:
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def _photograph(picture: Picture, weather: str, timeofday: str, rng: Generator) -> bytes:
    """Make a drawing look like a cheap camera's photograph, and compress it."""
    light = {"daytime": (0.65, 1.0), "dawn/dusk": (0.5, 0.75), "night": (0.3, 0.5)}[timeofday]
    tint = {"daytime": (1.0, 1.0, 1.0), "dawn/dusk": (0.8, 0.95, 1.1), "night": (1.0, 0.9, 0.9)}
    scene: Floats = picture.astype(np.float32) * (
        1 + 0.18 * _patches(rng, 48) + 0.12 * _patches(rng, 4)
    )
    if weather in ("foggy", "rainy"):
        mist = _uniform(rng, 0.2, 0.45) if weather == "foggy" else 0.15
        scene = scene * (1 - mist) + 175 * mist
    cast = np.array(tint[timeofday]) * rng.uniform(0.88, 1.12, 3) * _uniform(rng, *light)
    blurred = np.asarray(cv2.GaussianBlur(scene, (0, 0), _uniform(rng, 0.9, 1.9)), np.float32)
    noise = rng.standard_normal(scene.shape, np.float32) * np.float32(rng.uniform(7.0, 18.0))
    photograph = np.clip(blurred * cast.astype(np.float32) + noise, 0, 255).astype(np.uint8)
    return _jpeg(photograph, quality=int(rng.integers(45, 76)))


def _patches(rng: Generator, size: int) -> Floats:
    """Return random blotches of about `size` pixels, [HEIGHT, WIDTH, 1]."""
    coarse = rng.standard_normal((HEIGHT // size + 2, WIDTH // size + 2), np.float32)
    fine = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine, np.float32)[..., None]
