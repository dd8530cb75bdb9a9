"""The study: the runs, the images that they are shown, and what is computed of them once for all panels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.similarity import MARGIN, OPINIONS
from yolo_synth.analysis.similarity.judging import DRAWS, INTERVAL_IMAGES
from yolo_synth.analysis.similarity.seeds import check_margin
from yolo_synth.analysis.similarity.series import Values
from yolo_synth.comparison import (
    FORMAT,
    Comparison,
    compare,
)
from yolo_synth.comparison_files import unpack_agreement, unpack_series
from yolo_synth.data.source import Config, data_module
from yolo_synth.evaluation import domain_data, evaluation_table
from yolo_synth.files import Kept, digest, file_name
from yolo_synth.networks.contract import check_side
from yolo_synth.probe import Grams, Label, Probe, Subject, take_probe
from yolo_synth.report import paper
from yolo_synth.report.models import FORMAT as MODELS_FORMAT
from yolo_synth.report.models import Models, measure, pack, seed_tests, unpack, untrained_similarity
from yolo_synth.report.pairs import Couple, all_couples, held_against_seeds, main_pairs
from yolo_synth.report.selection import select

SPLITS: Final = ("train", "valid", "test")


class Study:
    """What all panels of a report look at; each run and each checkpoint is read once.

    Attributes:
        subjects: The best weights of the runs, in the order of the report.
        labels: What they are called and how they were trained.
        starts: What the runs started from, by the runs' names.
        notes: What was left out.
        structure: The networks' layers.
        domains: The test images of each domain.
        sizes: Sides of the images for the similarities, in pixels.
        images: How many images of each domain were asked for.
        folder: Where matrices are kept, a file a pair.
        margin: By which fraction two models may be less or more alike than two seeds and count as
            alike as those.
        objects: Whether boxes are looked at too.
        files: What names further test images.
        has_pictures: Whether pictures are shown, for which networks run once more.
        tables: What is written, by key, as far as it is.
    """

    def __init__(
        self,
        root: str,
        folder: Path,
        images: int = paper.IMAGES,
        sizes: Sequence[int] = (paper.PROBE_SIZE,),
        data: str | Sequence[str] = (),
        trust: bool = False,
        measures: Sequence[str] = OPINIONS,
        margin: float = MARGIN,
        objects: bool = False,
        pictures: bool = False,
    ) -> None:
        """Read the runs at or below a folder.

        Args:
            root: Folder of run folders.
            folder: Where matrices are kept.
            images: Number of test images of each domain, at most.
            sizes: Sides of the images for the similarities, in pixels.
            data: File that names further test images, or several.
            trust: Whether classes from elsewhere that run folders and files name are run.
            measures: What is asked beside CKA, names of `MEASURES`.
            margin: As above.
            objects: As above.
            pictures: Whether pictures are shown.

        Raises:
            FileNotFoundError: If there is no run folder.
            ValueError: If no run is left, they differ in architecture, or there are too few images.
        """
        check_margin(margin, "--margin")
        if images < INTERVAL_IMAGES:
            raise ValueError(f"--images is at least {INTERVAL_IMAGES}, not {images}")
        if not sizes:
            raise ValueError("--sizes names no side of the images; the paper's are 32, 64 and 128")
        self.subjects, self.starts, self.notes = select(root, trust)
        for size in sizes:
            check_side(self.subjects[0].network, size, "each of --sizes")
        self.structure: Structure = self.subjects[0].structure
        self.sizes = tuple(dict.fromkeys(sizes))
        self.images = images
        self.folder = folder
        self.margin = margin
        self.objects = objects
        self.has_pictures = pictures
        self.labels = [subject.label for subject in self.subjects]
        self.tables: dict[str, pd.DataFrame] = {}
        self.files = [data] if isinstance(data, str) else list(data)
        self._trust = trust
        self._measures = measures
        configs = domain_data([subject.run for subject in self.subjects], data)
        self.domains = {
            name: Domain(name, config, images, trust) for name, config in configs.items()
        }

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row per run and domain, of `evaluation.evaluation_table`."""
        finished = [subject.run for subject in self.subjects]
        return evaluation_table(finished, data=self.files, trust=self._trust)

    def probes(self, size: int) -> list[Probe]:
        """Return the images of every domain at a size."""
        return [domain.probe(size) for domain in self.domains.values()]

    def kept(self, name: str, probe: Probe, subjects: Sequence[Subject], *about: str) -> Kept:
        """Return the place of a result that follows from networks, images and `about`."""
        key = digest(*(subject.weights for subject in subjects), probe.digest, str(DRAWS), *about)
        return Kept(self.folder / f"{file_name(name)}.npz", key, FORMAT)

    @cached_property
    def pairs(self) -> list[Comparison]:
        """Every run with itself, with every other and with what it started from.

        They are compared by every probe at every size, and kept in `folder`, a file a pair.
        """
        return [pair for probe in self._probes() for pair in self._seen_by(probe)]

    @cached_property
    def models(self) -> dict[tuple[str, int], Models]:
        """What the trainings of every two models share, and of two seeds of one, by probe and size."""
        return {(one.domain, one.size): self._models(Grams(one)) for one in self._probes()}

    @cached_property
    def main(self) -> list[Label]:
        """The two runs that findings speak of: of real and synthetic training, or else the first two."""
        groups = main_pairs(self.pairs)
        return [groups[0][0].first, groups[0][0].second] if groups else self.labels[:2]

    def _probes(self) -> list[Probe]:
        return [domain.probe(size) for domain in self.domains.values() for size in self.sizes]

    def _models(self, grams: Grams) -> Models:
        def made() -> dict[str, Any]:
            total, task = 2 * len(self.structure), f"seeds, {probe.label}"
            with tqdm(total=total, desc=task, unit="layer", leave=False) as bar, _a_thread_a_core():
                models = measure(self.subjects, grams, self.structure, bar.update)
            return pack(models)

        probe = grams.probe
        starts = [self.starts[name].weights for name in sorted(self.starts)]
        name = f"models_{probe.domain.lower()}_{probe.size}"
        about = (*map(str, self.labels), *starts, str(MODELS_FORMAT))
        return self.kept(name, probe, self.subjects, *about).once(unpack, made)

    def _untrained(self, probe: Probe) -> Values:
        """Return the debiased CKA of two untrained networks, layer by layer."""
        run = self.subjects[0].run
        about = {name: run.config["model"].get(name) for name in ("network", "width", "anchors")}
        name = f"untrained_{probe.domain.lower()}_{probe.size}"
        described = self.subjects[0].network.description, json.dumps(about, default=str)
        return self.kept(name, probe, (), *described).once(
            partial(_untrained_values, layers=len(self.structure)),
            lambda: {"untrained": untrained_similarity(run, probe)},
        )

    def _seen_by(self, probe: Probe) -> list[Comparison]:
        grams = Grams(probe)
        couples = all_couples(self.subjects, self.starts)
        places = [self._place(couple, probe) for couple in couples]
        found = [
            place.read(partial(self._unpacked, couple, probe))
            for couple, place in zip(couples, places, strict=True)
        ]
        for (first, second, starts), kept in zip(couples, found, strict=True):
            for subject in (first, second, *(starts or ())) if kept is None else ():
                # Before the threads, which would do either twice, and at once
                _ = grams(subject), subject.structure

        def pair_of(couple: Couple, kept: Comparison | None) -> Comparison:
            if kept is not None:
                return kept
            asked = _has_opinion(couple, probe.size)
            measures = self._measures if asked else ()
            return compare(*couple[:2], grams, couple.starts, measures=measures, matches=asked)

        bar = tqdm(total=len(couples), desc=f"compare, {probe.label}", unit="pair", leave=False)
        pairs: list[Comparison] = []
        with bar, _a_thread_a_core() as pool:
            for pair in pool.map(pair_of, couples, found):
                pairs.append(pair)
                bar.update()
        tests = seed_tests(self._models(grams), self.margin, self.structure)
        pairs = held_against_seeds(pairs, tests, self._untrained(probe))
        for pair, place, kept in zip(pairs, places, found, strict=True):
            if kept is None or not _is_held_alike(pair, kept):
                place.write(pair.pack())
        return pairs

    def _place(self, couple: Couple, probe: Probe) -> Kept:
        first, second, starts = couple
        name = pair_name(first.label, second.label, probe.domain, probe.size)
        opinion = self._measures if _has_opinion(couple, probe.size) else ()
        about = [start.weights for start in starts or ()]
        return self.kept(name, probe, (first, second), *about, " ".join(opinion))

    def _unpacked(self, couple: Couple, probe: Probe, arrays: dict[str, Any]) -> Comparison:
        layers = len(self.structure)
        pair = Comparison(
            couple.first.label,
            couple.second.label,
            probe.domain,
            len(probe.images),
            probe.size,
            self.structure,
            arrays["biased"],
            arrays["debiased"],
            unpack_series(arrays),
            agreement=unpack_agreement(arrays),
        )
        rows = [row for series in pair.series.values() for row in series.columns("value").values()]
        shapes = {(layers, layers): [pair.biased, pair.debiased], (layers,): rows}
        if any(
            array.shape != shape or array.dtype != np.float64
            for shape, held in shapes.items()
            for array in held
        ):
            raise ValueError("of other layers")
        _ = pair.debiased_series
        return pair


def _untrained_values(arrays: dict[str, Any], layers: int) -> Values:
    values: Values = arrays["untrained"]
    if values.shape != (layers,) or values.dtype != np.float64:
        raise ValueError("of other layers")
    return values


def pair_name(first: Label, second: Label, probe: str, size: int) -> str:
    """Name a pair's files: `U-Real-0_vs_U-Synthetic-0_real_32`."""
    return file_name(f"{first}_vs_{second}_{probe.lower()}_{size}")


def _has_opinion(couple: Couple, size: int) -> bool:
    """Tell whether other families of measures are asked too: of two runs of one seed."""
    a, b = couple.first.label, couple.second.label
    two_runs = a != b and not b.is_initial
    return two_runs and a.seed == b.seed and size == paper.PROBE_SIZE


def _is_held_alike(pair: Comparison, kept: Comparison) -> bool:
    """Tell whether a kept pair is held against two seeds as follows from the other pairs now."""
    now, before = (each.debiased_series.columns("debiased") for each in (pair, kept))
    names = ("untrained", "ceiling", "ratio", "ratio_low", "ratio_high", "p_below", "p_alike")
    if {name for name in names if name in before} != {name for name in names if name in now}:
        return False
    return all(
        np.array_equal(before[name], now[name], equal_nan=True) for name in names if name in now
    )


@contextmanager
def _a_thread_a_core() -> Iterator[ThreadPoolExecutor]:
    """Run one pair on each core: the matrices are too small for several cores to share one's work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


class Domain:
    """The test images of one domain."""

    def __init__(self, name: str, config: Config, images: int, trust: bool = False) -> None:
        """Open the data set.

        Raises:
            ValueError: If it has too few test images for intervals.
        """
        self.name = name
        self.data = data_module(config, trust=trust)
        self.data.prepare_data()
        self.counts = {split: len(self.data.names(split)) for split in SPLITS}
        self.images = min(images, self.counts["test"])
        if self.images < INTERVAL_IMAGES:
            raise ValueError(
                f"{name} has {self.images} test images, and intervals need {INTERVAL_IMAGES}: "
                "use a larger test split"
            )
        self._probes: dict[int, Probe] = {}

    def probe(self, size: int) -> Probe:
        """Return the images at a size, decoded once."""
        if size not in self._probes:
            self._probes[size] = take_probe(self.data, self.name, self.images, size, "test")
        return self._probes[size]
