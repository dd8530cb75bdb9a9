"""One comparison: two networks, one set of images → similarity of all layers, as files.

Both the callback that compares after training and `yolo-synth compare` end here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from yolo_synth.analysis.activations.run import Precision, gram_matrices
from yolo_synth.analysis.activations.structure import Structure, structure_of
from yolo_synth.analysis.figures.influence import influence_sheet
from yolo_synth.analysis.figures.similarity import similarity_curves, similarity_heatmap
from yolo_synth.analysis.similarity.cka import cka, partial_cka
from yolo_synth.analysis.similarity.jackknife import influence, jackknife
from yolo_synth.analysis.similarity.permutation import permutation_test, shuffle_groups
from yolo_synth.networks.contract import Network

Matrix = npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]

FEWEST_IMAGES: Final = 4
"""What a debiased similarity needs."""

INTERVAL_IMAGES: Final = 6
"""What its interval needs."""

DRAWS: Final = 200
"""Permutations of the images; the smallest p-value is 1/201."""

ROUNDING_IMAGES: Final = 16
"""Images on which the error of a lower precision is measured."""


@dataclass(frozen=True)
class Probe:
    """The images that both networks see.

    Attributes:
        images: uint8 [n, 3, S, S].
        names: Their n file names.
        source: The data set that they come from, in words, as `BDD100K test`.
        groups: What each image belongs to, such as its sequence; None if that is not known.
    """

    images: Tensor
    names: list[str]
    source: str
    groups: list[str] | None = None

    @property
    def label(self) -> str:
        """Number, source and size in words, for titles and folder names."""
        size = self.images.shape[-1]
        return f"{len(self.images)} images of {self.source} at {size}x{size}"


@dataclass(frozen=True)
class Comparison:
    """Linear CKA between all layers of two networks.

    Attributes:
        names: The two networks' names.
        probe: What they saw.
        structure: The layers that both have.
        biased: [107, 107], as in the paper; row: layer of the first network.
        debiased: [107, 107], without the bias of few images and many features; can be negative.
        low: Lower end of the 95 % interval of the debiased diagonal [107]; NaN where there is none,
            as with fewer than 6 images.
        high: Upper end [107].
        null: 95 % point of the debiased diagonal with the images permuted [107].
        p: Permutation p-value, corrected over the layers [107].
        partial: Debiased partial CKA, with the common start regressed out [107]; NaN in layers that
            did not change, None where the networks have no common start.
        precision: Of the layers' outputs and products.
        error: Mean and largest error of all cells by that precision, measured on a few of the
            images; None in float32.
        influence: What each image adds to the debiased diagonal [107, n]; None with fewer than 6
            images.
    """

    names: tuple[str, str]
    probe: Probe
    structure: Structure
    biased: Matrix
    debiased: Matrix
    low: Values
    high: Values
    null: Values
    p: Values
    partial: Values | None = None
    precision: Precision = "float32"
    error: tuple[float, float] | None = None
    influence: Matrix | None = None

    def layers(self) -> pd.DataFrame:
        """Return a row a layer: number, kind and all that is known of layer i against layer i."""
        columns = {
            "layer": np.arange(len(self.biased)),
            "kind": self.structure.kinds,
            "cka_debiased": np.diag(self.debiased),
            "cka_biased": np.diag(self.biased),
            "low": self.low,
            "high": self.high,
            "null": self.null,
            "p": self.p,
        }
        if self.partial is not None:
            columns["cka_partial"] = self.partial
        return pd.DataFrame(columns)

    def images(self) -> pd.DataFrame:
        """Return a row an image: its name, group, and mean influence over all layers and the parts."""
        table = pd.DataFrame({"image": self.probe.names})
        if self.probe.groups is not None:
            table["group"] = self.probe.groups
        if self.influence is not None:
            for part, values in _parts(self.influence, self.structure).items():
                table[f"influence_{part}"] = _mean(values)
        return table

    def summary(self) -> str:
        """Return the means over all layers, backbone and head in words, debiased first."""
        lines = {
            "mean debiased CKA": np.diag(self.debiased),
            "given the common start": self.partial,
            "as in the paper": np.diag(self.biased),
        }
        text = "; ".join(
            f"{name} {_part_means(values, self.structure)}"
            for name, values in lines.items()
            if values is not None
        )
        if self.error is None:
            return text
        return (
            f"{text}; {self.precision} errs by {self.error[0]:.1e} on average and "
            f"{self.error[1]:.1e} at most"
        )

    def figures(self) -> dict[str, Figure]:
        """Return the curve over layers and both heat maps, by file name."""
        first, second = self.names
        title = f"{first} vs {second}\n{self.probe.label}"
        if self.error is not None:
            title += f", {self.precision} (error {self.error[0]:.1e} on average)"
        added = {} if self.influence is None else {"images": self._influence(title)}
        curves = {"debiased": np.diag(self.debiased)}
        if self.partial is not None:
            curves["debiased, given the common start"] = self.partial
        return {
            "curves": similarity_curves(
                {**curves, "biased, as in the paper": np.diag(self.biased)},
                self.structure,
                title=title,
                bands={"debiased": (self.low, self.high)},
                null=self.null,
                image_size=self.probe.images.shape[-1],
            ),
            "heatmap_debiased": self._heatmap(self.debiased, title, "debiased CKA"),
            "heatmap": self._heatmap(self.biased, title, "CKA as in the paper"),
            **added,
        }

    def _influence(self, title: str) -> Figure:
        return influence_sheet(
            self.probe.images,
            self.images()["influence_all"],
            self.probe.names,
            title=f"What single images add to the mean debiased CKA\n{title}",
        )

    def _heatmap(self, matrix: Matrix, title: str, measure: str) -> Figure:
        return similarity_heatmap(
            matrix,
            self.structure,
            self.structure,
            names=self.names,
            title=title,
            image_size=self.probe.images.shape[-1],
            measure=measure,
            ribbon=True,
        )

    def write(self, folder: Path) -> None:
        """Write `similarity.npz`, two tables and the figures as PNG; the npz comes last."""
        folder.mkdir(parents=True, exist_ok=True)
        self.layers().to_csv(folder / "layers.csv", index=False)
        self.images().to_csv(folder / "images.csv", index=False)
        for name, figure in self.figures().items():
            figure.savefig(folder / f"{name}.png", dpi=150)
        rows = ("biased", "debiased", "low", "high", "null", "p", "partial", "precision", "error")
        arrays: dict[str, Any] = {name: getattr(self, name) for name in (*rows, "influence")}
        arrays |= {"names": self.names, "images": self.probe.names, "source": self.probe.source}
        arrays["size"] = self.probe.images.shape[-1]
        known = {name: values for name, values in arrays.items() if values is not None}
        np.savez_compressed(folder / "similarity.npz", **known)


def compare(
    first: tuple[str, Network],
    second: tuple[str, Network],
    probe: Probe,
    start: Network | None = None,
    precision: Precision = "float32",
    grams: Callable[[Network], Tensor] | None = None,
) -> Comparison:
    """Compare two networks on the same images.

    Args:
        first: Name and network.
        second: Name and network.
        probe: The images, at least `FEWEST_IMAGES`.
        start: What both were before training, if that is the same.
        precision: Of the layers' outputs and products; of a lower one the error is measured.
        grams: What returns a network's Gram matrices [layers, n, n] in that precision; by default
            they are computed.

    Raises:
        ValueError: If the networks are not of one architecture.
    """
    (name_a, network_a), (name_b, network_b) = first, second
    if network_a.description != network_b.description:
        raise ValueError(
            f"{name_a} is {network_a.description} and {name_b} {network_b.description}: runs of one "
            "architecture can be compared"
        )
    read = grams or partial(gram_matrices, images=probe.images, precision=precision)
    a, b = read(network_a), read(network_b)
    test = permutation_test(a, b, DRAWS, groups=shuffle_groups(probe.groups), paired=True)
    low = high = torch.full_like(test.value, torch.nan)
    added = None
    if len(probe.images) >= INTERVAL_IMAGES:
        interval = jackknife(a, b, test.p_corrected, paired=True)
        low, high = interval.low, interval.high
        added = influence(a, b, paired=True).numpy()
    return Comparison(
        (name_a, name_b),
        probe,
        structure_of(network_a),
        cka(a, b).numpy(),
        cka(a, b, debiased=True).numpy(),
        low.numpy(),
        high.numpy(),
        test.null_quantile().numpy(),
        test.p_corrected.numpy(),
        None if start is None else partial_cka(a, b, read(start)).diagonal().numpy(),
        precision,
        None if precision == "float32" else _rounding((network_a, network_b), probe, precision),
        added,
    )


def _rounding(
    networks: tuple[Network, Network], probe: Probe, precision: Precision
) -> tuple[float, float]:
    """Return the mean and the largest error of CKA, biased and debiased, on a few of the images."""
    images = probe.images[:ROUNDING_IMAGES]
    (a, b), (exact_a, exact_b) = (
        [gram_matrices(network, images, precision=chosen) for network in networks]
        for chosen in (precision, "float32")
    )
    errors = torch.stack(
        [
            (cka(a, b, debiased) - cka(exact_a, exact_b, debiased)).abs()
            for debiased in (False, True)
        ]
    )
    return float(errors.nanmean()), float(errors.nan_to_num(0).max())


def _part_means(values: Values, structure: Structure) -> str:
    parts = _parts(values, structure).items()
    return ", ".join(f"{part} {_mean(cells):.3f}" for part, cells in parts)


def _parts(values: Values, structure: Structure) -> dict[str, Values]:
    """Divide what has a row a layer."""
    split = structure.backbone_end
    return {"all": values, "backbone": values[:split], "head": values[split:]}


def _mean(values: Values) -> Values:
    """Return the mean over layers, without those that have no value; NaN if none has."""
    known = values[np.isfinite(values).reshape(len(values), -1).all(1)]
    return known.mean(0) if len(known) else np.full(values.shape[1:], np.nan)


def folder_name(other: str, probe: Probe) -> str:
    """Name the folder of a comparison with another network: `U-Synthetic-0_BDD100K-test_32`."""
    source = probe.source.replace(" ", "-")
    return f"{re.sub('[/: ]', '-', other)}_{source}_{probe.images.shape[-1]}"
