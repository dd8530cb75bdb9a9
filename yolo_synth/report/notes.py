"""Notes: how a study differs from the paper's, and what its samples allow."""

from __future__ import annotations

from collections.abc import Iterator

from yolo_synth.analysis.similarity.centring import count_groups
from yolo_synth.analysis.similarity.judging import INTERVAL_IMAGES
from yolo_synth.report import paper
from yolo_synth.report.study import Study

TOO_FEW = (
    f"; no interval is given, since the spread over fewer than {INTERVAL_IMAGES} says nothing."
)


def differences(study: Study) -> list[str]:
    """Say how the study differs from the paper's: data, network, image size."""
    notes = []
    for name, domain in study.domains.items():
        if domain.counts != paper.SPLITS.get(name):
            counts = ", ".join(f"{count:,} {split}" for split, count in domain.counts.items())
            notes.append(f"The {name} data are not the paper's: {counts} images.")
    run = study.subjects[0].run
    width = run.config["model"]["width"]
    if run.architecture:
        notes.append(f"The network is a {run.architecture}, the paper's a YOLOv3.")
    elif width != paper.WIDTH:
        notes.append(f"The network has {width} of the paper's channels per layer.")
    if run.image_size != paper.IMAGE_SIZE:
        size = f"{run.image_size}x{run.image_size}"
        notes.append(f"The networks were trained and tested at {size}, the paper's at 416x416.")
    return notes


def sample_notes(study: Study) -> Iterator[str]:
    """Say how many images, groups and seeds there are, where that limits what can be said."""
    for name, domain in study.domains.items():
        if domain.images < study.images:
            yield (
                f"The {name} test split has {domain.images} images, so {domain.images} are shown to "
                f"the networks instead of {study.images}."
            )
    for probe in study.probes(paper.PROBE_SIZE):
        count, groups = count_groups(probe.groups, len(probe.images)), probe.independent_groups
        if groups is None and count < len(probe.images):
            yield (
                f"The {probe.domain} images come from {count} sequences: too few to leave out the "
                "likeness of their frames. They count as independent draws here, which makes "
                "similarities too high and intervals too short."
            )
        elif groups is not None:
            yield (
                f"The {probe.domain} images come in {count} groups (sequences or rides): similarities "
                "are between images of different groups, each group weighs the same, whole groups are "
                "left out for the intervals and permuted for chance"
                f"{TOO_FEW if count < INTERVAL_IMAGES else '.'}"
            )
    if study.images != paper.IMAGES:
        yield (
            f"The similarities rest on {study.images} images a domain at most, the paper's on "
            f"{paper.IMAGES}."
        )
    if len({label.seed for label in study.labels}) == 1:
        yield (
            "All runs have one seed: the spread over seeds and the ceiling of two seeds are unknown."
        )
