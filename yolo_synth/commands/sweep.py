"""The local mirror of a W&B sweep: the same file's grid, run on this machine without a server."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import IO, Any

from tqdm import tqdm

from yolo_synth.commands.grid import Trial, trials
from yolo_synth.data.source import Config, read_yaml
from yolo_synth.devices import visible
from yolo_synth.escaping import shown
from yolo_synth.files import write_whole
from yolo_synth.runs import Run, read_run, run_folders

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


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
    todo = [trial for trial in everything if not is_finished(trial, finished)]
    skipped = len(everything) - len(todo)
    logs = Path(runs) / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    failed = []
    devices = visible()
    parallel = parallel or max(1, len(devices))
    places: SimpleQueue[dict[str, str]] = SimpleQueue()
    for number in range(parallel):
        places.put(_place(devices, number, parallel))
    started = _Processes()
    with (
        tqdm(total=len(everything), initial=skipped, unit="run", desc="sweep") as bar,
        ThreadPoolExecutor(parallel) as pool,
        started,
    ):
        futures = {pool.submit(_train, trial, logs, places, started): trial for trial in todo}
        for future in _as_completed(futures):
            trial = futures[future]
            code, seconds = future.result()
            log = logs / f"{trial.name}.log"
            ending = "done" if code == 0 else f"FAILED: {_reason(log)}; see {log};"
            tqdm.write(shown(f"{trial.name}: {ending} after {seconds:.0f} s"))
            bar.update()
            if code:
                failed.append(f"{trial.name}: {_reason(log)}")
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(todo)} runs failed ({'; '.join(failed)}); read their logs in "
            f"{logs}, mend the cause and call the sweep again"
        )


class _Processes:
    """The trainings under way; whatever ends the sweep ends them in order, as SIGTERM does."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []
        self._over = Event()

    def run(self, command: Sequence[str], **options: Any) -> int:  # noqa: ANN401 - Popen's
        """Run a command and return its exit code."""
        if self._over.is_set():
            return 1
        process = subprocess.Popen(command, **options)
        self._running.append(process)
        if self._over.is_set():
            process.terminate()
        return process.wait()

    @property
    def over(self) -> bool:
        """Whether the sweep ends, so that nothing further is to be started."""
        return self._over.is_set()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        for process in self._running if kind is not None else ():
            if process.poll() is None:
                process.terminate()


def _reason(log: Path) -> str:
    """Return the line of a log that says why its run failed: the last error, or the last line."""
    try:
        write_whole(log.with_name(f"{log.name}.room"), "\n" * 4096)
        log.with_name(f"{log.name}.room").unlink()
    except OSError as error:  # then the run could not say so
        return f"{log.parent}: {error.strerror}"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        lines = file.read().decode(errors="replace").splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    errors = [line for line in lines if "error:" in line.lower()]
    said = (errors or lines or ["it said nothing"])[-1]
    return said.removeprefix("yolo-synth: error: ").rstrip(".")


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


def _train(
    trial: Trial, logs: Path, places: SimpleQueue[dict[str, str]], started: _Processes
) -> tuple[int, float]:
    place = places.get()
    start = time.monotonic()
    try:
        with (logs / f"{trial.name}.log").open("a") as log:
            _wait_for(log, trial, started)
            log.truncate(0)
            code = started.run(
                trial.command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **place}
            )
    finally:
        places.put(place)  # or the others would wait for it
    return code, time.monotonic() - start


def _wait_for(log: IO[str], trial: Trial, started: _Processes) -> None:
    """Lock a trial's log; where another sweep, or one that was killed, trains it still, wait for its end.

    The training shares the open file and so the lock, whatever becomes of this process.
    """
    said = False
    while fcntl is not None and not started.over:
        with suppress(BlockingIOError):
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if not said:
            tqdm.write(shown(f"{trial.name}: trains already; waiting for the end of that"))
            said = True
        time.sleep(0.5)


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
