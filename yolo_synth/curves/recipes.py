"""The trainings of a learning curve: three ways to use real and synthetic pictures, at equal cost.

All take the same number of optimizer's steps in all. Real pictures alone and both together take them in
one training; synthetic, then real takes the first half on synthetic pictures, in a training that all
numbers of real pictures share, and the second half from its weights. Nothing is chosen by validation
images, of which a user with ten labelled pictures has none: each network is measured as it is at its
training's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from yolo_synth.runs import BEST, Config

Recipe = Literal["synthetic", "real", "tuned", "both"]

TITLES: Final[dict[Recipe, str]] = {
    "real": "real only",
    "tuned": "synthetic, then real",
    "both": "both together",
    "synthetic": "synthetic only",
}

PARTS: Final = 10
"""Epochs of a whole training, at least: after each one it can go on if it is killed."""

LONGEST: Final = 500
"""Steps of an epoch, at most."""

OWN_OPTIONS: Final = ("train_images", "train_seed", "epoch_images")
"""Options of the data that the curve sets."""

_OF_A_MIXTURE: Final = (
    *("image_size", "resize", "batch_size", "num_workers", "augment", "mosaic", "cache"),
    *("on_error", "max_skipped"),
)
"""Options that a mixture has in place of its parts."""

_OF_ONE_RUN: Final = ("data", "seed_everything", "name", "variant", "runs", "ckpt_path")
_OF_THE_LENGTH: Final = ("max_epochs", "max_steps", "check_val_every_n_epoch")
OF_ANOTHER_LENGTH: Final = (
    *("min_epochs", "min_steps", "max_time", "val_check_interval", "limit_train_batches"),
    *("overfit_batches", "fast_dev_run", "accumulate_grad_batches"),
)
"""Options of the trainer that would give trainings another length than the curve's."""


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        recipe: What it is trained on.
        images: How many real pictures.
        seed: Of the draw of these, of the weights, and of order and augmentation.
        rate: Learning rate, where it is not the experiment's.
    """

    recipe: Recipe
    images: int
    seed: int
    rate: float | None = None

    @property
    def model(self) -> str:
        """The name of its run: `real-40`, `tuned-40-lr=0.001`."""
        name = f"{self.recipe}-{self.images}" if self.images else self.recipe
        return name if self.rate is None else f"{name}-lr={self.rate:g}"

    def folder(self, runs: Path) -> Path:
        """Return its run folder, in one of run folders."""
        return runs / self.model / str(self.seed)


def trainings(numbers: Sequence[int], seeds: int, rate: float) -> list[list[Training]]:
    """Return what is trained: first what starts afresh, then what starts from synthetic networks.

    Args:
        numbers: Of real pictures.
        seeds: How many.
        rate: Learning rate of the second half of synthetic, then real.
    """
    some = [n for n in numbers if n]
    first = [Training("synthetic", 0, seed) for seed in range(seeds)]
    first += [
        Training(recipe, n, seed)
        for n in some
        for recipe in ("real", "both")
        for seed in range(seeds)
    ]
    return [first, [Training("tuned", n, seed, rate) for n in some for seed in range(seeds)]]


@dataclass(frozen=True)
class Budget:
    """How long all trainings are.

    Attributes:
        epochs: Of a whole training; an even number.
        epoch: Steps of an epoch.
        batch: Images of a step.
    """

    epochs: int
    epoch: int
    batch: int

    @property
    def steps(self) -> int:
        """Steps of a whole training."""
        return self.epochs * self.epoch


def budget(steps: int, batch: int) -> Budget:
    """Divide steps into epochs, an even number and none too long; rounded up where they do not go."""
    epochs = max(PARTS, 2 * -(-steps // (2 * LONGEST)))
    return Budget(epochs, -(-steps // epochs), batch)


@dataclass(frozen=True)
class Plan:
    """What all trainings have in common.

    Attributes:
        experiment: An experiment file's settings.
        real: Configuration of the real data.
        synthetic: That of the synthetic data.
        budget: How long trainings are.
    """

    experiment: Config
    real: Config
    synthetic: Config
    budget: Budget

    def common(self) -> dict[str, Any]:
        """Return all that decides the results, so that trainings of other plans are told apart."""
        return {
            **self._settings(self.budget.epochs),
            "data": {"real": self.real, "synthetic": self.synthetic},
            "steps": [self.budget.epochs, self.budget.epoch, self.budget.batch],
        }

    def settings(self, training: Training, runs: Path) -> dict[str, Any]:
        """Return the experiment file of a training.

        Args:
            training: The training.
            runs: Folder of all run folders.
        """
        halved = training.recipe in ("synthetic", "tuned")
        settings = self._settings(self.budget.epochs // (2 if halved else 1))
        if training.recipe == "tuned":
            start = Training("synthetic", 0, training.seed).folder(runs) / BEST
            model = {"backbone": None, "weights": str(start), "lr": training.rate}
            settings["model"] = {**settings.get("model", {}), **model}
        return {
            "seed_everything": training.seed,
            "name": training.model,
            **settings,
            "data": self._data(training),
        }

    def _settings(self, epochs: int) -> dict[str, Any]:
        """Return the experiment's settings with what the curve says of length, and nothing drawn."""
        settings: dict[str, Any] = {
            key: value for key, value in self.experiment.items() if key not in _OF_ONE_RUN
        }
        left_out = (*_OF_THE_LENGTH, *OF_ANOTHER_LENGTH)
        trainer = {k: v for k, v in settings.get("trainer", {}).items() if k not in left_out}
        trainer |= {"max_epochs": epochs, "check_val_every_n_epoch": epochs}
        quiet = {"enable_progress_bar": False, "enable_model_summary": False}
        nothing = {name: {"images": 0} for name in ("similarity", "pictures")}
        return {**settings, "trainer": {**quiet, **trainer}, **nothing}

    def _data(self, training: Training) -> dict[str, Any]:
        length = {"epoch_images": self.budget.epoch * self.budget.batch}
        drawn = {"train_images": training.images, "train_seed": training.seed}
        if training.recipe == "synthetic":
            return with_options(self.synthetic, length)
        if training.recipe != "both":
            return with_options(self.real, {**drawn, **length})
        own = self.real.get("init_args") or {}
        return {
            "class_path": "yolo_synth.Mixed",
            "init_args": {
                "parts": {
                    "real": with_options(self.real, drawn),
                    "synthetic": with_options(self.synthetic, {}),
                },
                "shares": {"real": 1.0, "synthetic": 1.0},
                "target": "real",
                **{key: own[key] for key in _OF_A_MIXTURE if key in own},
                **length,
            },
        }


def with_options(data: Config, options: Config) -> dict[str, Any]:
    """Return a data configuration with some options in place of its own."""
    return {**data, "init_args": {**(data.get("init_args") or {}), **options}}
