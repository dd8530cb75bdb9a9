"""Small sound data sets in both formats, to be broken in one place each."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import yaml

from yolo_synth.data import Format
from yolo_synth.data.convert import write_converted
from yolo_synth.data.gtav import GTAV

WIDTH, HEIGHT = 160, 96
JSON = "bdd100k/labels/bdd100k_labels_images_{part}.json"
SPLITS = {"train": slice(0, 6), "valid": slice(6, 8), "test": slice(8, 10)}


def picture(seed: int) -> np.ndarray:
    """Return a picture of coarse blotches, another one for each seed; uint8 [96, 160, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 20, 3)).astype(np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def bdd_name(number: int) -> str:
    return f"{number:08x}-{number:08x}.jpg"


def gtav_name(number: int) -> str:
    return f"{number % 2 + 1:03}_{number + 1:05}"


def write_scenes(root: Path) -> Path:
    """Write ten images of each data set; GTAV's two sequences are in all splits, as the real one's.

    The COCO and the YOLO data are GTAV's.
    """
    frames: dict[str, list] = {"train": [], "val": []}
    box = {"category": "car", "box2d": {"x1": 10, "y1": 10, "x2": 60, "y2": 50}}
    row = ["24", "5001", "10", "10", "60", "50", *["0"] * 22]
    for number in range(10):
        part = "val" if number == 9 else "train"
        image = root / f"bdd100k/images/100k/{part}/{bdd_name(number)}"
        write_image(image, picture(number))
        frames[part].append({"name": image.name, "labels": [box]})
        frame = gtav_name(number)
        write_image(root / f"gtav/train/img/{frame[:3]}/{frame}.jpg", picture(100 + number))
        write_text(root / f"gtav/train/bb/{frame[:3]}/{frame}.csv", ",".join(row) + "\n")
    for part, entries in frames.items():
        write_text(root / JSON.format(part=part), json.dumps(entries))
    for data, name in (("bdd100k", bdd_name), ("gtav", lambda n: f"{gtav_name(n)}.jpg")):
        for split, numbers in SPLITS.items():
            names = [name(number) for number in range(10)[numbers]]
            write_text(root / f"splits/{data}/{split}.txt", "\n".join(names) + "\n")
    formats: tuple[Format, ...] = ("coco", "yolo")
    for to in formats:
        game = GTAV(root / "gtav", splits=root / "splits/gtav")
        write_converted(game, to, root / to, "copy")
    return root


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def data_file(root: Path, data: str, **options: object) -> str:
    """Write the file that names one of the data sets and return its path."""
    folder = data.lower()
    settings = {"root": str(root / folder), **options}
    if (root / "splits" / folder).is_dir():
        settings.setdefault("splits", str(root / "splits" / folder))
    path = root / f"{folder}.yaml"
    path.write_text(yaml.dump({"class_path": f"yolo_synth.{data}", "init_args": settings}))
    return str(path)
