"""One comparison: two networks, one set of images → similarity of all layers, as files.

Both the callback that compares after training and `yolo-synth compare` end here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from yolo_synth.analysis.activations import gram_matrices
from yolo_synth.analysis.figures import similarity_curves, similarity_heatmap
from yolo_synth.analysis.similarity import cka
from yolo_synth.analysis.structure import Structure, structure_of
from yolo_synth.yolov3 import YOLOv3
from yolo_synth.yolov3.network import BACKBONE

Matrix = npt.NDArray[np.float64]


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
    """

    names: tuple[str, str]
    probe: Probe
    structure: Structure
    biased: Matrix
    debiased: Matrix

    def layers(self) -> pd.DataFrame:
        """Return a row a layer: number, kind and both values of layer i against layer i."""
        return pd.DataFrame(
            {
                "layer": np.arange(len(self.biased)),
                "kind": self.structure.kinds,
                "cka_debiased": np.diag(self.debiased),
                "cka_biased": np.diag(self.biased),
            }
        )

    def means(self) -> dict[str, float]:
        """Return the mean of layer i against layer i over all layers, backbone and head (Table 5)."""
        diagonal, split = np.diag(self.biased), len(BACKBONE)
        parts = {"all": diagonal, "backbone": diagonal[:split], "head": diagonal[split:]}
        return {part: float(np.nanmean(values)) for part, values in parts.items()}

    def figures(self) -> dict[str, Figure]:
        """Return the curve over layers and both heat maps, by file name."""
        first, second = self.names
        title = f"{first} vs {second}\n{self.probe.label}"
        return {
            "curves": similarity_curves(
                {
                    "debiased": np.diag(self.debiased),
                    "biased, as in the paper": np.diag(self.biased),
                },
                self.structure,
                title=title,
                image_size=self.probe.images.shape[-1],
            ),
            "heatmap_debiased": self._heatmap(self.debiased, title, "debiased CKA"),
            "heatmap": self._heatmap(self.biased, title, "CKA as in the paper"),
        }

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
        """Write `similarity.npz`, `layers.csv` and the figures as PNG; the npz comes last."""
        folder.mkdir(parents=True, exist_ok=True)
        self.layers().to_csv(folder / "layers.csv", index=False)
        for name, figure in self.figures().items():
            figure.savefig(folder / f"{name}.png", dpi=150)
        np.savez_compressed(
            folder / "similarity.npz",
            biased=self.biased,
            debiased=self.debiased,
            names=np.array(self.names),
            images=np.array(self.probe.names),
            source=np.array(self.probe.source),
            size=np.array(self.probe.images.shape[-1]),
        )


def compare(
    first: tuple[str, YOLOv3],
    second: tuple[str, YOLOv3],
    probe: Probe,
    grams: Callable[[YOLOv3, Tensor], Tensor] = gram_matrices,
) -> Comparison:
    """Compare two networks on the same images.

    Args:
        first: Name and network.
        second: Name and network.
        probe: The images.
        grams: What computes a network's Gram matrices [layers, n, n].

    Raises:
        ValueError: If the networks differ in width or class count.
    """
    (name_a, network_a), (name_b, network_b) = first, second
    for what in ("width", "num_classes"):
        if getattr(network_a, what) != getattr(network_b, what):
            raise ValueError(
                f"{name_a} has {what} {getattr(network_a, what)} and {name_b} "
                f"{getattr(network_b, what)}: runs of one architecture can be compared"
            )
    grams_a, grams_b = grams(network_a, probe.images), grams(network_b, probe.images)
    return Comparison(
        (name_a, name_b),
        probe,
        structure_of(network_a, backbone_end=len(BACKBONE)),
        cka(grams_a, grams_b).numpy(),
        cka(grams_a, grams_b, debiased=True).numpy(),
    )


def folder_name(other: str, probe: Probe) -> str:
    """Name the folder of a comparison with another network: `U-Synthetic-0_BDD100K-test_32`."""
    source = probe.source.replace(" ", "-")
    return f"{re.sub('[/: ]', '-', other)}_{source}_{probe.images.shape[-1]}"
