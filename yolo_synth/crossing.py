"""Two networks of different architecture on one set of images: every layer against every layer.

No layer of one corresponds to a layer of the other, so each is held against the most similar one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.similarity.centring import between_groups
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.judging import MATCH_DRAWS
from yolo_synth.analysis.similarity.permutation import PermutationTest, permutation_test
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.comparison import Matrix
from yolo_synth.probe import Grams, Label, Shown, probe_label

_NONE: Final = -1
"""Stands for no layer: one without a value matches none."""


@dataclass(frozen=True)
class Matches:
    """Each layer of one network with the most similar layer of another.

    Attributes:
        layers: Which it is [L]; -1 for a constant layer.
        series: Its debiased CKA, beside the 95 % point of the highest one of permuted images.
    """

    layers: npt.NDArray[np.int64]
    series: LayerSeries


@dataclass(frozen=True)
class Crossing:
    """Linear CKA of every layer of one network with every layer of another.

    Attributes:
        first: The network in the rows.
        second: The network in the columns.
        probe: Domain of the images that both saw.
        images: Their number.
        size: Their side in pixels, as the first took them.
        structure: The first's layers.
        other: The second's.
        biased: [La, Lb].
        debiased: [La, Lb].
        matches: Of the first's layers among the second's, and the other way.
        split: The part of the data set that the images are from.
    """

    first: Label
    second: Label
    probe: str
    images: int
    size: int
    structure: Structure
    other: Structure
    biased: Matrix
    debiased: Matrix
    matches: tuple[Matches, Matches]
    split: str = "test"

    @property
    def name(self) -> str:
        """The pair in words."""
        return f"{self.first} vs {self.second}"

    @property
    def label(self) -> str:
        """What the networks were shown, in words."""
        return probe_label(self.images, self.probe, self.split, self.size)

    def layers(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return a row a layer, of either network: its name, the layer it matches, and how well."""
        first = _table(self.structure, self.other, self.matches[0])
        return first, _table(self.other, self.structure, self.matches[1])

    def pack(self) -> dict[str, Any]:
        """Return all of it as named arrays."""
        given: dict[str, Any] = {"first": self.first.name, "second": self.second.name}
        given |= {
            name: getattr(self, name)
            for name in ("probe", "split", "images", "size", "biased", "debiased")
        }
        for side, found, structure in zip(
            ("first", "second"), self.matches, (self.structure, self.other), strict=True
        ):
            given |= {f"{side}_layers": structure.called, f"{side}_match": found.layers}
            given |= found.series.columns(f"{side}_cka_debiased", f"{side}_")
        return given


def _table(own: Structure, other: Structure, found: Matches) -> pd.DataFrame:
    names = [other.called[layer] if layer != _NONE else "" for layer in found.layers]
    return pd.DataFrame(
        {
            "layer": np.arange(len(own)),
            "name": own.called,
            "match": found.layers,
            "match_name": names,
            **found.series.columns("cka_debiased"),
        }
    )


def cross(first: Shown, second: Shown, grams: Grams) -> Crossing:
    """Compare every layer of two networks, whatever they are, on the same images."""
    a, b, probe = grams(first), grams(second), grams.probe
    groups = probe.independent_groups
    debiased = cka(a, b, debiased=True, groups=groups).numpy()
    test = permutation_test(between_groups(a, groups), between_groups(b, groups), MATCH_DRAWS)
    turned = PermutationTest(test.value.mT, test.draws.mT)
    return Crossing(
        first.label,
        second.label,
        probe.domain,
        len(probe.images),
        first.images(probe).shape[-1],
        first.structure,
        second.structure,
        cka(a, b).numpy(),
        debiased,
        (_best(debiased, test), _best(debiased.T, turned)),
        probe.split,
    )


def _best(values: Matrix, test: PermutationTest) -> Matches:
    known = np.isfinite(values).any(1)
    places = np.where(known, np.nan_to_num(values, nan=-np.inf).argmax(1), _NONE)
    best = np.where(known, values[np.arange(len(values)), places], np.nan)
    highest = test.draws.nan_to_num(-np.inf).amax(-1).numpy()
    null = np.where(known, np.quantile(np.where(np.isfinite(highest), highest, 0), 0.95, 0), np.nan)
    return Matches(places, LayerSeries(best, null=null, p=test.best_match()[1].numpy()))
