"""The local mirror of a W&B sweep: the same file's grid, run on this machine without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_synth.commands.grid import Trial, trials
from yolo_synth.commands.trainings import train_all
from yolo_synth.data.source import Config, read_yaml
from yolo_synth.runs import Run, read_run, run_folders


def sweep(file: str, runs: str = "runs", parallel: int | None = None) -> None:
    """Train all runs of a W&B sweep file on this machine.

    Finished runs are skipped and cut-off ones go on, so a second call does what is left; a run that
    fails is named at the end, with its reason, and the others go on. Each has a folder of its own: what
    the sweep varies beyond data, freezing and seed stands in its name.

    Args:
        file: Sweep file of Weights & Biases whose parameters have `value` or `values`.
        runs: Folder of all run folders.
        parallel: How many runs to train at a time, by default one on each CUDA device, or one without;
            they share the processor's cores, and the devices if they are more.

    Raises:
        ValueError: If the file is no grid, or a run failed.
    """
    if parallel is not None and parallel < 1:
        raise ValueError(f"--parallel is at least 1, not {parallel}")
    everything = trials(file, runs)
    finished = _finished(runs)
    train_all(
        [everything],
        lambda trial: is_finished(trial, finished),
        Path(runs) / "logs",
        parallel,
        "sweep",
    )


def _finished(folder: str) -> list[Run]:
    """Return the finished runs below a folder; what is damaged is not finished."""
    found = []
    for path in run_folders(folder):
        try:
            run = read_run(path)
        except (ValueError, OSError):
            continue
        if run.finished:
            found.append(run)
    return found


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
