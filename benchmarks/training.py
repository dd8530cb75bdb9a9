"""Time a training step of YOLOv3, backbone trained and frozen, against bare loops and ultralytics.

    python benchmarks/training.py
    python benchmarks/training.py --peers-python ~/peers/bin/python

prints a Markdown table: images a second of each contender in a process of its own, its share of the
arithmetic limit (the device's matrix products of the same precision, over the step's operations) and its
peak memory. A processor works with one thread and is timed by processor seconds; where there is a CUDA
device the same steps run there, timed by the clock. Ours is the whole step under Lightning's Trainer, the
bare loops are the same network, loss and Adam with nothing round them. ultralytics (AGPL) is no
dependency: `--peers-python` is the Python of an environment that has torch, this project and ultralytics.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.flop_counter import FlopCounterMode

from yolo_synth.boxes import Target
from yolo_synth.detector import Batch, Detector
from yolo_synth.networks.yolov3 import BACKBONE, YOLOv3, detection_loss

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
OBJECTS = 10
"""True boxes of an image."""


def batch_of(images: int, size: int) -> Batch:
    """Return images with boxes of all sizes, the same every time."""
    generator = torch.Generator().manual_seed(0)
    targets: list[Target] = []
    for _ in range(images):
        centre = size * torch.rand(OBJECTS, 2, generator=generator)
        sides = torch.exp(2 + 3 * torch.rand(OBJECTS, 2, generator=generator))
        boxes = torch.cat([centre - sides / 2, centre + sides / 2], dim=1).clamp(0, size)
        targets.append(
            {"boxes": boxes, "labels": torch.randint(5, (OBJECTS,), generator=generator)}
        )
    return torch.rand(images, 3, size, size, generator=generator), targets


def now() -> float:
    """Processor seconds of this process, or on CUDA the clock, when all work is done."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def freeze(network: YOLOv3) -> None:
    """Freeze the backbone as the project does."""
    for index in BACKBONE:
        network.layers[index].requires_grad_(False).eval()


Steps = Iterator[float]


def bare(
    batch: Batch, steps: int, *, frozen: bool, last: bool = False, mixed: bool = False
) -> Steps:
    """Yield the seconds of steps of a loop with nothing round it, after one that does not count."""
    images, targets = batch[0].to(DEVICE), [_to_device(target) for target in batch[1]]
    network = YOLOv3().to(DEVICE)
    if last:
        network, images = (x.to(memory_format=torch.channels_last) for x in (network, images))
    if frozen:
        freeze(network)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    yield from _times(
        steps,
        optimizer,
        mixed,
        lambda: sum(detection_loss(network(images), targets).values()) * len(images) / 64,
    )


def ultralytics(batch: Batch, steps: int, *, frozen: bool, mixed: bool = False) -> Steps:
    """Yield the seconds of steps of ultralytics' yolov3u, in a loop with nothing round it."""
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel("yolov3u.yaml", nc=5, verbose=False).to(DEVICE).train()
    model.args = get_cfg()
    if frozen:  # layers 0-10 are Darknet-53 there
        for layer in model.model[:11]:
            layer.requires_grad_(False).eval()
    images, targets = batch
    size = images.shape[2]
    boxes = torch.cat([target["boxes"] for target in targets]) / size
    centred = torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], dim=1)
    given = {
        "img": images,
        "cls": torch.cat([target["labels"] for target in targets])[:, None].float(),
        "bboxes": centred,
        "batch_idx": torch.arange(len(images)).repeat_interleave(OBJECTS).float(),
    }
    given = {name: value.to(DEVICE) for name, value in given.items()}
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    yield from _times(steps, optimizer, mixed, lambda: model.loss(given)[0].sum())


def _times(
    steps: int, optimizer: torch.optim.Optimizer, mixed: bool, loss: Callable[[], Tensor]
) -> Steps:
    for step in range(steps + 1):
        start = now()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=mixed):
            value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step:
            yield now() - start


def _to_device(target: Target) -> Target:
    return {"boxes": target["boxes"].to(DEVICE), "labels": target["labels"].to(DEVICE)}


class Again(IterableDataset[Batch]):
    """The same batch for ever."""

    def __init__(self, batch: Batch) -> None:
        """Keep the batch."""
        self.batch = batch

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.batch


class Clock(Callback):
    """Take the time from the end of a step to the end of the next: all that Lightning does is in it."""

    def __init__(self) -> None:
        """Begin without any."""
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:  # noqa: ANN401
        """Note the time."""
        self.ends.append(now())


def ours(
    batch: Batch,
    steps: int,
    *,
    frozen: bool,
    mixed: bool = False,
    precision: str | None = None,
    compiled: bool = False,
    captured: bool = False,
) -> Steps:
    """Yield the seconds of steps of `yolo-synth fit` without its images."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    detector, clock = Detector(compiled=compiled, captured=captured), Clock()
    if DEVICE.type == "cuda":  # as the loaders do
        batch = (
            batch[0].pin_memory(),
            [
                {"boxes": target["boxes"].pin_memory(), "labels": target["labels"].pin_memory()}
                for target in batch[1]
            ],
        )
    if frozen:
        freeze(detector.network)
    trainer = Trainer(
        accelerator=DEVICE.type,
        devices=1,
        precision=precision or ("bf16-mixed" if mixed else "32-true"),
        benchmark=DEVICE.type == "cuda",
        max_steps=steps + 1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[clock],
    )
    trainer.fit(detector, DataLoader(Again(batch), batch_size=None))
    yield from (end - start for start, end in zip(clock.ends, clock.ends[1:], strict=False))


CONTENDERS: dict[str, Callable[..., Steps]] = {
    "bare loop, float32": bare,
    "bare loop, channels last": partial(bare, last=True),
    "bare loop, bf16": partial(bare, mixed=True),
    "bare loop, both": partial(bare, last=True, mixed=True),
    "ours, float32": ours,
    "ours, bf16-mixed": partial(ours, mixed=True),
}
COMPILED: dict[str, Callable[..., Steps]] = {
    "ours, bf16-mixed, compiled": partial(ours, mixed=True, compiled=True),
}
CAPTURED: dict[str, Callable[..., Steps]] = {
    "ours, bf16-mixed, captured": partial(ours, mixed=True, captured=True),
    "ours, 16-mixed, captured": partial(ours, precision="16-mixed", captured=True),
    "ours, bf16-mixed, compiled, captured": partial(ours, mixed=True, compiled=True, captured=True),
}
PEERS: dict[str, Callable[..., Steps]] = {
    "ultralytics yolov3u, float32": ultralytics,
    "ultralytics yolov3u, bf16": partial(ultralytics, mixed=True),
}


def operations(size: int, *, frozen: bool) -> float:
    """Count the floating-point operations of a step, an image: multiply and add are two."""
    with torch.device("meta"):
        network, images = YOLOv3(), torch.empty(1, 3, size, size)
    if frozen:
        freeze(network)
    with FlopCounterMode(display=False) as counter:
        torch.cat([level.flatten() for level in network(images)]).sum().backward()
    return float(counter.get_total_flops())


def products(dtype: torch.dtype) -> float:
    """Measure the device's operations a second in products of large matrices."""
    n = 8192 if DEVICE.type == "cuda" else 2048
    a, b = (torch.rand(n, n, device=DEVICE).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(6):
        start = now()
        a @ b
        seconds.append(now() - start)
    return 2 * n**3 / statistics.median(seconds[1:])


def contend(name: str, batch: int, size: int, steps: int, *, frozen: bool) -> dict[str, Any]:
    """Run one contender in this process."""
    torch.manual_seed(0)
    contender = (CONTENDERS | COMPILED | CAPTURED | PEERS)[name]
    speed = products(torch.bfloat16 if "bf16" in name or "both" in name else torch.float32)
    seconds = list(contender(batch_of(batch, size), steps, frozen=frozen))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if DEVICE.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
    rate = batch / statistics.median(seconds)
    return {"rate": rate, "peak": peak, "share": rate * operations(size, frozen=frozen) / speed}


def main() -> None:
    """Run all contenders, each in a process of its own, and print a table for each kind and batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    filling = [8, 128] if DEVICE.type == "cuda" else [8]
    parser.add_argument("--batches", type=int, nargs="+", default=filling)
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--steps", type=int, default=50 if DEVICE.type == "cuda" else 3)
    parser.add_argument("--compiled", action="store_true", help="also the compiled network")
    parser.add_argument("--peers-python", help="Python of an environment with ultralytics")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--frozen", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.contender:
        batch, size = given.batches[0], given.size
        answer = contend(given.contender, batch, size, given.steps, frozen=given.frozen)
        print(json.dumps(answer))
        return
    device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else platform.machine()
    print(
        f"{device}, torch {torch.__version__}, {given.size}x{given.size}, medians of {given.steps}"
    )
    contenders = dict.fromkeys(CONTENDERS, sys.executable)
    if DEVICE.type == "cuda":
        contenders |= dict.fromkeys(CAPTURED, sys.executable)
    if given.compiled:
        contenders |= dict.fromkeys(COMPILED, sys.executable)
    if given.peers_python:
        contenders |= dict.fromkeys(PEERS, given.peers_python)
    for batch in given.batches:
        for frozen in (False, True):
            kind = "backbone frozen" if frozen else "all layers trained"
            flop = operations(given.size, frozen=frozen) / 1e9
            print(f"\nbatch {batch}, {kind}, {flop:.1f} GFLOP an image\n")
            print("| | images/s | / bare | share of the limit | peak GiB | load |")
            print("|---|---|---|---|---|---|", flush=True)
            first = None
            for name, python in contenders.items():
                command = [python, __file__, "--contender", name, "--batches", str(batch)]
                command += ["--size", str(given.size), "--steps", str(given.steps)]
                command += ["--frozen"] if frozen else []
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"| {name} | {done.stderr.strip().splitlines()[-1]} | | | | |")
                    continue
                answer = json.loads(done.stdout.splitlines()[-1])
                first = first or answer["rate"]
                print(
                    f"| {name} | {answer['rate']:.3g} | {answer['rate'] / first:.2f} | "
                    f"{answer['share']:.0%} | {answer['peak']:.1f} | {os.getloadavg()[0]:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
