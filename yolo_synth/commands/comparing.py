"""What `compare` does: the similarity of any two networks, on any images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from yolo_synth.analysis.activations.run import Precision
from yolo_synth.analysis.similarity import opinions
from yolo_synth.boxes import Resize
from yolo_synth.commands.classes import silent
from yolo_synth.commands.networks import data_sets, read_networks
from yolo_synth.comparison import FEWEST_IMAGES, Comparison, are_alike, compare
from yolo_synth.comparison_files import folder_name, summary, write_comparison
from yolo_synth.crossing import Crossing, cross
from yolo_synth.data.source import Config, data_module
from yolo_synth.detecting import as_reference, try_out
from yolo_synth.escaping import say
from yolo_synth.networks.contract import check_side
from yolo_synth.networks.references import Reference
from yolo_synth.probe import (
    Grams,
    Guest,
    Probe,
    Shown,
    Subject,
    both_starts,
    joined,
    take_probe,
)
from yolo_synth.report.two import Two, write_two
from yolo_synth.runs import Run, domain_name

IMAGES: Final = 200
"""Images of a set, where nothing is said; or all, of a smaller one."""

RUN_SIDE: Final = 32
"""Side of the images for two runs, the paper's, where nothing is said."""

SIDE: Final = 160
"""And for other networks."""


def write_similarity(
    a: str,
    b: str,
    data: str | tuple[str, ...],
    images: int | None,
    size: int | None,
    split: str,
    out: str | None,
    layers: str | tuple[str | int, ...],
    pooled: bool,
    precision: Precision,
    memory: float | None,
    measures: str,
    trust: bool,
) -> None:
    """Compare two networks and write the page, figures, tables and matrices into a folder."""
    if images is not None and images < FEWEST_IMAGES:
        raise ValueError(f"--images is at least {FEWEST_IMAGES}, not {images}")
    asked = opinions.chosen(measures)
    networks = read_networks((a, b), trust)
    sets = _Sets(_named(networks, data, split), images, split, trust)
    plain = not layers and not pooled
    if plain and all(isinstance(network, Run) for network in networks):
        pair, probes = _runs(networks, sets, size or RUN_SIDE)
    elif precision != "float32":
        raise ValueError(f"--precision {precision} is for two runs, compared by all their layers")
    else:
        wanted = layers if isinstance(layers, str) else [str(name) for name in layers]
        pair, probes = _guests(networks, sets, size or SIDE, wanted or None, pooled)
    _refuse_shared(probes)
    whole = Grams(joined(probes), precision, None if memory is None else int(memory * 2**30))
    two = _compared(pair, probes, whole, asked)
    folder = Path(out) if out else _default_folder(pair, probes)
    for result, probe in zip(two.results, probes, strict=True):
        place = folder / probe.domain if len(probes) > 1 else folder
        write_comparison(result, probe, place)
        say(f"{result.name}: {result.label}: {summary(result)}")
    write_two(two, folder)
    say(*two.sentences(), f"see {folder / 'compare.html'}")


def _named(
    networks: Sequence[Run | Reference], data: str | Sequence[str], split: str
) -> dict[str, Config]:
    """Return the sets of images by the name of their domain; without any, that of the first run."""
    runs = [network for network in networks if isinstance(network, Run)]
    if not data and not runs:
        raise ValueError("compare needs --data: a folder of pictures, or a data file")
    configs = data_sets(data) if data else [runs[0].config["data"]]
    sets = {domain_name(config, split): config for config in configs}
    if len(sets) < len(configs):
        raise ValueError(
            f"--data: {len(configs)} sets have {len(sets)} names ({', '.join(sets)}): give each a "
            "folder name, or a domain: in init_args, of its own"
        )
    return sets


Pair = tuple[Shown, Shown]


class _Sets:
    """The sets of images, at the sides and in the forms that networks take."""

    def __init__(
        self, sets: dict[str, Config], images: int | None, split: str, trust: bool
    ) -> None:
        self._sets = sets
        self._images = images
        self._split = split
        self._trust = trust
        self._probes: dict[tuple[int, Resize | None], list[Probe]] = {}

    def probes(self, side: int, resize: Resize | None = None) -> list[Probe]:
        """Return a probe of each set; `resize` overrules what the sets say. Only the first time is told."""
        key = side, resize
        if key not in self._probes:
            with silent() if self._probes else nullcontext():
                self._probes[key] = [self._probe(*key, *one) for one in self._sets.items()]
        return self._probes[key]

    def _probe(self, side: int, resize: Resize | None, name: str, data: Config) -> Probe:
        module = data_module(data, trust=self._trust, **({"resize": resize} if resize else {}))
        module.prepare_data()
        there = len(module.names(self._split))
        if there < FEWEST_IMAGES:
            raise ValueError(
                f"{name}: {there} {self._split} images, and {FEWEST_IMAGES} are needed: add some"
            )
        count = min(IMAGES, there) if self._images is None else self._images
        return take_probe(module, name, count, side, self._split)


def _runs(networks: Sequence[Run | Reference], sets: _Sets, size: int) -> tuple[Pair, list[Probe]]:
    first, second = (Subject(network) for network in networks if isinstance(network, Run))
    for subject in (first, second):
        check_side(subject.network, size, "--size")
    return (first, second), sets.probes(size)


def _guests(
    networks: Sequence[Run | Reference],
    sets: _Sets,
    size: int,
    layers: str | Sequence[str] | None,
    pooled: bool,
) -> tuple[Pair, list[Probe]]:
    """Bring the images to the form that each network takes, and say where that is another than asked."""
    shown: list[Guest] = []
    first: list[Probe] = []
    for reference in map(as_reference, networks):
        side = reference.preprocessing.side(size)
        if side != size:
            say(f"{reference.name}: shown at {side}x{side}, which it takes, not at {size}x{size}")
        probes = sets.probes(side, reference.preprocessing.resize)
        try_out(reference, probes[0].images[:2].float() / 255)
        shown.append(Guest(reference, joined(probes).images, layers, pooled))
        first = first or probes
    return (shown[0], shown[1]), first


def _refuse_shared(probes: Sequence[Probe]) -> None:
    """Refuse sets that have a picture in common: they would lie too near to each other."""
    seen: dict[bytes, tuple[int, str]] = {}
    for number, probe in enumerate(probes):
        for image, name in zip(probe.images, probe.names, strict=True):
            where, other = seen.setdefault(image.numpy().tobytes(), (number, name))
            if where != number:
                raise ValueError(
                    f"{probes[where].domain} and {probe.domain} share a picture ({other}, {name}): take "
                    "it out of one of them"
                )


def _compared(pair: Pair, probes: Sequence[Probe], whole: Grams, measures: Sequence[str]) -> Two:
    """Compare on each set, and the sets inside each network."""
    first, second = pair
    alike = are_alike(first, second)
    if measures and not alike:
        raise ValueError(
            f"--measures are of corresponding layers, and {first.label} and {second.label} have none: "
            "leave them out"
        )
    starts = both_starts(first, second)
    for shown in (first, second, *(starts or ())):
        whole(shown)
    results: list[Comparison | Crossing] = []
    at = 0
    for probe in probes:
        part = whole.part(probe, slice(at, at + len(probe.images))) if len(probes) > 1 else whole
        at += len(probe.images)
        results.append(
            compare(first, second, part, starts, measures=measures, single_images=True)
            if alike
            else cross(first, second, part)
        )
    return Two((first, second), results, list(probes), whole)


def _default_folder(pair: Pair, probes: Sequence[Probe]) -> Path:
    first, second = pair
    if isinstance(first, Subject) and len(probes) == 1:
        if not os.access(first.run.folder, os.W_OK):
            say(f"{first.run.folder}: cannot be written to, so the comparison is in ./compare")
            return Path("compare")
        return first.run.folder / "similarity" / folder_name(second.label, probes[0])
    return Path("compare")
