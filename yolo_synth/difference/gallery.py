"""Pictures of what sets two detectors apart, chosen by a stated rule, as small tiles."""

from __future__ import annotations

import base64
import io
import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from yolo_synth.difference.compare import Difference
from yolo_synth.difference.truth import SIZES
from yolo_synth.matching import Floats, Integers

log = logging.getLogger(__name__)

MOST: Final = 24
"""Tiles of a gallery."""
SIDE: Final = 208
"""Of a tile, in pixels."""
BUDGET: Final = 3_300_000
"""Letters that all tiles of a page may take."""
LEAST: Final = 110.0
"""Shortest side of what a tile shows, in pixels of the picture."""
ROOM: Final = 2.2
"""Side of what a tile shows, over the longer side of its box."""

TRUE_COLOUR, A_COLOUR, B_COLOUR = "#ffffff", "#2f9bff", "#ff9d1e"


@dataclass(frozen=True)
class Tile:
    """A box in its surroundings.

    Attributes:
        row: Row of its image.
        name: The image's name.
        corners: [4], the box, in pixels of the picture.
        title: Its class and size.
        text: Score and kind.
        picture: A data address; "" if there is none.
    """

    row: int
    name: str
    corners: Floats
    title: str
    text: str
    picture: str = ""


@dataclass(frozen=True)
class Gallery:
    """Some tiles.

    Attributes:
        title: What they show.
        rule: How they were chosen.
        of: How many there are to choose from.
        tiles: They.
    """

    title: str
    rule: str
    of: int
    tiles: list[Tile]


def galleries(difference: Difference) -> list[Gallery]:
    """Choose the boxes to look at; their pictures are not read yet."""
    alone = "at most one of an image, the {} with the highest score first"
    found = [
        _true(difference, who, f"Only {who} finds", alone.format(f"true boxes that {who} finds"))
        for who in ("A", "B")
    ]
    alarms = [_alarms(difference, side) for side in (0, 1)]
    largest = "at most one of an image, the largest true boxes first"
    return [*found, *alarms, _true(difference, "neither", "Worst misses: neither finds", largest)]


def _true(difference: Difference, who: str, title: str, rule: str) -> Gallery:
    boxes = difference.boxes
    some = boxes[boxes["found_by"] == who]
    rows = difference.truth.boxes.image[~difference.truth.crowd][some.index]
    corners = some[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
    value = _area(corners) if who == "neither" else some[f"score_{who.lower()}"].to_numpy(float)
    chosen = _choose(value, rows)
    tiles = []
    for place in chosen:
        box = some.iloc[place]
        reasons = [
            f"{side}: {box[f'reason_{side.lower()}']}" + _score(box[f"score_{side.lower()}"])
            for side in "AB"
        ]
        title_of = f"{box['class']}, {box['size']}"
        about = (title_of, "; ".join(reasons))
        tiles.append(Tile(int(rows[place]), str(box["image"]), corners[place], *about))
    return Gallery(title, f"{rule}; shown by size and class", len(some), _sorted(tiles))


def _alarms(difference: Difference, side: int) -> Gallery:
    name, results, each = "AB"[side], difference.lists[side], difference.errors[side]
    wrong = np.flatnonzero((each.kind != "") & (each.kind != "hit"))
    boxes = results.boxes.take(wrong)
    tiles = []
    for place in _choose(results.scores[wrong], boxes.image):
        corners = boxes.corners[place]
        title = f"{difference.truth.classes[boxes.label[place]]}, {_size(corners)}"
        text = f"{each.kind[wrong[place]]}{_score(results.scores[wrong[place]])}"
        row = int(boxes.image[place])
        image = str(difference.truth.images["name"].iloc[row])
        tiles.append(Tile(row, image, corners, title, text))
    rule = "at most one of an image, the highest score first; shown by size and class"
    return Gallery(f"Most confident false alarms of {name}", rule, len(wrong), _sorted(tiles))


def _score(value: float) -> str:
    return "" if pd.isna(value) else f" ({value:.2f})"


def _area(corners: Floats) -> Floats:
    return np.asarray((corners[..., 2:] - corners[..., :2]).prod(-1))


def _size(corners: Floats) -> str:
    return next((name for name, (_, most) in SIZES.items() if _area(corners) <= most), "large")


def _sorted(tiles: list[Tile]) -> list[Tile]:
    def key(tile: Tile) -> tuple[int, str]:
        kind, _, size = tile.title.rpartition(", ")
        return -list(SIZES).index(size), kind

    return sorted(tiles, key=key)


def _choose(value: Floats, image: Integers) -> Integers:
    """Return the places of the greatest values, one of an image."""
    order = np.argsort(-value, kind="stable")
    _, first = np.unique(image[order], return_index=True)
    return np.asarray(order[np.sort(first)][:MOST])


def with_pictures(
    chosen: list[Gallery], difference: Difference, budget: int = BUDGET
) -> list[Gallery]:
    """Return the galleries with their pictures, all together within so many letters."""
    drawn: dict[int, Image.Image] = {}
    for tile in (tile for gallery in chosen for tile in gallery.tiles):
        picture = _draw(tile, difference)
        if picture is not None:
            drawn[id(tile)] = picture
    asked = sum(len(gallery.tiles) for gallery in chosen)
    if len(drawn) < asked:
        log.warning("%d of %d pictures of the galleries cannot be read", asked - len(drawn), asked)
    addresses: dict[int, str] = {}
    for quality in (78, 55, 30, 5):
        addresses = {key: _address(picture, quality) for key, picture in drawn.items()}
        if sum(map(len, addresses.values())) <= budget:
            break
    return [
        Gallery(
            gallery.title,
            gallery.rule,
            gallery.of,
            [Tile(**{**vars(t), "picture": addresses.get(id(t), "")}) for t in gallery.tiles],
        )
        for gallery in chosen
    ]


def _address(picture: Image.Image, quality: int) -> str:
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=quality)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def _draw(tile: Tile, difference: Difference) -> Image.Image | None:
    """Cut a box with its surroundings out of its picture, and draw what lies there."""
    truth = difference.truth
    path = truth.picture(tile.row)
    if path is None:
        return None
    try:
        with Image.open(path) as whole:
            left, top, side = _window(tile.corners, *whole.size)
            piece = whole.convert("RGB").crop((left, top, left + side, top + side))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        log.warning("%s cannot be shown: %s", path, error)
        return None
    piece = piece.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(piece)
    scale = SIDE / side
    mine = (truth.boxes.image == tile.row) & ~truth.crowd
    layers = [(TRUE_COLOUR, truth.boxes.corners[mine])]
    for colour, results, each in zip(
        (A_COLOUR, B_COLOUR), difference.lists, difference.errors, strict=True
    ):
        shown = each.shown & (results.boxes.image == tile.row)
        layers.append((colour, results.boxes.corners[shown]))
    for colour, boxes in layers:
        for box in (boxes - [left, top, left, top]) * scale:
            is_it = np.allclose(box, (tile.corners - [left, top, left, top]) * scale, atol=0.01)
            around = (box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1)
            pen.rectangle(around, outline="#000000", width=1)  # seen on any ground
            pen.rectangle(tuple(box), outline=colour, width=4 if is_it else 2)
    return piece


def _window(corners: Floats, width: int, height: int) -> tuple[int, int, int]:
    """Return left, top and side of the square that a tile shows, inside the picture if it fits."""
    x1, y1, x2, y2 = corners
    side = min(max(ROOM * max(x2 - x1, y2 - y1), LEAST), max(width, height))
    left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
    left = min(max(left, 0), max(width - side, 0))
    top = min(max(top, 0), max(height - side, 0))
    return round(left), round(top), max(1, round(side))
