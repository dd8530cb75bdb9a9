"""Which of the runs below a folder a report is about, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from yolo_synth.report import paper
from yolo_synth.runs import BEST, CONFIG, INITIAL, Run, read_run, run_folders

_ALIKE: Final[dict[str, Callable[[Run], Any]]] = {
    "image size": lambda run: run.image_size,
    "width": lambda run: run.config["model"]["width"],
    "number of classes": lambda run: run.config["model"]["num_classes"],
}
"""What the runs of one report have in common."""

_MACHINE: Final = (
    *("root", "label_root", "splits", "batch_size", "num_workers", "augment", "mosaic", "cache"),
    "image_size",
)
"""Data options that may be others on another machine, or do not concern test images."""

_NAMED: Final = ("domain", "where")
"""Data options that make the name of a domain: where they are others, so are the test images."""


def sound_runs(root: str) -> tuple[list[Run], list[str]]:
    """Read the runs at or below a folder.

    Returns:
        The finished runs whose best weights can be read, by seed and in the paper's order of models,
        and a sentence for each one that is left out or lacks something.

    Raises:
        FileNotFoundError: If there is no run folder.
        ValueError: If no run is left, or they differ in image size, width or classes.
    """
    folders = run_folders(root)
    if not folders:
        raise FileNotFoundError(
            f"{root}: no run folder here or below (a folder with a {CONFIG}); train with "
            "yolo-synth fit or yolo-synth sweep first"
        )
    runs: dict[str, Run] = {}
    notes = []
    for folder in folders:
        try:
            run = _sound(folder)
            if run.name in runs:
                raise ValueError(f"{folder}: {run.name} is in {runs[run.name].folder} already")
            runs[run.name] = run
        except (ValueError, FileNotFoundError) as error:
            notes.append(f"Left out: {error}.")
    if not runs:
        raise ValueError(f"{root}: no finished run to report on. {' '.join(notes)}")
    chosen = sorted(runs.values(), key=_rank)
    _refuse_mixture(chosen)
    notes += [
        f"{run.folder}: no {INITIAL} that can be read, so nothing is said of {run.name}'s start."
        for run in chosen
        if not has_start(run)
    ]
    return chosen, [*notes, *_data_notes(chosen)]


def _sound(folder: Path) -> Run:
    run = read_run(folder)
    try:
        about = (run.name, run.test_domains, *(read(run) for read in _ALIKE.values()))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}: its {CONFIG} lacks or garbles {error}") from error
    if not run.finished:
        raise ValueError(f"{folder}: {about[0]} is not finished")
    run.network(BEST)
    return run


def has_start(run: Run) -> bool:
    """Tell whether a run's initial weights can be read."""
    try:
        run.network(INITIAL)
    except (ValueError, FileNotFoundError):
        return False
    return True


def _rank(run: Run) -> tuple[int, int, str]:
    place = paper.MODELS.index(run.model) if run.model in paper.MODELS else len(paper.MODELS)
    return run.seed, place, run.model


def _refuse_mixture(runs: Sequence[Run]) -> None:
    for what, value in _ALIKE.items():
        for run in runs[1:]:
            if value(run) != value(runs[0]):
                raise ValueError(
                    f"runs of more than one {what} cannot be mixed: {runs[0].folder} has "
                    f"{value(runs[0])}, {run.folder} has {value(run)}; keep them in folders of their own"
                )


def _data_notes(runs: Sequence[Run]) -> list[str]:
    """Say which runs read their domain's data by other options than the first one."""
    firsts: dict[str, Run] = {}
    notes = []
    for run in runs:
        for domain, data in run.test_domains.items():
            first = firsts.setdefault(domain, run)
            theirs, ours = first.test_domains[domain]["init_args"], data["init_args"]
            keys = sorted({*ours, *theirs} - {*_MACHINE, *_NAMED})
            other = [key for key in keys if ours.get(key) != theirs.get(key)]
            if other:
                notes.append(
                    f"{run.name} has another {', '.join(other)} in its data than {first.name}, whose "
                    "test images are the ones shown here."
                )
    return notes
