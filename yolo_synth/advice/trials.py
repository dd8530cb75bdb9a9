"""Cross-validation: what every candidate, taught by the other folds' pictures, finds in a fold's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import torch
from tqdm import tqdm

from yolo_synth.adapting import recalibrated_statistics
from yolo_synth.advice.choices import Choice
from yolo_synth.advice.fitting import Schedule, fit
from yolo_synth.advice.pictures import Few
from yolo_synth.boxes import Detection
from yolo_synth.devices import fastest
from yolo_synth.networks.contract import Network
from yolo_synth.networks.quick import lay_out
from yolo_synth.networks.references import Reference

Setting = Schedule | float | None
"""How something is trained; or the new statistics' share; or nothing."""

AS_IT_IS: Final = "as it is"
STATISTICS: Final = "statistics"
"""Batch norms' statistics of the pictures, which takes no labels and no training."""

SHARES: Final = (1.0, 0.5)
"""Of new statistics."""

_BAR: Final = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


@dataclass(frozen=True)
class Candidate:
    """What may be done with a network.

    Attributes:
        name: As it is printed.
        settings: The ways in which it is tried.
        choice: What is trained; None if nothing is.
    """

    name: str
    settings: tuple[Setting, ...]
    choice: Choice | None = None


@dataclass(frozen=True)
class Tried:
    """What came of a candidate.

    Attributes:
        candidate: Itself.
        found: For each of its settings, what was found in each of the k pictures by a network that had
            not been shown it.
    """

    candidate: Candidate
    found: list[list[Detection]] = field(repr=False)


def candidates(
    choices: Sequence[Choice], schedules: Sequence[Schedule], norms: bool
) -> list[Candidate]:
    """Return all that is tried of a network: nothing, statistics if it has `norms`, each choice."""
    found = [Candidate(AS_IT_IS, (None,))]
    if norms:
        found.append(Candidate(STATISTICS, SHARES))
    return found + [Candidate(choice.name, tuple(schedules), choice) for choice in choices]


def cross_validate(
    reference: Reference,
    tried: Sequence[Candidate],
    few: Few,
    folds: Sequence[Sequence[int]],
    thresholds: tuple[float, float],
    seed: int = 0,
) -> list[Tried]:
    """Try every candidate in every setting on each fold, taught by the other folds; shows progress.

    Args:
        reference: The network; a `Network` with losses where a candidate is trained.
        tried: The candidates.
        few: The pictures.
        folds: Numbers of the pictures of each fold; all are in one.
        thresholds: Least score and overlap, as in `Network.detect`.
        seed: Of the trainings.
    """
    lay_out(reference.network).to(fastest())
    steps = sum(len(folds) * _cost(setting) for one in tried for setting in one.settings)
    results = []
    with tqdm(total=steps, desc="advise", leave=False, bar_format=_BAR) as bar:
        for one in tried:
            results.append(Tried(one, []))
            for setting in one.settings:
                bar.set_description(f"advise: {one.name}")
                found: dict[int, Detection] = {}
                for fold in folds:
                    shown = [i for other in folds if other is not fold for i in other]
                    with taught(reference, one, setting, few, shown, seed, bar.update) as network:
                        found |= zip(fold, detections(network, few, fold, thresholds), strict=True)
                results[-1].found.append([found[i] for i in range(len(few))])
    return results


def _cost(setting: Setting) -> int:
    return setting.steps if isinstance(setting, Schedule) else 1


@contextmanager
def taught(
    reference: Reference,
    candidate: Candidate,
    setting: Setting,
    few: Few,
    shown: Sequence[int],
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> Iterator[Reference | None]:
    """Yield a network that was taught some pictures as a candidate says; None if that failed.

    Afterwards the reference's own network is as it was.
    """
    if isinstance(setting, Schedule) and candidate.choice is not None:
        assert isinstance(reference.network, Network)
        trained = fit(reference.network, candidate.choice, few, shown, setting, seed, progress)
        yield replace(reference, network=trained, detect=trained.detect) if trained else None
        return
    progress()
    if not isinstance(setting, float):
        yield reference
        return
    network = reference.network
    images = few.batch(shown)[0]
    new = recalibrated_statistics(network, images, setting)
    old = {name: network.state_dict()[name].clone() for name in new}
    network.load_state_dict(new, strict=False)
    try:
        yield reference
    finally:
        network.load_state_dict(old, strict=False)


@torch.inference_mode()
def detections(
    reference: Reference | None,
    few: Few,
    numbers: Sequence[int],
    thresholds: tuple[float, float],
    batch: int = 16,
) -> list[Detection]:
    """Return what a network finds in some pictures, on the processor; without one nothing."""
    if reference is None:
        nothing: Detection = {
            "boxes": torch.zeros(0, 4),
            "scores": torch.zeros(0),
            "labels": torch.zeros(0, dtype=torch.int64),
        }
        return [nothing for _ in numbers]
    assert reference.detect is not None
    device = next(reference.network.parameters()).device
    found: list[Detection] = []
    for start in range(0, len(numbers), batch):
        images = few.batch(numbers[start : start + batch])[0].to(device)
        found += [
            {
                "boxes": one["boxes"].cpu(),
                "scores": one["scores"].cpu(),
                "labels": one["labels"].cpu(),
            }
            for one in reference.detect(images, *thresholds)
        ]
    return found
