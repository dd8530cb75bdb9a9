"""How alike two networks see objects, and how far apart one puts those of two domains, with floors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
import torch

from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.floors import gap_with_floor
from yolo_synth.analysis.similarity.judging import DRAWS, INTERVAL_IMAGES, judged
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.objects.features import Features, gram_of
from yolo_synth.objects.rows import BACKGROUND, SIZES, Rows

FOREGROUND: Final = "foreground"

Part = tuple[str, str]
"""What decides it (all, class or size) and which."""


def parts(rows: Rows) -> Iterator[tuple[Part, list[int]]]:
    """Yield foreground, background, each class and each size, and the numbers of their boxes."""
    true = rows.labels != BACKGROUND
    yield ("all", FOREGROUND), _numbers(true)
    yield ("all", "background"), _numbers(~true)
    for label, name in enumerate(rows.classes):
        yield ("class", name), _numbers(rows.labels == label)
    for size, (least, most) in SIZES.items():
        yield ("size", size), _numbers(true & (rows.sides >= least) & (rows.sides < most))


def _numbers(chosen: torch.Tensor) -> list[int]:
    return torch.nonzero(chosen)[:, 0].tolist()


def joined(sets: Sequence[Rows]) -> Rows:
    """Return the boxes of several sets as one, one set after the other; classes by their names."""
    classes = tuple(dict.fromkeys(name for rows in sets for name in rows.classes))
    own = [
        torch.tensor([*(classes.index(name) for name in rows.classes), BACKGROUND]) for rows in sets
    ]
    before = np.cumsum([0, *(len(rows.images) for rows in sets)])[:-1].tolist()
    return Rows(
        torch.cat([rows.images for rows in sets]),
        [f"{rows.domain} {name}" for rows in sets for name in rows.names],
        torch.cat([rows.picture + n for rows, n in zip(sets, before, strict=True)]),
        torch.cat([rows.boxes for rows in sets]),
        torch.cat([index[rows.labels] for rows, index in zip(sets, own, strict=True)]),
        classes,
        " and ".join(rows.domain for rows in sets),
        tuple(f"{rows.domain} {group}" for rows in sets for group in (rows.belongs or rows.names)),
    )


def likeness(a: Features, b: Features, rows: Rows) -> pd.DataFrame:
    """Return the debiased CKA of two networks on the boxes of one set, part by part.

    Boxes of one picture, or of one sequence where these are known, are one group: pairs of them do not
    count, and groups are what intervals leave out and chance permutes.

    Returns:
        A row a part with its boxes, pictures and groups, `cka`, `low`, `high`, `null` (the 95 % point of
        permuted groups) and `p`; parts of fewer than six groups are left out.
    """
    found, of_box = [], rows.groups
    for part, numbers in parts(rows):
        groups = [of_box[i] for i in numbers]
        if len(set(groups)) >= INTERVAL_IMAGES:
            grams = gram_of(a, numbers), gram_of(b, numbers)
            value = cka(*grams, debiased=True, groups=groups)[0].numpy()
            series = replace(judged(*grams, groups), value=value)  # its own is that of group means
            found.append(_row(part, numbers, rows, series, "cka"))
    return _table(found)


def gap(features: Features, rows: Rows, first: int, draws: int = DRAWS) -> pd.DataFrame:
    """Return how far apart a network puts the boxes of two domains, part by part.

    Args:
        features: Of the boxes of both, one domain after the other.
        rows: These boxes, as `joined`.
        first: How many boxes are of the first domain.
        draws: Random divisions of the groups.

    Returns:
        A row a part with its boxes, pictures and groups, `gap` (MMD² over the variance within), `null`
        (the 95 % point of two halves of one domain) and `p`; parts with fewer than six groups of either
        domain are left out.
    """
    found, of_box = [], rows.groups
    for part, numbers in parts(rows):
        groups = [of_box[i] for i in numbers]
        split = sum(i < first for i in numbers)
        if min(len(set(groups[:split])), len(set(groups[split:]))) < INTERVAL_IMAGES:
            continue
        series = gap_with_floor(gram_of(features, numbers), split, draws, groups)
        found.append(_row(part, numbers, rows, series, "gap"))
    return _table(found)


def _row(
    part: Part, numbers: Sequence[int], rows: Rows, series: LayerSeries, name: str
) -> dict[str, object]:
    known = {key: float(values[0]) for key, values in series.columns(name).items()}
    return {
        "part": part[0],
        "of": part[1],
        "boxes": len(numbers),
        "pictures": len(set(rows.picture[numbers].tolist())),
        "groups": len(set(np.array(rows.groups)[numbers])),
        **known,
    }


def _table(found: Sequence[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(
        found, columns=None if found else ["part", "of", "boxes", "pictures", "groups"]
    )


def box_table(rows: Rows, features: Features, network: str) -> pd.DataFrame:
    """Return a row a box: where it is, what it is, its level and its features.

    Args:
        rows: The boxes.
        features: What a network makes of them.
        network: What it is called.
    """
    each = [iter(values.numpy()) for values in features.values]
    values = [next(each[number]) for number in features.level.tolist()]
    corners = rows.boxes.numpy()
    sides = rows.sides.numpy()
    size = [next(k for k, (a, b) in SIZES.items() if a <= side < b) for side in sides]
    return pd.DataFrame(
        {
            "network": network,
            "domain": rows.domain,
            "image": [rows.names[i] for i in rows.picture.tolist()],
            "class": [
                "background" if i == BACKGROUND else rows.classes[i] for i in rows.labels.tolist()
            ],
            "size": size,
            **{name: corners[:, i] for i, name in enumerate(("x1", "y1", "x2", "y2"))},
            "level": [features.levels[i] for i in features.level.tolist()],
            "features": values,
        }
    )
