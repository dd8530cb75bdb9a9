"""Inside one network: how far apart it holds the images of two domains, layer by layer.

Both domains' images go through the network together; one Gram matrix a layer holds all that is
asked. The Fréchet distance is not offered: at 200 images its bias is most of its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolo_synth.analysis.similarity.measures import participation_ratio
from yolo_synth.analysis.similarity.permutation import gap_test
from yolo_synth.comparison import DRAWS, Probe
from yolo_synth.report.keeping import digest, file_name, keep, read_kept
from yolo_synth.report.results import DomainGap
from yolo_synth.report.similarities import Grams, Subject, image_digest
from yolo_synth.runs import Run


def domain_gaps(runs: Sequence[Run], probes: Sequence[Probe], folder: Path) -> list[DomainGap]:
    """Hold every two domains apart in every run.

    Args:
        runs: The runs, in the order of the report.
        probes: The images of each domain, of one size; their source is the domain.
        folder: Where the values are kept, a file a run; what stands there is read.
    """
    return [
        gap
        for first, second in combinations(probes, 2)
        for gap in _gaps(runs, first, second, folder)
    ]


def _gaps(runs: Sequence[Run], first: Probe, second: Probe, folder: Path) -> list[DomainGap]:
    both = Probe(
        torch.cat([first.images, second.images]),
        [*first.names, *second.names],
        f"{first.source} and {second.source}",
        [*_clusters(first), *_clusters(second)],
    )
    is_first = torch.arange(len(both.images)) < len(first.images)
    size, grams = both.images.shape[-1], Grams(both)
    gaps = []
    for run in runs:
        subject = Subject(run)
        path = folder / f"gap_{file_name(f'{run.name}_{both.source}_{size}'.lower())}.npz"
        images = (image_digest(both), str(len(first.images)), *(both.groups or ()))
        key = digest(subject.weights, *images, str(DRAWS))
        if (values := read_kept(path, key)) is None:
            values = _values(grams(subject), is_first, both.groups)
            keep(path, key, values)
        gaps.append(
            DomainGap(
                run.name,
                (first.source, second.source),
                (len(first.images), len(second.images)),
                size,
                values["gap"],
                values["null"],
                values["p"],
                (values["first"], values["second"]),
            )
        )
    return gaps


def _clusters(probe: Probe) -> list[str]:
    """Name what each image belongs to, so that no two domains have one in common."""
    return [f"{probe.source} {group}" for group in probe.groups or probe.names]


def _values(grams: Tensor, is_first: Tensor, clusters: Sequence[str] | None) -> dict[str, Any]:
    test = gap_test(grams, is_first, DRAWS, clusters=clusters)
    return {
        "gap": test.value.numpy(),
        "null": test.null_quantile().numpy(),
        "p": test.p_corrected.numpy(),
        "first": participation_ratio(grams[:, is_first][:, :, is_first]).numpy(),
        "second": participation_ratio(grams[:, ~is_first][:, :, ~is_first]).numpy(),
    }
