"""Time average precision of many images against pycocotools and torchmetrics, and the suppression.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --peers-python ~/peers/bin/python

prints a Markdown table: processor seconds and added peak memory of each contender in a process of its own,
one thread, on the same drawn boxes, and how far its numbers are from pycocotools'. torchmetrics with the
faster_coco_eval backend is run where `--peers-python` names the Python of an environment that has torch,
this project and faster-coco-eval. Last comes what decoding and suppression take of an image, on the
device, from maps of drawn numbers with the biases of an untrained network.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from yolo_synth.average_precision import AveragePrecision
from yolo_synth.boxes import Detection, Target
from yolo_synth.labels import CLASSES
from yolo_synth.networks.yolov3 import detections
from yolo_synth.networks.yolov3.architecture import STRIDES

Scenes = tuple[list[Detection], list[Target]]
Scores = dict[str, float]
BATCH = 16
TRUE = 20
PER_BOX = 3
"""Predicted boxes for each true one: around it, two thirds of them of its class."""


def scenes(images: int) -> Scenes:
    """Draw true and predicted boxes; scores have three digits, so that many are the same."""
    rng = np.random.default_rng(0)
    found: list[Detection] = []
    targets: list[Target] = []
    for _ in range(images):
        centre, size = rng.uniform(0, 416, (TRUE, 2)), np.exp(rng.uniform(2, 5, (TRUE, 2)))
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
        labels = rng.integers(0, len(CLASSES), TRUE)
        moved = boxes.repeat(PER_BOX, 0)
        moved += rng.normal(0, 0.1, moved.shape) * np.tile(size, 2).repeat(PER_BOX, 0)
        moved[:, 2:] = np.maximum(moved[:, :2], moved[:, 2:])
        kinds = labels.repeat(PER_BOX)
        kinds = np.where(rng.random(len(kinds)) < 2 / 3, kinds, rng.integers(0, len(CLASSES)))
        scores = np.sort(rng.random(len(kinds)).round(3))[::-1].copy()
        found.append(
            {
                "boxes": torch.from_numpy(moved).float(),
                "scores": torch.from_numpy(scores).float(),
                "labels": torch.from_numpy(kinds),
            }
        )
        targets.append(
            {"boxes": torch.from_numpy(boxes).float(), "labels": torch.from_numpy(labels)}
        )
    return found, targets


def ours(found: list[Detection], targets: list[Target]) -> Scores:
    """This project, batch by batch."""
    metric = AveragePrecision()
    for first in range(0, len(found), BATCH):
        metric.update(found[first : first + BATCH], targets[first : first + BATCH])
    return metric.compute()


def torchmetrics(backend: str, found: list[Detection], targets: list[Target]) -> Scores:
    """Torchmetrics' MeanAveragePrecision, batch by batch."""
    from torchmetrics.detection import MeanAveragePrecision

    metric: Any = MeanAveragePrecision(backend=backend)  # type: ignore[arg-type]
    for first in range(0, len(found), BATCH):
        metric.update(found[first : first + BATCH], targets[first : first + BATCH])
    result = metric.compute()
    return {"map50": float(result["map_50"]), "map": float(result["map"])}


def pycocotools(found: list[Detection], targets: list[Target]) -> Scores:
    """COCO's own program, of one area range as ours."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(index: int, image: Detection | Target) -> list[dict[str, Any]]:
        x1, y1, x2, y2 = image["boxes"].double().numpy().T
        sizes = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1).tolist()
        return [
            {
                "image_id": index,
                "category_id": label,
                "bbox": size,
                "area": size[2] * size[3],
                "iscrowd": 0,
            }
            for size, label in zip(sizes, image["labels"].tolist(), strict=True)
        ]

    truth = [row for index, image in enumerate(targets) for row in rows(index, image)]
    answers = [
        {**row, "score": score}
        for index, image in enumerate(found)
        for row, score in zip(rows(index, image), image["scores"].tolist(), strict=True)
    ]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": index} for index in range(len(targets))],
        "categories": [{"id": label} for label in range(len(CLASSES))],
        "annotations": [{"id": number, **row} for number, row in enumerate(truth, 1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(answers), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return {"map50": precision[0].mean(), "map": precision.mean()}


CONTENDERS: dict[str, Callable[..., Scores]] = {
    "pycocotools": pycocotools,
    "ours": ours,
    "torchmetrics, pycocotools": partial(torchmetrics, "pycocotools"),
}
PEERS: dict[str, Callable[..., Scores]] = {
    "torchmetrics, faster_coco_eval": partial(torchmetrics, "faster_coco_eval"),
}


def contend(name: str, images: int) -> dict[str, Any]:
    """Run one contender in this process."""
    found, targets = scenes(images)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.process_time()
    scores = (CONTENDERS | PEERS)[name](found, targets)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 - before
    return {"seconds": seconds, "peak": peak, "map50": scores["map50"], "map": scores["map"]}


def suppression(images: int = 32) -> float:
    """Return milliseconds an image of decoding and suppression at 416x416."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    raw = [torch.randn(images, 3, 416 // s, 416 // s, 10, generator=generator) for s in STRIDES]
    for level in raw:
        level[..., 4] -= 4.5
    raw = [level.to(device) for level in raw]
    clock = time.process_time if device == "cpu" else time.perf_counter
    best = float("inf")
    for _ in range(4):
        start = clock()
        found = detections(raw, 416)
        _ = [image["scores"].cpu() for image in found]
        best = min(best, clock() - start)
    return 1000 * best / images


def main() -> None:
    """Run all contenders, each in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16_000)
    parser.add_argument("--peers-python", help="Python of an environment with faster-coco-eval")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.contender:
        print(json.dumps(contend(given.contender, given.images)))
        return
    boxes = f"{given.images} images, {TRUE} true and {TRUE * PER_BOX} predicted boxes each"
    print(f"{platform.machine()}, torch {torch.__version__}, 1 thread, {boxes}\n")
    print("| | CPU s | / pycocotools | added GiB | map50 | map | difference | load |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    contenders = dict.fromkeys(CONTENDERS, sys.executable)
    if given.peers_python:
        contenders |= dict.fromkeys(PEERS, given.peers_python)
    answers: list[dict[str, Any]] = []
    for name, python in contenders.items():
        command = [python, __file__, "--contender", name, "--images", str(given.images)]
        done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        answers.append(json.loads(done.splitlines()[-1]))
        answer, first = answers[-1], answers[0]
        difference = max(abs(answer[key] - first[key]) for key in ("map50", "map"))
        print(
            f"| {name} | {answer['seconds']:.1f} | {answer['seconds'] / first['seconds']:.3f} | "
            f"{answer['peak']:.2f} | {answer['map50']:.4f} | {answer['map']:.4f} | "
            f"{difference:.0e} | {os.getloadavg()[0]:.1f} |",
            flush=True,
        )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "processor, 1 thread"
    print(f"\ndecoding and suppression: {suppression():.1f} ms an image ({device})")


if __name__ == "__main__":
    main()
