"""Whether `advise` finds what to train: its ranking beside a brute-force list on a hundred test images.

    python benchmarks/advice.py DEMO
    python benchmarks/advice.py DEMO --pairs 0,0 1,1 --random

DEMO is the folder that `make demo` made. For each (seed, draw) of U-Synthetic and ten of the real training
images it cross-validates all candidates on the ten, as `yolo-synth advise` does, and trains each of them on
all ten in every schedule, to be measured on the 100 real test images: of each the better schedule counts.
Prints a Markdown table: what ranks first in cross-validation, its place in the brute-force list, the first
two of that, test mAP@0.5 of what ranks first, of training everything and of what is advised. With --random
boxes are drawn anywhere, of any class: nothing may be advised then. `--keep FOLDER` keeps all detections.
"""

from __future__ import annotations

import argparse
import os
import pickle
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from yolo_synth.advice.choices import EVERYTHING, choices
from yolo_synth.advice.pictures import Few, take_few
from yolo_synth.advice.trials import candidates, cross_validate, taught
from yolo_synth.advice.verdict import judge
from yolo_synth.commands.advising import advice, schedules_of, words
from yolo_synth.commands.networks import data_for
from yolo_synth.data.module import DetectionData
from yolo_synth.detecting import as_reference, thresholds
from yolo_synth.runs import read_run
from yolo_synth.scoring import reference_scores

REAL = {
    "class_path": "yolo_synth.BDD100K",
    "init_args": {
        "root": "data/bdd100k",
        "splits": "data/splits/bdd100k",
        "augment": False,
        "num_workers": 0,
    },
}
PICTURES = 10


def drawn(module: DetectionData, classes: tuple[str, ...], draw: int) -> Few:
    """Return ten of the training images, another ten for another draw."""
    few = take_few(module, classes, classes, images=PICTURES)
    names = sorted(module.names("train"))
    names = [names[i] for i in np.random.default_rng(draw).permutation(len(names))[:PICTURES]]
    groups, dataset = module.groups(names), module.some(names)
    return replace(few, names=names, groups=groups, dataset=dataset, _decoded={})


def senseless(few: Few, seed: int) -> Few:
    """Return the pictures with as many boxes as before, anywhere and of any class."""
    generator = torch.Generator().manual_seed(seed)
    few = replace(few, _decoded={})
    for number in range(len(few)):
        image, target = few.plain(number)
        count, side = len(target["labels"]), image.shape[-1]
        corners = torch.rand(count, 2, generator=generator) * side * 0.8
        sides = (0.05 + 0.3 * torch.rand(count, 2, generator=generator)) * side
        boxes = torch.cat([corners, (corners + sides).clamp(max=side)], 1)
        labels = torch.randint(len(few.classes), (count,), generator=generator)
        few._decoded[number] = (image, {"boxes": boxes, "labels": labels})
    return few


def main() -> None:
    """Go through the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo")
    parser.add_argument("--pairs", nargs="+", default=["0,0", "0,1", "1,0", "1,1"])
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--keep")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep = options.keep and Path(options.keep).resolve()
    os.chdir(options.demo)
    print(
        "| seed, draw | ranks first | its place of all | brute force: first, second | first | "
        "everything | advised | says | CPU s |\n|---|---|---|---|---|---|---|---|---|"
    )
    for pair in options.pairs:
        seed, draw = map(int, pair.split(","))
        print(row(seed, draw, options.random, keep), flush=True)


def row(seed: int, draw: int, random: bool, keep: Path | None) -> str:
    """Return the row of the table of one pair."""
    start = time.process_time()
    run = read_run(f"runs/U-Synthetic/{seed}")
    module = data_for(run, REAL)
    module.setup("test")
    few = drawn(module, run.classes, draw)
    if random:
        few = senseless(few, draw)
    reference, folds = as_reference(run), few.folds(5)
    chosen = choices(reference.network, few.batch([0])[0])
    tried = candidates(chosen, schedules_of(run), norms=True)
    results = cross_validate(reference, tried, few, folds, thresholds(run))
    verdict = judge(results, few, folds)
    seconds = time.process_time() - start
    if keep:
        kept = keep / f"{seed}_{draw}{'_random' * random}.pickle"
        kept.write_bytes(pickle.dumps((results, few, folds)))
    advised, _ = advice(verdict, tried)
    said = words(verdict, len(few), trained=True)[0]
    if random:
        return (
            f"| {seed}, {draw} | {verdict.best} | | | | | {advised.name} | {said} | {seconds:.0f} |"
        )
    scores: dict[str, float] = {}
    for one in tried:
        for setting in one.settings:
            with taught(reference, one, setting, few, range(len(few))) as final:
                found = final and reference_scores(final, module, *thresholds(run)).scores["map50"]
            scores[one.name] = max(scores.get(one.name, 0.0), found or 0.0)
    if keep:
        (keep / f"{seed}_{draw}_test.pickle").write_bytes(pickle.dumps(scores))
    order = sorted(scores, key=lambda name: -scores[name])
    first = ", ".join(f"{name} {scores[name]:.3f}" for name in order[:2])
    return (
        f"| {seed}, {draw} | {verdict.best} | {order.index(verdict.best) + 1} of {len(order)} | {first} "
        f"| {scores[verdict.best]:.3f} | {scores[EVERYTHING]:.3f} | {scores[advised.name]:.3f} "
        f"| {said} | {seconds:.0f} |"
    )


if __name__ == "__main__":
    main()
