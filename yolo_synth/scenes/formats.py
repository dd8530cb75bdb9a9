"""Small drawn street scenes in the true on-disk formats of BDD100K and of VIPER (GTAV).

They stand in for the two data sets wherever those are too large or not at hand: a first run, tests,
notebooks. A camera looks across a street at vehicles and people that pass before a row of houses.
The "real" pictures are dull, textured, blurred and noisy, by day and by night; the "synthetic" ones
are flat, bright and clean. Size, distance and shape of the objects are drawn from one table for both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.random import Generator

from yolo_synth.claims import new_folder
from yolo_synth.files import naming
from yolo_synth.scenes.drawing import draw, jpeg, photograph
from yolo_synth.scenes.street import GAME, REAL, build_street
from yolo_synth.scenes.world import (
    FOCAL,
    GAME_KINDS,
    HEIGHT,
    HORIZON,
    KERB,
    SHAPES,
    WIDTH,
    Box,
    Thing,
    crowd,
    drawn_kind,
    endless_deck,
    inside,
    rider_of,
    row_at,
    seen,
    standing,
    uniform,
)

FEWEST_IMAGES: Final = 30
"""With fewer images a split could lack a class."""

_RECIPE: Final = 1  # to be raised whenever the same arguments give other files


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
    with naming(root), nullcontext(root) if root.is_dir() else new_folder(root, "draws") as place:
        _write_bdd100k(place, images, np.random.default_rng([seed, 0]))
        _write_gtav(place, images, np.random.default_rng([seed, 1]))
        _write(place / "tiny.json", f"{json.dumps(arguments)}\n".encode())


def _is_there(root: Path, arguments: dict[str, int]) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record = root / "tiny.json"
    if not record.is_file():
        raise ValueError(
            f"{root} already holds something, and no finished tiny data set (there is no tiny.json); "
            "remove it or name another folder"
        )
    made = record.read_text(encoding="utf-8", errors="replace")
    if made != json.dumps(arguments) + "\n":
        raise ValueError(
            f"{root} already holds a tiny data set made with {made[:200].strip()}, not with "
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


def _write_bdd100k(root: Path, images: int, rng: Generator) -> None:
    names = _bdd100k_names(images, rng)
    splits = _cut([int(i) for i in rng.permutation(images)])
    frames: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    for members in splits.values():
        deck = endless_deck(rng)
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
    street = build_street(rng, REAL, tall=scene == "city street", lit=timeofday == "night")
    bare, without_boxes = place % 40 == 3, place % 40 == 9
    things = []
    if not (bare or without_boxes):
        things = crowd(deck, 3 if place < 3 else int(rng.integers(1, 5)), rng)
        things += street.signals(camera=0.0)
    picture = draw(street, things, camera=0.0)
    labels = [_bdd100k_label(thing) for thing in seen(things)]
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
    return frame, photograph(picture, weather, timeofday, rng)


_SIGHT: Final = {"occluded": False, "truncated": False, "trafficLightColor": "none"}


def _bdd100k_entry(
    category: str, attributes: dict[str, Any], where: dict[str, Any]
) -> dict[str, Any]:
    entry = {"category": category, "attributes": attributes}
    return entry | {"manualShape": True, "manualAttributes": True} | where


def _bdd100k_label(thing: Thing) -> dict[str, Any]:
    box = inside(thing.box)
    sight = _SIGHT | {"truncated": box != thing.box}
    if thing.kind == "trafficlight":
        sight["trafficLightColor"] = "green"
    corners = dict(zip(("x1", "y1", "x2", "y2"), map(float, box), strict=True))
    return _bdd100k_entry(_BDD100K_NAMES[thing.kind], sight, {"box2d": corners})


def _bdd100k_areas() -> list[dict[str, Any]]:
    """Return the lane and the drivable area, which have a polygon and no box."""
    row = float(row_at(8.0))
    line = {"vertices": [[0.0, row], [float(WIDTH), row]], "types": "LL", "closed": False}
    near, far, right = float(HEIGHT), float(row_at(KERB)), float(WIDTH)
    corners = [[0.0, near], [0.0, far], [right, far], [right, near]]
    area = {"vertices": corners, "types": "LLLL", "closed": True}
    style = {"direction": "parallel", "style": "dashed", "type": "single white"}
    return [
        _bdd100k_entry("lane", style, {"poly2d": [line]}),
        _bdd100k_entry("drivable area", {"areaType": "direct"}, {"poly2d": [area]}),
    ]


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
    street = build_street(rng, GAME, tall=rng.random() < 0.7, lit=False)
    hood = Box(round(0.05 * WIDTH), round(0.9 * HEIGHT), round(0.95 * WIDTH), HEIGHT)
    own_car = Thing("hood", hood, 1.0, _instance(rng), look=int(rng.integers(2**31)))
    passes = _passes(frames, near_car=near_car, rng=rng)
    speed = uniform(rng, 0.1, 0.25) if walking else uniform(rng, 0.35, 0.7)
    for frame in range(frames):
        camera = speed * frame
        # A walk begins and ends in an empty street: first an empty box file, at last none.
        still = walking and frame in (0, frames - 1)
        objects = [] if still else [thing for p in passes for thing in _passing(p, frame)]
        objects += [] if still else street.signals(camera) + street.far_cars(camera, frame)
        own = [] if walking else [own_car]
        boxes = "".join(map(_gtav_row, seen(objects) + own))
        picture = jpeg(draw(street, objects + own, camera), quality=95)
        yield picture, None if still and frame else boxes


def _instance(rng: Generator) -> int:
    """Return a number as the game counts its objects, never to be taken for a class."""
    return int(rng.integers(1_000, 4_000_000))


def _passes(frames: int, *, near_car: bool, rng: Generator) -> list[_Pass]:
    """Let the five classes pass one after the other, two or so of them at a time."""
    deck = endless_deck(rng)
    count = max(5, round(0.55 * frames))
    passes = []
    for start in np.linspace(-1.0, frames - 2.5, count) + rng.uniform(-0.3, 0.3, count):
        kind = drawn_kind(GAME_KINDS[next(deck)], rng)
        distance = uniform(rng, SHAPES[kind].near, SHAPES[kind].far)
        ridden = kind in ("bicycle", "motorcycle") and rng.random() < 0.4
        duration = uniform(rng, 3.4, 4.8)
        passes.append(_Pass(_traveller(kind, distance, rng), float(start), duration, ridden))
    if near_car:  # an ordinary car so near that the lower edge cuts it
        start = uniform(rng, 0.5, frames - 4.5)
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
    box = standing(SHAPES[one.thing.kind], centre, one.thing.distance)
    thing = one.thing._replace(box=box)
    return [thing, rider_of(thing)] if one.ridden else [thing]


def _gtav_row(thing: Thing) -> str:
    """Return class, instance, left, top, right, bottom, 6 numbers of a 3D box, 16 of its matrix."""
    from yolo_synth.data.gtav_boxes import GTAV_CLASSES  # brings pandas

    number = GTAV_CLASSES.index(_GTAV_NAMES.get(thing.kind, thing.kind))
    box = inside(thing.box)
    metres = thing.distance / FOCAL
    wide, high = (box.right - box.left) * metres / 2, (box.bottom - box.top) * metres / 2
    across = ((box.left + box.right) / 2 - WIDTH / 2) * metres
    up = (HORIZON - (box.top + box.bottom) / 2) * metres
    matrix = np.eye(4)
    matrix[:3, 3] = across, up, thing.distance
    solid = [-wide, -high, -wide / 2, wide, high, wide / 2, *matrix.ravel()]
    flat = [str(n) for n in (number, thing.instance, *box)]
    return ",".join(flat + [f"{n:.4f}" for n in solid]) + "\n"
