"""What detection gains from folded norms, the order of memory and bfloat16, in one run.

python benchmarks/detecting.py [RUN PICTURES]

Speed is that of YOLOv3 at width 1, batch 1, 416 pixels, random weights: forward passes of the network as
it was loaded, and of the same made ready for detection, in turns; medians of the processor's seconds
(what others on the machine do then counts less) and of the clock's. With a run folder and a folder of
pictures: how many of what its network finds above 0.25 are found again, of the same class, with IoU of at
least 0.9 and scores that differ by at most 0.05.
"""

from __future__ import annotations

import sys
import time
from statistics import median

import numpy as np
import torch

from yolo_synth.boxes import iou
from yolo_synth.data.shots import open_shots
from yolo_synth.detecting import Found, detector_of
from yolo_synth.networks.quick import Precision, casting, make_quick
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.runs import read_run

ROUNDS = 5


def calibrated() -> YOLOv3:
    """Return YOLOv3 with statistics of batch norms that are not those of the start."""
    torch.manual_seed(0)
    network = YOLOv3(5).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_var is not None:
            module.running_var.uniform_(0.5, 1.5)
    return network


@torch.inference_mode()
def speed() -> None:
    """Print seconds a forward pass, and ratios to the plain one."""
    images = torch.rand(1, 3, 416, 416)
    networks = {"plain float32": (calibrated(), "float32")}
    for precision in ("float32", "bfloat16"):
        network = calibrated()
        print(f"{make_quick(network, images, precision)} norms folded")
        networks[f"ready, {precision}"] = (network, precision)
    clock: dict[str, list[float]] = {name: [] for name in networks}
    cpu: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(ROUNDS + 1):
        for name, (network, precision) in networks.items():
            given = images.contiguous(
                memory_format=torch.contiguous_format if "plain" in name else torch.channels_last
            )
            began, used = time.perf_counter(), time.process_time()
            with casting(torch.device("cpu"), precision):
                network(given)
            if turn:  # the first warms up
                clock[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - used)
    print(f"{torch.get_num_threads()} threads, medians of {ROUNDS}")
    first = median(cpu["plain float32"]), median(clock["plain float32"])
    for name in networks:
        ours = median(cpu[name]), median(clock[name])
        print(
            f"{name:18s} CPU {ours[0]:.3f} s, {first[0] / ours[0]:.2f} x; clock {ours[1]:.3f} s, "
            f"{first[1] / ours[1]:.2f} x"
        )


def found(run: str, pictures: str, precision: Precision, *, plain: bool = False) -> list[Found]:
    """Return what a run's network finds in pictures."""
    detector = detector_of(read_run(run), confidence=0.25, precision=precision, batch=1)
    if plain:
        vars(detector)["_device"] = torch.device("cpu")  # is ready as it is
    return list(detector.find(open_shots(pictures).each))


def agreement(run: str, pictures: str) -> None:
    """Print how much is found again."""
    plain = found(run, pictures, "float32", plain=True)
    for precision in ("float32", "bfloat16"):
        ready = found(run, pictures, precision)
        again = total = 0
        for one, other in zip(plain, ready, strict=True):
            total += len(one.labels)
            overlap = iou(one.boxes[:, None], other.boxes[None])
            same = (overlap >= 0.9) & (one.labels[:, None] == other.labels[None])
            same &= np.abs(one.scores[:, None] - other.scores[None]) <= 0.05
            again += int(same.any(1).sum())
        more = sum(len(one.labels) for one in ready)
        print(f"ready, {precision}: {again} of {total} found again; it finds {more}")


if __name__ == "__main__":
    speed()
    if len(sys.argv) == 3:
        agreement(*sys.argv[1:])
