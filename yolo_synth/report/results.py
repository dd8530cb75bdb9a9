"""What a report holds, apart from how it is written: pairs of networks, tables, sentences."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.similarity.chance import SIGNIFICANT

Matrix = npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]

INITIAL_STATE: Final = "initial state"
"""What a pair calls the weights that its first run started from."""


@dataclass(frozen=True)
class Pair:
    """One pair of networks, seen by one probe at one size.

    A network with itself is a pair too; it has no interval and no test.

    Attributes:
        first: Name of a run, as `U-Real/0`; rows of the matrices.
        second: Name of a run, or `initial state`, that of the first; columns of the matrices.
        probe: Domain of the probe images, as `Real`.
        images: Number of probe images.
        size: Their side in pixels.
        biased: CKA as in the paper [L, L].
        debiased: Debiased CKA [L, L]; NaN where a layer is constant.
        low: Lower end of the 95 % jackknife interval of the debiased diagonal [L]; NaN where the
            permutation test does not reject independence, so that there is none.
        high: Upper end [L].
        floor: Mean of the debiased diagonal with the images permuted, within their groups [L].
        null: 95 % point of the same [L].
        p: Permutation p-value, corrected over the layers [L].
        ceiling: Debiased CKA of two seeds of one model [L], the mean of both models' where the pair
            has two; None without two seeds.
        ceiling_low: The same of the lower ends of its intervals.
        partial: Debiased partial CKA, with the common initial state regressed out [L]; NaN in
            layers that did not change, None where the two started from other weights.
        partial_low: Lower end of its interval [L]; NaN as `low`.
        partial_high: Upper end [L].
        partial_p: P-value of the partial CKA, of jackknife and permutation, corrected over the
            layers [L].
        angle: Angular Procrustes distance in radians [L]; None as `neighbours`.
        neighbours: Share of an image's 10 nearest neighbours that both have in common [L]; None
            but for two runs of one seed at the paper's size.
        match: The second network's layer that is most like each layer of the first [L]; NaN where
            a layer is constant, None as `neighbours`.
        match_p: Permutation p-value of that, which knows that the best of all was picked [L].
    """

    first: str
    second: str
    probe: str
    images: int
    size: int
    biased: Matrix
    debiased: Matrix
    low: Values | None = None
    high: Values | None = None
    floor: Values | None = None
    null: Values | None = None
    p: Values | None = None
    ceiling: Values | None = None
    ceiling_low: Values | None = None
    partial: Values | None = None
    partial_low: Values | None = None
    partial_high: Values | None = None
    partial_p: Values | None = None
    angle: Values | None = None
    neighbours: Values | None = None
    match: Values | None = None
    match_p: Values | None = None

    @property
    def name(self) -> str:
        """The pair in words, as `U-Real/0 vs U-Synthetic/0`."""
        return f"{self.first} vs {self.second}"

    @property
    def models(self) -> tuple[str, str]:
        """Both names without the seeds, as `U-Real`."""
        return split_name(self.first)[0], split_name(self.second)[0]

    @property
    def seeds(self) -> tuple[int, int]:
        """Both seeds; the initial state has that of the first."""
        return split_name(self.first)[1], split_name(
            self.first if self.is_initial else self.second
        )[1]

    @property
    def is_self(self) -> bool:
        """Whether it is a network with itself."""
        return self.first == self.second

    @property
    def is_initial(self) -> bool:
        """Whether it is a network with its initial state."""
        return self.second == INITIAL_STATE

    @property
    def is_two_runs(self) -> bool:
        """Whether it is two trainings."""
        return not (self.is_self or self.is_initial)


SERIES: Final = tuple(name.name for name in fields(Pair) if name.default is None)
"""Names of what a pair has one value a layer of."""


@dataclass(frozen=True)
class DomainGap:
    """What one network makes of the images of two domains.

    Attributes:
        run: Name of the run, as `U-Real/0`.
        domains: Both domains, as `Real` and `Synthetic`.
        images: Number of images of each.
        size: Their side in pixels.
        gap: Unbiased MMD² between the domains over the variance within, per layer [L]; 1 is a gap as
            large as the spread within a domain.
        null: 95 % point of the same with the images' domains permuted [L].
        p: Permutation p-value, corrected over the layers [L].
        dimensions: Participation ratio of each domain's images [L]: how many dimensions they fill.
    """

    run: str
    domains: tuple[str, str]
    images: tuple[int, int]
    size: int
    gap: Values
    null: Values
    p: Values
    dimensions: tuple[Values, Values]


@dataclass(frozen=True)
class Contrast:
    """Which of two networks is more alike to a third on the same images.

    Attributes:
        third: Name of the run that both are compared with, as `U-Real/0`.
        first: Name of a run, as `F-Synthetic/0`.
        second: Name of a run, as `U-Synthetic/0`.
        probe: Domain of the probe images.
        images: Their number.
        size: Their side in pixels.
        value: Debiased CKA of the first with the third minus that of the second [L]; NaN where a
            layer is constant.
        low: Lower end of its 95 % jackknife interval [L]; NaN where neither of the two similarities
            is beyond permuted images.
        high: Upper end [L].
        p: P-value of no difference, corrected over the layers [L]; NaN as `low`.
    """

    third: str
    first: str
    second: str
    probe: str
    images: int
    size: int
    value: Values
    low: Values
    high: Values
    p: Values

    @property
    def nearer(self) -> int:
        """In how many layers the first is more alike to the third than the second is."""
        return int(((self.p <= SIGNIFICANT) & (self.value > 0)).sum())

    @property
    def farther(self) -> int:
        """In how many layers it is less alike."""
        return int(((self.p <= SIGNIFICANT) & (self.value < 0)).sum())


def split_name(name: str) -> tuple[str, int]:
    """Split `U-Real/0` into model and seed; the initial state has no seed and gets -1."""
    model, _, seed = name.rpartition("/")
    return (model, int(seed)) if model else (name, -1)


@dataclass(frozen=True)
class Table:
    """One table of the report.

    Attributes:
        key: Its file name, as `table_2`.
        title: What it is.
        caption: What it says, the units, and what differs from the paper.
        frame: Numbers, unformatted; the index names the rows.
    """

    key: str
    title: str
    caption: str
    frame: pd.DataFrame


@dataclass(frozen=True)
class Report:
    """All that a report says.

    Attributes:
        title: Its title.
        findings: Sentences with the numbers that they rest on.
        notes: What was left out, and what differs from the paper's study.
        structure: The network's layers.
        pairs: Networks with themselves, with each other and with their initial state.
        tables: Tables 2 to 5 and what the paper lacks.
        gaps: What each network makes of the images of two domains.
    """

    title: str
    findings: list[str]
    notes: list[str]
    structure: Structure
    pairs: list[Pair]
    tables: list[Table]
    gaps: list[DomainGap] = field(default_factory=list)
