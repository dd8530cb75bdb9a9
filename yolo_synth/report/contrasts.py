"""What freezing does to similarity: is the frozen or the free network nearer to a third, by layer?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from yolo_synth.analysis.similarity.chance import holm
from yolo_synth.analysis.similarity.jackknife import difference
from yolo_synth.analysis.similarity.permutation import permutation_test, shuffle_groups
from yolo_synth.comparison import DRAWS, Probe
from yolo_synth.report.keeping import digest, file_name, keep, read_kept
from yolo_synth.report.results import Contrast
from yolo_synth.report.similarities import Grams, Subject, image_digest
from yolo_synth.runs import Run


def contrasts(runs: Sequence[Run], probes: Sequence[Probe], folder: Path) -> list[Contrast]:
    """Compare F-X and U-X by their similarity to a network that was trained freely on something else.

    Args:
        runs: The runs, in the order of the report; those of one seed are compared.
        probes: The images of each domain; their source is the domain.
        folder: Where the values are kept, a file a contrast; what stands there is read.
    """
    found = []
    for probe in probes:
        grams = Grams(probe)
        found += [_contrast(*three, grams, folder) for three in _threes(runs)]
    return found


def _threes(runs: Sequence[Run]) -> Iterator[tuple[Subject, Subject, Subject]]:
    """Yield a free network, and two trained on something else: the frozen and the free one."""
    subjects = {run.name: Subject(run) for run in runs}
    for third in runs:
        for free in runs:
            frozen = subjects.get(f"F-{free.model.removeprefix('U-')}/{free.seed}")
            both_free = third.model.startswith("U-") and free.model.startswith("U-")
            if both_free and third.model != free.model and third.seed == free.seed and frozen:
                yield subjects[third.name], frozen, subjects[free.name]


def _contrast(
    third: Subject, frozen: Subject, free: Subject, grams: Grams, folder: Path
) -> Contrast:
    probe = grams.probe
    names = (third.name, frozen.name, free.name)
    size = probe.images.shape[-1]
    path = folder / f"contrast_{file_name('_'.join([*names, probe.source, str(size)]).lower())}.npz"
    weights = (subject.weights for subject in (third, frozen, free))
    key = digest(*weights, image_digest(probe), *(probe.groups or ()), str(DRAWS))
    if (values := read_kept(path, key)) is None:
        values = _values(
            (grams(third), grams(frozen)), (grams(third), grams(free)), shuffle_groups(probe.groups)
        )
        keep(path, key, values)
    rows = {name: values[name] for name in ("value", "low", "high", "p")}
    return Contrast(*names, probe.source, len(probe.images), size, **rows)


def _values(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], groups: Sequence[str] | None
) -> dict[str, Any]:
    chance_first, chance_second = (
        permutation_test(*pair, DRAWS, groups=groups, paired=True).p_corrected
        for pair in (first, second)
    )
    interval, p = difference(first, second, (chance_first, chance_second), paired=True)
    return {
        "value": interval.value.numpy(),
        "low": interval.low.numpy(),
        "high": interval.high.numpy(),
        "p": holm(p).numpy(),
    }
