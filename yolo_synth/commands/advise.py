"""Advise: what to train of a network on a few labelled real pictures, and whether that is sure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

STEPS: Final = (40, 120)
"""Lengths of the trainings that are tried, where nothing is said."""


def advise(
    network: str,
    real: str = "",
    synthetic: str | None = None,
    split: Literal["train", "all"] = "train",
    images: int | None = None,
    folds: int = 5,
    steps: tuple[int, ...] = STEPS,
    rates: tuple[float, ...] = (),
    seed: int = 0,
    size: int | None = None,
    names: dict[str, str] | None = None,
    save: str | None = None,
    out: str | None = None,
    *,
    trust: bool = False,
) -> None:
    """Say what of a network to train on a few labelled real pictures, and what to freeze.

    About eight blocks, everything, the head and the batch norms are each trained alone, in a short and
    gentle and in a longer way (--steps and --rates), and judged by cross-validation on pictures that they
    were not shown; so are the network as it is, and with the batch norms' statistics of the pictures.
    Where the folds do not agree that something is better than training everything, that is the advice. A
    network that cannot be trained here is only told of its batch norms' statistics. Of a run the numbers
    are kept in its folder, as advise/advise.json, for `report`.

    Args:
        network: A run folder, or any network as in `compare`.
        real: Data file of the labelled pictures, 5 to 500.
        synthetic: Data file of what the network was trained on: what the advice costs on its test
            images is printed too.
        split: Pictures of the training split, or of all splits.
        images: Draw so many of them; by default all.
        folds: Of the cross-validation.
        steps: Lengths of the trainings that are tried, in steps of 8 pictures.
        rates: Peak of Adam's learning rate for each length; by default 0.001 and 0.003, of a run a third
            of the rate that it was trained with, and that rate.
        seed: Of folds, order and augmentation.
        size: Side of the input of a network that is no run, in pixels.
        names: What the data call classes of the network, as {bicycle: cycle}.
        save: File for the weights of the network trained as advised on all pictures: a checkpoint
            (.ckpt), which `model.weights` takes; of networks of others a state dict.
        out: File for the table, as CSV.
        trust: Whether what runs as a program on loading, and classes from elsewhere, may run.
    """
    _check(real, steps, rates)
    from yolo_synth.commands.advising import give_advice  # brings PyTorch

    data = real, synthetic, split, images
    give_advice(
        network, *data, folds, steps, rates, seed, size, names, save=save, out=out, trust=trust
    )


def _check(real: str, steps: Sequence[int], rates: Sequence[float]) -> None:
    if not real:
        raise ValueError("advise needs --real: a data file that names labelled pictures")
    if not steps or min(steps) < 2:
        raise ValueError(f"--steps are at least 2, not {list(steps)}")
    if min(rates, default=1) <= 0:
        raise ValueError(f"--rates are above 0, not {list(rates)}")
