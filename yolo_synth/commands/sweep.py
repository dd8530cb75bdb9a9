"""The local mirror of a W&B sweep: the same file's grid, run on this machine without a server."""

from __future__ import annotations

from pathlib import Path


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
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no grid, or a run failed.
    """
    if parallel is not None and parallel < 1:
        raise ValueError(f"--parallel is at least 1, not {parallel}")
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file}: no such sweep file; try experiments/sweep.yaml")
    from yolo_synth.commands.finished import finished_runs, is_finished  # brings PyTorch
    from yolo_synth.commands.grid import trials
    from yolo_synth.commands.trainings import train_all

    everything = trials(file, runs)
    finished = finished_runs(runs)
    train_all(
        [everything],
        lambda trial: is_finished(trial, finished),
        Path(runs) / "logs",
        parallel,
        "sweep",
    )
