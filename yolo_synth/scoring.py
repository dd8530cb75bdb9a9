"""What any network finds in test images, as mAP of the classes that both know."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from yolo_synth.average_precision import AveragePrecision
from yolo_synth.boxes import Detection, Target, place
from yolo_synth.data.module import DetectionData
from yolo_synth.devices import fastest
from yolo_synth.diagnosis import diagnose
from yolo_synth.difference.precision import Ranking
from yolo_synth.difference.scores import FEWEST_GROUPS, leavings
from yolo_synth.difference.truth import CONDITIONS
from yolo_synth.networks.quick import lay_out
from yolo_synth.networks.references import Reference

log = logging.getLogger(__name__)

Boxes = TypeVar("Boxes", Detection, Target)

_NAMED: Final = 10
"""Classes that a message names."""


class Scores(NamedTuple):
    """What was measured of a run.

    Attributes:
        scores: As `AveragePrecision.compute` names them.
        without: The area under the curves at IoU 0.5, mean over the classes, without one block of
            images after the other; empty where nobody knows.
        diagnosis: What it is good and bad at, the fields of a `Diagnosis`; empty where nobody knows.
    """

    scores: dict[str, float]
    without: list[float]
    diagnosis: dict[str, Any] = {}  # noqa: RUF012 - never changed


@torch.inference_mode()
def reference_scores(
    reference: Reference,
    module: DetectionData,
    confidence: float,
    iou: float,
    names: Mapping[str, str] | None = None,
    kept: list[Detection] | None = None,
) -> Scores:
    """Measure mAP of any network on the test images of a data module that is set up.

    Classes are matched by name, whatever the case; those that only one side has do not count, and that is
    said.

    Args:
        reference: The network.
        module: The images.
        confidence: As in `Network.detect`.
        iou: As in `Network.detect`.
        names: What the data call classes of the network; several may be called alike.
        kept: Gets what is found in each image, of the classes in `matched`.

    Raises:
        ValueError: If they have none in common, or how the network finds objects is not known.
    """
    own, classes = shared_classes(reference, module.classes, f"{module.title} images", names)
    assert reference.detect is not None
    device = fastest()
    lay_out(reference.network).to(device)
    metric = AveragePrecision(classes)
    objects: list[NDArray[np.int64]] = []
    seen: tuple[list[Detection], list[Target]] = ([], [])
    for images, targets in module.test_dataloader():
        found = reference.detect(images.to(device).float() / 255, confidence, iou)
        truth = [of_classes(one, module.classes, classes) for one in targets]
        known = [of_classes(one, own, classes) for one in found]
        metric.update(known, truth)
        seen[0].extend(known)
        seen[1].extend(truth)
        objects += [
            np.bincount(one["labels"].cpu().numpy(), minlength=len(classes)) for one in truth
        ]
    if kept is not None:
        kept += seen[0]
    names_of_images = module.names("test")
    groups = module.groups(names_of_images)
    about = about_images(module, names_of_images)
    diagnosis = diagnose(*seen, classes, groups, *about)
    without = without_blocks(metric, np.stack(objects), groups)
    return Scores(metric.compute(), without, vars(diagnosis) if diagnosis else {})


def about_images(
    module: DetectionData, names: Sequence[str]
) -> tuple[NDArray[np.float64], dict[str, list[str]]]:
    """Return of images the square pixels of each picture for one of the network's, and the conditions."""
    rows = module.table.drop_duplicates("image").set_index("image").loc[list(names)]
    sides = rows[["width", "height"]].to_numpy(int).tolist()
    placed = [place(w, h, module.image_size, module.resize) for w, h in sides]
    scales = np.array([1 / (one.scale_x * one.scale_y) for one in placed])
    return scales, {name: rows[name].astype(str).tolist() for name in CONDITIONS}


def without_blocks(
    metric: AveragePrecision, objects: NDArray[np.int64], groups: Sequence[str]
) -> list[float]:
    """Return mean areas at IoU 0.5 without one block of groups after the other; none with too few.

    Args:
        metric: Has seen all images.
        objects: True boxes by image and class [n, classes].
        groups: What each image belongs to [n].
    """
    names, group = np.unique(np.array(groups), return_inverse=True)
    if len(names) < FEWEST_GROUPS:
        return []
    scores, labels, images, hits = (
        dim_zero_cat(state).cpu().numpy() if len(state) else np.zeros((0, 1), int)
        for state in (metric.scores, metric.labels, metric.images, metric.hits)
    )
    order = np.lexsort([images, -scores])
    labels, of_box, first = labels[order], group[images[order]], hits[order, 0]
    ranked = [
        Ranking(
            of_box[labels == label],
            [np.flatnonzero(first[labels == label] > 0)],
            [first[labels == label] >= 0],
            np.bincount(group, weights=boxes, minlength=len(names)).astype(int),
        )
        for label, boxes in enumerate(objects.T)
    ]
    areas = np.array(
        [
            [each.area(rest)[0] for each in ranked if each.objects.any()]
            for rest in leavings(len(names))
        ]
    )
    known = np.isfinite(areas)
    if not areas.size or not known.any(1).all():
        return []
    means: list[float] = (np.where(known, areas, 0).sum(1) / known.sum(1)).tolist()
    return means


def shared_classes(
    reference: Reference, there: Sequence[str], where: str, names: Mapping[str, str] | None = None
) -> tuple[list[str], tuple[str, ...]]:
    """Return as `matched`, and say which classes only one side has.

    Args:
        reference: The network.
        there: The classes of what it is shown.
        where: What that is called, as `Real images`.
        names: As in `matched`.

    Raises:
        ValueError: If they have none in common, or how the network finds objects is not known.
    """
    own, classes = matched(reference, there, names)
    if reference.detect is None:
        raise ValueError(f"{reference.name}: how it finds objects is not known: compare takes it")
    if not classes:
        raise ValueError(
            f"{where} have the classes {_few(there)}, and {reference.name} knows "
            f"{_few(reference.classes) or 'none by name'}: say by labels in the data file, or by "
            "--names, which is which"
        )
    say_what_differs(reference.name, own, there, where)
    return own, classes


def say_what_differs(name: str, own: Sequence[str], there: Sequence[str], where: str) -> None:
    """Log which classes do not count because one side does not know them."""
    unknown = [one for one in there if one not in own]
    absent = [one for one in own if one not in there]
    if unknown:
        log.warning("%s does not know %s of the %s: they do not count", name, _few(unknown), where)
    if absent:
        log.warning(
            "%s have no %s, which %s knows: what it finds of them does not count",
            *(where, _few(absent), name),
        )


def matched(
    reference: Reference, there: Sequence[str], names: Mapping[str, str] | None = None
) -> tuple[list[str], tuple[str, ...]]:
    """Return what data call each class of a network, and which classes both have, in its order."""
    spelled = {name.casefold(): name for name in there}
    called = [(names or {}).get(name, name) for name in reference.classes]
    own = [spelled.get(name.casefold(), name) for name in called]
    return own, tuple(name for name in dict.fromkeys(own) if name in there)


def _few(names: Sequence[str]) -> str:
    """Name classes, of many the first ones."""
    names = list(dict.fromkeys(names))
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def of_classes(image: Boxes, names: Sequence[str], classes: Sequence[str]) -> Boxes:
    """Return an image's boxes of some classes, labelled by these; all if the names are the same."""
    if tuple(names) == tuple(classes):
        return image
    index = [classes.index(name) if name in classes else -1 for name in names]
    labels = torch.tensor(index, device=image["labels"].device)[image["labels"]]
    stay = labels >= 0
    numbered = {**cast(dict[str, Tensor], image), "labels": labels}
    return cast(Boxes, {key: values[stay] for key, values in numbered.items()})
