"""Trainings of many trials: a process each, some at a time, each trial once; why one failed is told."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import IO, Any

from tqdm import tqdm

from yolo_synth.commands.grid import Trial
from yolo_synth.devices import visible
from yolo_synth.escaping import shown
from yolo_synth.files import write_whole

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


def train_all(
    waves: Sequence[Sequence[Trial]],
    is_finished: Callable[[Trial], bool],
    logs: Path,
    parallel: int | None,
    verb: str,
) -> None:
    """Train what is not finished; a run that fails is named at the end, and the others go on.

    Args:
        waves: The trials, some after all of others, whose weights they start from.
        is_finished: Tells whether a trial is trained already.
        logs: Folder for a log of each trial.
        parallel: How many to train at a time; None: one on each CUDA device, or one without.
        verb: What trains them, for the bar and for what is said.

    Raises:
        ValueError: If a run failed; what was to follow its wave is not begun.
    """
    todo = [[trial for trial in wave if not is_finished(trial)] for wave in waves]
    total, left = sum(map(len, waves)), sum(map(len, todo))
    logs.mkdir(parents=True, exist_ok=True)
    devices = visible()
    parallel = parallel or max(1, len(devices))
    places: SimpleQueue[dict[str, str]] = SimpleQueue()
    for number in range(parallel):
        places.put(_place(devices, number, parallel))
    started = _Processes()
    with (
        tqdm(total=total, initial=total - left, unit="run", desc=verb) as bar,
        ThreadPoolExecutor(parallel) as pool,
        started,
    ):
        for wave in todo:
            futures = {pool.submit(_train, trial, logs, places, started): trial for trial in wave}
            failed = []
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
                    f"{len(failed)} of {left} runs failed ({'; '.join(failed)}); read their logs in "
                    f"{logs}, mend the cause and call the {verb} again"
                )


class _Processes:
    """The trainings under way; whatever ends the verb ends them in order, as SIGTERM does."""

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
        """Whether the verb ends, so that nothing further is to be started."""
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
    """Lock a trial's log; where another process, or one that was killed, trains it still, wait for its end.

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
