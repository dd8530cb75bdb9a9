"""How often the interval of a difference of mAP holds the true one, and what 10,000 images cost.

    python benchmarks/difference.py
    python benchmarks/difference.py --pairs 400 --images 200

draws pairs of detectors that look at the same images, of which each has its difficulty, and so has each
sequence. The true difference is that of `TRUE` images drawn alike, whose mAPs are the population's to
the third digit. Prints a Markdown table: the share of the pairs whose interval holds it, with images of
their own and in sequences of five, the interval of a bootstrap beside it; then processor seconds, wall
seconds and peak memory of the table of scores for 10,000 images with 60 detections by each detector.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd
from scipy import stats

from yolo_synth.difference.precision import Ranking, matches, rankings
from yolo_synth.difference.results import Results
from yolo_synth.difference.scores import areas, interval, leavings, precisions, score_table
from yolo_synth.difference.truth import Truth
from yolo_synth.matching import Boxes

CLASSES = 3
TRUE = 60_000
REDRAWN = 100


def draw(
    images: int, seed: int, sequence: int = 1, boxes: float = 4, false: float = 3
) -> tuple[Truth, Results, Results]:
    """Draw true boxes and what two detectors, of which B is better, make of them.

    Args:
        images: How many.
        seed: Of the draw.
        sequence: Images in a sequence, which are alike in difficulty.
        boxes: True boxes of an image on average.
        false: False alarms of an image on average.
    """
    rng = np.random.default_rng(seed)
    group = np.arange(images) // sequence
    hard = rng.normal(0, 1, group[-1] + 1)[group] + rng.normal(0, 0.5, images)
    image = np.repeat(np.arange(images), rng.poisson(boxes, images))
    low, size = rng.uniform(0, 1000, (len(image), 2)), np.exp(rng.uniform(3, 5, (len(image), 2)))
    label = rng.choice(CLASSES, len(image), p=[0.6, 0.3, 0.1])
    own = rng.normal(0, 1, len(image))
    columns = {"id": np.arange(images).astype(object), "name": "", "path": "", "width": 1280}
    columns |= {"height": 720, "group": group, "weather": "", "scene": "", "timeofday": ""}
    truth = Truth(
        "drawn",
        [str(label) for label in range(CLASSES)],
        {label: label for label in range(CLASSES)},
        pd.DataFrame(columns),
        Boxes(np.concatenate([low, low + size], 1), label, image),
        range(len(image)),
        size.prod(1),
        np.zeros(len(image), bool),
        None,
    )
    lists = []
    for name, skill, noise in (("A", 0.4, 0.10), ("B", 0.8, 0.09)):
        ease = skill - 0.7 * hard[image] + own + rng.normal(0, 0.7, len(image))
        seen = np.flatnonzero(ease > 0)
        moved = truth.boxes.corners[seen]
        moved = moved + rng.normal(0, noise, moved.shape) * np.tile(size[seen], 2)
        moved[:, 2:] = np.maximum(moved[:, :2], moved[:, 2:])
        nowhere = np.repeat(np.arange(images), rng.poisson(false * np.exp(0.3 * hard)))
        corner = rng.uniform(2000, 3000, (len(nowhere), 2))
        corners = np.concatenate([moved, np.concatenate([corner, corner + 50], 1)])
        where = np.concatenate([image[seen], nowhere])
        kinds = np.concatenate([label[seen], rng.choice(CLASSES, len(nowhere))])
        wrong = rng.normal(-0.3, 1, len(nowhere))
        scores = 1 / (1 + np.exp(-np.concatenate([ease[seen], wrong])))
        order = np.lexsort([-scores, where])
        boxes_of = Boxes(corners[order], kinds[order], where[order])
        lists.append(Results(name, boxes_of, scores[order], []))
    return truth, lists[0], lists[1]


def differences(values: np.ndarray) -> np.ndarray:
    """Return the differences of mAP@0.5 and of mAP, [2, draws]."""
    half, mean = np.nanmean(values[..., 0], 2), np.nanmean(values, (2, 3))
    return np.stack([half[:, 1] - half[:, 0], mean[:, 1] - mean[:, 0]])


def ranked(truth: Truth, lists: list[Results]) -> list[list[Ranking]]:
    """Rank both lists at all thresholds."""
    groups = int(truth.group.max()) + 1
    return [rankings(x, truth, matches(x, truth), truth.group, groups, 10) for x in lists]


def coverage(pairs: int, images: int, sequence: int) -> None:
    """Print how often the intervals hold the true differences."""
    truth, *lists = draw(TRUE, 10**6, sequence)
    everything = np.ones((1, TRUE // sequence), np.int32)
    known = differences(precisions(ranked(truth, lists), everything))[:, 0]
    held, widths = np.zeros((2, 2)), np.zeros(2)
    groups = images // sequence
    for seed in range(pairs):
        truth, *lists = draw(images, seed, sequence)
        both = ranked(truth, lists)
        rng = np.random.default_rng(10**9 + seed)
        drawn = rng.multinomial(groups, np.full(groups, 1 / groups), REDRAWN)
        here = differences(precisions(both, np.ones((1, groups), np.int32)))
        without = differences(areas(both, leavings(groups)))
        again = differences(precisions(both, drawn.astype(np.int32)))
        for k in range(2):
            low, high = interval(here[k, 0], without[k])
            held[0, k] += low <= known[k] <= high
            widths[k] += (high - low) / pairs
            wide = stats.t.ppf(0.975, groups - 1) * again[k].std() * np.sqrt(groups / (groups - 1))
            held[1, k] += abs(here[k, 0] - known[k]) <= wide
    share = 100 * held / pairs
    for k, measure in enumerate(("mAP@0.5", "mAP")):
        print(
            f"| {images} images in {groups} groups | {measure} | {known[k]:+.4f} | {widths[k]:.4f} | "
            f"{share[0, k]:.1f} % | {share[1, k]:.1f} % |",
            flush=True,
        )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    print("| | | true difference | width | holds it | bootstrap |\n|---|---|---|---|---|---|")
    for images, sequence in ((options.images, 1), (options.images, 5), (options.images // 5, 1)):
        coverage(options.pairs, images, sequence)
    truth, *lists = draw(10_000, 0, boxes=20, false=48)
    wall, processor = time.perf_counter(), time.process_time()
    score_table(*lists, truth)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\n10,000 images, {', '.join(f'{len(x.scores):,}' for x in lists)} detections, "
        f"{len(truth.boxes.label):,} true boxes: {time.process_time() - processor:.0f} CPU s, "
        f"{time.perf_counter() - wall:.0f} s, {peak:.1f} GiB"
    )


if __name__ == "__main__":
    main()
