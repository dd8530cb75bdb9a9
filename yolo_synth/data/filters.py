"""Which boxes are left out: small ones, and the hood of the vehicle that carried the camera.

A filter marks rows of a box table and takes none away (see `table`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from yolo_synth.boxes import iou
from yolo_synth.data.table import EDGES, REASONS
from yolo_synth.labels import CLASSES

HOOD_MIN_IMAGES: Final = 10
"""Shortest sequence, in images, in which standing still says something."""
HOOD_MIN_SHARE: Final = 0.1
"""Share of a sequence's images in which a hood stands at its place: the camera may change views."""
HOOD_BREAK: Final = 10
"""Longest time, in images, for which a hood may lack its box."""
HOOD_TOLERANCE: Final = 0.05
"""Distance of an edge from its median place, over the image's width or height, that is still."""
HOOD_BOTTOM: Final = 0.98
"""Height, over the image's, that a box must reach down to, to touch the lower edge."""
HOOD_TOP: Final = 0.4
"""Height, over the image's, that a hood stays below: the driver looks over it to the horizon."""
HOOD_MOVED: Final = 0.25
"""Share of the comparisons in which the rest of the scene must have changed around a hood."""


def _mark(table: pd.DataFrame, rows: np.ndarray, reason: str) -> pd.DataFrame:
    """Return the table with a reason in those of the rows that have none yet."""
    codes = table["dropped"].cat.codes.to_numpy().copy()
    codes[rows & (codes == REASONS.index(""))] = REASONS.index(reason)
    return table.assign(dropped=pd.Categorical.from_codes(codes, categories=pd.Index(REASONS)))


def drop_small(table: pd.DataFrame, min_area: float = 100.0) -> pd.DataFrame:
    """Mark boxes of less than `min_area` square native pixels ("area"); one of just that stays.

    The area is that of the box as annotated, before anything is cut off at the image's border.
    """
    area = (table["x2"] - table["x1"]) * (table["y2"] - table["y1"])
    return _mark(table, (area < min_area).to_numpy(), "area")


def drop_hood(table: pd.DataFrame) -> pd.DataFrame:
    """Mark the hood, or handlebar, of the vehicle that carried the camera ("hood").

    GTAV annotates it as an ordinary vehicle. The paper filters it by a rule that it does not tell;
    ours uses that the camera is fixed to the vehicle: **the hood stays while all else goes by**.

    A vehicle's box is a candidate if it touches the lower edge of the image (y2 ≥ 0.98 H), holds its
    middle column (x1 < W/2 < x2) and lies below the horizon (y1 > 0.4 H). Candidates of a sequence
    (`group`) of at least 10 images are at one place if their other three edges are within 5 % of the
    image's width or height of the median, whatever instance they are said to be: numbers change. A
    time in which a place is taken, without a break of more than 10 images, in at least 10 images and
    10 % of the sequence's, is a hood's if the rest of the scene changes meanwhile: of all other boxes
    (of any kind, at least 2 % of H high, that do not touch the lower edge), fewer than a fifth have a
    box at their place (IoU ≥ 0.7) half of that time later, in at least a quarter of up to 24 such
    comparisons. So a car that is near and cut by the lower edge stays, however long it stands before
    the camera, since parked cars and signs stand as long; and a sequence may change between driving,
    riding and walking.

    Where there is nothing to compare with, and in a shorter sequence, a candidate is marked that is a
    hood by its shape: y2 > 0.9 H, wider than 0.8 W, and lower than half of the image. What cannot be
    told from boxes: the hood of a vehicle that stands still almost all of the time is left in, and a car
    near a standing camera that sees nothing else but moving things is marked.
    """
    size = table[["width", "height"]].to_numpy(np.float32)
    edges = table[EDGES].to_numpy() / np.hstack([size, size])
    vehicle = (table["dropped"] == "") & (table["label"] != CLASSES.index("person"))
    images, groups = (pd.factorize(table[name])[0] for name in ("image", "group"))
    hood = np.zeros(len(table), bool)
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        hood[rows] = _hoods(images[rows], edges[rows], vehicle.to_numpy()[rows])
    return _mark(table, hood, "hood")


def _hoods(images: np.ndarray, edges: np.ndarray, vehicle: np.ndarray) -> np.ndarray:
    """Tell which boxes of one sequence are a hood, bool [boxes].

    Args:
        images: Number of the image of each box, ascending.
        edges: x1, y1, x2, y2 over the image's width and height, float32 [boxes, 4].
        vehicle: Which boxes could be one.
    """
    x1, y1, x2, y2 = edges.T
    shaped = vehicle & (y2 > 0.9) & (y1 > 0.5) & (x2 - x1 > 0.8)
    length = np.count_nonzero(np.diff(images)) + 1
    if length < HOOD_MIN_IMAGES:
        return np.asarray(shaped)
    hood = np.zeros(len(images), bool)
    others = (y2 < HOOD_BOTTOM) & (y2 - y1 > 0.02)
    central = (x1 < 0.5) & (x2 > 0.5)
    left = np.flatnonzero(vehicle & (y2 >= HOOD_BOTTOM) & (y1 > HOOD_TOP) & central)
    enough = max(HOOD_MIN_IMAGES, HOOD_MIN_SHARE * length)
    while len(left) >= enough:
        distance = _from_commonest_place(edges[left, :3])
        still = distance <= HOOD_TOLERANCE
        exactly = images[left[distance <= HOOD_TOLERANCE / 4]]
        there = left[still]
        for run in np.split(there, np.flatnonzero(np.diff(images[there]) > HOOD_BREAK) + 1):
            first, last = images[run[[0, -1]]]
            if len(np.unique(images[run])) >= enough:
                at = np.unique(exactly[(first <= exactly) & (exactly <= last)])
                moved = _moved(at, images[others], edges[others])
                hood[run] = shaped[run] if moved is None else moved >= HOOD_MOVED
        left = left[~still]
    return hood


def _from_commonest_place(edges: np.ndarray) -> np.ndarray:
    """Return how far each of some boxes is from where most of them are [boxes]."""
    samples = edges[np.linspace(0, len(edges) - 1, min(32, len(edges))).astype(int)]
    near = np.abs(edges[:, None] - samples).max(axis=2) <= HOOD_TOLERANCE
    place = np.median(edges[near[:, near.sum(axis=0).argmax()]], axis=0)
    return np.asarray(np.abs(edges - place).max(axis=1))


def _moved(at: np.ndarray, images: np.ndarray, edges: np.ndarray) -> float | None:
    """Return in which share of comparisons between images the boxes have changed places.

    Args:
        at: Numbers of the images to compare, each with the one half of the list later, ascending.
        images: Number of the image of each box, ascending.
        edges: Of each box, [boxes, 4].

    Returns:
        The share; None if fewer than three of the comparisons have three boxes to compare.
    """
    half = len(at) // 2
    pairs = np.unique(np.linspace(0, len(at) - half - 1, 24 if half else 0).astype(int))
    moved = []
    for pair in pairs:
        first, second = (
            edges[slice(*np.searchsorted(images, (image, image + 1)))]
            for image in (at[pair], at[pair + half])
        )
        if len(first) >= 3:
            stay = np.count_nonzero((iou(first[:, None], second) >= 0.7).any(axis=1))
            moved.append(stay < 0.2 * len(first))
    return float(np.mean(moved)) if len(moved) >= 3 else None
