"""The trials of a W&B sweep file: the points of its grid, and the command that trains each."""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_synth.data.source import read_data, read_yaml
from yolo_synth.files import digest
from yolo_synth.runs import domain_name

log = logging.getLogger(__name__)

Point = dict[str, Any]
"""What a sweep sets in a trial, by option."""


@dataclass(frozen=True)
class Trial:
    """One point of the grid.

    Attributes:
        name: The parameters in words, as `bdd100k none 0`; also the log's file name.
        parameters: What the sweep file sets, by option.
        command: The command that trains it.
    """

    name: str
    parameters: Mapping[str, Any]
    command: Sequence[str]


def trials(file: str, runs: str) -> list[Trial]:
    """Return the trials of a sweep file: its grid, the last parameter fastest, or a draw of it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a grid of plain values, or has no command that takes them.
    """
    config = _read(file)
    grid = dict(_grid(config["parameters"], file))
    points = _chosen(config, grid, file)
    names = _unique(points, [" ".join(map(_word, point.values())) for point in points])
    untold = _not_in_the_folder_name(config["command"], grid)
    variants = _unique(points, ["-".join(_parts(point, untold)) for point in points])
    return [
        Trial(
            name,
            point,
            [
                *command(config, point),
                *([f"--variant={variant}"] if untold else []),
                f"--runs={runs}",
            ],
        )
        for point, name, variant in zip(points, names, variants, strict=True)
    ]


def _read(file: str) -> dict[str, Any]:
    config = read_yaml(file)
    for key, kind in (("parameters", dict), ("command", list)):
        if not isinstance(config, dict) or key not in config:
            raise ValueError(f"{file}: not a sweep file with a command, {key} is missing")
        if not isinstance(config[key], kind):
            raise ValueError(f"{file}: {key} is a {kind.__name__}, not {config[key]!r}")
    return dict(config)


def _grid(parameters: Mapping[str, Any], file: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each option and the values that it may have; nested parameters by their dotted name."""
    for key, parameter in parameters.items():
        name = f"{prefix}{key}"
        if isinstance(parameter, dict) and isinstance(parameter.get("parameters"), dict):
            yield from _grid(parameter["parameters"], file, f"{name}.")
        elif not isinstance(parameter, dict) or not {"value", "values"} & set(parameter):
            raise ValueError(
                f"{file}: parameter {name} has neither value nor values: a distribution needs W&B's "
                "own agent (wandb sweep, wandb agent)"
            )
        elif "values" not in parameter:
            yield name, [parameter["value"]]
        elif isinstance(parameter["values"], list) and parameter["values"]:
            yield name, parameter["values"]
        else:
            raise ValueError(f"{file}: values of {name} is a list, not {parameter['values']!r}")


def _chosen(config: Mapping[str, Any], grid: Mapping[str, list[Any]], file: str) -> list[Point]:
    """Return the points that a sweep runs; a random one's are the same ones in every call."""
    if config.get("early_terminate"):
        log.warning("%s: early_terminate is W&B's own; every trial here trains to its end", file)
    points: list[Point] = []
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        if point not in points:
            points.append(point)
    method, cap = config.get("method", "grid"), config.get("run_cap")
    if method not in ("grid", "random"):
        raise ValueError(
            f"{file}: method {method} needs W&B's own agent; here it is grid or random"
        )
    if cap is not None and (not isinstance(cap, int) or cap < 1):
        raise ValueError(f"{file}: run_cap is a number of runs, not {cap!r}")
    if method == "random":
        if cap is None:
            raise ValueError(f"{file}: method random never ends: give run_cap, or method grid")
        drawn = random.Random(digest(text(dict(grid))))
        points = drawn.sample(points, min(cap, len(points)))
    return points[:cap]


def _not_in_the_folder_name(command: Sequence[Any], grid: Mapping[str, list[Any]]) -> list[str]:
    """Return the varied options that the run folder NAME/SEED would not tell apart by itself."""
    told = {"seed_everything", "name"}
    if not ("name" in grid or _names_its_model(command)):  # then the name follows from these
        told.add("freezing.mode")
        domains = [_domain(file) for file in grid.get("data", ())]
        if len(set(domains)) == len(domains):
            told.add("data")
    return [name for name, values in grid.items() if len(values) > 1 and name not in told]


def _names_its_model(command: Sequence[Any]) -> bool:
    """Tell whether a command gives the model a name, itself or by an experiment file."""
    words = [word for part in command for word in str(part).split("=", 1)]
    for option, value in itertools.pairwise(words):
        if option == "--name":
            return True
        if option == "--config" and Path(value).is_file():
            experiment = read_yaml(value)
            if isinstance(experiment, dict) and experiment.get("name") is not None:
                return True
    return False


def _domain(data: object) -> str:
    try:
        return domain_name(read_data(str(data)))
    except (ValueError, OSError):
        return text(data)


def _parts(point: Point, names: Sequence[str]) -> Iterator[str]:
    """Yield `lr=0.001` and the like, as they may stand in a folder's name."""
    last = [name.rpartition(".")[2] for name in point]
    for name in names:
        short = name.rpartition(".")[2]
        key = short if last.count(short) == 1 else name
        yield re.sub(r"[^\w.=+-]+", "_", f"{key}={_word(point[name])}")


def _word(value: object) -> str:
    shown = Path(value).stem if isinstance(value, str) and value.endswith(".yaml") else text(value)
    return shown.replace("/", "-")


def _unique(points: Sequence[Point], names: Sequence[str]) -> list[str]:
    """Add a digest to names that are long or that two points share."""
    return [
        name
        if len(name) <= 100 and names.count(name) == 1
        else f"{name[:80]}-{digest(text(point))[:8]}"
        for point, name in zip(points, names, strict=True)
    ]


def text(value: object) -> str:
    """Write a value so that an option reads the same one back: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def command(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[str]:
    """Fill in a sweep file's command as `wandb agent` does; our program runs in this Python.

    Raises:
        ValueError: If it has a placeholder that is none of W&B's, or an environment variable is not set.
    """
    filled: list[str] = []
    arguments = {name: f"--{name}={text(value)}" for name, value in parameters.items()}
    for part in map(str, config["command"]):
        if part == "${args}":
            filled += arguments.values()
        elif part == "${args_no_hyphens}":
            filled += [argument.removeprefix("--") for argument in arguments.values()]
        elif part == "${args_no_boolean_flags}":
            filled += [
                f"--{name}" if parameters[name] is True else argument
                for name, argument in arguments.items()
                if parameters[name] is not False
            ]
        elif part == "${args_json}":
            filled.append(json.dumps(dict(parameters), default=str))
        elif part in ("yolo-synth", "${program}"):
            filled += [sys.executable, "-m", "yolo_synth"]
        elif part not in ("${env}", "${interpreter}"):
            filled.append(re.sub(r"\$\{(?:envvar:)?(\w+)\}", _variable, part))
    return filled


def _variable(found: re.Match[str]) -> str:
    if not found[0].startswith("${envvar:"):
        raise ValueError(
            f"the sweep's command has {found[0]}, which is not known here; there are ${{args}}, "
            "${args_no_hyphens}, ${args_no_boolean_flags}, ${args_json} and ${envvar:NAME}"
        )
    if found[1] not in os.environ:
        raise ValueError(
            f"the sweep's command has {found[0]}, and {found[1]} is not set; export it"
        )
    return os.environ[found[1]]
