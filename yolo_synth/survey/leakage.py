"""What training images tell of test images: sequences in several splits, and near-duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

ALIKE: Final = 0.85
"""Likeness of two thumbnails from which their images are called near-duplicates. Of photographs of
streets, a copy that was cut by 1.5 % at each edge, made lighter or darker by up to 20 % and
compressed anew reached it in 99 % of cases, and no two pictures of different places did."""

_BLOCK: Final = 2048


def groups_by_splits(
    groups: pd.Series[str], splits: NDArray[np.str_], order: list[str]
) -> pd.Series[int]:
    """Count groups of more than one image by the splits that they are in, as "train, test" → 7.

    Args:
        groups: Group of each image, [n].
        splits: Split of each image, [n].
        order: The splits, in the order in which they are named.
    """
    several = groups.duplicated(keep=False).to_numpy()
    there = pd.crosstab(groups.to_numpy()[several], splits[several]).reindex(columns=order) > 0
    which = [", ".join(np.array(order)[row]) for row in there.to_numpy()]
    return pd.Series(which, dtype="str").value_counts().astype("int64")


def gradients(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what makes thumbnails [n, 16, 17] comparable, [n, 256]: their scaled differences.

    Differences of neighbours in a row know neither the light nor the sky above and the road below,
    which all streets have in common. The product of two rows is their correlation; a thumbnail
    that is NaN, or all of one grey, is like none.
    """
    steps = np.nan_to_num(np.diff(thumbnails, axis=2)).reshape(len(thumbnails), -1)
    steps -= steps.mean(axis=1, keepdims=True)
    length = np.linalg.norm(steps, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = np.divide(
        steps, length, out=np.zeros_like(steps), where=length > 0
    )
    return scaled


def near_duplicates(
    thumbnails: NDArray[np.float32], splits: NDArray[np.str_], order: list[str]
) -> pd.DataFrame:
    """Find for each image the most similar one in every earlier split, where that is a near-duplicate.

    Every pair is compared, by matrix products: half a minute on one core for 134,097 images.

    Args:
        thumbnails: Float32 [n, 16, 17].
        splits: Split of each image, [n].
        order: The splits, in the order in which one is held against the earlier ones.

    Returns:
        Columns `image` and `like`, positions of two images, `split`, `like_split`, and `likeness`.
    """
    features = gradients(thumbnails)
    members = {split: np.flatnonzero(splits == split) for split in order}
    found = []
    pairs = [pair for pair in combinations(order, 2) if all(len(members[s]) for s in pair)]
    total = sum(len(members[later]) for _, later in pairs)
    with tqdm(total=total, desc="compare images", unit="image", leave=False, disable=None) as bar:
        for earlier, later in pairs:
            reference = features[members[earlier]]
            for start in range(0, len(members[later]), _BLOCK):
                rows = members[later][start : start + _BLOCK]
                best, likeness = _best(features[rows], reference)
                alike = likeness >= ALIKE
                found.append(
                    pd.DataFrame(
                        {
                            "image": rows[alike],
                            "like": members[earlier][best[alike]],
                            "split": later,
                            "like_split": earlier,
                            "likeness": likeness[alike],
                        }
                    )
                )
                bar.update(len(rows))
    columns = ["image", "like", "split", "like_split", "likeness"]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def clusters(thumbnails: NDArray[np.float32], groups: Sequence[str]) -> list[str]:
    """Join groups of images of which two are near-duplicates, through any number of others.

    Every pair is compared, by matrix products: one and a half minutes on one core for 134,097 images.

    Args:
        thumbnails: Float32 [n, 16, 17].
        groups: What each image belongs to [n].

    Returns:
        The groups [n], those that are joined called as the first of them.
    """
    features = gradients(thumbnails)
    names, member = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    first = np.unique(member, return_index=True)[1]
    whole = np.arange(len(names))
    starts = range(0, len(features), _BLOCK)
    with tqdm(total=len(features), desc="find clusters", leave=False, disable=None) as bar:
        for start in starts:
            rows = features[start : start + _BLOCK]
            for other in range(0, start + _BLOCK, _BLOCK):
                alike = np.nonzero(rows @ features[other : other + _BLOCK].T >= ALIKE)
                ends = (
                    whole[member[place + at]]
                    for place, at in zip(alike, (start, other), strict=True)
                )
                edges = np.unique(np.stack(list(ends)), axis=1)
                graph = coo_array((np.ones(edges.shape[1]), tuple(edges)), shape=(len(names),) * 2)
                whole = connected_components(graph, directed=False)[1][whole]
            bar.update(len(rows))
    earliest = np.full(len(names), len(features))
    np.minimum.at(earliest, whole, first)
    return [str(groups[image]) for image in earliest[whole[member]]]


def _best(
    rows: NDArray[np.float32], reference: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return which row of the reference each row is most like, and how much, block by block."""
    best = np.zeros(len(rows), np.int64)
    likeness = np.full(len(rows), -np.inf, np.float32)
    for start in range(0, len(reference), _BLOCK):
        product = rows @ reference[start : start + _BLOCK].T
        place = product.argmax(axis=1)
        value = product[np.arange(len(rows)), place]
        better = value > likeness
        best[better], likeness[better] = place[better] + start, value[better]
    return best, likeness
