"""Lightning's verbs, `fit`, `validate`, `test` and `predict`, for one detector on any data module."""

from __future__ import annotations

import itertools
import logging
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from yolo_synth import runs
from yolo_synth.callbacks.diagnosis import LogDiagnosis
from yolo_synth.callbacks.finite import StopAtNonFinite
from yolo_synth.callbacks.freezing import Freezing
from yolo_synth.callbacks.pictures import Pictures
from yolo_synth.callbacks.record import RecordRun, SaveConfig, finish, loggers, told_if_moved
from yolo_synth.callbacks.similarity import Similarity
from yolo_synth.claims import claimed
from yolo_synth.commands import PROGRAM
from yolo_synth.commands.classes import follow_the_data
from yolo_synth.commands.overruled import overruled
from yolo_synth.commands.predictions import write_predictions
from yolo_synth.commands.resuming import run_of_before
from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import read_yaml
from yolo_synth.data.summary import refuse_boxless
from yolo_synth.detector import Detector, load_checkpoint, read_checkpoint
from yolo_synth.escaping import say
from yolo_synth.networks.contract import check_side

log = logging.getLogger(__name__)

_FOUND_BY_LIGHTNING: Final = ("best", "last", "hpc")
"""What a checkpoint may be called instead of by its path."""

ONE_LINE: Final = {"exit_on_error": False}
"""Parsers raise, so that a mistake is answered in one line and not after a page of usage."""


def train(arguments: Sequence[str]) -> None:
    """Run one of Lightning's verbs, which is the first of the arguments."""
    sys.argv = [sys.argv[0], *arguments]  # for LightningCLI, and for the processes it starts
    _leave_out_noise()
    _see_that_configurations_are_yaml(arguments)
    TrainingCLI()


class TrainingCLI(LightningCLI):
    """LightningCLI for one Detector on any data module, with the paper's settings as defaults."""

    finished: runs.Run | None = None
    """The finished run of the same configuration, if there is one."""

    def __init__(self) -> None:
        """Parse the command line and run its verb."""
        with ExitStack() as self.held:
            self._parse_and_run()

    def _parse_and_run(self) -> None:
        super().__init__(
            Detector,
            DetectionData,
            subclass_mode_data=True,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            seed_everything_default=0,
            auto_configure_optimizers=False,  # Detector makes its optimizer once freezing has acted
            load_from_checkpoint_support=False,  # config.yaml holds the options, a checkpoint weights
            # one device: on all that there are, batches would be larger than the paper's
            trainer_defaults={
                "max_epochs": 100,
                "devices": 1,
                "callbacks": [RecordRun(), StopAtNonFinite()],
            },
            parser_kwargs={
                "prog": PROGRAM,
                **ONE_LINE,
                **dict.fromkeys(self.subcommands(), ONE_LINE),
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add where the run goes, and the callbacks that every run has."""
        parser.add_argument("--runs", default="runs", help="Folder of all run folders.")
        parser.add_argument(
            "--name",
            type=str | None,
            default=None,
            help="Name of the model; the run folder is RUNS/NAME/SEED. By default the paper's names: "
            "U-Real, F-Synthetic and so on, from freezing.mode and data.",
        )
        parser.add_argument(
            "--variant",
            type=str | None,
            default=None,
            help="What tells this model from others of its name, which it is added to: lr=0.001 gives "
            "RUNS/NAME-lr=0.001/SEED. A sweep gives each trial its own.",
        )
        parser.add_lightning_class_args(Freezing, "freezing")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(Similarity, "similarity")
        parser.add_lightning_class_args(Pictures, "pictures")
        parser.set_defaults(
            {
                "early_stopping.monitor": "val/map50",
                "early_stopping.mode": "max",
                "early_stopping.patience": 10,
                "checkpoint.monitor": "val/map50",
                "checkpoint.mode": "max",
                "checkpoint.filename": Path(runs.BEST).stem,
                "checkpoint.save_weights_only": True,
                "checkpoint.enable_version_counter": False,
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401
        """Parse the command line, and read the checkpoint that it names before Lightning does."""
        super().parse_arguments(parser, args)
        verb = self.config.subcommand
        for sentence in overruled(sys.argv[1:], self.config[verb].as_dict()):
            log.warning(sentence)
        path = self.config[verb].ckpt_path
        if path is None or path in _FOUND_BY_LIGHTNING:
            return
        if "optimizer_states" not in read_checkpoint(Path(path)) and verb == "fit":
            raise ValueError(
                f"{path}: holds weights alone, so no training can go on from it: name {runs.LAST}, or "
                "start a new training from these weights with --model.weights"
            )

    def before_instantiate_classes(self) -> None:
        """Say where the run goes, and go on with a run that was cut off there."""
        config = self.config[self.subcommand]
        follow_the_data(config, str(self.subcommand))
        model = runs.full_name(config.as_dict())
        self.folder = folder = Path(config.runs) / model / str(config.seed_everything)
        if self.subcommand != "fit":
            config.trainer.logger = False  # a measurement is printed; the training's record stays
            config.trainer.default_root_dir = None
            if config.ckpt_path is None and config.model.weights is None:
                config.ckpt_path = self._best(folder)
            return
        self._claim(folder)
        config.trainer.default_root_dir = str(folder)
        config.checkpoint.dirpath = str(folder)
        if config.ckpt_path is None:
            self._look_for_the_run_of_before(folder, config)
        self.trainer_defaults["callbacks"] += [_last_checkpoint(folder)]

    def instantiate_trainer(self, **kwargs: Any) -> Any:  # noqa: ANN401 - Lightning's signature
        """Leave the loggers to `before_fit`, unless some are named, and let cuDNN search on CUDA."""
        if self.config[self.subcommand].trainer.logger is None:
            kwargs["logger"] = False
        asked = self.config[self.subcommand].trainer
        if torch.cuda.is_available() and asked.benchmark is None and not asked.deterministic:
            kwargs["benchmark"] = (
                True  # images are of one size, so that cuDNN's search pays at once
            )
        return super().instantiate_trainer(**kwargs)

    def fit(self, **options: Any) -> None:  # noqa: ANN401 - those of Trainer.fit
        """Train, or make up what is missing of a finished run; say how to go on if that breaks off."""
        if self.finished is not None:
            self._make_up(self.finished)
            return
        try:
            self.trainer.fit(**options)
        except BaseException as error:
            error.add_note(f"{PROGRAM}: {self._how_to_go_on()}")
            raise

    def _how_to_go_on(self) -> str:
        if (self.folder / runs.SUMMARY).is_file():
            return f"the training in {self.folder} is finished; the same command makes up the rest"
        if not (self.folder / runs.LAST).is_file():
            return f"the training in {self.folder} had not ended an epoch; the same command begins anew"
        return (
            f"the training in {self.folder} was cut off; the same command goes on from {runs.LAST}, "
            "the end of its last whole epoch"
        )

    def _make_up(self, run: runs.Run) -> None:
        """Make what comes after training, where it is missing."""
        self.datamodule.prepare_data()
        self.datamodule.setup()
        device = self.trainer.strategy.root_device
        similarity = self.config_init["fit"].similarity
        similarity.compare(run, self.datamodule, device, anew=False)
        say(f"{run.folder}: this run is finished")

    def after_fit(self) -> None:
        """End the record, so that another training in this process begins its own."""
        finish(self.trainer.loggers)

    def predict(self, **options: Any) -> None:  # noqa: ANN401 - those of Trainer.predict
        """Detect objects in the test images and write them into the run folder."""
        if self.trainer.world_size > 1:
            raise ValueError("predict runs on one device: give --trainer.devices 1")
        batches = self.trainer.predict(**options) or []
        found = itertools.chain.from_iterable(batches)
        path = self.folder / "predictions.csv"
        boxes = write_predictions(found, self.datamodule, self.model.classes, path)
        say(f"{boxes} boxes written to {path}")

    def _best(self, folder: Path) -> str:
        """Return the run's best checkpoint, which is measured unless another is named."""
        best = folder / runs.BEST
        if not best.is_file():
            raise FileNotFoundError(f"{best}: no such checkpoint; train first, or give --ckpt_path")
        return str(best)

    @rank_zero_only
    def _claim(self, folder: Path) -> None:
        self.held.enter_context(claimed(folder, "trains"))
        self.held.enter_context(told_if_moved(folder))

    def _look_for_the_run_of_before(self, folder: Path, config: Namespace) -> None:
        """Go on with a run that was cut off, or do what a finished one lacks."""
        run = run_of_before(folder, yaml.safe_load(self._parser("fit").dump(config)))
        if run is not None and run.finished:
            self.finished = run
        elif run is not None:
            rank_zero_info(f"{folder}: going on from its last checkpoint")
            config.ckpt_path = str(folder / runs.LAST)

    def _see_that_the_network_fits(self) -> None:
        """Refuse images of a size that it does not take, or another's checkpoint, before anything runs."""
        check_side(self.model.network, self.datamodule.image_size, "data.image_size")
        path = self.config[self.subcommand].ckpt_path
        if path is not None and path not in _FOUND_BY_LIGHTNING:
            load_checkpoint(self.model.network, Path(path))

    before_validate = before_test = before_predict = _see_that_the_network_fits

    def before_fit(self) -> None:
        """Read what the run needs before anything is written: bad input leaves nothing behind."""
        self._see_that_the_network_fits()
        refuse_boxless(self.datamodule)
        self.datamodule.skip_unreadable()
        self.config_init["fit"].freezing.check(self.model.network)
        self.config_init["fit"].similarity.prepare(self.datamodule, self.model.network)
        if self.finished is not None:
            return
        config = self.config["fit"]
        if config.trainer.logger is None:
            model = runs.full_name(config.as_dict())
            folder = Path(config.trainer.default_root_dir)
            goes_on = config.ckpt_path is not None
            self.trainer.loggers = loggers(folder, model, config.seed_everything, goes_on)
        self.trainer.callbacks.insert(0, LogDiagnosis())  # type: ignore[attr-defined] # a list


def _last_checkpoint(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=folder,
        filename=Path(runs.LAST).stem,
        save_on_train_epoch_end=True,  # after validation, so that it knows of the best one
        enable_version_counter=False,
    )


def _see_that_configurations_are_yaml(arguments: Sequence[str]) -> None:
    """Refuse a configuration that is no YAML by its name, which the parser does not tell."""
    for before, argument in itertools.pairwise(("", *arguments)):
        given = argument.removeprefix("--config=")
        if (before == "--config" or given != argument) and Path(given).is_file():
            read_yaml(given)


def _without_operations(record: logging.LogRecord) -> bool:
    """Take the count of operations out of Lightning's summary of modules, which never counted any."""
    text = str(record.msg)
    if re.search(r"^0 +Total Flops$", text, re.MULTILINE):
        record.msg = re.sub(r"( \| (FLOPs|0) *|\n0 +Total Flops)$", "", text, flags=re.MULTILINE)
    return True


def _leave_out_noise() -> None:
    """Silence what Lightning says of things that are meant to be so."""
    for message in (
        "Checkpoint directory .* exists and is not empty",  # the run folder holds other files too
        "The number of training batches .* is smaller than the logging interval",
        ".*does not have many workers",  # the data module's choice, named in its options
        ".*isinstance.treespec, LeafSpec.*",  # Lightning's own call of PyTorch
        r"It is recommended to use `self\.log.*sync_dist",  # the metric is of all devices already
    ):
        warnings.filterwarnings("ignore", message=message)
    summary = logging.getLogger("lightning.pytorch.callbacks.model_summary")
    summary.addFilter(_without_operations)  # a function is added once
    advertisement = "\N{ELECTRIC LIGHT BULB} Tip:"
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: not str(record.msg).startswith(advertisement)
    )
