"""Which trials of a sweep are trained already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yolo_synth.claims import CLAIM
from yolo_synth.commands.grid import Trial
from yolo_synth.data.source import Config, read_yaml
from yolo_synth.runs import Run, read_run, run_folders


def finished_runs(folder: str) -> list[Run]:
    """Return the finished runs below a folder; what is damaged is not finished."""
    found = []
    for path in run_folders(folder):
        try:
            run = read_run(path)
        except (ValueError, OSError):
            continue
        if is_done(run):
            found.append(run)
    return found


def is_done(run: Run) -> bool:
    """Tell whether a run is trained, and nobody is at work there or was killed at what comes after."""
    return run.finished and not (run.folder / CLAIM).exists()


def is_finished(trial: Trial, finished: Sequence[Run]) -> bool:
    """Tell whether one of the finished runs has a trial's parameters."""
    return any(_has(run.config, trial.parameters) for run in finished)


def _has(config: Config, parameters: Mapping[str, Any]) -> bool:
    """Tell whether a configuration agrees with parameters, those in a named YAML file included."""
    for name, wanted in parameters.items():
        value: Any = config
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None and name.startswith(
            "data."
        ):  # a data module's options lie one level below
            value = (config["data"].get("init_args") or {}).get(name.removeprefix("data."))
        if isinstance(value, dict) and isinstance(wanted, str):
            part = read_yaml(wanted)
            if not isinstance(part, dict) or not _has_all(value, part):
                return False
        elif value != wanted:
            return False
    return True


def _has_all(config: Config, part: Config) -> bool:
    return all(
        _has_all(config[key], value)
        if isinstance(value, dict) and isinstance(config[key], dict)
        else _same(key, config[key], value)
        for key, value in part.items()
        if key in config
    )


def _same(key: str, full: object, short: object) -> bool:
    """Compare options; a class may be named without its module."""
    return full == short or (key == "class_path" and str(full).endswith(f".{short}"))
