"""How often the 95 % interval of debiased CKA holds the true value, for images in groups.

`python benchmarks/coverage.py [repetitions]` prints a table: groups of five near-duplicates, a share
of the variance within the group, the true CKA; coverage and bias of the interval by groups and, for
comparison, of the one that takes images as independent. Gaussian features of 200 dimensions with
variances i^-1.5, so that the true value is known.
"""

from __future__ import annotations

import sys
from itertools import product

import torch
from torch import Tensor

from yolo_synth.analysis.similarity.jackknife import jackknife

SIZE, FEATURES, DECAY = 5, 200, 1.5


def sequences(cells: int, groups: int, within: float, generator: torch.Generator) -> Tensor:
    """Draw features [cells, images, features] of frames in sequences."""
    shape = (cells, groups, FEATURES)
    common = torch.randn(shape, generator=generator, dtype=torch.float64)
    own = torch.randn(cells, groups * SIZE, FEATURES, generator=generator, dtype=torch.float64)
    scale = torch.arange(1, FEATURES + 1).double() ** (-DECAY / 2)
    mixed = (1 - within) ** 0.5 * common.repeat_interleave(SIZE, 1) + within**0.5 * own
    return mixed * scale


def coverage(
    cells: int, groups: int, within: float, true: float, by_groups: bool, seed: int = 0
) -> tuple[float, float]:
    """Return how often the interval holds the true value, and the mean error of the estimate."""
    generator = torch.Generator().manual_seed(seed)
    first, noise = (sequences(cells, groups, within, generator) for _ in range(2))
    second = true**0.5 * first + (1 - true) ** 0.5 * noise
    labels = [image // SIZE for image in range(groups * SIZE)] if by_groups else None
    found = jackknife(
        first @ first.mT, second @ second.mT, torch.zeros(cells), paired=True, groups=labels
    )
    held = (found.low <= true) & (true <= found.high)
    return held.double().mean().item(), (found.value - true).mean().item()


if __name__ == "__main__":
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    torch.set_num_threads(1)
    print("| groups | within | true CKA | by groups: coverage, bias | as single images |")
    print("|---|---|---|---|---|")
    for groups, within, true in product((40, 10), (0.1, 0.5, 0.9), (0.99, 0.5, 0.1)):
        cells = repetitions if groups == 10 else repetitions // 2
        # A few cells at a time: the features alone are 64 kB an image and cell
        rows = []
        for by_groups in (True, False):
            blocks = [
                coverage(50, groups, within, true, by_groups, seed) for seed in range(cells // 50)
            ]
            held, bias = (sum(column) / len(blocks) for column in zip(*blocks, strict=True))
            rows.append(f"{held:.3f}, {bias:+.3f}")
        print(f"| {groups} | {within} | {true} | {rows[0]} | {rows[1]} |", flush=True)
