"""Which of the runs below a folder a report is about, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from yolo_synth.probe import Subject
from yolo_synth.report import paper
from yolo_synth.runs import CONFIG, INITIAL, Run, read_run, run_folders


def _network(run: Run) -> str:
    """Write down which network a run trained, and its options."""
    named = run.config["model"].get("network") or {"class_path": "YOLOv3"}
    options = {**(named.get("init_args") or {})}
    options.pop("num_classes", None)
    name = named["class_path"].rpartition(".")[2]
    return f"{name}({', '.join(f'{key}={value}' for key, value in options.items())})"


_ALIKE: Final[dict[str, Callable[[Run], Any]]] = {
    "image size": lambda run: run.image_size,
    "network": _network,
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


class Selection(NamedTuple):
    """What a report is about.

    Attributes:
        subjects: The best weights of the finished runs, by seed and in the paper's order of models.
        starts: What the runs started from, by the runs' names; without those that cannot be read.
        notes: A sentence for each run that is left out or lacks something.
    """

    subjects: list[Subject]
    starts: dict[str, Subject]
    notes: list[str]


def select(root: str, trust: bool = False) -> Selection:
    """Read the runs at or below a folder: each configuration and each checkpoint once.

    Raises:
        FileNotFoundError: If there is no run folder.
        ValueError: If no run is left, or they differ in image size, width or classes.
    """
    folders = run_folders(root)
    if not folders:
        raise FileNotFoundError(
            f"{root}: no run folder here or below (a folder with a {CONFIG}); train with "
            "yolo-synth fit or yolo-synth sweep first; two networks of any kind are compared by "
            "yolo-synth compare A B --data DATA"
        )
    sound: dict[str, Subject] = {}
    notes = []
    for folder in folders:
        try:
            subject = _sound(folder, trust)
            name = subject.run.name
            if name in sound:
                raise ValueError(f"{folder}: {name} is in {sound[name].run.folder} already")
            sound[name] = subject
        except (ValueError, FileNotFoundError) as error:
            notes.append(f"Left out: {error}.")
    if not sound:
        raise ValueError(f"{root}: no finished run to report on. {' '.join(notes)}")
    chosen = sorted(sound.values(), key=_rank)
    runs = [subject.run for subject in chosen]
    _refuse_mixture(runs)
    starts = {one.run.name: one.start for one in chosen if one.start}
    notes += [
        f"{run.folder}: no {INITIAL} that can be read, so nothing is said of {run.name}'s start."
        for run in runs
        if run.name not in starts
    ]
    return Selection(chosen, starts, [*notes, *_data_notes(runs)])


def _sound(folder: Path, trust: bool) -> Subject:
    run = read_run(folder, trust)
    try:
        about = (run.name, run.test_domains, *(read(run) for read in _ALIKE.values()))
        subject = Subject(run)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{folder}: its {CONFIG} lacks or garbles {error}") from error
    if not run.finished:
        raise ValueError(f"{folder}: {about[0]} is not finished")
    _ = subject.network
    return subject


def _rank(subject: Subject) -> tuple[int, int, str]:
    run = subject.run
    order = list(paper.MODELS.values())
    name = paper.model_of(subject.label)
    return run.seed, order.index(name) if name else len(order), run.model


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
