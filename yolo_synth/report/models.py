"""Two models, and two seeds of one: what their trainings have in common on one set of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from yolo_synth.analysis.activations.run import gram_matrices
from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.similarity.centring import count_groups
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.judging import INTERVAL_IMAGES, begun_alike, changes
from yolo_synth.analysis.similarity.seeds import SeedTest, seed_test
from yolo_synth.analysis.similarity.series import Values
from yolo_synth.analysis.similarity.trainings import Alike, Spread, Two, together
from yolo_synth.devices import fastest
from yolo_synth.networks.contract import Network
from yolo_synth.probe import Grams, Probe, Subject
from yolo_synth.runs import Run

FORMAT: Final = 1
"""Of what is kept of models; raise it whenever a number in it becomes another one."""

BATCH: Final = 16
"""Images, at least, that an untrained network's batch statistics are of at a time."""

Found = TypeVar("Found")


class Models(NamedTuple):
    """How alike the trainings of every two models are, and those of each that has two seeds.

    Attributes:
        whole: By debiased CKA.
        added: By what training added to a common start.
    """

    whole: Mapping[Two, Alike]
    added: Mapping[Two, Alike]


def measure(
    subjects: Sequence[Subject],
    grams: Grams,
    structure: Structure,
    progress: Callable[[], object],
) -> Models:
    """Jackknife all runs together over the probe's images; nothing with too few of them.

    Args:
        subjects: The runs.
        grams: Gram matrices of the probe.
        structure: The networks' layers.
        progress: Called twice a layer.
    """
    groups, parts = grams.probe.independent_groups, structure.parts
    if len(subjects) < 2 or count_groups(groups, len(grams.probe.images)) < INTERVAL_IMAGES:
        return Models({}, {})
    whole = together(
        [grams(subject) for subject in subjects],
        [subject.run.model for subject in subjects],
        parts,
        groups,
        progress=progress,
    )
    begun = [(subject, grams(subject.start)) for subject in subjects if subject.start]
    origins = [origin for _, origin in begun]
    added, changed = [], []
    for subject, origin in begun:
        rest, does_differ = changes(grams(subject), origin, groups)
        added.append(rest)
        changed.append(does_differ)
    counted = {
        (i, j): (begun_alike(origins[i], origins[j], structure) & changed[i] & changed[j]).numpy()
        for i, j in combinations(range(len(begun)), 2)
    }
    if not any(layers.any() for layers in counted.values()):
        return Models(whole, {})
    names = [subject.run.model for subject, _ in begun]
    return Models(whole, together(added, names, parts, groups, counted, progress))


def untrained_similarity(run: Run, probe: Probe) -> Values:
    """Return the debiased CKA of two networks that nobody trained, layer by layer.

    Their weights are drawn; batch normalisation has the means and variances of the probe's images, as
    trained networks have those of theirs: without any, the signal of later layers is lost in rounding.
    The second floor beside permuted images: what the architecture alone makes alike. Source: Cui et
    al., Deconfounded representation similarity for comparison of neural networks, 2022.
    """

    def grams(seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = run.untrained().to(fastest())
        _take_statistics(network, probe.images)
        return gram_matrices(network, probe.images)

    matrix = cka(grams(0), grams(1), debiased=True, groups=probe.independent_groups)
    similarity: Values = matrix.diagonal().numpy()
    return similarity


@torch.no_grad()
def _take_statistics(network: Network, images: Tensor) -> None:
    """Give every batch normalisation the mean of its statistics over batches of the images."""
    layers = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    if not layers:
        return
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a mean over batches
        layer.train()
    device = next(network.parameters()).device
    for batch in images.chunk(max(1, len(images) // BATCH)):
        network(batch.to(device).float() / 255)
    network.eval()


def seed_tests(models: Models, margin: float, structure: Structure) -> dict[Two, SeedTest]:
    """Judge every two models, of which one has two seeds, by those."""
    return {
        two: seed_test(alike, margin, len(structure.parts))
        for two, alike in models.whole.items()
        if alike.ratio is not None
    }


def of_two(found: Mapping[Two, Found], two: Two) -> Found | None:
    """Return what is known of two models, whichever comes first."""
    return found.get(two, found.get((two[1], two[0])))


def pack(models: Models) -> dict[str, Any]:
    """Return all of it as named arrays."""
    arrays: dict[str, Any] = {}
    for kind, found in models._asdict().items():
        arrays[kind] = np.array(list(found), dtype=str).reshape(-1, 2)
        for number, alike in enumerate(found.values()):
            arrays[f"{kind}_{number}_means"] = np.stack(alike.means)
            if alike.ratio is not None:
                arrays[f"{kind}_{number}_ratio"] = np.stack(alike.ratio)
                arrays[f"{kind}_{number}_below"] = alike.below
    return arrays


def unpack(arrays: Mapping[str, Any]) -> Models:
    """Return what was packed."""

    def read(kind: str, number: int) -> Alike:
        name = f"{kind}_{number}"
        means, ratio = Spread(*arrays[f"{name}_means"]), arrays.get(f"{name}_ratio")
        return Alike(means, None if ratio is None else Spread(*ratio), arrays.get(f"{name}_below"))

    whole, added = (
        {(str(a), str(b)): read(kind, number) for number, (a, b) in enumerate(arrays[kind])}
        for kind in Models._fields
    )
    return Models(whole, added)
