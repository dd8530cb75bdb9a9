"""Kill a training at random moments, give the same command again, compare with the undisturbed run.

    python benchmarks/kills.py --before 10 --between 25 --after 5

Each trial trains small drawn scenes with workers and augmentation, is killed by SIGKILL, every other
time with its children, and goes on by the same command. It has survived if that ends with 0 and all
that the run folder holds of the training is the same to the bit: weights, optimizer, early stopping,
metrics, summary, configuration.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from yolo_synth.scenes.formats import write_tiny

COMPARED = ("initial.ckpt", "best.ckpt", "last.ckpt", "metrics.csv", "summary.json")


def command(scenes: Path, out: Path, epochs: int) -> list[str]:
    """Return the command of a small training with workers, mosaics and a similarity."""
    options = {
        "--runs": out,
        "--data": "yolo_synth.BDD100K",
        "--data.root": scenes / "bdd100k",
        "--data.splits": scenes / "splits/bdd100k",
        "--data.image_size": 64,
        "--data.num_workers": 2,
        "--data.mosaic": "true",
        "--model.width": 0.0625,
        "--model.lr": 0.001,
        "--model.schedule": "one_cycle",
        "--trainer.accelerator": "cpu",
        "--trainer.max_epochs": epochs,
        "--trainer.log_every_n_steps": 1,
        "--trainer.enable_progress_bar": "false",
        "--trainer.enable_model_summary": "false",
        "--similarity.images": 8,
        "--pictures.every": 3,
    }
    given = [f"{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "yolo_synth", "fit", *given]


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, without a server."""
    return subprocess.Popen(
        arguments,
        env=os.environ | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def numbers(value: object, place: str = "") -> dict[str, torch.Tensor]:
    """Return all numbers in a checkpoint, by place; folders in the places are left out."""
    if isinstance(value, dict):
        items = [
            (Path(key).name if str(key).startswith(os.sep) else str(key), part)
            for key, part in value.items()
        ]
    elif isinstance(value, list | tuple):
        items = [(str(number), part) for number, part in enumerate(value)]
    else:
        known = isinstance(value, torch.Tensor | int | float)
        return {place: torch.as_tensor(value)} if known else {}
    return {k: v for key, part in items for k, v in numbers(part, f"{place}/{key}").items()}


def differing(run: Path, whole: Path) -> list[str]:
    """Name what differs between two run folders; how often a loop was started is no difference."""
    found = []
    for name in COMPARED:
        if not (run / name).is_file():
            found.append(name)
        elif name.endswith(".ckpt"):
            ours, theirs = (numbers(torch.load(r / name, weights_only=True)) for r in (run, whole))
            keys = {k for k in {*ours, *theirs} if not k.startswith("/loops")}
            found += [
                f"{name}{key}"
                for key in sorted(keys)
                if key not in ours or key not in theirs or not torch.equal(ours[key], theirs[key])
            ][:1]
        elif (run / name).read_bytes() != (whole / name).read_bytes():
            found.append(name)
    stray = [path.name for path in run.rglob(".*") if path.name.endswith((".draft", ".claim"))]
    return found + stray + ([] if list(run.glob("similarity/*/similarity.npz")) else ["similarity"])


def wait(process: subprocess.Popen[bytes], path: Path | None, seconds: float) -> None:
    """Wait for a file and then so many seconds, or for the process's end."""
    while path is not None and not path.is_file() and process.poll() is None:
        time.sleep(0.01)
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)


def main() -> None:
    """Run the trials and print how many survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=int, default=10, help="kills before the first checkpoint")
    parser.add_argument("--between", type=int, default=25, help="from there to the training's end")
    parser.add_argument("--after", type=int, default=5, help="after summary.json")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_tiny(root / "scenes", images=40)
        run = Path("U-Real/0")
        process = start(command(root / "scenes", root / "whole", options.epochs))
        begun = time.monotonic()
        wait(process, root / "whole" / run / "last.ckpt", 0)
        first = time.monotonic() - begun
        wait(process, root / "whole" / run / "summary.json", 0)
        training = time.monotonic() - begun - first
        assert process.wait() == 0
        after = time.monotonic() - begun - first - training
        moments: list[tuple[str, str | None, float]] = [
            *[("before", None, draw.uniform(0, first)) for _ in range(options.before)],
            *[("between", "last.ckpt", draw.uniform(0, training)) for _ in range(options.between)],
            *[("after", "summary.json", draw.uniform(0, after)) for _ in range(options.after)],
        ]
        survived = dict.fromkeys(("before", "between", "after"), 0)
        for number, (phase, file, seconds) in enumerate(moments):
            out = root / str(number)
            arguments = command(root / "scenes", out, options.epochs)
            process = start(arguments)
            wait(process, None if file is None else out / run / file, seconds)
            ended = process.poll() is not None
            if not ended:
                (os.killpg if number % 2 else os.kill)(process.pid, signal.SIGKILL)
            process.communicate()
            again = start(arguments)
            said = again.communicate()[1].decode(errors="replace")
            wrong = differing(out / run, root / "whole" / run)
            good = again.returncode == 0 and not wrong
            survived[phase] += good
            state = "survived" if good else f"LOST: exit {again.returncode}, {wrong} {said[-300:]}"
            late = ", which had ended" if ended else ""
            print(f"{phase} + {seconds:.2f} s{late}: {state}", flush=True)
            shutil.rmtree(out)
        for phase, count in survived.items():
            print(f"{phase}: {count} of {getattr(options, phase)} survived")


if __name__ == "__main__":
    main()
