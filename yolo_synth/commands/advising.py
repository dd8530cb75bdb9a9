"""What `advise` does: what to train on a few labelled real pictures, and whether that is sure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import torch

from yolo_synth.adapting import batch_norms
from yolo_synth.advice.choices import NORMS, Choice, choices
from yolo_synth.advice.fitting import Schedule
from yolo_synth.advice.numbers import FILE, numbers
from yolo_synth.advice.pictures import Few, take_few
from yolo_synth.advice.trials import (
    AS_IT_IS,
    STATISTICS,
    Candidate,
    Setting,
    candidates,
    cross_validate,
    taught,
)
from yolo_synth.advice.verdict import Verdict, judge
from yolo_synth.analysis.activations.gram_files import digest_of
from yolo_synth.commands.advise import STEPS
from yolo_synth.commands.networks import data_for, read_network
from yolo_synth.data.source import read_data
from yolo_synth.detecting import as_reference, thresholds
from yolo_synth.detector import save_network
from yolo_synth.escaping import csv_text, say
from yolo_synth.files import keeping, write_whole
from yolo_synth.networks.contract import Network
from yolo_synth.networks.references import Reference
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.runs import BEST, Run, domain_name
from yolo_synth.scoring import matched, reference_scores

RATES: Final = (1e-3, 3e-3)
"""Peaks of the learning rate, for each length of `advise.STEPS`; of a run a third of its own, and that."""

ULTRALYTICS: Final = (
    *((i, i) for i in (0, 1)),
    *((2, 4), (5, 5), (6, 11), (12, 12), (13, 36), (37, 37), (38, 61), (62, 62), (63, 74)),
    *((75, 76), (77, 77), (78, 78), (79, 79), (80, 80), (84, 84), (85, 85), (86, 86), (87, 88)),
    *((89, 90), (91, 91), (92, 92), (96, 96), (97, 97), (98, 98), (99, 100), (101, 104)),
)
"""First and last of Darknet's layers that each module of Ultralytics' YOLOv3 stands for, 0 to 27; 28, its
detection, has layers of all three branches and is never frozen."""


def give_advice(
    network: str,
    real: str,
    synthetic: str | None,
    split: Literal["train", "all"],
    images: int | None,
    folds: int,
    steps: tuple[int, ...],
    rates: tuple[float, ...],
    seed: int,
    size: int | None,
    names: dict[str, str] | None,
    save: str | None,
    out: str | None,
    trust: bool,
) -> None:
    """Cross-validate, say what comes of it, and keep what is asked for; all is as in `advise`."""
    read = read_network(network, trust)
    schedules = schedules_of(read, steps, rates)
    reference = as_reference(read)
    if save and isinstance(reference.network, Network) and Path(save).suffix != ".ckpt":
        raise ValueError(
            f"--save {save}: name a file that ends in .ckpt, which model.weights takes"
        )
    if reference.detect is None:
        raise ValueError(
            f"{reference.name}: how it finds objects is not known: it cannot be judged"
        )
    data = read_data(real)
    module = data_for(read, data, trust, size)
    own, common = matched(reference, module.classes, names)
    if not common:
        raise ValueError(
            f"{module.title} pictures and {reference.name} have no class of one name: say by --names "
            "which is which"
        )
    few = take_few(module, own, reference.classes, split, images)
    divided = few.folds(folds, seed)
    tried = _candidates(reference, few, schedules)
    results = cross_validate(reference, tried, few, divided, thresholds(read), seed)
    verdict = judge(results, few, divided)
    say(table_text(verdict), "", *words(verdict, len(few), _can_be_trained(reference.network)))
    advised, setting = advice(verdict, tried)
    settings = _settings(read, reference, advised, setting)
    say(*settings)
    if isinstance(read, Run):
        found = numbers(verdict, len(few), _how(verdict))
        _keep(read, reference, found, domain_name(data), settings)
    if out is not None:
        write_whole(out, csv_text(verdict.table.assign(how=_how(verdict))))
    if save is None and synthetic is None:
        return
    with taught(reference, advised, setting, few, range(len(few)), seed) as final:
        if final is None:
            raise ValueError(
                f"{advised.name} on all pictures: the loss grew without bounds: --rates"
            )
        if save is not None:
            save_network(final.network, Path(save))
            say(f"{advised.name}, {_said(setting)}, on all {len(few)} pictures: {save}")
        if synthetic is not None:
            _say_cost(read, final, synthetic, size, names, trust)


def _keep(
    run: Run, reference: Reference, found: dict[str, Any], domain: str, settings: Sequence[str]
) -> None:
    """Write the advice into the run's folder, where the report looks for it."""
    about = {
        "network": run.name,
        "weights": [digest_of(reference.network)],
        "domain": domain,
        "settings": list(settings),
    }
    with keeping(run.folder):
        write_whole(run.folder / FILE, json.dumps(about | found, indent=1) + "\n")
        say(f"kept for the report: {run.folder / FILE}")


def _can_be_trained(network: torch.nn.Module) -> bool:
    return isinstance(network, Network) and type(network).losses is not Network.losses


def schedules_of(
    network: Run | Reference, steps: Sequence[int] = STEPS, rates: Sequence[float] = ()
) -> list[Schedule]:
    """Return how choices are trained: each length with its rate, by default as the run was.

    Raises:
        ValueError: If they are not as many.
    """
    if not rates:
        own = network.config["model"].get("lr") if isinstance(network, Run) else None
        gentle, full = (float(f"{own / 3:.1g}"), float(own)) if own else RATES
        rates = [gentle] * (len(steps) - 1) + [full]
    if len(rates) != len(steps):
        raise ValueError(
            f"--rates has {len(rates)} and --steps {len(steps)}: give each length a rate"
        )
    return [Schedule(*pair) for pair in zip(steps, rates, strict=True)]


def _candidates(reference: Reference, few: Few, schedules: Sequence[Schedule]) -> list[Candidate]:
    network = reference.network
    norms = bool(batch_norms(network))
    if not norms:
        say(f"{reference.name} has no batch norms to recalibrate")
    chosen: list[Choice] = []
    if isinstance(network, Network) and _can_be_trained(network):
        chosen = choices(network, few.batch([0])[0])
    else:
        say(f"{reference.name} has no losses here, so only its batch norms' statistics are tried")
    return candidates(chosen, schedules, norms)


def advice(verdict: Verdict, tried: Sequence[Candidate]) -> tuple[Candidate, Setting]:
    """Return what is advised: the best if it is shown to be better, else the yardstick."""
    name = verdict.best if verdict.is_better else verdict.yardstick
    return next(one for one in tried if one.name == name), verdict.settings[name]


def table_text(verdict: Verdict) -> str:
    """Return the candidates as text, the best first."""
    shown = verdict.table.copy()
    name = f"against {verdict.yardstick}"
    shown[name] = [
        "" if trained == verdict.yardstick else _gain(*row)
        for trained, *row in shown[["gain", "low", "high"]].itertuples()
    ]
    shown["folds won"] = [
        "" if trained == verdict.yardstick else f"{won:g} of {verdict.folds}"
        for trained, won in shown["won"].items()
    ]
    shown["how"] = _how(verdict)
    columns = ["map50", name, "folds won", "how"]
    return (
        shown[columns].rename(columns={"map50": "mAP@0.5"}).to_string(float_format="{:.3f}".format)
    )


def _how(verdict: Verdict) -> list[str]:
    """Return how each candidate of the table is best trained."""
    return [_said(verdict.settings[name]) for name in verdict.table.index]


def _gain(gain: float, low: float, high: float) -> str:
    return f"{gain:+.3f}" + (f" [{low:+.3f}, {high:+.3f}]" if low == low else "")


def _said(setting: Setting) -> str:
    if isinstance(setting, float):
        return f"share {setting:g}"
    return str(setting or "")


def words(verdict: Verdict, pictures: int, trained: bool) -> list[str]:
    """Return the verdict in words.

    Args:
        verdict: Itself.
        pictures: How many there are.
        trained: Whether anything was trained.
    """
    best, scores = verdict.best, verdict.table["map50"]
    other = "thawing everything" if trained else "leaving it as it is"
    gain = _gain(verdict.gain, verdict.low, verdict.high)
    if verdict.is_better:
        do = {
            AS_IT_IS: "leave it as it is",
            STATISTICS: "estimate the batch norms' statistics anew",
        }
        return [
            f"{do.get(best, f'train {best}')}: better than {other} in {verdict.won:g} of "
            f"{verdict.folds} folds; chosen by the other folds it gains {gain} on the {pictures} pictures"
        ]
    lines = [f"no better than {other}"]
    if best != verdict.yardstick:
        lines[0] += (
            f": {best} ranks first ({scores[best]:.3f} against {scores[verdict.yardstick]:.3f}), wins "
            f"{verdict.won:g} of {verdict.folds} folds and is chosen in {verdict.chosen} where one is "
            f"left out; chosen by the other folds it gains {gain}"
        )
    if trained and scores[AS_IT_IS] >= scores[verdict.yardstick]:
        lines.append("and that is no better than leaving the network as it is, on these pictures")
    return lines


def _settings(
    read: Run | Reference, reference: Reference, advised: Candidate, setting: Setting
) -> list[str]:
    """Return how the advice is followed, here and in Ultralytics' library."""
    network, choice = reference.network, advised.choice
    if advised.name == STATISTICS:
        return ["batch norms' statistics are no training: --save writes the network that has them"]
    if choice is None or not isinstance(setting, Schedule) or not isinstance(network, Network):
        return []
    if choice.name == NORMS:
        return [f"freezing.mode cannot leave the {NORMS} alone: --save writes the trained network"]
    ranges = choice.frozen(network)
    mode: Any = [list(pair) for pair in ranges] or "none"
    if len(ranges) == 1:
        mode = mode[0]
    weights = f" --model.weights {read.folder / BEST}" if isinstance(read, Run) else ""
    lines = [
        f"here: yolo-synth fit{weights} --model.lr {setting.rate:g} --model.schedule one_cycle "
        f"--trainer.max_steps {setting.steps} --freezing.mode {str(mode).replace(', ', ',')}"
    ]
    if isinstance(network, YOLOv3):
        lines.append(f"in Ultralytics, for its yolov3: freeze={freeze_list(ranges)}")
    return lines


def freeze_list(frozen: Sequence[tuple[int, int]]) -> list[int]:
    """Return the modules of Ultralytics' YOLOv3 of which all layers are frozen.

    Args:
        frozen: First and last of Darknet's layers.
    """
    layers = {layer for first, last in frozen for layer in range(first, last + 1)}
    return [
        i for i, (first, last) in enumerate(ULTRALYTICS) if layers >= set(range(first, last + 1))
    ]


def _say_cost(
    read: Run | Reference,
    final: Reference,
    synthetic: str,
    size: int | None,
    names: dict[str, str] | None,
    trust: bool,
) -> None:
    """Print mAP on other test images before and after."""
    module = data_for(read, read_data(synthetic), trust, size)
    module.prepare_data()
    module.setup("test")
    before, after = (
        reference_scores(one, module, *thresholds(read), names).scores["map50"]
        for one in (as_reference(read), final)
    )
    count = len(module.names("test"))
    say(f"on {count} {module.title} test images: {before:.3f} before, {after:.3f} after")
