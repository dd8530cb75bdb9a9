"""What a verb's arguments name: networks of any kind, and sets of images of any kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from os.path import commonpath
from pathlib import Path
from typing import Any

import torch

from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import Config, data_module, read_data
from yolo_synth.detecting import SIDE, try_out
from yolo_synth.escaping import say
from yolo_synth.networks.references import Reference, read_reference
from yolo_synth.runs import CONFIG, Run, read_run


def read_network(text: str, trust: bool = False) -> Run | Reference:
    """Return the run or other network that a text names; of the other what it wants is printed.

    Raises:
        FileNotFoundError: If it names none.
        ValueError: If it cannot be loaded, or would run a program without `trust`.
    """
    return read_networks([text], trust)[0]


def read_networks(texts: Sequence[str], trust: bool = False) -> list[Run | Reference]:
    """Return several, as `read_network`; those called alike have in their names where they lie."""
    read = [
        read_run(text, trust)
        if (Path(text) / CONFIG).is_file()
        else read_reference(text, trust=trust)
        for text in texts
    ]
    told = told_apart(read, texts)
    for found, text in zip(told, texts, strict=True):
        if isinstance(found, Reference):
            random = f"random weights, since {text} names no file of them; " if found.random else ""
            say(f"{found.name}: {random}{found.preprocessing}")
    return told


def told_apart(read: Sequence[Run | Reference], texts: Sequence[str]) -> list[Run | Reference]:
    """Name networks that are called alike by their folders too: `train/best` and `train2/best`.

    Args:
        read: The networks; a run's name is its folder's and stays.
        texts: What named each.
    """
    paths = [Path(text).absolute() for text in texts]
    names: list[str] = []
    for one, path in zip(read, paths, strict=True):
        alike = [other for other, its in zip(paths, read, strict=True) if its.name == one.name]
        differing = path.parent.parts[len(Path(commonpath(alike)).parts) :]
        name = "/".join((*differing[:1], one.name))
        names.append(f"{name} ({names.count(name) + 1})" if name in names else name)
    return [
        replace(one, name=name) if isinstance(one, Reference) else one
        for one, name in zip(read, names, strict=True)
    ]


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

    Raises:
        ValueError: If a network that is no run does not run at that side.
    """
    if isinstance(network, Run):
        changes["image_size"] = network.image_size
    else:
        wants = network.preprocessing
        own = wants.size or int((data.get("init_args") or {}).get("image_size", SIDE))
        side = wants.side(size or own)
        if size not in (None, side):
            say(f"{network.name}: shown at {side}x{side}, which it takes, not at {size}x{size}")
        try_out(network, torch.full((2, 3, side, side), 0.5))  # draws nothing
        changes |= {"image_size": side, "resize": wants.resize}
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
