"""Several networks and several sets of pictures: all features of boxes, likenesses and gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from yolo_synth.devices import fastest
from yolo_synth.objects.features import Features, box_features
from yolo_synth.objects.likeness import box_table, gap, joined, likeness
from yolo_synth.objects.rows import Rows

COLUMNS: Final = (
    *("network", "against", "on", "part", "of", "boxes", "pictures", "groups"),
    *("value", "low", "high", "floor", "p"),
)


class Objects(NamedTuple):
    """What networks make of the boxes of sets of pictures.

    Attributes:
        cka: A row for two networks, a set and a part: debiased CKA as `value` with its interval, the 95 %
            point of permuted groups as `floor`, and `p`; columns `COLUMNS`.
        gap: A row for a network, two sets and a part: MMD² over the variance within as `value`, that of two
            halves of one set as `floor`, and `p`.
        boxes: A row for a network and a box, with its features.
    """

    cka: pd.DataFrame
    gap: pd.DataFrame
    boxes: pd.DataFrame


def study_objects(networks: Mapping[str, nn.Module], sets: Sequence[Rows]) -> Objects:
    """Compare every two networks on each set, and the boxes of every two sets inside each network.

    Args:
        networks: By name; a network that is named once more than needed is compared with itself.
        sets: Boxes of each domain, whose pictures all networks take as they are.
    """
    device = fastest()
    seen: dict[tuple[str, str], Features] = {}
    pairs = [(pair, rows) for pair in combinations(networks, 2) for rows in sets]
    gaps = [(name, two) for name in networks for two in combinations(sets, 2)]
    likenesses, distances, boxes = [], [], []
    total = len(networks) * len(sets) + len(pairs) + len(gaps)
    with tqdm(total=total, desc="objects", leave=False) as bar:
        for name, network in networks.items():
            for rows in sets:
                seen[name, rows.domain] = box_features(network.to(device), rows)
                boxes.append(box_table(rows, seen[name, rows.domain], name))
                bar.update()
        for (first, second), rows in pairs:
            found = likeness(seen[first, rows.domain], seen[second, rows.domain], rows)
            likenesses.append(found.assign(network=first, against=second, on=rows.domain))
            bar.update()
        for name, (one, other) in gaps:
            rows = joined([one, other])
            features = _both(seen[name, one.domain], seen[name, other.domain])
            found = gap(features, rows, len(one.labels))
            distances.append(found.assign(network=name, against="", on=rows.domain))
            bar.update()
    return Objects(_table(likenesses, "cka"), _table(distances, "gap"), pd.concat(boxes))


def _both(first: Features, second: Features) -> Features:
    """Return what one network makes of the boxes of two sets, one set after the other."""
    return Features(
        first.levels,
        torch.cat([first.level, second.level]),
        [torch.cat(pair) for pair in zip(first.values, second.values, strict=True)],
    )


def _table(found: Sequence[pd.DataFrame], value: str) -> pd.DataFrame:
    if not found:
        return pd.DataFrame(columns=list(COLUMNS))
    # the mean of what chance gives is not the floor that the value is held against
    table = pd.concat(found, ignore_index=True).drop(columns="floor", errors="ignore")
    table = table.rename(columns={value: "value", "null": "floor"})
    return table.reindex(columns=list(COLUMNS))
