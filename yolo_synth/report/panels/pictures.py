"""What two networks find and miss, as pictures: one pair, on the test images of each domain."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from yolo_synth.data.dataset import draw
from yolo_synth.detecting import Detector, detector_of
from yolo_synth.difference.compare import Difference, compare_detections
from yolo_synth.difference.gallery import Gallery, galleries, with_pictures
from yolo_synth.difference.truth import Truth, truth_of_data
from yolo_synth.files import Kept, digest, file_name
from yolo_synth.found import found_in_truth
from yolo_synth.probe import Subject
from yolo_synth.report.panel import Panel, Pictures, Section
from yolo_synth.report.study import Domain, Study

log = logging.getLogger(__name__)

FORMAT: Final = 1
"""Of kept detections."""

BUDGET: Final = 1_800_000
"""Letters that the pictures of all domains may take."""

COLUMNS: Final = ("image_id", "category_id", "bbox", "score")


class Seen(NamedTuple):
    """What two networks find on a domain's images.

    Attributes:
        domain: Its name.
        runs: Names of A and B.
        difference: What sets B apart from A.
        galleries: The pictures.
    """

    domain: str
    runs: tuple[str, str]
    difference: Difference
    galleries: Sequence[Gallery]


def compute(study: Study) -> list[Seen]:
    """Return what the pair finds on each domain; nothing if pictures are not to be shown."""
    pair = chosen_pair(study.subjects)
    if pair is None or not study.has_pictures:
        return []
    detectors = [detector_of(subject.run, read=deepcopy(subject.network)) for subject in pair]
    found = []
    for domain in study.domains.values():
        truth = _truth(domain)
        known = set(truth.classes)
        if not len(truth.boxes.label) or not all(known & set(one.run.classes) for one in pair):
            log.warning("no pictures of %s: no true box there of a class of both", domain.name)
            continue
        a, b = (
            _found(subject, detector, domain, truth, study.sizes[0])
            for subject, detector in zip(pair, detectors, strict=True)
        )
        if not (a and b):
            log.warning("no pictures of %s: a network finds nothing there", domain.name)
            continue
        difference = compare_detections(a, b, truth)
        budget = BUDGET // len(study.domains)
        shown = with_pictures(galleries(difference), difference, budget)
        found.append(Seen(domain.name, (pair[0].run.name, pair[1].run.name), difference, shown))
    return found


def chosen_pair(subjects: Sequence[Subject]) -> tuple[Subject, Subject] | None:
    """Return the first run and the first that was trained on another domain.

    If there is none, the first of another model; if there is none either, the second run.
    """
    if len(subjects) < 2:
        return None
    first, *others = subjects
    by_need = (
        [one for one in others if one.run.domain != first.run.domain],
        [one for one in others if one.run.model != first.run.model],
        others,
    )
    return first, next(some[0] for some in by_need if some)


def _truth(domain: Domain) -> Truth:
    """Return the true boxes of the images that the similarities rest on."""
    names = draw(domain.data.names("test"), domain.images, 0, "test")
    return truth_of_data(domain.data, names, f"{domain.name} test")


def _found(
    subject: Subject, detector: Detector, domain: Domain, truth: Truth, size: int
) -> list[dict[str, Any]]:
    """Return what a run finds, from its folder where it is kept."""
    about = (detector.side, detector.confidence, detector.iou, detector.reference.preprocessing)
    key = digest(subject.weights, domain.probe(size).digest, str(about), *truth.classes)
    name = f"{domain.name}_{len(truth.images)}_found.npz"
    place = Kept(subject.run.folder / "test" / file_name(name), key, FORMAT)
    return place.once(_rows, partial(_columns, detector, truth))


def _columns(detector: Detector, truth: Truth) -> dict[str, Any]:
    rows = found_in_truth(detector, truth)
    return {name: np.array([row[name] for row in rows]) for name in COLUMNS}


def _rows(kept: dict[str, Any]) -> list[dict[str, Any]]:
    columns = [kept[name].tolist() for name in COLUMNS]
    return [dict(zip(COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]


def section(found: Sequence[Seen]) -> Section:
    """Return the pictures with what they are of."""
    shown = []
    for one in found:
        counts = one.difference.found.iloc[0]
        a, b = one.runs
        shown.append(
            Pictures(
                f"On {one.domain} test images",
                f"A is {a}, B is {b}. Of {counts['boxes']:,} true boxes in "
                f"{len(one.difference.truth.images):,} images both find {counts['both']:,}, only A "
                f"{counts['A']:,}, only B {counts['B']:,}, neither {counts['neither']:,}, each network "
                "with what it shows from the confidence on at which its F1 is best "
                f"({one.difference.errors[0].confidence:.2f} and "
                f"{one.difference.errors[1].confidence:.2f}).",
                one.galleries,
            )
        )
    caption = (
        "The first run and the first that was trained on another domain, on the images that the "
        "similarities rest on. A true box is found by a detection of its class with IoU of at least 0.5. "
        "yolo-synth diff compares any other two."
    )
    return Section("pictures", "Pictures", caption, galleries=shown)


PANEL = Panel("pictures", "Pictures", compute, section=section)
