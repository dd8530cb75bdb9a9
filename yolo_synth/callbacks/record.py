"""Recording: what a run writes of itself into its folder and to Weights & Biases."""

from __future__ import annotations

import csv
import json
import os
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from yolo_synth import runs
from yolo_synth.claims import is_held
from yolo_synth.files import digest, write_whole

_SPLITS: Final = ("train", "valid", "test")


class MetricsFile(Logger):
    """`metrics.csv` in the run folder: a row a logged step, kept when a run goes on.

    Lightning's CSVLogger deletes the rows of before.
    """

    def __init__(self, folder: str | Path) -> None:
        """Name the run folder; nothing is written before the first row."""
        super().__init__()
        self.path = Path(folder) / runs.METRICS
        self.rows: list[dict[str, float]] = []

    @property
    def name(self) -> str:
        """Return the folder's name."""
        return self.path.parent.name

    @property
    def version(self) -> str:
        """Return no version: a run folder has none."""
        return ""

    @property
    def save_dir(self) -> str:
        """Return the run folder."""
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any) -> None:  # noqa: ANN401
        """Do nothing: `config.yaml` has them all."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a row."""
        self.rows.append({"step": step if step is not None else len(self.rows), **metrics})

    @rank_zero_only
    def save(self) -> None:
        """Write all rows; a reader never sees half a file."""
        if self.rows and is_held(self.path.parent):  # else what trains says so
            write_whole(self.path, pd.DataFrame(self.rows).to_csv(index=False))

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:  # noqa: ANN401
        """Write the rows that a run which goes on from the checkpoint will not log again."""
        self.save()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left to write, whatever the end was."""
        self.save()

    @rank_zero_only
    def resume(self, step: int) -> None:
        """Take over the rows of before, up to the checkpoint that the run goes on from."""
        if not self.path.is_file():
            return
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = [
                    {name: _number(text) for name, text in row.items() if text}
                    for row in csv.DictReader(file)
                ]
            self.rows = [row for row in rows if row["step"] < step]
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            ArithmeticError,
            csv.Error,
        ) as error:
            raise ValueError(
                f"{self.path}: not the metrics of a run, or damaged; remove it to go on without the "
                "rows of before"
            ) from error


def _number(text: str) -> float:
    """Read a number so that it is written as it was."""
    return int(text) if text.isdigit() else float(text)


def loggers(folder: Path, model: str, seed: int, goes_on: bool) -> list[Logger]:
    """Begin the record of a run, in its folder, or go on with it: `metrics.csv` and Weights & Biases.

    Weights & Biases is offline unless somebody is logged in or `WANDB_MODE` says otherwise, so that it
    never asks for a login; `WANDB_PROJECT` and the like hold as they do everywhere, and with
    `WANDB_MODE=disabled` it is not started at all.
    """
    if os.environ.get("WANDB_MODE") == "disabled":
        return [MetricsFile(folder)]
    from yolo_synth.callbacks.wandb_run import wandb_run  # brings W&B

    begin = rank_zero_only(wandb_run)
    return [MetricsFile(folder), WandbLogger(experiment=begin(folder, model, seed, goes_on))]


@rank_zero_only
def finish(loggers: Sequence[Logger]) -> None:
    """Write what W&B still holds and end its run."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            from yolo_synth.callbacks.wandb_run import finish_run

            finish_run(logger.experiment)


class SaveConfig(SaveConfigCallback):
    """`config.yaml` in the run's own folder, and the whole configuration on the W&B page."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the configuration of a training; other stages leave it as it is."""
        if stage != "fit":
            return
        config = self.config.clone()
        if config.get("ckpt_path") == str(Path(trainer.default_root_dir) / runs.LAST):
            config["ckpt_path"] = None  # how it went on is no setting of the run
        text = self.parser.dump(config)
        write_whole(Path(trainer.default_root_dir) / runs.CONFIG, text)
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(text))


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are whole or as they were before, whatever ends their writing.

    Lightning writes into TMPDIR and moves the file: a copy where that is another file system, so that
    a kill leaves half of it in the old one's place.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ANN401 - Lightning's signature
    ) -> None:
        """Write a checkpoint beside its place, sync and rename it."""
        _see_that_it_is_there(Path(path).parent)
        write_whole(path, lambda file: torch.save(checkpoint, file))


class RecordRun(Callback):
    """The run folder's `initial.ckpt` and `summary.json`, and `metrics.csv` of a resumed run."""

    def __init__(self) -> None:
        """Know nothing of the data yet."""
        self._data = ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have checkpoints written whole, unless another way is named; look at what is trained on."""
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpoints()
        if stage == "fit":
            self._data = _digest_of(trainer.datamodule)  # type: ignore[attr-defined]

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Have the best score of before count where the run folder was moved or is named otherwise."""
        for callback in trainer.checkpoint_callbacks:
            state = checkpoint.get("callbacks", {}).get(callback.state_key)
            if isinstance(callback, ModelCheckpoint) and state and callback.dirpath is not None:
                _move(state, Path(callback.dirpath))
                callback.current_score = state.get("current_score")  # which Lightning forgets

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See that the run folder is where it was, before any callback writes into it."""
        if trainer.state.fn == TrainerFn.FITTING:
            _see_that_it_is_there(Path(trainer.default_root_dir))

    def state_dict(self) -> dict[str, str]:
        """Return what a checkpoint keeps: a digest of what is trained on."""
        return {"data": self._data}

    def load_state_dict(self, state_dict: dict[str, str]) -> None:
        """Refuse to go on with other data than the training began with.

        Raises:
            ValueError: If images, boxes or splits are others than before.
        """
        if state_dict.get("data", self._data) != self._data:
            raise ValueError(
                "the data set is another one than when this training was cut off (its images, boxes or "
                "splits): give it back what it had, or train anew under another --name"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the initial weights of a new run; pick up the metrics of one that goes on."""
        if trainer.ckpt_path is None:
            self._save_initial(Path(trainer.default_root_dir), pl_module)
            return
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.resume(trainer.global_step)

    @rank_zero_only
    def _save_initial(self, folder: Path, pl_module: LightningModule) -> None:
        network = pl_module.network
        assert isinstance(network, nn.Module)
        state = {f"network.{name}": value for name, value in network.state_dict().items()}
        write_whole(folder / runs.INITIAL, lambda file: torch.save({"state_dict": state}, file))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do not train on where early stopping had ended a run that was killed just then."""
        stopping = trainer.early_stopping_callback
        if isinstance(stopping, EarlyStopping) and stopping.stopped_epoch > 0:
            trainer.should_stop = True

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say that the run is finished, and how it ended, before anything else is made of it."""
        epochs: Any = trainer.fit_loop.epoch_progress.current
        best = trainer.checkpoint_callback
        stopping = trainer.early_stopping_callback
        summary = {
            "epochs": epochs.processed,
            "steps": trainer.global_step,
            "best_map50": float(best.best_model_score)
            if isinstance(best, ModelCheckpoint) and best.best_model_score is not None
            else None,
            "stopped_early": isinstance(stopping, EarlyStopping) and stopping.stopped_epoch > 0,
        }
        path = Path(trainer.default_root_dir) / runs.SUMMARY
        write_whole(path, json.dumps(summary, indent=2) + "\n")


@contextmanager
def told_if_moved(folder: Path) -> Iterator[None]:
    """Say so where a file is missing because the run folder was moved in just that moment.

    Raises:
        ValueError: In place of the error on the file.
    """
    try:
        yield
    except FileNotFoundError:
        _see_that_it_is_there(folder)
        raise


def _see_that_it_is_there(folder: Path) -> None:
    if not is_held(folder):
        raise ValueError(
            f"{folder}: was moved or removed while this training wrote to it; move it back, or give the "
            "same command with its new place (--runs, --name), to go on from its last checkpoint"
        )


def _digest_of(data: Any) -> str:  # noqa: ANN401 - a DetectionData
    """Digest the names and sizes of all images, their boxes, and which split each is in."""
    table = data.table
    images = table.drop_duplicates("image")
    names = [*images["image"], *(name for split in _SPLITS for name in ["", *data.names(split)])]
    boxes = table[["label", "x1", "y1", "x2", "y2"]].assign(used=table["dropped"] == "")
    numbers = (images[["width", "height"]], table.groupby("image", sort=False).size(), boxes)
    return digest("\0".join(names), *(part.to_numpy(np.float64).tobytes() for part in numbers))


def _move(state: dict[str, Any], folder: Path) -> None:
    """Let the paths in a checkpoint callback's state lie in another folder, if the best is there."""
    best_path = state.get("best_model_path")
    if best_path and not (folder / Path(best_path).name).is_file():
        return

    def moved(path: str) -> str:
        return str(folder / Path(path).name) if path else path

    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[key] = moved(state.get(key, ""))
    best = state.get("best_k_models", {})
    state["best_k_models"] = {moved(path): score for path, score in best.items()}
    state["dirpath"] = str(folder)
