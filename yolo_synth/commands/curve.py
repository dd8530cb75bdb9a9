"""Curve: how mAP grows with real pictures, and how many of them synthetic ones are worth."""

from __future__ import annotations

from collections.abc import Sequence


def curve(
    synthetic: str,
    real_data: str,
    real: tuple[int, ...] = (0, 10, 40, 160),
    seeds: int = 3,
    config: str | None = None,
    steps: int | None = None,
    rate: float | None = None,
    out: str = "curve",
    parallel: int | None = None,
    *,
    trust: bool = False,
) -> None:
    """Say how mAP on real images grows with labelled real pictures, and what synthetic ones are worth.

    At each number of real pictures and each seed three recipes are trained: real pictures only; synthetic
    ones, then real; and both together, half of each batch real on average. All take the same number of
    steps in all: the second recipe half of them on synthetic pictures, in a training that all numbers
    share, and half on real ones. A seed draws the pictures, one by one, the smaller numbers within the
    greater; weights and order follow from it too. No training is chosen by validation images: each
    network is measured on the real test images as it is at its end.

    Each recipe's error, 1 - mAP@0.5, is fitted by D n^-beta + C over the numbers above 0 (three at least),
    with 95 % intervals over seeds. That of real pictures alone says how many of them reach what another
    recipe does; nothing is said beyond the largest number. curve.html, curve.json, curve.csv and curve.png
    are written into the folder OUT, trainings below it, with their checkpoints (of YOLOv3 at full width
    1.2 GB each): the same command goes on where it was ended.

    Args:
        synthetic: Data file of the synthetic images, as experiments/data/gtav.yaml.
        real_data: Data file of the real images, as experiments/data/bdd100k.yaml.
        real: Numbers of real training pictures; synthetic pictures alone are always trained.
        seeds: How many seeds, 0 and up: one gives no intervals, and two give very wide ones.
        config: Experiment file whose model and trainer all trainings have, as experiments/u_real.yaml;
            its data, seed and name are left out. By default what fit does.
        steps: Steps of each training, rounded up to a multiple of 10; by default as many as the experiment
            takes for all real pictures.
        rate: Learning rate of the second half of synthetic, then real; by default the model's own.
        out: Folder to write to.
        parallel: How many runs to train at a time, as in sweep.
        trust: Whether classes from elsewhere that the files name are imported and run.
    """
    from yolo_synth.commands.curving import train_curve  # late, so that help is answered at once

    numbers = _numbers(real)
    _check(seeds, steps, rate, parallel)
    train_curve(synthetic, real_data, numbers, seeds, config, steps, rate, out, parallel, trust)


def _numbers(real: Sequence[int]) -> tuple[int, ...]:
    if min(real, default=-1) < 0 or len(set(real)) < len(real) or not any(real):
        raise ValueError(
            f"--real is a list of numbers of pictures, each once, some above 0, not {list(real)}"
        )
    return tuple(sorted(real))


def _check(seeds: int, steps: int | None, rate: float | None, parallel: int | None) -> None:
    for name, value in (("seeds", seeds), ("steps", steps), ("parallel", parallel)):
        if value is not None and value < 1:
            raise ValueError(f"--{name} is at least 1, not {value}")
    if rate is not None and not 0 < rate < float("inf"):
        raise ValueError(f"--rate is a learning rate above 0, not {rate}")
