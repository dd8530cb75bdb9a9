"""The demo: the whole study on small drawn scenes, by the commands that a user would type."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from yolo_synth.commands.init import init

COMMANDS: Final = (
    ("demo/data/tiny.json", "data tiny demo/data --images 500"),
    ("demo/pretraining/tiny.json", "data tiny demo/pretraining --images 500 --seed 100"),
    (
        "demo/pretraining/runs/Pretrained/100/summary.json",
        "fit --config experiments/tiny_pretraining.yaml --runs demo/pretraining/runs "
        "--name Pretrained",
    ),
    (
        "demo/backbone.conv.74",
        "export demo/pretraining/runs/Pretrained/100 demo/backbone.conv.74 --last_layer 74",
    ),
    (None, "sweep experiments/tiny_sweep.yaml --runs demo/runs --parallel 2"),
    (None, "evaluate demo/runs"),
    (
        "demo/runs/U-Synthetic/0/why/why.html",
        "why demo/runs/U-Synthetic --oracle demo/runs/U-Real",
    ),
    (None, "report demo/runs --out demo/report --images 60"),
)
"""What each step leaves behind (None: the command itself knows what is done), and the command."""


def demo() -> None:
    """Run the whole study in miniature, in ./demo.

    Draws small street scenes in both data sets' formats, trains U-Real, U-Synthetic, F-Real and
    F-Synthetic on them with two seeds, tests each on both, says why U-Synthetic is bad on real scenes and
    writes the report, whose card has that too. What is done already is not done again; remove ./demo to
    start afresh. Without ./experiments, its files are written first.
    """
    if not Path("experiments/tiny_sweep.yaml").is_file():
        init()
    start = time.monotonic()
    for made, command in COMMANDS:
        if made is not None and Path(made).exists():
            continue
        print(f"\n$ yolo-synth {command}", flush=True)  # noqa: T201
        _run(command)
    minutes = (time.monotonic() - start) / 60
    print(f"\nThe demo took {minutes:.1f} minutes; open demo/report/report.html")  # noqa: T201


def _run(command: str) -> None:
    environment = {**os.environ, "WANDB_SILENT": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "yolo_synth", *command.split()], env=environment, check=False
    )
    if done.returncode:
        raise ValueError(f"yolo-synth {command} ended with exit code {done.returncode}")
