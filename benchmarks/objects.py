"""Whether the strip of objects tells a change of the foreground from one of the background.

    python benchmarks/objects.py
    python benchmarks/objects.py --draws 20 --pictures 60 --network DEMO/runs/U-Real/0

draws two sets of pictures whose backgrounds are alike and whose objects have another texture, and for each
draw says whether the gap of the foreground is beyond chance and above its floor (two halves of one set) and
whether that of the background is within its floor; then the same of sets that do not differ. The network
is a small one on random weights whose cells see 15 x 15 pixels, so that a box of the background hardly sees
an object; or a run's, whose last maps see the whole picture.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import nn

from yolo_synth.objects.features import box_features
from yolo_synth.objects.likeness import gap, joined
from yolo_synth.objects.rows import BACKGROUND, Rows, places_beside
from yolo_synth.runs import read_run

SIDE = 96
CONTRAST = 60.0


def small_network(seed: int) -> nn.Module:
    """Return three convolutions on random weights, cells of four pixels."""
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU()),
    ).eval()


def draw_set(pictures: int, contrast: float, seed: int, domain: str) -> Rows:
    """Draw pictures of blurred noise with one to three objects, which are striped.

    Args:
        pictures: How many.
        contrast: Of the stripes, which are 3 pixels wide, in grey values.
        seed: Of everything.
        domain: What they are called.
    """
    generator = np.random.default_rng(seed)
    images, picture, boxes, labels = [], [], [], []
    for number in range(pictures):
        coarse = generator.uniform(60, 190, (3, 13, 13))
        image = np.kron(coarse, np.ones((8, 8)))[:, :SIDE, :SIDE] + generator.normal(
            0, 10, (3, SIDE, SIDE)
        )
        true = []
        for _ in range(generator.integers(1, 4)):
            size = generator.uniform(12, 26, 2)
            corner = generator.uniform(0, SIDE - size)
            box = np.concatenate([corner, corner + size]).round()
            x1, y1, x2, y2 = box.astype(int)
            wave = np.sin(np.arange(x1, x2) * np.pi / 3 + generator.uniform(0, 6))
            image[:, y1:y2, x1:x2] = generator.uniform(110, 145, (3, 1, 1)) + contrast * np.sign(
                wave
            )
            true.append(box)
        known = np.array(true, float)
        free = places_beside(known, np.array([0.0, 0, SIDE, SIDE]), generator)
        images.append(torch.from_numpy(image.clip(0, 255).astype(np.uint8)))
        boxes += [known, free]
        labels += [np.zeros(len(known), int), np.full(len(free), BACKGROUND)]
        picture.append(np.full(len(known) + len(free), number))
    return Rows(
        torch.stack(images),
        [str(number) for number in range(pictures)],
        torch.from_numpy(np.concatenate(picture)),
        torch.from_numpy(np.concatenate(boxes)).float(),
        torch.from_numpy(np.concatenate(labels)),
        ("object",),
        domain,
    )


def verdicts(
    network: nn.Module, pictures: int, other: float, seed: int, draws: int = 500
) -> tuple[bool, bool]:
    """Return whether the gap of the foreground is above its floor, and that of the background within.

    Args:
        network: Any.
        pictures: Of each set.
        other: Contrast of the stripes in the second set; the first has `CONTRAST`.
        seed: Of both sets.
        draws: Random divisions of the pictures.
    """
    first = draw_set(pictures, CONTRAST, 2 * seed, "A")
    rows = joined([first, draw_set(pictures, other, 2 * seed + 1, "B")])
    found = gap(box_features(network, rows), rows, len(first.labels), draws).set_index("of")
    front, back = found.loc["foreground"], found.loc["background"]
    return bool(front["gap"] > front["null"] and front["p"] <= 0.05), bool(
        back["gap"] <= back["null"]
    )


def main() -> None:
    """Print how often each is told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=80)
    parser.add_argument("--network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| texture of the second set | foreground above its floor | background within its floor |"
    )
    print("|---|---|---|")
    for name, other in (("another", CONTRAST / 3), ("the same", CONTRAST)):
        told = [
            verdicts(
                read_run(options.network).network() if options.network else small_network(seed),
                *(options.pictures, other, seed),
            )
            for seed in range(options.draws)
        ]
        above, within = (sum(column) for column in zip(*told, strict=True))
        print(f"| {name} | {above} of {options.draws} | {within} of {options.draws} |", flush=True)


if __name__ == "__main__":
    main()
