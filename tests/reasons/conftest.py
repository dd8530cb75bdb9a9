"""All drawn scenes of both styles as labelled pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from yolo_synth.boxes import place
from yolo_synth.data.bdd100k import BDD100K
from yolo_synth.data.gtav import GTAV
from yolo_synth.labels import CLASSES
from yolo_synth.reasons.pictures import Pictures

SIDE = 96


def pictures(module, domain) -> Pictures:
    module.prepare_data()
    samples = [
        module.dataset(split)[i]
        for split in ("train", "valid", "test")
        for i in range(len(module.names(split)))
    ]
    sizes = np.array([[256, 144]] * len(samples))
    return Pictures(
        domain,
        torch.stack([image for image, _ in samples]),
        [target for _, target in samples],
        CLASSES,
        CLASSES,
        [str(number) for number in range(len(samples))],
        sizes,
        [place(256, 144, SIDE)] * len(samples),
        [""] * len(samples),
        torch.stack([image for image, _ in samples[:16]]),
    )


@pytest.fixture(scope="module")
def sets(tiny_root) -> dict[str, Pictures]:
    real = BDD100K(
        tiny_root / "bdd100k", splits=tiny_root / "splits/bdd100k", image_size=SIDE, augment=False
    )
    game = GTAV(
        tiny_root / "gtav", splits=tiny_root / "splits/gtav", image_size=SIDE, augment=False
    )
    return {"Real": pictures(real, "Real"), "Synthetic": pictures(game, "Synthetic")}
