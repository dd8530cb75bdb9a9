"""The work of `curve`: see that its files go together, train, measure, write."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from yolo_synth.claims import claimed
from yolo_synth.commands.classes import silent
from yolo_synth.commands.finished import is_done
from yolo_synth.commands.grid import Trial
from yolo_synth.commands.resuming import of_the_result
from yolo_synth.commands.trainings import train_all
from yolo_synth.curves.answer import Answer, Point
from yolo_synth.curves.recipes import (
    OF_ANOTHER_LENGTH,
    OWN_OPTIONS,
    Plan,
    Training,
    budget,
    trainings,
)
from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import Config, open_data, read_data, read_yaml
from yolo_synth.data.summary import refuse_boxless
from yolo_synth.escaping import say
from yolo_synth.evaluation import scores_on
from yolo_synth.files import digest, write_whole
from yolo_synth.networks.contract import build_network
from yolo_synth.report.curve import PAGE, write_curve
from yolo_synth.runs import domain_name, read_run

log = logging.getLogger(__name__)

EPOCHS: Final = 100
"""Of an experiment that says nothing, as in `fit`."""

RATE: Final = 1e-4
"""Learning rate of such a one."""

SECTIONS: Final = ("model", "trainer", "freezing")
"""Parts of an experiment file that a curve keeps, each with its options."""

CHOOSING: Final = ("early_stopping", "checkpoint")
"""Parts that choose when a training ends, or which of its moments counts."""

_ALIKE: Final = ("image_size", "resize", "batch_size", "augment", "mosaic")
"""Options that both data sets have to share, or their recipes would differ by more than pictures."""


def train_curve(
    synthetic: str,
    real_data: str,
    numbers: tuple[int, ...],
    seeds: int,
    config: str | None,
    steps: int | None,
    rate: float | None,
    out: str,
    parallel: int | None,
    trust: bool,
) -> None:
    """Train what is not trained yet, measure all of it and write what it says; arguments as `curve`'s."""
    experiment = _experiment(config, trust)
    modules = [
        _opened(real_data, OWN_OPTIONS, trust),
        _opened(synthetic, ("epoch_images",), trust),
    ]
    _see_that_they_go_together(modules, (real_data, synthetic), numbers)
    module = modules[0]
    steps = steps or _steps(experiment, len(module.names("train")), module.batch_size)
    length = budget(steps, module.batch_size)
    if length.steps != steps:
        say(f"--steps {steps} is rounded up to {length.steps}")
    rate = rate or float(experiment.get("model", {}).get("lr", RATE))
    plan = Plan(experiment, read_data(real_data), read_data(synthetic), length)
    folder = Path(out)
    with claimed(folder, "trains for a curve"):
        waves = trainings(numbers, seeds, rate)
        runs = folder / "trainings" / _key(plan)
        say(
            f"{sum(map(len, waves))} trainings of {length.steps:,} steps of {length.batch} pictures, or "
            f"half as many (synthetic, then real), in {runs}"
        )
        _train(plan, waves, runs, parallel)
        points = _points([one for wave in waves for one in wave], runs, plan.real, trust)
        here, drawn = modules
        answer = Answer(
            points=points,
            numbers=numbers,
            seeds=seeds,
            budget=length,
            rate=rate,
            pictures=(len(here.names("train")), len(drawn.names("train"))),
            domains=(domain_name(plan.real, "test"), domain_name(plan.synthetic)),
            tests=len(here.names("test")),
        )
        write_curve(answer, folder)
    say(*answer.lines(), f"see {folder / PAGE}")


def _experiment(file: str | None, trust: bool) -> dict[str, Any]:
    """Return what an experiment file says; nothing without one."""
    if file is None:
        return {}
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file}: no such experiment file; try experiments/u_real.yaml")
    experiment = read_yaml(file)
    if not isinstance(experiment, dict) or "class_path" in experiment:
        raise ValueError(f"{file}: no experiment file; write one as experiments/u_real.yaml")
    for name in SECTIONS:
        if not isinstance(experiment.get(name, {}), dict):
            raise ValueError(f"{file}: {name} is {experiment[name]!r}, not options with values")
    trainer, model = experiment.get("trainer", {}), experiment.get("model", {})
    if trainer.get("devices", 1) not in (1, "1"):
        raise ValueError(
            f"{file}: trainer.devices is {trainer['devices']}; a training of a curve takes one device, and "
            "--parallel trains several at a time"
        )
    if experiment.get("freezing", {}).get("thaw_epoch") is not None:
        raise ValueError(
            f"{file}: freezing.thaw_epoch counts epochs, which the curve divides anew: leave it out"
        )
    if model.get("weights") is not None:
        raise ValueError(
            f"{file}: model.weights is the curve's own, for synthetic, then real: leave it out, or "
            "start from a model.backbone"
        )
    if model.get("network") is not None:
        build_network(model["network"], int(model.get("num_classes", 5)), trust=trust)
    for name in CHOOSING:
        if experiment.pop(name, None):
            log.warning("%s: %s is left out: a curve measures trainings at their end", file, name)
    for name in OF_ANOTHER_LENGTH:
        if trainer.get(name) is not None:
            log.warning(
                "%s: trainer.%s is left out: --steps says how long trainings are", file, name
            )
    return experiment


def _opened(file: str, own: Sequence[str], trust: bool) -> DetectionData:
    """Return a data module, which says nothing of what the curve sets."""
    module = open_data(file, trust=trust)
    given = read_data(file).get("init_args") or {}
    for name in own:
        if given.get(name) is not None:
            raise ValueError(f"{file}: {name} is the curve's own: leave it out")
    return module


def _see_that_they_go_together(
    modules: Sequence[DetectionData], files: Sequence[str], numbers: Sequence[int]
) -> None:
    """Refuse what would end a training, or make recipes differ by more than their pictures."""
    named = [domain_name(read_data(file)) for file in files]
    if named == ["Synthetic", "Real"] or Path(files[0]).resolve() == Path(files[1]).resolve():
        raise ValueError(
            f"curve {files[1]} {files[0]}: the first is to be the file of the synthetic data, the second "
            "that of the real ones"
        )
    for name in _ALIKE:
        first, second = (getattr(module, name) for module in modules)
        if first != second:
            raise ValueError(
                f"{name} is {first} in {files[0]} and {second} in {files[1]}: give both the same"
            )
    real, synthetic = modules
    if real.classes != synthetic.classes:
        raise ValueError(
            f"the classes of {files[0]} are {', '.join(real.classes)}, those of {files[1]} "
            f"{', '.join(synthetic.classes)}: give both the same, in the same order, by classes and labels"
        )
    refuse_boxless(real)
    refuse_boxless(synthetic)
    there = len(real.names("train"))
    if max(numbers) > there:
        raise ValueError(
            f"--real {max(numbers)}: {files[0]} has {there} training images; ask for fewer"
        )
    for split in ("valid", "test"):
        if not real.names(split):
            raise ValueError(f"{files[0]} has no {split} images, which the curve needs")
    if not sum(real.dataset("test").boxes_of_each_class(len(real.classes))):
        raise ValueError(
            f"{files[0]} has no box of a class in its test images: nothing can be measured"
        )


def _steps(experiment: Config, images: int, batch: int) -> int:
    """Return how many steps an experiment takes for so many images."""
    trainer = experiment.get("trainer", {})
    epochs, most = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    steps = (EPOCHS if epochs is None or epochs < 1 else int(epochs)) * -(-images // batch)
    return min(steps, int(most)) if most and most > 0 else steps


def _key(plan: Plan) -> str:
    """Return a folder's name: trainings of plans that may differ in their results have others."""
    return digest(json.dumps(of_the_result(plan.common()), sort_keys=True, default=str))[:8]


def _train(
    plan: Plan, waves: Sequence[Sequence[Training]], runs: Path, parallel: int | None
) -> None:
    folders: dict[str, Path] = {}

    def trial(training: Training) -> Trial:
        name = f"{training.model} {training.seed}"
        folders[name] = training.folder(runs)
        file = runs / "experiments" / f"{name}.yaml"
        settings = plan.settings(training, runs)
        write_whole(file, yaml.safe_dump(settings, sort_keys=False), synced=False)
        program = [sys.executable, "-m", "yolo_synth", "fit"]
        return Trial(name, settings, [*program, f"--config={file}", f"--runs={runs}"])

    trials = [[trial(training) for training in wave] for wave in waves]
    train_all(
        trials, lambda trial: _is_finished(folders[trial.name]), runs / "logs", parallel, "curve"
    )


def _is_finished(folder: Path) -> bool:
    try:
        return is_done(read_run(folder))
    except (ValueError, OSError):
        return False


def _points(all_of_them: Sequence[Training], runs: Path, real: Config, trust: bool) -> list[Point]:
    """Measure the finished runs on the real test images."""
    finished = [read_run(training.folder(runs), trust) for training in all_of_them]
    with silent():  # what the data hold was said
        found = scores_on(finished, domain_name(real, "test"), real, trust=trust)
    return [
        Point(one.recipe, one.images, one.seed, scores.scores["map50"], scores.scores["map"])
        for one, scores in zip(all_of_them, found, strict=True)
    ]
