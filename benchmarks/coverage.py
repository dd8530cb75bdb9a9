"""How often the 95 % interval of debiased CKA holds the true value, for single images and for groups.

    python benchmarks/coverage.py [repetitions]

Gaussian features of 200 dimensions with variances i^-decay, so that the true value is known. The first
table is of groups of five near-duplicates of which a share of the variance lies within the group, beside
the interval that takes images as independent; the second of 50 independent images. One core, minutes.
"""

from __future__ import annotations

import sys
from itertools import product

import torch
from torch import Tensor

from yolo_synth.analysis.similarity.jackknife import jackknife

FEATURES, AT_ONCE = 200, 50
DECAYS = (0, 1, 1.5, 2)


def sequences(
    cells: int, groups: int, size: int, within: float, decay: float, generator: torch.Generator
) -> Tensor:
    """Draw features [cells, images, features] of frames in sequences of so many."""
    shape = (cells, groups, FEATURES)
    common = torch.randn(shape, generator=generator, dtype=torch.float64)
    own = torch.randn(cells, groups * size, FEATURES, generator=generator, dtype=torch.float64)
    scale = torch.arange(1, FEATURES + 1).double() ** (-decay / 2)
    mixed = (1 - within) ** 0.5 * common.repeat_interleave(size, 1) + within**0.5 * own
    return mixed * scale


def coverage(
    cells: int,
    groups: int,
    within: float,
    true: float,
    *,
    size: int = 5,
    decay: float = 1.5,
    by_groups: bool = True,
    seed: int = 0,
) -> str:
    """Return how often the interval holds the true value, and the mean error of the estimate."""
    held, errors = [], []
    labels = [image // size for image in range(groups * size)] if by_groups else None
    # A few cells at a time: the features alone are 64 kB an image and cell
    for part in range(-(-cells // AT_ONCE)):
        generator = torch.Generator().manual_seed(1000 * seed + part)
        first, noise = (
            sequences(AT_ONCE, groups, size, within, decay, generator) for _ in range(2)
        )
        second = true**0.5 * first + (1 - true) ** 0.5 * noise
        found = jackknife(
            first @ first.mT, second @ second.mT, torch.zeros(AT_ONCE), paired=True, groups=labels
        )
        held.append((found.low <= true) & (true <= found.high))
        errors.append(found.value - true)
    return f"{torch.cat(held).double().mean():.3f}, {torch.cat(errors).mean():+.3f}"


if __name__ == "__main__":
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    torch.set_num_threads(1)
    print("| groups | within | true CKA | by groups: coverage, bias | as single images |")
    print("|---|---|---|---|---|")
    for groups, within, true in product((40, 10), (0.1, 0.5, 0.9), (0.99, 0.5, 0.1)):
        right = coverage(repetitions, groups, within, true)
        wrong = coverage(repetitions // 5, groups, within, true, by_groups=False)
        print(f"| {groups} | {within} | {true} | {right} | {wrong} |", flush=True)
    print("\n| true CKA | " + " | ".join(f"decay {d}" for d in DECAYS) + " |")
    print("|---|" + "---|" * len(DECAYS))
    for true in (0.99, 0.5, 0.1):
        found = [coverage(2 * repetitions, 50, 1, true, size=1, decay=d) for d in DECAYS]
        print(f"| {true} | {' | '.join(found)} |", flush=True)
