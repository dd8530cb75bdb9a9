"""What a lower precision costs a comparison: its error, measured on a few of the images."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

import torch

from yolo_synth.analysis.activations.run import Precision, gram_matrices
from yolo_synth.analysis.similarity.centring import FEWEST_GROUPS
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.probe import Grams, Shown

IMAGES: Final = 16
"""Images on which the error is measured."""

SMALL: Final = 64
"""Side in pixels below which a layer can be a few numbers, whose errors do not average out."""

log = logging.getLogger(__name__)


class Rounding(NamedTuple):
    """The error of all cells of CKA, biased and debiased, against float32.

    Attributes:
        mean: Of all cells.
        largest: Of any cell.
        row: Layer of the first network in the cell with the largest error.
        column: Layer of the second network.
    """

    mean: float
    largest: float
    row: int
    column: int

    def __str__(self) -> str:
        """Say it in words."""
        worst = f"{self.largest:.1e} at most (layer {self.row} with layer {self.column})"
        return f"{self.mean:.1e} on average and {worst}"


def rounding_error(first: Shown, second: Shown, grams: Grams) -> Rounding | None:
    """Measure the error of CKA by the precision that Gram matrices have; None for float32.

    Where images are small it is said with the worst cell: at 32x32 the last layers are one pixel large,
    and a cell between two of them was found to err by 0.48 in bfloat16.
    """
    if grams.precision == "float32":
        return None
    probe = grams.probe
    images = probe.images[:IMAGES]
    networks = [grams.network(subject) for subject in (first, second)]
    chosen: tuple[Precision, Precision] = (grams.precision, "float32")
    (a, b), (exact_a, exact_b) = (
        [gram_matrices(network, images, precision=precision) for network in networks]
        for precision in chosen
    )
    groups = (probe.independent_groups or [])[:IMAGES]
    given = groups if len(set(groups)) >= FEWEST_GROUPS else None
    errors = torch.stack(
        [
            (cka(a, b, debiased, given) - cka(exact_a, exact_b, debiased, given)).abs()
            for debiased in (False, True)
        ]
    )
    worst = errors.nan_to_num(0).amax(0)
    row, column = divmod(int(worst.argmax()), worst.shape[1])
    found = Rounding(float(errors.nanmean()), float(worst.max()), row, column)
    if probe.size < SMALL:
        log.warning(
            "%s errs by %s at %dx%d, of %s: below %d pixels compare in float32",
            *(grams.precision, found, probe.size, probe.size, f"{first.label} vs {second.label}"),
            SMALL,
        )
    return found
