"""The paper's own figures, by table.

Ljungqvist, Nordander, Mildner, Liu and Nugues, Object detector differences when using synthetic and
real training data, SN Computer Science 2023, https://doi.org/10.1007/s42979-023-01704-5.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from yolo_synth.probe import Label

MODELS: Final = {
    ("none", "Real"): "U-Real",
    ("none", "Synthetic"): "U-Synthetic",
    ("backbone", "Synthetic"): "F-Synthetic",
}
"""What was frozen and what it was trained on → the paper's name of the model, in the paper's order."""

STATISTICS: Final = ("mean", "median", "std", "min", "max")
"""The columns of Tables 3 and 4."""

PARTS: Final = ("all", "backbone", "head")
"""The columns of Table 5."""

IMAGE_SIZE: Final = 416
IMAGES: Final = 200
WIDTH: Final = 1.0

PROBE_SIZE: Final = 32
"""Side of the images in Tables 4 and 5 and Figures 4 to 10; Figures 11 and 12 are at 64 and 128."""

SPLITS: Final = {
    "Real": {"train": 48_000, "valid": 16_000, "test": 16_000},
    "Synthetic": {"train": 80_458, "valid": 26_819, "test": 26_820},
}
"""Number of images of the published splits, by domain."""

HEAT_MAPS: Final = {
    ("U-Real", "U-Real", 32): 7,
    ("U-Real", "U-Synthetic", 32): 8,
    ("U-Real", "F-Synthetic", 32): 9,
    ("U-Synthetic", "F-Synthetic", 32): 10,
    ("U-Real", "U-Synthetic", 64): 11,
    ("U-Real", "U-Synthetic", 128): 12,
}
"""The figures that show a heat map, by models and image size; all of seed 0."""


class Figure(NamedTuple):
    """One printed number and what it is of.

    Attributes:
        table: Number of the table.
        row: Model, as `U-Real`, or two, as `U-Real vs U-Synthetic`.
        column: Domain of the test images (Table 2), statistic (3 and 4) or part (5).
        seed: Seed of the runs.
        value: The number.
    """

    table: int
    row: str
    column: str
    seed: int
    value: float


# mAP@0.5 on BDD and on GTAV, each of seeds 0 and 1
_TABLE_2: Final = {
    "U-Real": ((0.428, 0.430), (0.440, 0.439)),
    "U-Synthetic": ((0.122, 0.124), (0.886, 0.893)),
    "F-Synthetic": ((0.125, 0.121), (0.892, 0.884)),
}

# Layer outputs for 200 BDD test images at 416 x 416, a row a seed
_TABLE_3: Final = {
    "U-Real": ((-0.0165, -0.116, 0.961, -21.8, 54.4), (-0.0145, -0.113, 0.959, -21.0, 52.1)),
    "U-Synthetic": ((-0.0272, -0.113, 0.986, -22.0, 52.4), (-0.0269, -0.110, 0.995, -22.3, 50.3)),
    "F-Synthetic": ((-0.0263, -0.111, 1.00, -22.2, 51.0), (-0.0235, -0.110, 0.983, -23.2, 48.0)),
}

# The same at 32 x 32
_TABLE_4: Final = {
    "U-Real": ((0.0613, -0.105, 0.812, -16.8, 36.8), (0.0634, -0.107, 0.817, -17.0, 33.8)),
    "U-Synthetic": ((0.0909, -0.103, 0.743, -15.3, 40.1), (0.0989, -0.104, 0.720, -15.8, 37.3)),
    "F-Synthetic": ((0.0996, -0.105, 0.726, -15.0, 38.2), (0.0925, -0.102, 0.731, -15.2, 39.5)),
}

# Mean CKA over all layers, backbone and head, each of seeds 0 and 1. As printed: in the last row the
# mean over all layers is 0.0024 and 0.0032 below what its parts of 75 and 32 layers give.
_TABLE_5: Final = {
    "U-Real vs U-Synthetic": ((0.5865, 0.5895), (0.6925, 0.7112), (0.3379, 0.3042)),
    "U-Real vs F-Synthetic": ((0.5734, 0.6054), (0.6931, 0.7318), (0.2930, 0.3092)),
    "U-Synthetic vs F-Synthetic": ((0.7597, 0.7845), (0.8264, 0.8461), (0.6115, 0.6508)),
}


def model_of(network: Label) -> str | None:
    """Return the paper's name of a model, whatever it is called here; None if the paper has none."""
    return None if network.architecture else trained_as(network)


def trained_as(network: Label) -> str | None:
    """Return the paper's name of a model that was trained so, if there is one; any network's."""
    return MODELS.get((network.frozen, network.domain))


def figure_of(first: Label, second: Label, size: int) -> int | None:
    """Return the number of the paper's figure that shows a heat map of two networks trained so, if any."""
    models = trained_as(first), trained_as(second)
    return next((number for key, number in HEAT_MAPS.items() if key == (*models, size)), None)


def figures() -> list[Figure]:
    """Return every number of Tables 2 to 5, in the paper's order."""
    by_column = ((2, _TABLE_2, tuple(SPLITS)), (5, _TABLE_5, PARTS))
    by_seed = ((3, _TABLE_3), (4, _TABLE_4))
    found = [
        Figure(table, row, column, seed, value)
        for table, rows, columns in by_column
        for row, cells in rows.items()
        for column, values in zip(columns, cells, strict=True)
        for seed, value in enumerate(values)
    ]
    found += [
        Figure(table, row, column, seed, value)
        for table, rows in by_seed
        for row, seeds in rows.items()
        for seed, values in enumerate(seeds)
        for column, value in zip(STATISTICS, values, strict=True)
    ]
    return sorted(found, key=lambda figure: figure.table)
