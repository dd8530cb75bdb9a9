"""A street seen by a camera that drives, rides and walks through it, as boxes in GTAV's terms.

Every object is a block in metres, projected by a pinhole camera: parked cars and signs on both sides,
people, traffic that comes, leads and overtakes. So near cars are cut by the lower edge, cars that wait
at a light wait before the camera too, and what the rule for hoods must tell apart is not drawn to suit
it. The hood itself is a box that stays, but for a little shaking and some frames without it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.data.gtav_boxes import GTAV_LABELS
from yolo_synth.data.table import box_table

WIDTH, HEIGHT, FOCAL = 1920, 1080, 1000
STEP = 0.1  # seconds between frames
HOODS_FROM = 9_000_000  # instance numbers from here on are a hood's, for the tests alone

SIZES = {  # width, height, length
    "car": (1.8, 1.45, 4.5),
    "van": (2.0, 2.1, 5.2),
    "truck": (2.4, 3.2, 8.0),
    "motorcycle": (0.8, 1.1, 2.1),
    "person": (0.5, 1.75, 0.5),
    "trafficsign": (0.7, 0.8, 0.1),
    "trafficlight": (0.4, 1.1, 0.4),
    "trashcan": (0.6, 1.0, 0.6),
}


class View(NamedTuple):
    """How a part of a sequence is filmed.

    Attributes:
        frames: Number of frames.
        height: Of the camera, in metres.
        speed: Of the camera while it moves, in metres a second.
        stands: From which to which frame it stands.
        before: What is before the camera while it stands: kind, and metres to it.
        hood: Kind and box of the hood, if there is one.
        changing: After how many frames the hood gets another number; 0 for never.
        queues: Whether the camera follows a car in a queue, at 1 to 4 metres.
    """

    frames: int
    height: float
    speed: float
    stands: tuple[int, int] = (0, 0)
    before: tuple[str, float] | None = None
    hood: tuple[str, tuple[float, float, float]] | None = None
    changing: int = 0
    queues: bool = False


def driving(frames, stands=(0, 0), before=None, changing=0, hood=(60, 900, 1860), kind="car"):
    return View(frames, 1.3, 11, stands, before, (kind, hood), changing)


def riding(frames, stands=(0, 0), before=None, changing=0, kind="motorcycle"):
    return View(frames, 1.5, 8, stands, before, (kind, (690, 770, 1240)), changing)


def queueing(frames, hood=True):
    """Ride in a queue that moves on and stops, near the car before."""
    view = riding(frames)._replace(queues=True, speed=4)
    return view if hood else view._replace(hood=None)


def walking(frames, stands=(0, 0), before=None):
    return View(frames, 1.65, 1.5, stands, before)


def low_camera(frames, stands=(0, 0), before=None):
    """Drive with a camera on the bumper, before which there is no hood."""
    return View(frames, 0.9, 11, stands, before)


def sequence(name: str, views: list[View], seed: int, *, busy: bool = True) -> pd.DataFrame:
    """Film some views one after the other; returns the box table of the sequence."""
    rng = np.random.default_rng(seed)
    street = _street(rng, busy=busy)
    rows, number, camera = [], 0, 0.0
    for view in views:
        wall = None
        sway, pace = rng.uniform(0, 6), rng.uniform(0.1, 0.2)
        for frame in range(view.frames):
            stands = view.stands[0] <= frame < view.stands[1]
            if stands and view.before is not None and wall is None:
                wall = (view.before[0], camera + view.before[1], int(rng.integers(1e6, 2e6)))
            speed = view.speed * max(0, np.sin(pace * number)) if view.queues else view.speed
            if not stands:
                camera += speed * STEP
            things = _near(street, number * STEP, camera)
            if wall is not None:  # it drives on when the camera does, or is walked round
                gone = 0 if stands else 4 * STEP * (frame - view.stands[1])
                aside = 0 if view.speed > 5 else gone
                ahead = gone * 3 if view.speed > 5 else 0
                size = SIZES[wall[0]]
                things.append((wall[0], wall[2], aside, wall[1] + ahead + size[2] / 2, 0.0))
            if view.queues:
                gap = 2.5 - 1.5 * np.sin(pace * number + 1.5)
                things.append(("car", 900_000, 0.0, camera + gap + 2.25, 0.0))
            turn = 0.0 if stands else 0.06 * np.sin(sway + 0.1 * number)
            boxes = _project(things, camera, view.height, turn)
            if view.hood is not None:
                kind, (x1, y1, x2) = view.hood
                for box in boxes:  # the hood hides what is behind it
                    if x1 < box[2] and box[4] < x2:
                        box[5] = min(box[5], y1)
                if rng.random() > 0.05:
                    part = frame // view.changing if view.changing else 0
                    steered = 500 * turn if kind == "motorcycle" else 0  # 30 pixels at most
                    shake = rng.normal(0, 4, 3) + np.array([steered, 0, steered])
                    hood = [x1 + shake[0], y1 + shake[1], x2 + shake[2], HEIGHT]
                    boxes.append([kind, HOODS_FROM + part, *hood])
            rows += [(number, *box) for box in boxes if box[5] - box[3] > 2]
            number += 1
    images = pd.DataFrame({"image": [f"{name}_{n:05d}.jpg" for n in range(number)]})
    images = images.assign(path=images["image"], width=WIDTH, height=HEIGHT, group=name)
    columns = ["row", "category", "instance", "x1", "y1", "x2", "y2"]
    return box_table(images, pd.DataFrame(rows, columns=columns), GTAV_LABELS)


def _street(rng, *, busy: bool):
    """Draw what stands and what moves: kind, number, across, along at time 0, speed, above ground."""
    things = []

    def put(kind, across, along, speed=0.0, above=0.0):
        things.append((kind, len(things) + 1, across, along, speed, above))

    for side in (-1, 1):
        for along in np.arange(-20, 600, 9.0):
            if rng.random() < 0.6:
                kind = str(rng.choice(["car", "car", "car", "van", "motorcycle"]))
                put(kind, side * rng.uniform(5.5, 6), along + rng.uniform(-2, 2))
        for along in np.arange(0, 600, 17.0):
            kind = str(rng.choice(["trafficsign", "trafficlight", "trashcan"]))
            above = 0.0 if kind == "trashcan" else rng.uniform(2.2, 4)
            put(kind, side * rng.uniform(7, 8), along + rng.uniform(-6, 6), 0, above)
        for along in rng.uniform(0, 600, 40 if busy else 5):
            put("person", side * rng.uniform(7.5, 9), along, rng.choice([-1.4, 1.4, 0]))
    for along in rng.uniform(0, 1200, 60 if busy else 8):
        put(str(rng.choice(["car", "van", "truck"])), -3.2, along, -12.0)  # what comes
    for along in rng.uniform(-600, 60, 40 if busy else 6):
        put(
            str(rng.choice(["car", "car", "van"])), rng.choice([-2.2, 2.3]), along, 15.0
        )  # overtakes
    for along in (9.0, 25.0):
        put("car", 0.0, along + rng.uniform(0, 6), 11.0)  # leads, through the whole sequence
    return things


def _near(street, time, camera):
    """Return what is where at a time, near the camera: kind, number, across, along, above ground."""
    return [
        (kind, number, across, along + speed * time, above)
        for kind, number, across, along, speed, above in street
        if -10 < along + speed * time - camera < 130
    ]


def _project(things, camera, height, turn):
    """Return [kind, number, x1, y1, x2, y2] of all things that the camera sees, cut at the image."""
    if not things:
        return []
    sizes = np.array([SIZES[kind] for kind, *_ in things])
    places = np.array([[across, above, along - camera] for _, _, across, along, above in things])
    signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (0, 1) for z in (-0.5, 0.5)])
    corners = places[:, None] + sizes[:, None] * signs
    x, y, z = corners.transpose(2, 0, 1)
    x, z = x * np.cos(turn) - z * np.sin(turn), x * np.sin(turn) + z * np.cos(turn)
    seen = (z.max(axis=1) > 0.8) & (z.min(axis=1) < 120)
    z = np.maximum(z, 0.4)
    across = (WIDTH / 2 + FOCAL * x / z).clip(0, WIDTH).round()
    down = (HEIGHT / 2 + FOCAL * (height - y) / z).clip(0, HEIGHT).round()
    edges = np.stack([across.min(1), down.min(1), across.max(1), down.max(1)], axis=1)
    seen &= (edges[:, 2] - edges[:, 0] > 3) & (edges[:, 3] - edges[:, 1] > 3)
    return [[*things[i][:2], *edges[i].tolist()] for i in np.flatnonzero(seen)]
