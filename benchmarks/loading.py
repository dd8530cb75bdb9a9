"""Time what it takes to load a training image, against ultralytics' YOLODataset.

    python benchmarks/loading.py
    python benchmarks/loading.py --peers-python ~/peers/bin/python

prints a Markdown table for each size of picture: processor time an image (median over rounds) and
peak resident memory, each contender in a process of its own, one thread, on the same JPEG files and
boxes, from the file to a tensor at 416x416; and then what a worker process holds after each epoch.
ultralytics is no dependency (and AGPL): `--peers-python` is the Python of an environment that has it.

The pictures are drawn: smooth fields and noise at all scales with edges of 40 rectangles, JPEG quality
75, which gives files of the size of BDD100K's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIZES = ((1280, 720), (1920, 1080))
SIDE = 416
BOXES = 12
"""Boxes a picture."""

KINDS = {"as it is": "plain", "augmented lightly": "light", "mosaic of four": "mosaic"}


def picture(width: int, height: int, seed: int) -> np.ndarray:
    """Draw a picture with about the detail of a photograph of a street, uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    values = np.full((height, width, 3), 128, np.float32)
    columns = 4
    while columns < width:
        rows = max(2, columns * height // width)
        field = rng.normal(size=(rows, columns, 3)).astype(np.float32)
        field = 0.7 * field.mean(2, keepdims=True) + 0.3 * field
        field = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
        values += 45 * (4 / columns) ** 0.75 * field
        columns *= 2
    for _ in range(40):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(10, width // 5), rng.integers(10, height // 4)
        values[y : y + h, x : x + w] = values[y : y + h, x : x + w] / 2 + rng.integers(0, 128, 3)
    return values.clip(0, 255).astype(np.uint8)


def write_pictures(folder: Path, width: int, height: int, count: int) -> None:
    """Write images/*.jpg and their boxes as YOLO's labels/*.txt."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        file = folder / f"images/{number:04d}.jpg"
        cv2.imwrite(str(file), picture(width, height, number), [cv2.IMWRITE_JPEG_QUALITY, 75])
        rows = np.concatenate(
            [rng.integers(0, 5, (BOXES, 1)), rng.uniform(0.2, 0.5, (BOXES, 4))], axis=1
        )
        lines = [f"{row[0]:.0f} " + " ".join(f"{value:.4f}" for value in row[1:]) for row in rows]
        (folder / f"labels/{number:04d}.txt").write_text("\n".join(lines))


def our_dataset(folder: Path, kind: str, cache: Path | None = None, copies: int = 1) -> Any:  # noqa: ANN401
    """Return the pictures as this project serves them; `copies` names each picture as often."""
    import pandas as pd

    from yolo_synth.data.cache import ImageCache
    from yolo_synth.data.dataset import ImageDataset
    from yolo_synth.data.images import Augmentation
    from yolo_synth.data.table import box_table

    files = sorted((folder / "images").iterdir())
    height, width, _ = cv2.imread(str(files[0])).shape
    paths = [f"images/{file.name}" for file in files] * copies
    names = [f"{number:06d}.jpg" for number in range(len(paths))]
    images = pd.DataFrame(
        {"image": names, "path": paths, "width": width, "height": height, "group": ""}
    )
    rows = np.concatenate([np.loadtxt(folder / f"labels/{file.stem}.txt") for file in files])
    centre, half = rows[:, 1:3], rows[:, 3:] / 2
    edges = np.concatenate([centre - half, centre + half], axis=1) * ([width, height] * 2)
    boxes = pd.DataFrame(np.tile(edges, (copies, 1)), columns=["x1", "y1", "x2", "y2"])
    boxes["row"] = np.repeat(np.arange(len(paths)), BOXES)
    boxes["instance"], boxes["category"] = -1, np.tile(rows[:, 0].astype(int).astype(str), copies)
    table = box_table(images, boxes, {str(label): label for label in range(5)})
    augmentation = {
        "plain": None,
        "light": Augmentation(),
        "mosaic": Augmentation(mosaic=True),
    }[kind]
    kept = None if cache is None else ImageCache(cache)
    return ImageDataset(folder, table, names, SIDE, "letterbox", augmentation, kept)


def ours(folder: Path, kind: str) -> Callable[[int], Any]:
    """This project, decoding each time."""
    dataset = our_dataset(folder, kind)
    return lambda index: dataset[index, index]


def ours_cached(folder: Path, kind: str) -> Callable[[int], Any]:
    """This project, with a cache that is filled."""
    dataset = our_dataset(folder, kind, folder / "cache")
    for index in range(len(dataset)):
        dataset.picture(index)
    return lambda index: dataset[index, index]


def ultralytics(folder: Path, kind: str) -> Callable[[int], Any]:
    """Use ultralytics' YOLODataset, with the same kinds and amounts of change."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import YOLODataset

    hyp = get_cfg(
        overrides={
            **dict.fromkeys(("mixup", "cutmix", "copy_paste", "degrees", "shear"), 0.0),
            **{"perspective": 0.0, "flipud": 0.0, "fliplr": 0.5, "scale": 0.1, "translate": 0.05},
            **{"hsv_h": 0.015, "hsv_s": 0.3, "hsv_v": 0.2, "augmentations": []},
            "mosaic": 1.0 if kind == "mosaic" else 0.0,
        }
    )
    dataset = YOLODataset(
        img_path=str(folder / "images"),
        data={"names": {label: str(label) for label in range(5)}, "channels": 3},
        task="detect",
        imgsz=SIDE,
        augment=kind != "plain",
        hyp=hyp,
        rect=False,
        # It keeps the last 8 times as many images decoded; in training those are no more than here.
        batch_size=1,
    )
    return lambda index: dataset[index]


OURS = {"ours": ours, "ours, cached": ours_cached}
PEERS = {"ultralytics": ultralytics}


def contend(name: str, kind: str, folder: Path, rounds: int) -> dict[str, float]:
    """Run one contender in this process; milliseconds an image and peak MiB."""
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    count = len(list((folder / "images").iterdir()))
    load = (OURS | PEERS)[name](folder, kind)
    times = []
    for _ in range(rounds + 1):
        start = time.process_time()
        for index in range(count):
            load(index)
        times.append((time.process_time() - start) / count * 1000)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"ms": statistics.median(times[1:]), "peak": peak}


def worker_memory(folder: Path, epochs: int) -> tuple[int, list[float]]:
    """Train on nothing with two workers; the number of images named and the greater MiB of its own."""
    from torch.utils.data import DataLoader, RandomSampler

    from yolo_synth.data.dataset import collate
    from yolo_synth.data.images import use_one_thread

    dataset = our_dataset(folder, "light", copies=100_000 // len(list(folder.glob("images/*"))))
    loader = DataLoader(
        _Seeded(dataset),
        batch_size=8,
        sampler=RandomSampler(range(len(dataset)), num_samples=2000),
        num_workers=2,
        persistent_workers=True,
        collate_fn=collate,
        worker_init_fn=use_one_thread,
    )
    own = []
    for _ in range(epochs):
        for _batch in loader:
            pass
        workers = loader._iterator._workers  # type: ignore[union-attr]
        own.append(max(_own_memory(worker.pid) for worker in workers))
    return len(dataset), own


class _Seeded:
    """Images augmented by their number, for a sampler that yields no seeds."""

    def __init__(self, dataset: Any) -> None:  # noqa: ANN401
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401
        return self.dataset[index, index]


def _own_memory(process: int) -> float:
    """MiB that a process shares with no other (Linux)."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 2**10


def main() -> None:
    """Run all contenders, each in a process of its own, and print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=5, help="epochs of the workers; 0 for none")
    parser.add_argument("--peers-python", help="Python of an environment with ultralytics")
    parser.add_argument("--contender", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender:
        print(json.dumps(contend(*given.contender, given.folder, given.rounds)))
        return

    def run(python: str, contender: str, kind: str, folder: Path) -> dict[str, float]:
        command = [python, __file__, "--contender", contender, kind, "--folder", str(folder)]
        command += ["--rounds", str(given.rounds)]
        quiet = {"YOLO_CONFIG_DIR": str(folder), "YOLO_VERBOSE": "False", "YOLO_OFFLINE": "True"}
        environment = {**os.environ, **quiet, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            sys.exit(f"{contender}, {kind}: {done.stderr}")
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return result

    print(f"{platform.processor() or platform.machine()}, one thread, {given.images} pictures")
    contenders = dict.fromkeys(OURS, sys.executable)
    if given.peers_python:
        contenders |= dict.fromkeys(PEERS, given.peers_python)
    for width, height in SIZES:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_pictures(folder, width, height, given.images)
            mean = sum(file.stat().st_size for file in folder.glob("images/*")) / given.images
            print(f"\n{width} x {height}, {mean / 1000:.0f} kB a file\n")
            print("| | | ms an image | ultralytics / this | peak MiB |")
            print("|---|---|---|---|---|", flush=True)
            for title, kind in KINDS.items():
                results = {
                    name: run(python, name, kind, folder) for name, python in contenders.items()
                }
                for name, result in results.items():
                    peer = results["ultralytics"]["ms"] if "ultralytics" in results else None
                    ratio = f"{peer / result['ms']:.2f}" if peer else "-"
                    print(
                        f"| {title} | {name} | {result['ms']:.2f} | {ratio} | {result['peak']:.0f} |",
                        flush=True,
                    )
            if given.epochs and (width, height) == SIZES[-1]:
                images, own = worker_memory(folder, given.epochs)
                epochs = ", ".join(f"{value:.0f}" for value in own)
                print(
                    f"\nA worker's own memory after each of {given.epochs} epochs of 2,000 out of "
                    f"{images:,} images: {epochs} MiB"
                )


if __name__ == "__main__":
    main()
