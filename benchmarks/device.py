"""The parts of `device.sh`: what a CUDA card shows, or with `--rehearse` that the script itself runs."""

from __future__ import annotations

import argparse
import copy
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import similarity
import torch
import training
from torch import Tensor
from torch.utils.data import DataLoader

from yolo_synth.analysis.activations.precision import full_float32
from yolo_synth.analysis.activations.run import Precision, gram_matrices
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.networks.yolov3 import YOLOv3

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ORACLE = Path(__file__).parents[1] / "tests/oracle"


def attempt(name: str, work: Callable[[], str]) -> None:
    """Print a table row, or in its place why there is none."""
    try:
        row = work()
    except Exception as error:  # whatever it is, the other rows come
        row = f"{type(error).__name__}: {' '.join(str(error).split())[:200]} |"
    print(f"| {name} | {row}", flush=True)
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()


def card(given: argparse.Namespace) -> None:
    """Say what this is measured on."""
    on_cuda = DEVICE.type == "cuda"
    name = torch.cuda.get_device_name() if on_cuda else platform.processor() or platform.machine()
    free = f", {torch.cuda.mem_get_info()[0] / 2**30:.0f} GiB free" if on_cuda else ", rehearsal"
    print(f"{name}{free}, Python {platform.python_version()}, torch {torch.__version__}")


def parity(given: argparse.Namespace) -> None:
    """Compare all layers with Darknet's figures, and the loss with the paper's code base's."""
    tests = Path(__file__).parents[1] / "tests"
    sys.path += [str(tests), str(tests / "networks/yolov3")]
    try:
        import pytest  # noqa: F401 - on a bare machine it may not be there
    except ImportError:
        sys.modules["pytest"] = MagicMock()
    print("| | layers | largest deviation / std |\n|---|---|---|")

    def layers() -> str:
        import test_weights as darknet

        figures = dict(np.load(ORACLE / "darknet_layers.npz"))
        constants = zip(figures["gain"], figures["bias"], strict=True)
        path = given.folder / "yolov3.weights"
        predictions = dict(zip(darknet.PREDICTIONS, constants, strict=True))
        content = b"".join(darknet.random_darknet_weights(predictions))
        path.write_bytes(darknet.darknet_header() + content)
        network = YOLOv3().eval()
        network.load_weights(path)
        path.unlink()
        outputs: list[Tensor] = []
        for layer in network.to(DEVICE).layers:
            layer.register_forward_hook(lambda _, __, output: outputs.append(output[0]))
        image = torch.from_numpy(figures["image"])[None].float() / 255
        with torch.inference_mode(), full_float32():
            network(image.to(DEVICE))
        worst = 0.0
        for index, output in enumerate(outputs):
            ordered = output.permute(0, 3, 1, 2) if network.kinds[index] == "yolo" else output
            values = ordered.cpu().numpy().ravel()
            at = np.linspace(0, values.size - 1, 64).round().astype(int)
            error = np.abs(values[at] - figures["values"][index]).max() / figures["std"][index]
            worst = max(worst, float(error))
        return f"{len(outputs)} | {worst:.0e} (3e-03 allowed) |"

    def loss() -> str:
        import test_loss as paper

        before = paper.detection_loss

        def there(raw: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
            moved = [{k: v.to(DEVICE) for k, v in target.items()} for target in targets]
            terms = before([level.to(DEVICE) for level in raw], moved)
            return {name: value.cpu() for name, value in terms.items()}

        paper.detection_loss = there
        paper.test_agrees_with_the_papers_code_base()
        return "3 terms | within 1e-05 |"

    attempt("Darknet's layers", layers)
    attempt("the loss of April 2020", loss)


def similarity_(given: argparse.Namespace) -> None:
    """Time exact Gram matrices beside bare forward passes and beside a user's own hook."""
    count = 12 if given.rehearse else 200
    print(
        f"{count} images, one network, the second of two calls; debiased CKA's error from float64"
    )
    print("\n| | s | / forward | peak GiB | mean error | largest |\n|---|---|---|---|---|---|")
    for side in (32, 64) if given.rehearse else (32, 416):
        similarity_at(side, count, 2**27 if given.rehearse else 5 * 2**30)
    many, side = (40, 32) if given.rehearse else (2000, 416)
    network, images = similarity.networks()[0].to(DEVICE), similarity.pictures(many, side)
    attempt(f"ours, float32, {many} images", lambda: once(lambda: gram_matrices(network, images)))


def similarity_at(side: int, count: int, little_memory: int) -> None:
    """Print the rows of one size of images; the errors are of 12 of them."""
    network, images = similarity.networks()[0], similarity.pictures(count, side)
    exact = similarity.reference_grams(copy.deepcopy(network).to(DEVICE), images[:12].to(DEVICE))
    exact = exact.cpu()
    network.to(DEVICE)
    bare: dict[str, float] = {}

    def forward(kind: str, batch: int) -> str:
        there = images.to(DEVICE)
        with full_float32(), torch.inference_mode():
            seconds = similarity._clocked(DEVICE, lambda: passed(network, there, batch, kind))
        bare.setdefault(kind, seconds)
        return (
            f"{seconds:.3f} | {seconds / bare[kind]:.2f} | {similarity._peak_of(DEVICE)} | - | - |"
        )

    def measured(kind: str, work: Callable[[Tensor], Tensor]) -> str:
        with full_float32():
            seconds = similarity._clocked(DEVICE, lambda: work(images))
            peak = similarity._peak_of(DEVICE)
            few = work(images[:12]).cpu().double()
        error = (cka(few, few, True) - cka(exact, exact, True)).abs()
        errors = f"{error.nanmean():.0e} | {error.nan_to_num(0).max():.0e}"
        ratio = seconds / bare.get(kind, float("nan"))
        return f"{seconds:.3f} | {ratio:.2f} | {peak} | {errors} |"

    kinds: tuple[Precision, ...] = ("float32", "bfloat16")
    for kind in kinds:
        for batch in (20, count):
            name = f"bare forward, {kind}, {side}, batch {batch}"
            attempt(name, partial(forward, kind, batch))
        attempt(f"a hook, {kind}, {side}", partial(measured, kind, partial(hooked, network, kind)))
        ours = partial(gram_matrices, network, precision=kind)
        attempt(f"ours, {kind}, {side}", partial(measured, kind, ours))
    ours = partial(gram_matrices, network, memory=little_memory)
    attempt(f"ours, float32, {side}, little memory", partial(measured, "float32", ours))


def passed(network: YOLOv3, images: Tensor, batch: int, kind: str) -> None:
    """Run plain forward passes."""
    with torch.autocast(DEVICE.type, torch.bfloat16, enabled=kind == "bfloat16"):
        for part in images.split(batch):
            network(part.float() / 255)


@torch.inference_mode()
def hooked(network: YOLOv3, kind: str, images: Tensor) -> Tensor:
    """Do what a user would in ten lines: one batch, and the product in a hook."""
    grams: list[Tensor] = []
    handles = [
        layer.register_forward_hook(lambda _, __, x: grams.append(x.flatten(1) @ x.flatten(1).T))
        for layer in network.layers
    ]
    passed(network, images.to(DEVICE), len(images), kind)
    for handle in handles:
        handle.remove()
    return torch.stack([gram.float() for gram in grams])


def once(work: Callable[[], object]) -> str:
    """Return a row of seconds alone."""
    start = time.perf_counter()
    work()
    return f"{time.perf_counter() - start:.1f} | - | {similarity._peak_of(DEVICE)} | - | - |"


def training_(given: argparse.Namespace) -> None:
    """Time steps of training, eager, captured and compiled, beside the bare loop."""
    size, steps = (64, 2) if given.rehearse else (416, 20)
    names = ["bare loop, both", "ours, bf16-mixed", "ours, bf16-mixed, captured"]
    print(f"{size} px; images a second\n\n| | trained | frozen |\n|---|---|---|")
    for batch in (2,) if given.rehearse else (8, 64, 128):
        more = ["bare loop, float32", "ours, 16-mixed, captured"] if batch < 64 else []
        for name in names + more:
            attempt(f"{name}, batch {batch}", partial(rates, name, batch, size, steps))
    compiled = ["ours, bf16-mixed, compiled", "ours, bf16-mixed, compiled, captured"]
    for name in () if given.rehearse else compiled:  # they take the longest: last
        attempt(f"{name}, batch 8", partial(rates, name, 8, size, steps))


def rates(name: str, batch: int, size: int, steps: int) -> str:
    """Return the rates of one contender, trained and frozen."""
    torch.manual_seed(0)
    contender = (training.CONTENDERS | training.COMPILED | training.CAPTURED)[name]
    found = []
    for frozen in (False, True):
        seconds = list(contender(training.batch_of(batch, size), steps, frozen=frozen))
        found.append(f"{batch / float(np.median(seconds[len(seconds) // 3 :])):.0f}")
    return " | ".join(found) + " |"


def loading(given: argparse.Namespace) -> None:
    """Time the loader alone, on pictures of 1280x720."""
    from yolo_synth.data.module import DetectionData  # noqa: F401 - it needs what decodes pictures
    from yolo_synth.data.source import data_module

    root = given.folder / "scenes"
    command("data", "tiny", root, f"--images={30 if given.rehearse else 250}")
    module = data_module(
        {
            "class_path": "yolo_synth.BDD100K",
            "init_args": {
                "root": str(root / "bdd100k"),
                "splits": str(root / "splits/bdd100k"),
                "num_workers": 0 if given.rehearse else min(16, os.cpu_count() or 1),
            },
        }
    )
    module.prepare_data()
    module.setup("fit")
    loader: DataLoader[object] = module.train_dataloader()
    print("| | images/s |\n|---|---|")

    def rate() -> str:
        images, start = 0, 0.0
        for epoch in range(3):
            start, images = (time.perf_counter(), 0) if epoch == 1 else (start, images)
            for batch in loader:
                images += len(batch[0])  # type: ignore[index]
        return f"{images / (time.perf_counter() - start):.0f} |"

    attempt("training images", rate)


def commands(given: argparse.Namespace) -> None:
    """Time what a user calls, one after the other."""
    small, runs = given.rehearse, given.folder / "runs"
    root = given.folder / "scenes"
    command("data", "tiny", root, f"--images={30 if small else 250}")
    print("| | s |\n|---|---|")
    side, width = (64, 0.0625) if small else (416, 1)

    def fit(kind: str, folder: str, captured: bool) -> Callable[[], object]:
        return lambda: command(
            "fit",
            f"--data=yolo_synth.{kind}",
            f"--data.root={root / folder}",
            f"--data.splits={root / 'splits' / folder}",
            f"--data.image_size={side}",
            "--data.batch_size=8",
            f"--runs={runs}",
            f"--model.width={width}",
            f"--model.captured={str(captured).lower()}",
            f"--trainer.max_epochs={1 if small else 6}",
            f"--trainer.precision={'32-true' if small else 'bf16-mixed'}",
            "--trainer.enable_progress_bar=false",
            f"--similarity.images={0 if small else 30}",
        )

    real, synthetic = runs / "U-Real/0", runs / "U-Synthetic/0"
    pictures = os.environ.get("PICTURES")
    steps: list[tuple[str, Callable[[], object]]] = [
        ("fit, captured", fit("BDD100K", "bdd100k", True)),
        ("fit, eager", fit("GTAV", "gtav", False)),
        ("evaluate", lambda: command("evaluate", runs)),
        (
            "compare, two networks, page included",
            lambda: command(
                "compare", real, synthetic, f"--images={6 if small else 50}", f"--size={side}"
            ),
        ),
        ("report", lambda: command("report", runs, *(["--images=6"] if small else []))),
        ("predict", lambda: command("predict", f"--config={real}/config.yaml", f"--runs={runs}")),
    ]
    if pictures:
        steps.append(("predict on PICTURES", lambda: command("predict", real, pictures)))
    for name, work in steps:
        attempt(name, partial(seconds_of, work))


def seconds_of(work: Callable[[], object]) -> str:
    """Return a row of seconds."""
    start = time.perf_counter()
    work()
    return f"{time.perf_counter() - start:.1f} |"


def command(*arguments: object) -> None:
    """Call the command line as a user would.

    Raises:
        RuntimeError: If it fails, with its last line.
    """
    line = [sys.executable, "-m", "yolo_synth", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"code {done.returncode}: {(done.stderr.strip() or '-').splitlines()[-1]}"
        )


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "card": card,
    "parity": parity,
    "similarity": similarity_,
    "training": training_,
    "loading": loading,
    "commands": commands,
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--folder", type=Path, required=True, help="for what is made on the way")
    parser.add_argument("--rehearse", action="store_true", help="small sizes, on any device")
    given = parser.parse_args()
    if DEVICE.type != "cuda" and not given.rehearse:
        sys.exit("there is no CUDA device: --rehearse tries the script with small sizes")
    PARTS[given.part](given)


if __name__ == "__main__":
    main()
