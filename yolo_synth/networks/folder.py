"""A network as a folder of `config.json` and `model.safetensors`, which the Hugging Face Hub takes.

The weights are tensors alone and the configuration builds our own networks alone, so nothing of a
stranger's folder runs as a program.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from safetensors.torch import save

from yolo_synth.boxes import Resize
from yolo_synth.files import write_whole
from yolo_synth.networks.contract import Network, build_network
from yolo_synth.networks.references import fill, read_state

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"

PART: Final = "network."
"""How the names of weights begin."""


class Description(NamedTuple):
    """What `config.json` says.

    Attributes:
        network: `class_path` and `init_args`, as `model.network` of a configuration.
        classes: Names of the classes.
        image_size: Side of the input that it was trained at, in pixels.
        resize: How pictures were brought to a square.
    """

    network: dict[str, Any]
    classes: Sequence[str]
    image_size: int
    resize: Resize = "letterbox"


def write_folder(network: Network, description: Description, folder: str | Path) -> None:
    """Write the weights and, once they are there, the configuration.

    Args:
        network: The network, on any device.
        description: What it is.
        folder: The folder; is made.
    """
    state = network.state_dict()
    tensors = {f"{PART}{name}": value.cpu().contiguous().clone() for name, value in state.items()}
    write_whole(Path(folder) / WEIGHTS, save(tensors, {"format": "pt"}))
    text = json.dumps(description._asdict(), indent=2)
    write_whole(Path(folder) / CONFIG, f"{text}\n")


def is_ours(folder: str | Path) -> bool:
    """Tell whether a folder's configuration is one of `write_folder`."""
    try:
        said = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
        return bool(said["network"]["class_path"]) and bool(said["image_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_folder(folder: str | Path) -> tuple[Network, Description]:
    """Read a network that `write_folder`, or `save_pretrained`, wrote.

    Raises:
        FileNotFoundError: If it has no weights.
        ValueError: If the configuration is damaged or of no network of ours, or the weights are others.
    """
    folder = Path(folder)
    said = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    try:
        kept = {name: said[name] for name in Description._fields if name in said}
        description = Description(**kept)
        classes = [str(name) for name in description.classes]
        network = build_network(description.network, len(classes))
        image_size = int(description.image_size)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{folder / CONFIG}: damaged ({error}); export it again") from error
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(f"{folder}: no {WEIGHTS}; export it again")
    state = read_state(folder / WEIGHTS)
    own = {name.removeprefix(PART): value for name, value in state.items()}
    fill(network, own, f"{folder / WEIGHTS}: not weights of {CONFIG}'s network")
    return network, description._replace(classes=classes, image_size=image_size)
