"""The local mirror of a W&B sweep: the same file's grid, run on this machine without a server."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tqdm import tqdm

from yolo_synth.data.source import Config, read_yaml
from yolo_synth.devices import visible
from yolo_synth.runs import read_run, run_folders


@dataclass(frozen=True)
class Trial:
    """One point of the grid.

    Attributes:
        parameters: What the sweep file sets, by option.
        command: The command that trains it.
    """

    parameters: Mapping[str, Any]
    command: Sequence[str]

    @property
    def name(self) -> str:
        """The parameters in words, as `bdd100k none 0`; also the log's file name."""
        values = (
            Path(value).stem if str(value).endswith(".yaml") else str(value)
            for value in self.parameters.values()
        )
        return " ".join(values).replace("/", "-")


def sweep(file: str, runs: str = "runs", parallel: int | None = None) -> None:
    """Train all runs of a W&B sweep file on this machine.

    Finished runs are skipped and cut-off ones go on, so a second call does what is left; a run that
    fails is named at the end and the others go on.

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
    todo = [trial for trial in trials(file, runs) if not is_finished(trial, runs)]
    skipped = len(trials(file, runs)) - len(todo)
    logs = Path(runs) / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    failed = []
    devices = visible()
    parallel = parallel or max(1, len(devices))
    places: SimpleQueue[dict[str, str]] = SimpleQueue()
    for number in range(parallel):
        places.put(_place(devices, number, parallel))
    with (
        tqdm(total=len(todo) + skipped, initial=skipped, unit="run", desc="sweep") as bar,
        ThreadPoolExecutor(parallel) as pool,
    ):
        started = {pool.submit(_train, trial, logs, places): trial for trial in todo}
        for future in _as_completed(started):
            trial = started[future]
            code, seconds = future.result()
            ending = "done" if code == 0 else f"FAILED, see {logs / trial.name}.log"
            tqdm.write(f"{trial.name}: {ending} after {seconds:.0f} s")
            bar.update()
            if code:
                failed.append(trial.name)
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(todo)} runs failed ({', '.join(failed)}); read their logs in "
            f"{logs}, mend the cause and call the sweep again"
        )


def _as_completed(futures: Mapping[Future[tuple[int, float]], Trial]) -> Iterator[Any]:
    """Yield futures as they end; on an interrupt start no further one."""
    waiting = set(futures)
    try:
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from done
    finally:
        for future in waiting:
            future.cancel()


def _place(devices: Sequence[str], number: int, parallel: int) -> dict[str, str]:
    """Return the environment of one of the runs that train at a time: its cores and its device."""
    cores = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // parallel))}
    if not devices:
        return cores
    return {**cores, "CUDA_VISIBLE_DEVICES": devices[number % len(devices)]}


def _train(trial: Trial, logs: Path, places: SimpleQueue[dict[str, str]]) -> tuple[int, float]:
    place = places.get()
    start = time.monotonic()
    with (logs / f"{trial.name}.log").open("w") as log:
        code = subprocess.run(
            trial.command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **place},
            check=False,
        ).returncode
    places.put(place)
    return code, time.monotonic() - start


def trials(file: str, runs: str) -> list[Trial]:
    """Return the grid of a sweep file, the last parameter fastest.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a grid of plain values, or has no command that takes them.
    """
    config = _read(file)
    grid = {}
    for name, parameter in config["parameters"].items():
        if not isinstance(parameter, dict) or not {"value", "values"} & set(parameter):
            raise ValueError(
                f"{file}: parameter {name} has neither value nor values: a distribution needs W&B's "
                "own agent (wandb sweep, wandb agent)"
            )
        grid[name] = parameter["values"] if "values" in parameter else [parameter["value"]]
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return [Trial(point, [*command(config, point), f"--runs={runs}"]) for point in points]


def _read(file: str) -> dict[str, Any]:
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file}: no such sweep file; try experiments/sweep.yaml")
    config = read_yaml(file)
    for key in ("parameters", "command"):
        if not isinstance(config, dict) or key not in config:
            raise ValueError(f"{file}: not a sweep file with a command, {key} is missing")
    return dict(config)


def command(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[str]:
    """Fill in a sweep file's command as `wandb agent` does; our program runs in this Python."""
    filled = []
    for part in config["command"]:
        if part == "${args}":
            filled += [f"--{name}={value}" for name, value in parameters.items()]
        elif part in ("yolo-synth", "${program}"):
            filled += [sys.executable, "-m", "yolo_synth"]
        elif part not in ("${env}", "${interpreter}"):
            filled.append(str(part))
    return filled


def is_finished(trial: Trial, folder: str) -> bool:
    """Tell whether a finished run with a trial's parameters lies below a folder."""
    return any(
        run.finished and _has(run.config, trial.parameters)
        for run in map(read_run, run_folders(folder))
    )


def _has(config: Config, parameters: Mapping[str, Any]) -> bool:
    """Tell whether a configuration agrees with parameters, those in a named YAML file included."""
    for name, wanted in parameters.items():
        value: Any = config
        for key in name.split("."):
            value = value[key]
        if isinstance(value, dict) and isinstance(wanted, str):
            part = read_yaml(wanted)
            if not _has_all(value, part):
                return False
        elif value != wanted:
            return False
    return True


def _has_all(config: Config, part: Config) -> bool:
    return all(
        _has_all(config[key], value) if isinstance(value, dict) else _same(key, config[key], value)
        for key, value in part.items()
        if key in config
    )


def _same(key: str, full: object, short: object) -> bool:
    """Compare options; a class may be named without its module."""
    return full == short or (key == "class_path" and str(full).endswith(f".{short}"))
