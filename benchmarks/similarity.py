"""Time layer-by-layer CKA of two YOLOv3 networks against the bare forward pass and other packages.

    python benchmarks/similarity.py
    python benchmarks/similarity.py --peers-python ~/peers/bin/python

prints a Markdown table: processor time and peak resident memory of each contender in a process of its
own, one thread, on the same two untrained networks and the same images, and how far its CKA is from
one of float64 forward passes; at large sizes ours on a few of the images, and the others from ours on
all of them. One that cannot run is shown with the memory that it asked for. The other packages are no
dependencies: `--peers-python` is the Python of an environment that has torch, this project,
torch_cka, pytorch_cka, cka_pytorch and ckatorch. Where there is a CUDA device, a table of ours on it
follows.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from yolo_synth.analysis.activations.precision import full_float32
from yolo_synth.analysis.activations.run import Precision, gram_matrices
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.networks.yolov3.network import YOLOv3

LAYERS = [f"layers.{index}" for index in range(107)]
LARGE = 100
"""Side of the images above which float64 forward passes of all of them would take too long."""

BATCH = 20
"""Images a batch of the packages that estimate CKA from batches, at large sizes."""

FORWARDS = 12
"""Images of the bare forward pass and of the float64 reference at large sizes; its time is scaled."""


def networks() -> tuple[YOLOv3, YOLOv3]:
    """Two networks that differ in their seed, with batch norms that fit such pictures."""
    return _network(0), _network(1)


def _network(seed: int) -> YOLOv3:
    torch.manual_seed(seed)
    network = YOLOv3()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(pictures(16, 128).float() / 255)
    return network.eval()


def pictures(images: int, size: int) -> Tensor:
    """Smooth coloured pictures with noise, uint8 [images, 3, size, size]."""
    generator = torch.Generator().manual_seed(0)
    result = torch.empty(images, 3, size, size, dtype=torch.uint8)
    for picture in result:
        coarse = torch.rand(1, 3, 8, 8, generator=generator)
        coarse = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")[0]
        noise = torch.randn(3, size, size, generator=generator)
        picture.copy_((255 * coarse + 10 * noise).clamp(0, 255))
    return result


def reference_grams(network: YOLOv3, images: Tensor) -> Tensor:
    """Gram matrices of a plain float64 forward pass."""
    grams: list[Tensor] = []
    handles = [
        layer.register_forward_hook(lambda _, __, x: grams.append(x.flatten(1) @ x.flatten(1).T))
        for layer in network.double().layers
    ]
    with torch.inference_mode():
        network(images.double() / 255)
    for handle in handles:
        handle.remove()
    network.float()
    return torch.stack(grams)


class Answer(NamedTuple):
    """What a contender returns.

    Attributes:
        cka: [layers, layers]; None if it computes none.
        grams: What it follows from, of both networks; None if it shows none.
        debiased: Which CKA that is.
        step: It compared every so many layers only.
        left_out: Seconds that the other layers would have taken at the same speed.
    """

    cka: Tensor | None = None
    grams: tuple[Tensor, Tensor] | None = None
    debiased: bool = True
    step: int = 1
    left_out: float = 0.0


def bare_forward(first: YOLOv3, second: YOLOv3, images: Tensor) -> Answer:
    """Plain eager float32 forward passes, at the better of two batch sizes."""
    batch = 1 if images.shape[2] > LARGE else len(images)
    with torch.inference_mode():
        for network in (first, second):
            for part in images.split(batch):
                network(part.float() / 255)
    return Answer()


def ours(first: YOLOv3, second: YOLOv3, images: Tensor) -> Answer:
    """This project, float32."""
    grams = gram_matrices(first, images), gram_matrices(second, images)
    return Answer(cka(*grams, debiased=True), grams)


def ours_bfloat16(first: YOLOv3, second: YOLOv3, images: Tensor) -> Answer:
    """This project, bfloat16."""
    a, b = (gram_matrices(net, images, precision="bfloat16") for net in (first, second))
    return Answer(cka(a, b, debiased=True))


def torch_cka(first: YOLOv3, second: YOLOv3, images: Tensor, batch: int = 0) -> Answer:
    """torch_cka's CKA class."""
    from torch_cka import CKA

    compared = CKA(first, second, "a", "b", LAYERS, LAYERS)
    with torch.no_grad():
        compared.compare(_batches(images, batch))
    return Answer(compared.export()["CKA"])


def pytorch_cka(first: YOLOv3, second: YOLOv3, images: Tensor, batch: int = 0) -> Answer:
    """pytorch_cka's compute_cka."""
    from cka import compute_cka

    data = _batches(images, batch)
    return Answer(compute_cka(first, second, data, layers=LAYERS, progress=False)[0])


def cka_pytorch(first: YOLOv3, second: YOLOv3, images: Tensor, batch: int = 0) -> Answer:
    """cka_pytorch's CKACalculator."""
    from cka_pytorch import CKACalculator

    calculator = CKACalculator(first, second, LAYERS, verbose=False)
    return Answer(calculator.calculate_cka_matrix(_batches(images, batch), num_epochs=1))


def ckatorch(first: YOLOv3, second: YOLOv3, images: Tensor) -> Answer:
    """Compare, with ckatorch's cka_base, the features of every eighth layer, scaled up."""
    from ckatorch.core import cka_base

    features: list[list[Tensor]] = []
    for network in (first, second):
        kept: list[Tensor] = []
        for layer in network.layers:
            layer.register_forward_hook(lambda _, __, x, kept=kept: kept.append(x.flatten(1)))
        with torch.inference_mode():
            network(images.float() / 255)
        features.append(kept)
    step, start = 8, time.process_time()
    with torch.inference_mode():
        values = [[cka_base(x, y) for y in features[1][::step]] for x in features[0][::step]]
    left_out = (time.process_time() - start) * (len(LAYERS) ** 2 / len(values) ** 2 - 1)
    return Answer(torch.tensor(values), debiased=False, step=step, left_out=left_out)


def _batches(images: Tensor, batch: int) -> DataLoader[tuple[Tensor, ...]]:
    """Return the images in batches, which makes of CKA an estimate, or with 0 all as one batch."""
    data = TensorDataset(images.float() / 255, torch.zeros(len(images)))
    return DataLoader(data, batch_size=batch or len(images))


OURS: dict[str, Callable[..., Answer]] = {
    "bare forward": bare_forward,
    "ours": ours,
    "ours, bfloat16": ours_bfloat16,
}
PEERS: dict[str, Callable[..., Answer]] = {
    "torch_cka": torch_cka,
    "pytorch_cka": pytorch_cka,
    "cka_pytorch": cka_pytorch,
    "ckatorch": ckatorch,
}
IN_BATCHES: dict[str, Callable[..., Answer]] = {
    f"{name}, batches of {BATCH}": partial(PEERS[name], batch=BATCH)
    for name in ("torch_cka", "pytorch_cka", "cka_pytorch")
}
"""At large sizes, what the others can do at all: estimates from batches."""

ALL = OURS | PEERS | IN_BATCHES


def contend(name: str, size: int, count: int, folder: Path, limit: float) -> dict[str, object]:
    """Run one contender in this process."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (int(limit * 2**30),) * 2)
    images = pictures(count, size)
    pair = networks()
    timed = images[:FORWARDS] if name == "bare forward" and size > LARGE else images
    start = time.process_time()
    try:
        answer = ALL[name](*pair, timed)
    except (RuntimeError, MemoryError, AssertionError) as error:
        return {"failure": _reason(str(error)), "peak": _peak()}
    seconds = (time.process_time() - start) * count / len(timed) + answer.left_out
    result: dict[str, object] = {"seconds": seconds, "peak": _peak()}
    if answer.cka is None:
        return result
    if answer.grams is not None and size > LARGE:
        np.save(folder / "ours.npy", torch.stack(answer.grams).numpy())
    of_all = name not in OURS and size > LARGE
    if not of_all and size > LARGE:
        answer = ALL[name](*pair, images[:FORWARDS])
    grams = torch.from_numpy(np.load(folder / ("ours.npy" if of_all else "reference.npy")))
    a, b = grams[:, :: answer.step]
    error = (answer.cka.double() - cka(a, b, debiased=answer.debiased)).abs()
    return result | {"mean": error.nanmean().item(), "max": error.nan_to_num(0).max().item()}


def _peak() -> float:
    """Return the most memory that this process has held so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _reason(message: str) -> str:
    """Return an error's first line; of a refused allocation its size."""
    asked = re.search(r"allocate (\d+) bytes", message)
    if asked:
        return f"out of memory: asked for {int(asked[1]) / 2**30:.1f} GiB more"
    return f"fails: {message.splitlines()[0]}" if message else "fails"


def write_reference(size: int, count: int, folder: Path) -> None:
    """Keep both networks' Gram matrices in float64, of fewer images at large sizes."""
    images = pictures(count, size)[: count if size <= LARGE else FORWARDS]
    np.save(
        folder / "reference.npy",
        torch.stack([reference_grams(net, images) for net in networks()]).numpy(),
    )


def row(name: str, result: dict[str, object], bare: float) -> str:
    """Format a table row."""
    if "failure" in result:
        return f"| {name} | - | - | {result['peak']:.1f} | - | {result['failure']} |"
    seconds = float(str(result["seconds"]))
    error = f"{result['mean']:.0e} | {result['max']:.0e}" if "mean" in result else "- | -"
    return f"| {name} | {seconds:.1f} | {seconds / bare:.2f} | {result['peak']:.2f} | {error} |"


def main() -> None:
    """Run all contenders, each in a process of its own, and print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 416])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--peers-python", help="Python of an environment with the other packages")
    parser.add_argument("--only", nargs="+", choices=ALL, default=list(ALL))
    parser.add_argument("--repeats", type=int, default=5, help="runs of each at small sizes")
    parser.add_argument(
        "--limit", type=float, default=20, help="GiB of memory a process may ask for"
    )
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender == "reference":
        torch.set_num_threads(1)
        write_reference(given.sizes[0], given.images, given.folder)
    elif given.contender:
        size, count = given.sizes[0], given.images
        print(json.dumps(contend(given.contender, size, count, given.folder, given.limit)))
    else:
        compete(given)
        if torch.cuda.is_available():
            compete_on(torch.device("cuda"), given.sizes, given.images)


def compete_on(device: torch.device, sizes: list[int], count: int) -> None:
    """Print what ours takes on another device, by the clock, beside bare forward passes there."""
    print(f"{device}, torch {torch.__version__}, two networks, {count} images\n")
    print("| | s | / forward | peak GiB of the device | mean error | max error |")
    print("|---|---|---|---|---|---|", flush=True)
    for size in sizes:
        images = pictures(count, size)
        few = images[: count if size <= LARGE else FORWARDS]
        pair = networks()
        exact = [reference_grams(network, few) for network in pair]
        for network in pair:
            network.to(device)
        with full_float32(), torch.inference_mode():
            bare = _clocked(device, partial(_forwards, pair, images.to(device)))
        print(f"| bare forward, {size} x {size} | {bare:.2f} | 1.00 | {_peak_of(device)} | - | - |")
        for precision in ("float32", "bfloat16"):
            run = partial(_similarities, pair, precision=precision)
            run(few)
            seconds = _clocked(device, partial(run, images))
            peak = _peak_of(device)
            error = (run(few) - cka(*exact, debiased=True)).abs()
            errors = f"{error.nanmean():.0e} | {error.nan_to_num(0).max():.0e}"
            name = f"ours, {precision}, {size} x {size}"
            print(
                f"| {name} | {seconds:.2f} | {seconds / bare:.2f} | {peak} | {errors} |", flush=True
            )


def _forwards(pair: tuple[YOLOv3, YOLOv3], images: Tensor) -> None:
    for network in pair:
        for part in images.split(BATCH):
            network(part.float() / 255)


def _similarities(pair: tuple[YOLOv3, YOLOv3], images: Tensor, precision: Precision) -> Tensor:
    a, b = (gram_matrices(network, images, precision=precision) for network in pair)
    return cka(a, b, debiased=True)


def _clocked(device: torch.device, work: Callable[[], object]) -> float:
    """Return the seconds of the second of two calls, all of the device's work included."""
    for _ in range(2):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - start


def _peak_of(device: torch.device) -> str:
    return f"{torch.cuda.max_memory_allocated() / 2**30:.2f}" if device.type == "cuda" else "-"


def compete(given: argparse.Namespace) -> None:
    """Print the tables."""
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread,")
    print(f"two networks, {given.images} images\n")
    for size in given.sizes:
        print(f"{size} x {size}\n")
        print("| | CPU s | / forward | peak GiB | mean error | max error |")
        print("|---|---|---|---|---|---|", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            run(given, sys.executable, "reference", size, folder)
            bare = 1.0
            for name, results in rounds(given, size, folder):
                results.sort(key=lambda result: float(str(result.get("seconds", 0))))
                result = results[len(results) // 2]
                bare = float(str(result["seconds"])) if name == "bare forward" else bare
                print(row(name, result, bare), flush=True)
        print()


def rounds(
    given: argparse.Namespace, size: int, folder: str
) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Run every contender, at small sizes several times in turn, so that noise hits all alike."""
    chosen = [*OURS, *(PEERS if given.peers_python else ())]
    chosen += IN_BATCHES if given.peers_python and size > LARGE else ()
    results: dict[str, list[dict[str, object]]] = {n: [] for n in chosen if n in given.only}
    last = 0 if size > LARGE else given.repeats - 1
    for number in range(last + 1):
        for name, found in results.items():
            if not (number and (name == "ckatorch" or "failure" in found[0])):
                python = sys.executable if name in OURS else given.peers_python
                found.append(json.loads(run(given, python, name, size, folder).splitlines()[-1]))
            if number == last:
                yield name, found


def run(given: argparse.Namespace, python: str, contender: str, size: int, folder: str) -> str:
    """Run one contender in a process of its own and return what it printed."""
    command = [python, __file__, "--contender", contender, "--sizes", str(size)]
    command += ["--images", str(given.images), "--limit", str(given.limit), "--folder", folder]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
