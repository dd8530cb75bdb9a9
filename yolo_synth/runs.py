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
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo_synth.data.conditions import asked
from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import Config as Config
from yolo_synth.data.source import data_module, default_domain, read_yaml
from yolo_synth.detector import load_checkpoint
from yolo_synth.labels import names_of
from yolo_synth.networks.contract import Network, build_network
from yolo_synth.networks.yolov3 import YOLOv3

CONFIG = "config.yaml"
INITIAL = "initial.ckpt"
BEST = "best.ckpt"
LAST = "last.ckpt"
METRICS = "metrics.csv"
SUMMARY = "summary.json"


def model_name(config: Config) -> str:
    """Name a model as the paper does: `U-Real`, `F-Synthetic`, from its freeze mode and its data.

    Another range of frozen layers is named by its numbers (`F0:36-Real`), other data as `domain_name`
    says; another network than YOLOv3 goes first (`RetinaNet-U-Real`).
    """
    frozen = frozen_layers(config)
    letter = {"none": "U", "backbone": "F"}.get(frozen, f"F{frozen}")
    parts = (network_name(config), letter, domain_name(config["data"]))
    return "-".join(part for part in parts if part)


def full_name(config: Config) -> str:
    """Name a model as its run folder is: by the name given or the paper's, and by its variant."""
    name, variant = config.get("name") or model_name(config), config.get("variant")
    return f"{name}-{variant}" if variant else str(name)


def frozen_layers(config: Config) -> str:
    """Say what is not trained: `none`, `backbone` or ranges of layers, as `0:36` or `0:11+37:106`."""
    mode = config["freezing"]["mode"]
    if isinstance(mode, str):
        return mode
    ranges = mode if isinstance(mode[0], list | tuple) else [mode]
    return "+".join(f"{first}:{last}" for first, last in ranges)


def network_name(config: Config) -> str:
    """Name the class of a network that is no YOLOv3; else nothing."""
    network = (config.get("model", {}).get("network") or {}).get("class_path", "")
    return str(network).rpartition(".")[2]


def domain_name(data: Config, split: str = "train") -> str:
    """Name the domain of a split of a data module's configuration.

    It is the configuration's `domain`, or the data set's own (`Real`, `Synthetic`), or the module's
    class; then come the conditions that the split's images meet, as `Real-night`.
    """
    named = _init_args(data).get("domain") or default_domain(str(data["class_path"]))
    return f"{named}{_conditions(data, split)}"


def test_domains(data: Config) -> dict[str, Config]:
    """Return the domains of a configuration's test images, and the data configuration of each.

    A mixture has those of its parts, resized as the mixture is; where two have one name, the second's
    gets that of the part. Other data have one domain.
    """
    settings = _init_args(data)
    if "parts" not in settings:
        return {domain_name(data, "test"): data}
    resize = {"resize": settings["resize"]} if "resize" in settings else {}
    domains: dict[str, Config] = {}
    for name, part in settings["parts"].items():
        domain = domain_name(part, "test")
        key = f"{domain}-{name}" if domain in domains else domain
        domains[key] = {**part, "init_args": {**_init_args(part), **resize}}
    return domains


def _init_args(data: Config) -> Config:
    settings: Config = data.get("init_args") or {}
    return settings


def _conditions(data: Config, split: str) -> str:
    """Write the values that `where` asks of a split's images, as `-night-rainy+snowy`."""
    values = asked(_init_args(data).get("where") or {}, split).values()
    return "".join("-" + re.sub(r"[^\w+]+", "_", "+".join(some)) for some in values)


@dataclass(frozen=True)
class Run:
    """One training, read from its folder.

    Attributes:
        folder: The run folder.
        config: The whole configuration.
        trust: Whether classes from elsewhere that it names are imported and run.
    """

    folder: Path
    config: Config = field(repr=False)
    trust: bool = False

    @property
    def model(self) -> str:
        """The model's name, as `U-Real`."""
        return full_name(self.config)

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return int(self.config["seed_everything"])

    @property
    def name(self) -> str:
        """The run's name, as `U-Real/0`."""
        return f"{self.model}/{self.seed}"

    @property
    def frozen(self) -> str:
        """What was not trained: `none`, `backbone` or a range of layers, as `0:36`."""
        return frozen_layers(self.config)

    @property
    def architecture(self) -> str:
        """The class of its network, if that is no YOLOv3; else nothing."""
        return network_name(self.config)

    @property
    def domain(self) -> str:
        """What it was trained on, as `Real`."""
        return domain_name(self.config["data"])

    @property
    def finished(self) -> bool:
        """Whether the training came to its end, as a whole `summary.json` says."""
        return self._summary is not None

    @property
    def image_size(self) -> int:
        """Side of the network input that it was trained at, in pixels."""
        return int(self.config["data"]["init_args"]["image_size"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that its network tells apart."""
        model = self.config["model"]
        return names_of(model["num_classes"], model.get("classes"))

    @property
    def summary(self) -> dict[str, Any]:
        """What `summary.json` says: epochs, steps, the best `val/map50`, whether it stopped early.

        Raises:
            ValueError: If there is none that is whole.
        """
        if self._summary is None:
            raise ValueError(
                f"{self.folder / SUMMARY}: not there, or damaged; yolo-synth fit again"
            )
        return self._summary

    @property
    def _summary(self) -> dict[str, Any] | None:
        try:
            said = json.loads((self.folder / SUMMARY).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return said if isinstance(said, dict) else None

    def network(self, checkpoint: str = BEST) -> Network:
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
        network = self.untrained()
        load_checkpoint(network, path)
        return network.eval()

    def untrained(self) -> Network:
        """Return a network of the run's architecture with weights drawn anew, in eval mode."""
        model = self.config["model"]
        classes, named = model["num_classes"], model.get("network")
        network: Network = (
            build_network(named, classes, trust=self.trust)
            if named
            else YOLOv3(classes, model["width"], model.get("anchors"))
        )
        return network.eval()

    @property
    def test_domains(self) -> dict[str, Config]:
        """The domains of its data's test images, and the data configuration of each."""
        return test_domains(self.config["data"])

    def data(self, **changes: Any) -> DetectionData:  # noqa: ANN401 - any option of the module
        """Return its data module, with some of the options changed."""
        return data_module(self.config["data"], trust=self.trust, **changes)


def read_run(folder: str | Path, trust: bool = False) -> Run:
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
    config = read_yaml(path)
    wanted = ("seed_everything", "model", "data", "freezing")
    missing = [key for key in wanted if not isinstance(config, dict) or key not in config]
    if missing:
        raise ValueError(f"{path}: not a configuration of a run, {missing[0]} is missing")
    run = Run(Path(folder), config, trust)
    try:
        _ = run.name, run.frozen, run.architecture, run.domain, run.classes, run.test_domains
    except Exception as error:  # whatever a damaged value makes of them
        what = f"{type(error).__name__}: {str(error)[:200]}"
        raise ValueError(f"{path}: not a configuration of a run ({what}); mend it") from error
    return run


def run_folders(root: str | Path) -> list[Path]:
    """Return the run folders at or below a folder; what lies inside one (W&B's files) is none."""
    folders = sorted(path.parent for path in Path(root).glob(f"**/{CONFIG}"))
    return [folder for folder in folders if not set(folder.parents) & set(folders)]
