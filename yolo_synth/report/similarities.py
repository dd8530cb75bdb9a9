"""Similarities of all runs, seen by one probe: Gram matrices kept in run folders, and pairs of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from yolo_synth.analysis.activations.grams import fingerprint, load_grams
from yolo_synth.analysis.activations.run import Precision, gram_matrices
from yolo_synth.analysis.similarity.cka import cka, deconfound
from yolo_synth.analysis.similarity.jackknife import jackknife, residual_p
from yolo_synth.analysis.similarity.measures import mutual_neighbours, procrustes_angle
from yolo_synth.analysis.similarity.permutation import permutation_test, shuffle_groups
from yolo_synth.comparison import DRAWS, Probe
from yolo_synth.devices import fastest
from yolo_synth.networks.contract import Network
from yolo_synth.report import paper
from yolo_synth.report.keeping import digest, file_name, keep, read_kept
from yolo_synth.report.results import INITIAL_STATE, SERIES, Pair
from yolo_synth.runs import BEST, INITIAL, Run

_BAR: Final = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"

NEIGHBOURS: Final = 10
"""Nearest neighbours of an image that the second opinion looks at."""

_CEILING: Final = ("ceiling", "ceiling_low")
"""What depends on other pairs, and is not read again from a pair's file."""

_COMPUTED: Final = ("biased", "debiased", *(name for name in SERIES if name not in _CEILING))
"""What a pair's file keeps to be read again."""


class Subject:
    """One set of weights: the best ones of a run, or those that it started from."""

    def __init__(self, run: Run, checkpoint: str = BEST) -> None:
        """Name the run and the checkpoint in its folder."""
        self.run = run
        self.checkpoint = checkpoint
        self.name = INITIAL_STATE if checkpoint == INITIAL else run.name

    def network(self) -> Network:
        """Read the network."""
        return self.run.network(self.checkpoint)

    @cached_property
    def weights(self) -> str:
        """A digest of the network's state."""
        return fingerprint(self.network(), torch.empty(0), "float32", ())["weights"]

    def kept(self, what: str, probe: Probe) -> Path:
        """Return where something is kept that follows from these weights and a probe."""
        key = digest(self.weights, image_digest(probe))[:12]
        stem, size = Path(self.checkpoint).stem, probe.images.shape[-1]
        name = f"{stem}_{probe.source}_{len(probe.images)}x{size}_{key}"
        return self.run.folder / what / file_name(name)


def image_digest(probe: Probe) -> str:
    """Return SHA-256 of a probe's pixels."""
    return hashlib.sha256(probe.images.numpy().tobytes()).hexdigest()


class Grams:
    """Gram matrices of subjects on one probe: computed once, kept in the run folders."""

    def __init__(
        self, probe: Probe, precision: Precision = "float32", memory: int | None = None
    ) -> None:
        """Take the probe, and what `gram_matrices` has to know; nothing is computed yet."""
        self.probe = probe
        self.precision: Precision = precision
        self.memory = memory
        self._held: dict[str, Tensor] = {}

    def __call__(self, subject: Subject) -> Tensor:
        """Return [layers, n, n]; subjects with the same weights share theirs."""
        if subject.weights not in self._held:
            self._held[subject.weights] = self._read(subject)
        return self._held[subject.weights]

    def _read(self, subject: Subject) -> Tensor:
        folder = subject.kept("grams", self.probe)
        if self.precision != "float32":
            folder = folder.with_name(f"{folder.name}_{self.precision}")
        try:
            return load_grams(folder)[0]
        except FileNotFoundError:
            network = subject.network().to(fastest())
            with tqdm(
                total=1.0, desc=_task(subject, self.probe), leave=False, bar_format=_BAR
            ) as bar:

                def show(share: float) -> None:
                    bar.update(share - bar.n)

                return gram_matrices(
                    network,
                    self.probe.images,
                    memory=self.memory,
                    precision=self.precision,
                    folder=folder,
                    progress=show,
                )


def _task(subject: Subject, probe: Probe) -> str:
    name = subject.run.name + (" initial" if subject.checkpoint == INITIAL else "")
    return f"{name}, {probe.label}"


def all_pairs(
    runs: Sequence[Run], starts: Mapping[str, Subject], probe: Probe, folder: Path
) -> list[Pair]:
    """Compare every run with itself, with every other and with its initial state.

    Args:
        runs: The runs, in the order of the report.
        starts: Initial states by run name, of the runs that have one.
        probe: The images; its source is their domain.
        folder: Where the matrices are written, a file a pair; what stands there is read.

    Returns:
        The pairs: themselves, each other, initial states.
    """
    subjects = [Subject(run) for run in runs]
    couples = [(subject, subject) for subject in subjects]
    couples += list(combinations(subjects, 2))
    couples += [(s, starts[s.run.name]) for s in subjects if s.run.name in starts]
    grams = Grams(probe)
    common = [_common_start(first, second, starts) for first, second in couples]
    jobs = [
        (first, second, start, grams, folder, _key(first, second, start, probe))
        for (first, second), start in zip(couples, common, strict=True)
    ]
    for first, second, start, *_, key in jobs:
        if read_kept(_file(folder, first, second, probe), key) is None:
            for subject in (first, second, *([start] if start else [])):
                grams(subject)
    bar = tqdm(total=len(jobs), desc=f"compare, {probe.label}", unit="pair", leave=False)
    pairs = []
    with bar, _a_thread_a_core() as pool:
        for pair in pool.map(lambda job: _compare(*job), jobs):
            pairs.append(pair)
            bar.update()
    keys = [job[-1] for job in jobs]
    pairs = [replace(pair, **_ceilings(pair, pairs)) for pair in pairs]
    for pair, key in zip(pairs, keys, strict=True):
        _write(pair, key, folder)
    return pairs


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


def _file(folder: Path, first: Subject, second: Subject, probe: Probe) -> Path:
    size = probe.images.shape[-1]
    return folder / f"{pair_name(first.name, second.name, probe.source, size)}.npz"


def _common_start(first: Subject, second: Subject, starts: Mapping[str, Subject]) -> Subject | None:
    """Return the weights that two runs both started from, if they did."""
    a, b = starts.get(first.name), starts.get(second.name)
    if first is second or a is None or b is None or a.weights != b.weights:
        return None
    return a


def _key(first: Subject, second: Subject, start: Subject | None, probe: Probe) -> str:
    start_key = start.weights if start else "none"
    about = image_digest(probe), *(probe.groups or ()), *_COMPUTED
    return digest(first.weights, second.weights, start_key, *about, str(DRAWS))


def _compare(
    first: Subject, second: Subject, start: Subject | None, grams: Grams, folder: Path, key: str
) -> Pair:
    images, size = len(grams.probe.images), grams.probe.images.shape[-1]
    about = (first.name, second.name, grams.probe.source, images, size)
    kept = read_kept(_file(folder, first, second, grams.probe), key)
    if kept is not None:
        return Pair(*about, **{name: kept[name] for name in _COMPUTED if name in kept})
    a, b = grams(first), grams(second)
    values: dict[str, Any] = {
        "biased": cka(a, b).numpy(),
        "debiased": cka(a, b, debiased=True).numpy(),
    }
    groups = shuffle_groups(grams.probe.groups)
    if first is not second:
        values |= _uncertainty(a, b, groups)
    if start is not None:
        origin = grams(start)
        added = _residual_uncertainty(deconfound(a, origin), deconfound(b, origin), groups)
        values |= {f"partial_{name}": added[name] for name in ("low", "high", "p")}
        values["partial"] = added["value"]
    pair = Pair(*about, **{name: values[name] for name in _COMPUTED if name in values})
    if pair.is_two_runs and len(set(pair.seeds)) == 1 and size == paper.PROBE_SIZE:
        pair = replace(pair, **_second_opinion(a, b, groups))
    return pair


def _uncertainty(a: Tensor, b: Tensor, groups: Sequence[str] | None) -> dict[str, Any]:
    test = permutation_test(a, b, DRAWS, groups=groups, paired=True)
    interval = jackknife(a, b, test.p_corrected, paired=True)
    return {
        "value": interval.value.numpy(),
        "low": interval.low.numpy(),
        "high": interval.high.numpy(),
        "floor": test.null_mean.numpy(),
        "null": test.null_quantile().numpy(),
        "p": test.p_corrected.numpy(),
    }


def _residual_uncertainty(a: Tensor, b: Tensor, groups: Sequence[str] | None) -> dict[str, Any]:
    p = residual_p(a, b, permutation_test(a, b, DRAWS, groups=groups, paired=True).p_corrected)
    interval = jackknife(a, b, p, paired=True)
    return {
        "value": interval.value.numpy(),
        "low": interval.low.numpy(),
        "high": interval.high.numpy(),
        "p": p.numpy(),
    }


def _second_opinion(a: Tensor, b: Tensor, groups: Sequence[str] | None) -> dict[str, Any]:
    """Return what other families of measures say, and which layers match best."""
    match, p = permutation_test(a, b, DRAWS, groups=groups).best_match()
    return {
        "angle": procrustes_angle(a, b).numpy(),
        "neighbours": mutual_neighbours(a, b, min(NEIGHBOURS, a.shape[-1] - 1)).numpy(),
        "match": match.double().where(match >= 0, torch.nan).numpy(),
        "match_p": p.numpy(),
    }


def _ceilings(pair: Pair, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return what two seeds of a pair's models reach; nothing for two seeds of one model."""
    if not pair.is_two_runs or len(set(pair.models)) == 1:
        return {}
    seeds = [other for other in _two_seeds(pairs) if other.models[0] in pair.models]
    values = [np.diag(other.debiased) for other in seeds]
    lows = [other.low for other in seeds if other.low is not None]
    return {
        name: torch.from_numpy(np.stack(rows)).nanmean(0).numpy()
        for name, rows in zip(_CEILING, (values, lows), strict=True)
        if rows
    }


def _two_seeds(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """Yield the pairs of two seeds of one model."""
    return (pair for pair in pairs if pair.is_two_runs and len(set(pair.models)) == 1)


def pair_name(first: str, second: str, probe: str, size: int) -> str:
    """Name a pair's files: `U-Real-0_vs_U-Synthetic-0_real_32`."""
    return file_name(f"{first}_vs_{second}_{probe.lower()}_{size}")


def _write(pair: Pair, key: str, folder: Path) -> None:
    """Write a pair's matrices and series, and the key of what they follow from."""
    given = {name: getattr(pair, name) for name in (*_COMPUTED, *_CEILING)}
    arrays: dict[str, Any] = {n: values for n, values in given.items() if values is not None}
    arrays |= {"first": pair.first, "second": pair.second, "probe": pair.probe}
    arrays |= {"images": pair.images, "size": pair.size}
    keep(folder / f"{pair_name(pair.first, pair.second, pair.probe, pair.size)}.npz", key, arrays)
