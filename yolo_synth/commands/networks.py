"""What a verb's arguments name: networks of any kind, and sets of images of any kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import Config, data_module, read_data
from yolo_synth.detecting import SIDE
from yolo_synth.escaping import say
from yolo_synth.networks.references import Reference, read_reference
from yolo_synth.runs import CONFIG, Run, read_run


def read_network(text: str, trust: bool = False) -> Run | Reference:
    """Return the run or other network that a text names; of the other what it wants is printed.

    Raises:
        FileNotFoundError: If it names none.
        ValueError: If it cannot be loaded, or would run a program without `trust`.
    """
    if (Path(text) / CONFIG).is_file():
        return read_run(text, trust)
    found = read_reference(text, trust=trust)
    weights = f"random weights, since {text} names no file of them; " if found.random else ""
    say(f"{found.name}: {weights}{found.preprocessing}")
    return found


def data_for(
    network: Run | Reference,
    data: Config,
    trust: bool = False,
    size: int | None = None,
    **changes: Any,  # noqa: ANN401 - any option of the module
) -> DetectionData:
    """Return a data module at the side and in the form that a network was made for.

    Args:
        network: The network.
        data: The data's configuration.
        trust: Whether classes from elsewhere are imported and run.
        size: Another side for a network that is no run, in pixels.
        **changes: Further options instead of the configuration's.
    """
    if isinstance(network, Run):
        changes["image_size"] = network.image_size
    else:
        wants = network.preprocessing
        own = wants.size or int((data.get("init_args") or {}).get("image_size", SIDE))
        changes |= {"image_size": wants.side(size or own), "resize": wants.resize}
    return data_module(data, trust=trust, **changes)


def data_sets(texts: str | Sequence[str]) -> list[Config]:
    """Return the data configurations that data files, or folders of pictures, stand for.

    A folder's domain is its name, or more of its path where two are called alike.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If a file names no data set.
    """
    given = [texts] if isinstance(texts, str) else list(texts)
    folders = [text for text in given if Path(text).is_dir()]
    names = [Path(text).resolve().name for text in folders]
    return [
        _pictures(text, alike=names.count(Path(text).resolve().name) > 1)
        if text in folders
        else read_data(text)
        for text in given
    ]


def _pictures(text: str, alike: bool) -> Config:
    path = Path(text).resolve()
    name = "-".join(path.parts[-2:]) if alike else path.name
    domain = re.sub(r"[^\w+.-]+", "-", name).lstrip("+.-") or "Pictures"
    config = {
        "class_path": "yolo_synth.Pictures",
        "init_args": {"root": str(path), "domain": domain},
    }
    data_module(config)  # says what is wrong with it now, before anything is computed
    return config
