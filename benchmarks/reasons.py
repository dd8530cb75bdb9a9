"""How often `why` names a planted mistake first, and nothing where nothing is planted.

    make demo; .venv/bin/python benchmarks/reasons.py [--draws 10] [--without_oracle]

In each draw new scenes of both styles are drawn, which the demo's networks have never seen, and one mistake
is planted in one of the sets, or in the network. What the checks see is what U-Synthetic/0 finds in the
synthetic pictures and, with an oracle, U-Real/0 in the real ones.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from yolo_synth.commands.networks import data_for
from yolo_synth.detecting import as_reference, thresholds
from yolo_synth.reasons.checks import in_order
from yolo_synth.reasons.looking import mistakes
from yolo_synth.reasons.pictures import Patient, Pictures, found_in, take_pictures
from yolo_synth.runs import read_run
from yolo_synth.scenes.formats import write_tiny

IMAGES = 200
"""Scenes of each style in a draw; all are test images."""

Plant = Callable[[Pictures, np.random.Generator], Pictures]


def _moved(some: Pictures, generator: np.random.Generator) -> Pictures:
    """Move the boxes by 8 pixels of the picture, to one of four sides."""
    shift, axis = torch.zeros(4), int(generator.integers(2))
    shift[[axis, axis + 2]] = float(8 * some.places[0].scale_x * generator.choice([-1, 1]))
    return replace(some, targets=[{**t, "boxes": t["boxes"] + shift} for t in some.targets])


def _other_classes(some: Pictures, generator: np.random.Generator) -> Pictures:
    """Give the classes another order."""
    names = np.arange(len(some.classes))
    while (names == np.arange(len(names))).all():
        names = generator.permutation(len(names))
    order = torch.tensor(names)
    return replace(some, targets=[{**t, "labels": order[t["labels"]]} for t in some.targets])


def _bgr(some: Pictures, generator: np.random.Generator) -> Pictures:
    """Exchange red and blue."""
    return replace(some, images=some.images[:, [2, 1, 0]])


def _bordered(some: Pictures, generator: np.random.Generator) -> Pictures:
    """Paint a grey border of 3 to 8 % of the side over all four edges, or two opposite ones."""
    images, at = some.images.clone(), some.places[0]
    deep, grey = (
        round(float(generator.uniform(0.03, 0.08)) * at.width),
        int(generator.integers(60, 200)),
    )
    which = int(generator.integers(3))
    if which != 1:
        images[:, :, at.top : at.top + deep] = grey
        images[:, :, at.top + at.height - deep : at.top + at.height] = grey
    if which != 0:
        images[..., at.left : at.left + deep] = grey
        images[..., at.left + at.width - deep : at.left + at.width] = grey
    return replace(some, images=images)


PLANTED: dict[str, tuple[str, Plant]] = {
    "labels moved by 8 pixels": ("moved", _moved),
    "another order of classes": ("order of classes", _other_classes),
    "BGR for RGB": ("order of channels", _bgr),
    "a grey border": ("grey borders", _bordered),
}


def _patient(folder: Path, factor: float = 1.0) -> Patient:
    run = read_run(folder)
    network = run.network()
    network.anchors = tuple((w * factor, h * factor) for w, h in network.anchors)  # type: ignore[operator, union-attr]
    reference = replace(as_reference(run), network=network, detect=network.detect)
    return Patient(reference, *thresholds(run))


def _pictures(folder: Path, domain: str, root: Path, patient: Patient) -> Pictures:
    """Return all pictures of drawn scenes as a network's test images."""
    run = read_run(folder)
    name = {"Real": "bdd100k", "Synthetic": "gtav"}[domain]
    config = dict(run.config["data"])
    config["init_args"] = {**config["init_args"], "root": str(root / name), "splits": None}
    module = data_for(run, config)
    names = [name for split in ("train", "valid", "test") for name in module.names(split)]
    module._names = {"train": [], "valid": [], "test": names}
    return take_pictures(module, domain, patient.reference, len(names), 0)


def _named(sets: dict[str, Pictures], patients: dict[str, Patient]) -> list[str]:
    found = [found_in(patients[domain], sets[domain]) for domain in ("Real", "Synthetic")]
    checks = mistakes(sets["Real"], sets["Synthetic"], (found[0], found[1]))
    return [check.what for check in in_order(checks) if check.is_named]


def main() -> None:
    """Draw, plant, look and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("demo/runs"))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--without_oracle", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    own = options.runs / "U-Synthetic/0"
    best = {"Synthetic": own, "Real": own if options.without_oracle else options.runs / "U-Real/0"}
    right: Counter[str] = Counter()
    for draw in range(options.draws):
        generator = np.random.default_rng(draw)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "scenes"
            write_tiny(root, images=IMAGES, seed=1000 + draw)
            patients = {domain: _patient(run) for domain, run in best.items()}
            homes = {"Real": options.runs / "U-Real/0", "Synthetic": own}
            sets = {
                domain: _pictures(home, domain, root, patients[domain])
                for domain, home in homes.items()
            }
        said = _named(sets, patients)
        right["nothing"] += not said
        print(draw, "nothing", said, flush=True)
        for cause, (what, plant) in PLANTED.items():
            domain = ("Real", "Synthetic")[int(generator.integers(2))]
            said = _named({**sets, domain: plant(sets[domain], generator)}, patients)
            right[cause] += bool(said) and what in said[0]
            print(draw, f"{cause} in {domain}", said, flush=True)
        factor = float(generator.choice([0.5, 2]))
        others = {domain: _patient(run, factor) for domain, run in best.items()}
        said = _named(sets, others)
        right["another scale of anchors"] += bool(said) and "size of what" in said[0]
        print(draw, f"anchors times {factor}", said, flush=True)
    for cause, count in right.items():
        print(f"{cause:28} right in {count} of {options.draws}")


if __name__ == "__main__":
    main()
