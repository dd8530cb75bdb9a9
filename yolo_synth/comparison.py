"""One comparison: two networks, one set of images → how similar all layers are, and how sure that is.

The callback that compares after training, `yolo-synth compare` and `yolo-synth report` all end here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from yolo_synth.analysis.activations.run import Precision
from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.similarity.centring import count_groups, numbered
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.extremes import EXTREMES, extremes
from yolo_synth.analysis.similarity.jackknife import influence
from yolo_synth.analysis.similarity.judging import (
    INTERVAL_IMAGES,
    added,
    best_matches,
    judged,
    within,
)
from yolo_synth.analysis.similarity.measures import MEASURES
from yolo_synth.analysis.similarity.opinions import opinion, rank_agreements
from yolo_synth.analysis.similarity.series import LayerSeries, Values
from yolo_synth.probe import Grams, Label, Shown, Subject, probe_label
from yolo_synth.rounding import Rounding, rounding_error

Matrix = npt.NDArray[np.float64]

FEWEST_IMAGES: Final = 4
"""What a debiased similarity needs."""


FORMAT: Final = 7
"""Of what a kept comparison means: raise it whenever a number in it becomes another one."""

BIASED: Final = "biased CKA"
DEBIASED: Final = "debiased CKA"

COLUMNS: Final = {
    "debiased": ("cka_debiased", ""),
    "within": ("cka_within", "within_"),
    "partial": ("cka_partial", "partial_"),
    **{name: (name, f"{name}_") for name in MEASURES},
    "match": ("match", "match_"),
    "own_match": ("own_match", "own_match_"),
    **{name: (name, f"{name}_") for name in EXTREMES},
}
"""What is known of corresponding layers: in tables and files, the value's name and what its bounds'
names start with."""


@dataclass(frozen=True)
class Comparison:
    """Linear CKA between all layers of two networks, and what else is known of corresponding layers.

    Attributes:
        first: The network in the rows.
        second: The network in the columns; with itself there is no interval and no test.
        probe: Domain of the images that both saw, as `Real`.
        images: Their number.
        size: Their side in pixels.
        structure: The layers that both have.
        biased: [L, L], as in the paper: inflated where a layer has more features than there are images.
        debiased: [L, L], without that bias; can be negative, NaN where a layer is constant. Pairs of
            images of one sequence or ride are left out, and each of those weighs the same.
        series: Of layer i against layer i. `debiased`, the diagonal; `partial`, the same with what
            both started from regressed out, NaN in layers that did not change or began as two, absent
            where that is all of them; `within`, that of single images without the means of their
            sequences or rides, where they come in such. As a second opinion those of `MEASURES` that
            were asked for, as `angle`, the angular Procrustes distance in radians; `match`, the second
            network's layer that is most like each of the first, and `own_match`, the same after taking
            out what a layer has in common with all. `p_lowest` and `p_highest`, the p-value of being
            the lowest or highest layer, and `p_lowest_region` and `p_highest_region` that of a layer's
            scale region.
        agreement: How alike two measures rank the layers, as `CKA and angle`: Spearman's correlation
            without what both owe to depth, lower and upper end of its interval over images.
        split: The part of the data set that the images are from.
        precision: Of the layers' outputs and products.
        error: Of all cells by that precision, measured on a few of the images; None in float32.
        influence: What each image adds to the debiased diagonal [L, n], if that was asked for.
    """

    first: Label
    second: Label
    probe: str
    images: int
    size: int
    structure: Structure
    biased: Matrix
    debiased: Matrix
    series: Mapping[str, LayerSeries] = field(default_factory=dict)
    split: str = "test"
    precision: Precision = "float32"
    error: Rounding | None = None
    influence: Matrix | None = None
    agreement: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The pair in words, as `U-Real/0 vs U-Synthetic/0`."""
        return f"{self.first} vs {self.second}"

    @property
    def models(self) -> tuple[str, str]:
        """Both names without the seeds, as `U-Real`."""
        second = self.second
        return self.first.model, second.name if second.is_initial else second.model

    @property
    def seeds(self) -> tuple[int, int]:
        """Both seeds."""
        return self.first.seed, self.second.seed

    @property
    def is_self(self) -> bool:
        """Whether it is a network with itself."""
        return self.first == self.second

    @property
    def is_initial(self) -> bool:
        """Whether it is a network with what it started from."""
        return self.second.is_initial

    @property
    def is_two_runs(self) -> bool:
        """Whether it is two trainings."""
        return not (self.is_self or self.is_initial)

    @property
    def label(self) -> str:
        """What the networks were shown, in words."""
        return probe_label(self.images, self.probe, self.split, self.size)

    @property
    def debiased_series(self) -> LayerSeries:
        """The debiased CKA of corresponding layers and what it is judged by."""
        return self.series["debiased"]

    @property
    def biased_series(self) -> LayerSeries:
        """The biased CKA of corresponding layers."""
        return LayerSeries(np.diag(self.biased).copy())

    @property
    def opinions(self) -> dict[str, LayerSeries]:
        """What measures of `MEASURES` say, those that were asked for."""
        return {name: self.series[name] for name in MEASURES if name in self.series}

    def layers(self) -> pd.DataFrame:
        """Return a row a layer: number, kind and all that is known of layer i against layer i."""
        columns: dict[str, Any] = {
            "layer": np.arange(len(self.structure)),
            "kind": self.structure.called,
            "cka_biased": np.diag(self.biased),
            **self._rows(),
        }
        if not self.is_self:
            columns["calibrated"] = self.debiased_series.calibrated()
            judged = self.debiased_series.low is not None
            columns["verdict"] = self.debiased_series.verdict() if judged else ""
        return pd.DataFrame(columns)

    def pack(self) -> dict[str, Any]:
        """Return all of it as named arrays, the series under the names of `layers`."""
        given: dict[str, Any] = {"first": self.first.name, "second": self.second.name}
        names = ("probe", "split", "images", "size", "biased", "debiased", "precision")
        given |= {name: getattr(self, name) for name in names} | self._rows()
        optional = {"error": self.error, "influence": self.influence}
        if self.agreement:
            given["agreement_of"] = list(self.agreement)
            given["agreement"] = list(self.agreement.values())
        return given | {name: value for name, value in optional.items() if value is not None}

    def _rows(self) -> dict[str, Values]:
        rows: dict[str, Values] = {}
        for name, series in self.series.items():
            rows |= series.columns(*COLUMNS[name])
        return rows


def compare(
    first: Shown,
    second: Shown,
    grams: Grams,
    starts: tuple[Subject, Subject] | None = None,
    *,
    measures: Sequence[str] = (),
    matches: bool = False,
    single_images: bool = False,
) -> Comparison:
    """Compare two networks on the same images.

    Args:
        first: A network.
        second: Another one, or the same.
        grams: Gram matrices of the images, at least `FEWEST_IMAGES`.
        starts: What each was before training; in layers where that was one function of the images it
            is taken out of both.
        measures: What else is asked of corresponding layers, names of `MEASURES`.
        matches: Whether to look for the best match of every layer among all.
        single_images: Whether to tell what each image adds.

    Raises:
        ValueError: If the networks are not of one architecture.
    """
    _check_alike(first, second)
    a, b, probe = grams(first), grams(second), grams.probe
    groups = probe.independent_groups
    debiased = cka(a, b, debiased=True, groups=groups).numpy()
    diagonal = np.diag(debiased).copy()
    series = {"debiased": LayerSeries(diagonal)}
    if first is not second:
        series["debiased"] = replace(judged(a, b, groups), value=diagonal)
        if (inside := within(a, b, groups)) is not None:
            series["within"] = inside
    if starts:
        origins = grams(starts[0]), grams(starts[1])
        if (rest := added(a, b, origins, first.structure, groups)) is not None:
            series["partial"] = rest
    opinions = {name: opinion(name, a, b, groups) for name in measures}
    series |= {name: found.series for name, found in opinions.items()}
    if matches:
        series |= best_matches(a, b, groups)
    enough = count_groups(groups, len(probe.images)) >= INTERVAL_IMAGES
    if first is not second and enough:
        series |= extremes(a, b, first.structure.regions, groups)
    return Comparison(
        first.label,
        second.label,
        probe.domain,
        len(probe.images),
        probe.size,
        first.structure,
        cka(a, b).numpy(),
        debiased,
        series,
        probe.split,
        grams.precision,
        rounding_error(first, second, grams),
        _image_influence(a, b, groups) if single_images and enough else None,
        rank_agreements(diagonal, a, b, opinions, groups),
    )


def _image_influence(a: Tensor, b: Tensor, groups: Sequence[str] | None) -> Matrix:
    """Return what each image adds to the debiased diagonal [L, n]: its group's share, equally divided."""
    added = influence(a, b, paired=True, groups=groups).numpy()
    member = numbered(groups, a.shape[-1])
    if member is None:
        return added
    return np.asarray(added[:, member] / member.bincount().numpy()[member])


def are_alike(first: Shown, second: Shown) -> bool:
    """Tell whether layer i of one network can be held against layer i of the other."""
    return first.structure == second.structure


def _check_alike(first: Shown, second: Shown) -> None:
    if not are_alike(first, second):
        raise ValueError(
            f"{first.label} has {len(first.structure)} layers and {second.label} other "
            f"{len(second.structure)}: compare them by crossing.cross"
        )
