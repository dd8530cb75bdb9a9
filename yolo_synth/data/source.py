"""A data set's configuration, `{class_path, init_args}`, → its data module. This is the one way there.

Configurations come with run folders and data files, which may be a stranger's. So every class that one
names, however deep, is looked up among our own data sets before anything is imported or built.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

import yaml
from jsonargparse import ArgumentParser

from yolo_synth.data import SETS
from yolo_synth.data.module import DetectionData

Config = Mapping[str, Any]

_PACKAGE: Final = "yolo_synth"
_OWN: Final = {
    path: name
    for name, file in SETS.items()
    for path in (f"{_PACKAGE}.{name}", f"{_PACKAGE}.data.{file}.{name}")
}
"""Class paths of our own data sets."""


def open_data(file: str | Path, *, trust: bool = False) -> DetectionData:
    """Build the data module that a data file names, as `fit --data` would.

    Args:
        file: Data file, as experiments/data/bdd100k.yaml.
        trust: Whether classes from elsewhere are imported and run.

    Raises:
        FileNotFoundError: If there is no such file, or no folder at its `root`.
        ValueError: If it names no data module, or an option that this one has not.
    """
    config = read_data(file)
    try:
        module = data_module(config, trust=trust)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    for folder in module.folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"{file}: there is no folder {folder}; correct its root")
    return module


def read_data(path: str | Path) -> Config:
    """Read a file that names a data set, such as experiments/data/bdd100k.yaml.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not name a data module.
    """
    if not Path(path).is_file():
        what = "a folder, not a data file" if Path(path).is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {what}; try experiments/data/bdd100k.yaml")
    config = read_yaml(path)
    if not isinstance(config, dict) or "class_path" not in config:
        raise ValueError(
            f"{path}: names no data set: class_path is missing; write one as in "
            "experiments/data/bdd100k.yaml"
        )
    return config


def read_yaml(path: str | Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read a YAML file.

    Raises:
        ValueError: If it is not YAML.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError:
        raise
    except Exception as error:  # PyYAML lets those of dates, numbers, keys and depth through
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: not YAML ({said}); mend it") from error


def data_module(config: Config, *, trust: bool = False, **changes: Any) -> DetectionData:  # noqa: ANN401
    """Build a data module from `{class_path, init_args}`, with some of the options changed.

    Args:
        config: Its configuration; those of a mixture's parts are in it.
        trust: Whether classes from elsewhere are imported and run.
        **changes: Options instead of the configuration's.

    Raises:
        ValueError: If a class is none of our own data sets, or has no such option.
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("init_args") or {}, Mapping):
        raise ValueError(f"{str(config)[:80]} names no data set by class_path and init_args")
    if not trust:
        refuse_strangers(config)
    data_class = _class_of(str(config["class_path"]))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(data_class, "data")
    settings = {**(config.get("init_args") or {}), **changes}
    try:
        module = parser.instantiate_classes(parser.parse_object({"data": settings})).data
    except Exception as error:  # a wrong option or part has no common class of errors
        raise ValueError(f"{config['class_path']} cannot be the data: {error}") from error
    return cast(DetectionData, module)


def _class_of(path: str) -> type[DetectionData]:
    """Import the class of a path that is one of our own, or trusted."""
    name = _OWN.get(path)
    place, _, last = (f"{_PACKAGE}.data.{SETS[name]}.{name}" if name else path).rpartition(".")
    try:
        found = getattr(import_module(place), last)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} cannot be the data: {error}") from error
    if not (isinstance(found, type) and issubclass(found, DetectionData)):
        raise ValueError(f"{path} cannot be the data: it is no DetectionData")
    return found


def refuse_strangers(config: object) -> None:
    """Refuse a configuration that names another class than one of our own data sets, at any depth.

    Nothing is imported to tell.

    Raises:
        ValueError: If it does; lists the data sets that there are.
    """
    if isinstance(config, Mapping):
        path = config.get("class_path", next(iter(_OWN)))
        if not isinstance(path, str) or path not in _OWN:
            raise ValueError(
                f"class_path: {path!r} is no data set of ours; there are {', '.join(known())}"
            )
        # A part that is a text would be looked up as a class, or read as another file.
        settings = config.get("init_args")
        parts = settings.get("parts") if isinstance(settings, Mapping) else None
        for name, part in (parts if isinstance(parts, Mapping) else {}).items():
            if not isinstance(part, Mapping) or "class_path" not in part:
                raise ValueError(f"data.parts: {name} is {part!r}, not class_path and init_args")
        config = list(config.values())
    if isinstance(config, list | tuple):
        for inner in config:
            refuse_strangers(inner)


def known() -> list[str]:
    """Return the class paths of our own data sets, as they are usually written."""
    return [f"{_PACKAGE}.{name}" for name in SETS]


def default_domain(class_path: str) -> str:
    """Return what the data of a class are called if nothing is said; imports our own classes only."""
    data_class = _class_of(class_path) if class_path in _OWN else None
    return (data_class and data_class.default_domain) or class_path.rpartition(".")[2]
