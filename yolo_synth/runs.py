"""What a run folder is: the files in it, how it is named, found, read and checked.

A run folder, `runs/<model>/<seed>`, as `runs/U-Real/0`, is all that later verbs need of a training,
wherever it was made:

    config.yaml     the whole configuration, as `yolo-synth fit --config` takes it
    initial.ckpt    the weights that training started from
    best.ckpt       the weights of the epoch with the best `val/map50`
    last.ckpt       the last epoch, with all that is needed to go on from it
    metrics.csv     what was logged, a row a step or epoch
    summary.json    written once the training is finished
    similarity/, pictures/, test/   what the callbacks and later verbs add
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import instantiate_class

from yolo_synth.detector import load_checkpoint
from yolo_synth.yolov3 import YOLOv3

CONFIG = "config.yaml"
INITIAL = "initial.ckpt"
BEST = "best.ckpt"
LAST = "last.ckpt"
METRICS = "metrics.csv"
SUMMARY = "summary.json"

_DOMAINS = {"BDD100K": "Real", "GTAV": "Synthetic"}

Config = Mapping[str, Any]


def model_name(config: Config) -> str:
    """Name a model as the paper does: `U-Real`, `F-Synthetic`, from its freeze mode and its data.

    Another range of frozen layers is named by its numbers (`F0:36-Real`), another data module by its
    class.
    """
    mode = config["freezing"]["mode"]
    frozen = {"none": "U", "backbone": "F"}.get(mode) if isinstance(mode, str) else None
    return f"{frozen or f'F{mode[0]}:{mode[1]}'}-{domain_name(config['data'])}"


def domain_name(data: Config) -> str:
    """Name the domain of a data module's configuration: `Real`, `Synthetic`, or its class."""
    data_class = str(data["class_path"]).rpartition(".")[2]
    return _DOMAINS.get(data_class, data_class)


@dataclass(frozen=True)
class Run:
    """One training, read from its folder.

    Attributes:
        folder: The run folder.
        config: The whole configuration.
    """

    folder: Path
    config: Config = field(repr=False)

    @property
    def model(self) -> str:
        """The model's name, as `U-Real`."""
        return str(self.config.get("name") or model_name(self.config))

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return int(self.config["seed_everything"])

    @property
    def name(self) -> str:
        """The run's name, as `U-Real/0`."""
        return f"{self.model}/{self.seed}"

    @property
    def finished(self) -> bool:
        """Whether the training came to its end."""
        return (self.folder / SUMMARY).is_file()

    @property
    def image_size(self) -> int:
        """Side of the network input that it was trained at, in pixels."""
        return int(self.config["data"]["init_args"]["image_size"])

    @property
    def domain(self) -> str:
        """The domain of its training data, as `Real`."""
        return domain_name(self.config["data"])

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What `summary.json` says: epochs, best epoch and its `val/map50`."""
        summary: dict[str, Any] = json.loads((self.folder / SUMMARY).read_text())
        return summary

    def network(self, checkpoint: str = BEST) -> YOLOv3:
        """Return the network with the weights of `best.ckpt` (or `initial.ckpt`), in eval mode.

        Raises:
            FileNotFoundError: If the folder has no such checkpoint.
            ValueError: If the checkpoint does not fit the configuration.
        """
        path = self.folder / checkpoint
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such checkpoint; the run has to finish an epoch first "
                "(yolo-synth fit again goes on with it)"
            )
        model = self.config["model"]
        network = YOLOv3(model["num_classes"], model["width"])
        load_checkpoint(network, path)
        return network.eval()

    def data(self, **changes: Any) -> LightningDataModule:  # noqa: ANN401 - any option of the module
        """Return its data module, with some of the options changed."""
        return data_module(self.config["data"], **changes)


def data_module(config: Config, **changes: Any) -> LightningDataModule:  # noqa: ANN401
    """Build a data module from `{class_path, init_args}`, with some of the options changed."""
    init_args = {**config.get("init_args", {}), **changes}
    module: LightningDataModule = instantiate_class(
        (), {"class_path": config["class_path"], "init_args": init_args}
    )
    return module


def read_run(folder: str | Path) -> Run:
    """Read a run folder.

    Raises:
        FileNotFoundError: If the folder, or a configuration in it, does not exist.
        ValueError: If the configuration is not one of `yolo-synth fit`.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: not a run folder, it has no {CONFIG}; name one like runs/U-Real/0"
        )
    try:
        config = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({str(error).splitlines()[0]}); train again") from error
    wanted = ("seed_everything", "model", "data", "freezing")
    missing = [key for key in wanted if not isinstance(config, dict) or key not in config]
    if missing:
        raise ValueError(f"{path}: not a configuration of a run, {missing[0]} is missing")
    return Run(Path(folder), config)


def common_start(first: Run, second: Run) -> YOLOv3 | None:
    """Return the network that both runs started from; None if there is none, or it is not known."""
    try:
        start, other = first.network(INITIAL), second.network(INITIAL)
    except (FileNotFoundError, ValueError):
        return None
    theirs = other.state_dict()
    same = all(
        name in theirs and torch.equal(value, theirs[name])
        for name, value in start.state_dict().items()
    )
    return start if same else None


def run_folders(root: str | Path) -> list[Path]:
    """Return the run folders at or below a folder; what lies inside one (W&B's files) is none."""
    folders = sorted(path.parent for path in Path(root).glob(f"**/{CONFIG}"))
    return [folder for folder in folders if not set(folder.parents) & set(folders)]


def find_runs(root: str | Path) -> list[Run]:
    """Return the runs at or below a folder, by name.

    Raises:
        FileNotFoundError: If there is none.
    """
    folders = run_folders(root)
    if not folders:
        raise FileNotFoundError(
            f"{root}: no run folder here or below (a folder with a {CONFIG}); train with "
            "yolo-synth fit or yolo-synth sweep first"
        )
    return sorted((read_run(folder) for folder in folders), key=lambda run: (run.name, run.folder))
