"""What one pair of networks is judged by, layer i with layer i: chance, intervals, the start, matches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

from yolo_synth.analysis.activations.structure import IMAGE, Structure
from yolo_synth.analysis.similarity.centring import between_groups, count_groups, within_groups
from yolo_synth.analysis.similarity.cka import cka, deconfound, same_start
from yolo_synth.analysis.similarity.jackknife import jackknife, residual_p
from yolo_synth.analysis.similarity.permutation import PermutationTest, permutation_test
from yolo_synth.analysis.similarity.series import LayerSeries, Values

INTERVAL_IMAGES: Final = 6
"""What an interval needs: so many images, or groups of images where they come in groups."""

DRAWS: Final = 1000
"""Permutations of the images, or of whole groups; the smallest p-value is 1/1001."""

MATCH_DRAWS: Final = 200
"""Permutations for the best matches of every layer among all; the tail of their maxima is fitted."""


def between_test(a: Tensor, b: Tensor, groups: Sequence[str] | None) -> PermutationTest:
    """Permute the images of one network, or its whole groups, each by its mean output.

    The null between groups; that within them is `within`'s.
    """
    return permutation_test(
        between_groups(a, groups), between_groups(b, groups), DRAWS, paired=True
    )


def judged(a: Tensor, b: Tensor, groups: Sequence[str] | None) -> LayerSeries:
    """Return the debiased CKA of corresponding layers, with intervals and what chance gives."""
    test = between_test(a, b, groups)
    low = high = torch.full_like(test.value, torch.nan)
    if count_groups(groups, a.shape[-1]) >= INTERVAL_IMAGES:
        interval = jackknife(a, b, test.p_corrected, paired=True, groups=groups)
        low, high = interval.low, interval.high
    return LayerSeries(
        test.value.numpy(),
        low.numpy(),
        high.numpy(),
        null=test.null_quantile().numpy(),
        floor=test.null_mean.numpy(),
        p=test.p_corrected.numpy(),
    )


def within(a: Tensor, b: Tensor, groups: Sequence[str] | None) -> LayerSeries | None:
    """Take out the groups' means and permute images within their groups; None without groups."""
    first, second = within_groups(a, groups), within_groups(b, groups)
    if first is None or second is None:
        return None
    test = permutation_test(first, second, DRAWS, groups=groups, paired=True)
    return LayerSeries(
        test.value.numpy(),
        null=test.null_quantile().numpy(),
        floor=test.null_mean.numpy(),
        p=test.p_corrected.numpy(),
    )


def changes(network: Tensor, start: Tensor, groups: Sequence[str] | None) -> tuple[Tensor, Tensor]:
    """Return what training added to a network's Grams, and in which layers it did [l]."""
    added = deconfound(network, start, groups)
    return added, added.flatten(1).any(1)


def begun_alike(first: Tensor, second: Tensor, structure: Structure) -> Tensor:
    """Return in which layers two networks had one start, and so had all that they read [l].

    A layer that reads two others can be all but one of them: it has no start of its own in common.
    """
    if first is second:
        return torch.ones(len(first), dtype=torch.bool)
    common = same_start(first, second).tolist()
    for layer, sources in enumerate(structure.sources):
        common[layer] &= all(source == IMAGE or common[source] for source in sources)
    return torch.tensor(common)


def added(
    a: Tensor,
    b: Tensor,
    starts: tuple[Tensor, Tensor],
    structure: Structure,
    groups: Sequence[str] | None,
) -> LayerSeries | None:
    """Return the debiased CKA of what training added where both began alike; None if nowhere."""
    common = begun_alike(*starts, structure)
    (a, changed_a), (b, changed_b) = (
        changes(network, start, groups) for network, start in zip((a, b), starts, strict=True)
    )
    layers = common & changed_a & changed_b
    if not layers.any():
        return None

    def of_all(rows: Tensor) -> Values:
        values = torch.full((len(layers),), torch.nan, dtype=torch.float64)
        values[layers] = rows
        return values.numpy()

    a, b = a[layers], b[layers]
    if count_groups(groups, a.shape[-1]) < INTERVAL_IMAGES:
        return LayerSeries(of_all(cka(a, b, debiased=True, groups=groups).diagonal()))
    p = residual_p(a, b, between_test(a, b, groups).p_corrected, groups)
    interval = jackknife(a, b, p, paired=True, groups=groups)
    return LayerSeries(
        of_all(interval.value), of_all(interval.low), of_all(interval.high), p=of_all(p)
    )


def best_matches(
    a: Tensor, b: Tensor, groups: Sequence[str] | None
) -> Iterator[tuple[str, LayerSeries]]:
    """Yield which layers match best, as they are and without the means of rows and columns."""
    test = permutation_test(between_groups(a, groups), between_groups(b, groups), MATCH_DRAWS)
    for name, seen in (("match", test), ("own_match", test.without_means())):
        match, p = seen.best_match()
        yield name, LayerSeries(match.double().where(match >= 0, torch.nan).numpy(), p=p.numpy())
