"""What one network makes of one set of images: Gram matrices, computed once and kept in its run folder.

The callback that compares after training, `yolo-synth compare` and `yolo-synth report` share them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from yolo_synth.analysis.activations.blocks import LayerChoice
from yolo_synth.analysis.activations.gram_files import digest_of, load_grams
from yolo_synth.analysis.activations.pooled import pooled_gram_matrices
from yolo_synth.analysis.activations.run import Precision, gram_matrices
from yolo_synth.analysis.activations.structure import (
    Structure,
    structure_of,
    structure_of_layers,
)
from yolo_synth.analysis.similarity.centring import FEWEST_GROUPS, count_groups
from yolo_synth.data.module import DetectionData
from yolo_synth.devices import for_similarity
from yolo_synth.files import digest, file_name, keeping
from yolo_synth.networks.contract import Network
from yolo_synth.networks.references import Reference
from yolo_synth.runs import BEST, INITIAL, Run

logger = logging.getLogger(__name__)

INITIAL_STATE: Final = "initial state"
"""What the weights are called that a training started from."""

_BAR: Final = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


@dataclass(frozen=True)
class Probe:
    """The images that networks are shown.

    Attributes:
        images: uint8 [n, 3, S, S].
        names: Their n file names.
        domain: What they are of, as `Real`.
        groups: What each image belongs to, such as its sequence; None if that is not known.
        split: The part of the data set that they are from.
    """

    images: Tensor
    names: list[str]
    domain: str
    groups: list[str] | None = None
    split: str = "test"

    @property
    def size(self) -> int:
        """Their side in pixels."""
        return int(self.images.shape[-1])

    @property
    def label(self) -> str:
        """Number, domain, split and size in words, for titles."""
        return probe_label(len(self.images), self.domain, self.split, self.size)

    @cached_property
    def independent_groups(self) -> list[str] | None:
        """What the images count by: sequences or rides; None if each image counts by itself.

        With fewer than `FEWEST_GROUPS` no similarity is free of the likeness of their images: single
        images are taken then, and it is said that they are no independent draws.
        """
        count = count_groups(self.groups, len(self.images))
        if count == len(self.images):
            return None
        if count < FEWEST_GROUPS:
            logger.warning(
                "%s come from %d sequence%s, and %d are needed to leave out the likeness of their "
                "frames: similarities are too high and intervals too short; draw images of more",
                *(self.label, count, "s" * (count > 1), FEWEST_GROUPS),
            )
            return None
        return self.groups

    @cached_property
    def digest(self) -> str:
        """Of the pixels and of what each image belongs to."""
        return digest(self.images_digest, *(self.groups or ()))

    @cached_property
    def images_digest(self) -> str:
        """Of the pixels alone, which is all that Gram matrices follow from."""
        return digest(str(list(self.images.shape)), self.images.numpy().tobytes())


def probe_label(images: int, domain: str, split: str, size: int) -> str:
    """Say in words what networks are shown, as `200 Real test images at 32x32`."""
    return f"{images} {domain} {split} images at {size}x{size}"


def take_probe(data: DetectionData, domain: str, images: int, size: int, split: str) -> Probe:
    """Return the first `images` images of a split, as `DetectionData.probe` draws them."""
    batch, names = data.probe(split, images, size)
    return Probe(batch, names, domain, data.groups(names), split)


def joined(probes: Sequence[Probe]) -> Probe:
    """Return the images of several sets as one, each group named by its set too."""
    if len(probes) == 1:
        return probes[0]
    return Probe(
        torch.cat([probe.images for probe in probes]),
        [name for probe in probes for name in probe.names],
        " and ".join(probe.domain for probe in probes),
        [
            f"{probe.domain} {group}"
            for probe in probes
            for group in probe.independent_groups or probe.names
        ],
        probes[0].split,
    )


class Label(NamedTuple):
    """What a network is called, and how it came about.

    Attributes:
        model: Name of the model, as `U-Real`.
        seed: Seed of its training.
        frozen: What was frozen in training: `none`, `backbone` or a range of layers.
        domain: What it was trained on, as `Real`.
        is_initial: Whether it is what the training started from.
        architecture: Class of the network, if that is no YOLOv3.
        is_run: Whether it is of a run; else `model` is all of its name.
    """

    model: str
    seed: int
    frozen: str
    domain: str
    is_initial: bool = False
    architecture: str = ""
    is_run: bool = True

    @property
    def run(self) -> str:
        """Name of the run, as `U-Real/0`."""
        return f"{self.model}/{self.seed}" if self.is_run else self.model

    @property
    def name(self) -> str:
        """Name of the network, as `U-Real/0` or `initial state`."""
        return INITIAL_STATE if self.is_initial else self.run

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class Shown:
    """A network that is shown images.

    Attributes:
        label: What it is called.
        network: Itself, where it was last run.
        layers: Which of its layers are compared; None as `gram_matrices` chooses.
        pooled: Whether by pooled features.
    """

    label: Label
    layers: str | Sequence[LayerChoice] | None = None
    pooled: bool = False

    @cached_property
    def network(self) -> nn.Module:
        """The network, where it was last run."""
        raise NotImplementedError

    @cached_property
    def weights(self) -> str:
        """A digest of the network's state."""
        return digest_of(self.network)

    @property
    def structure(self) -> Structure:
        """The network's layers."""
        raise NotImplementedError

    def images(self, probe: Probe) -> Tensor:
        """Return a probe's images as this network takes them."""
        return probe.images

    def kept(self, what: str, probe: Probe) -> Path | None:
        """Return where something is kept that follows from these weights and a probe's images."""
        return None


class Guest(Shown):
    """A network of anybody's, for one set of images that were brought to the form that it wants."""

    def __init__(
        self,
        reference: Reference,
        images: Tensor,
        layers: str | Sequence[LayerChoice] | None = None,
        pooled: bool = False,
    ) -> None:
        """Take the network and the images [n, 3, S, S] that it is shown, whatever the probe's size."""
        self.label = Label(reference.name, 0, "none", "", is_run=False)
        self.reference = reference
        self.layers = layers
        self.pooled = pooled
        self.taken = images

    @cached_property
    def network(self) -> nn.Module:
        """The network, where it was last run."""
        return self.reference.network

    @cached_property
    def structure(self) -> Structure:
        """The network's layers, read off its module tree."""
        return structure_of_layers(self.network, self.taken, self.layers)

    def images(self, probe: Probe) -> Tensor:
        """Return the images that were taken."""
        return self.taken


class Subject(Shown):
    """One set of weights: the best ones of a run, or those that it started from; read once."""

    def __init__(self, run: Run, checkpoint: str = BEST) -> None:
        """Name the run and the checkpoint in its folder; nothing is read yet."""
        self.run = run
        self.checkpoint = checkpoint
        self.label = Label(
            *(run.model, run.seed, run.frozen, run.domain, checkpoint == INITIAL, run.architecture)
        )

    @cached_property
    def network(self) -> Network:
        """The network, where it was last run."""
        return self.run.network(self.checkpoint)

    @cached_property
    def structure(self) -> Structure:
        """The network's layers, read off it once; two threads may not do so at the same time."""
        return structure_of(self.network)

    @cached_property
    def start(self) -> Subject | None:
        """What the training started from; None if that cannot be read."""
        start = Subject(self.run, INITIAL)
        try:
            _ = start.network
        except (ValueError, FileNotFoundError):
            return None
        return start

    def kept(self, what: str, probe: Probe) -> Path:
        """Return where something is kept that follows from these weights and a probe's images."""
        key = digest(self.weights, probe.images_digest)[:12]
        about = f"{probe.domain}_{len(probe.images)}x{probe.size}_{key}"
        return self.run.folder / what / file_name(f"{Path(self.checkpoint).stem}_{about}")


def both_starts(first: Shown, second: Shown) -> tuple[Subject, Subject] | None:
    """Return what each of two trainings started from; None if that is not known of both."""
    if first is second or not (isinstance(first, Subject) and isinstance(second, Subject)):
        return None
    return None if first.start is None or second.start is None else (first.start, second.start)


class Grams:
    """Gram matrices of networks on one probe: computed once, kept in the run folders."""

    def __init__(
        self,
        probe: Probe,
        precision: Precision = "float32",
        memory: int | None = None,
        device: Any = None,  # noqa: ANN401 - whatever `Tensor.to` takes
    ) -> None:
        """Take the probe, and what `gram_matrices` has to know; nothing is computed yet.

        Args:
            probe: The images.
            precision: Of the layers' outputs and products.
            memory: Bytes that the layers' outputs take at most; by default what `gram_matrices` chooses.
            device: Where networks run; by default the fastest one that is here.
        """
        self.probe = probe
        self.precision: Precision = precision
        self.memory = memory
        self.device = for_similarity(device)
        self._held: dict[str, Tensor] = {}

    def __call__(self, subject: Shown) -> Tensor:
        """Return [layers, n, n]; subjects with the same weights share theirs."""
        if subject.weights not in self._held:
            self._held[subject.weights] = self._read(subject)
        return self._held[subject.weights]

    def part(self, probe: Probe, images: slice) -> Grams:
        """Return those of some of the images, of the networks that have been shown all."""
        part = Grams(probe, self.precision, self.memory, self.device)
        part._held = {key: grams[:, images, images] for key, grams in self._held.items()}
        return part

    def network(self, subject: Shown) -> nn.Module:
        """Return a subject's network where it is to be run."""
        return subject.network.to(self.device)

    def _read(self, subject: Shown) -> Tensor:
        folder = subject.kept("grams", self.probe)
        if folder is not None:
            if self.precision != "float32":
                folder = folder.with_name(f"{folder.name}_{self.precision}")
            with suppress(FileNotFoundError):
                return load_grams(folder)[0]
            with keeping(folder.parents[1]):
                return self._compute(subject, folder)
        return self._compute(subject, None)  # of no folder, or of one that can only be read

    def _compute(self, subject: Shown, folder: Path | None) -> Tensor:
        network, images = self.network(subject), subject.images(self.probe)
        if subject.pooled:
            return pooled_gram_matrices(network, images, layers=subject.layers)
        task = f"{subject.label.run}{' initial' * subject.label.is_initial}, {self.probe.label}"
        with tqdm(total=1.0, desc=task, leave=False, bar_format=_BAR) as bar:
            return gram_matrices(
                network,
                images,
                layers=subject.layers,
                memory=self.memory,
                precision=self.precision,
                folder=folder,
                progress=lambda share: bar.update(share - bar.n),
            )
