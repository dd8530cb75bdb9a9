"""Images in groups: values, intervals and gaps against their definitions, one tuple at a time."""

from itertools import permutations

import numpy as np
import pytest
import torch

from yolo_synth.analysis.similarity.centring import u_center
from yolo_synth.analysis.similarity.cka import cka, deconfound, same_start
from yolo_synth.analysis.similarity.gaps import gap_test, mmd2
from yolo_synth.analysis.similarity.jackknife import (
    difference,
    influence,
    jackknife,
    leave_one_out,
)

GROUPS = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4, 5, 6, 6, 7])


def pair(seed, layers=2):
    rng = np.random.default_rng(seed)
    x, noise = rng.standard_normal((2, layers, len(GROUPS), 3))
    y = x + noise
    return x @ x.transpose(0, 2, 1), y @ y.transpose(0, 2, 1)


def tensors(*stacks):
    return [torch.from_numpy(stack) for stack in stacks]


def hsic(k, m, groups):
    """The U-statistic by its definition: all four different groups, all images of each."""
    places = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    terms = []
    for a, b, c, d in permutations(places, 4):
        same = (k[np.ix_(a, b)] * m[np.ix_(a, b)]).mean()
        one = (k[np.ix_(a, b)].mean(1) * m[np.ix_(a, c)].mean(1)).mean()
        none = k[np.ix_(a, b)].mean() * m[np.ix_(c, d)].mean()
        terms.append(same - 2 * one + none)
    return np.mean(terms)


def test_the_value_is_the_mean_over_images_of_four_different_groups():
    k, m = (stack[0] for stack in pair(0))
    expected = hsic(k, m, GROUPS) / np.sqrt(hsic(k, k, GROUPS) * hsic(m, m, GROUPS))
    found = cka(*tensors(k[None], m[None]), debiased=True, groups=list(GROUPS))
    assert found.item() == pytest.approx(expected, abs=1e-12)
    assert abs(found.item() - cka(*tensors(k[None], m[None]), debiased=True).item()) > 0.01


def test_what_training_added_is_the_partial_correlation_of_three_values_by_groups():
    (k, m), (start, _) = pair(0), pair(1)
    groups = list(GROUPS)
    ab, a0, b0 = (
        cka(*tensors(x, y), debiased=True, groups=groups).diagonal()
        for x, y in ((k, m), (k, start), (m, start))
    )
    expected = (ab - a0 * b0) / ((1 - a0**2) * (1 - b0**2)).sqrt()
    a, b, s = tensors(k, m, start)
    added = deconfound(a, s, groups), deconfound(b, s, groups)
    found = cka(*added, debiased=True, groups=groups).diagonal()
    torch.testing.assert_close(found, expected)


def without(stacks, *left_out):
    kept = [i for i, group in enumerate(GROUPS) if group not in left_out]
    a, b = (torch.from_numpy(stack[0][np.ix_(kept, kept)])[None] for stack in stacks)
    return cka(a, b, debiased=True, groups=list(GROUPS[kept])).item()


def test_the_error_is_that_of_leaving_whole_groups_out():
    stacks, n = pair(3), 8
    value, one = without(stacks), [without(stacks, g) for g in range(n)]
    first = (n - 1) / n * np.sum((one - np.mean(one)) ** 2)
    pairs = [
        n * value - (n - 1) * (one[i] + one[j]) + (n - 2) * without(stacks, i, j)
        for i in range(n)
        for j in range(i)
    ]
    second = np.sum((pairs - np.mean(pairs)) ** 2) / (n * (n - 1))
    a, b = tensors(*stacks)
    groups = list(GROUPS)
    matrix = jackknife(a, b, torch.zeros(2, 2), groups=groups)
    assert matrix.error[0, 0].item() == pytest.approx(max(first - second, first / 2) ** 0.5)
    paired = jackknife(a, b, torch.zeros(2), paired=True, groups=groups)
    for name in ("value", "low", "high", "error"):
        torch.testing.assert_close(getattr(paired, name), getattr(matrix, name).diagonal())
    left = leave_one_out(a, b, paired=True, groups=groups)
    assert left[0].tolist() == pytest.approx(one)
    added = influence(a, b, paired=True, groups=groups)
    assert added[0].tolist() == pytest.approx([value - rest for rest in one])


def test_single_images_are_groups_of_one():
    a, b = tensors(*pair(5))
    alone = [f"image {i}" for i in range(len(GROUPS))]
    p = torch.zeros(2)
    for name in ("value", "low", "high", "error"):
        plain, grouped = (
            getattr(jackknife(a, b, p, paired=True, groups=groups), name)
            for groups in (None, alone)
        )
        torch.testing.assert_close(grouped, plain, atol=1e-12, rtol=0)
    torch.testing.assert_close(deconfound(a, b, alone), deconfound(a, b), atol=1e-12, rtol=0)


def test_centring_by_groups_twice_changes_nothing():
    (a, _) = tensors(*pair(6))
    once = u_center(a, list(GROUPS))
    torch.testing.assert_close(u_center(once, list(GROUPS)), once, atol=1e-12, rtol=0)


def test_near_duplicates_add_nothing():
    # Each image five times: the value is that of the images once, not a higher one
    a, b = tensors(*pair(7))
    places = torch.arange(len(GROUPS)).repeat_interleave(5)
    five = [stack[:, places][:, :, places] for stack in (a, b)]
    once = cka(a, b, debiased=True)
    torch.testing.assert_close(cka(*five, debiased=True, groups=places.tolist()), once)
    assert (cka(*five, debiased=True) > once).all()


def test_too_few_groups_have_a_value_and_no_interval():
    a, b = tensors(*pair(8))
    five = [min(group, 4) for group in GROUPS.tolist()]
    found = jackknife(a, b, torch.zeros(2), paired=True, groups=five)
    assert not found.value.isnan().any()
    for ends in (found.low, found.high, found.error):
        assert ends.isnan().all()
    with pytest.raises(ValueError, match="at least 4 groups of images, not 3"):
        jackknife(a, b, torch.zeros(2), paired=True, groups=[g % 3 for g in GROUPS.tolist()])
    with pytest.raises(ValueError, match="12 group labels for 13 images"):
        cka(a, b, debiased=True, groups=GROUPS.tolist()[1:])


def in_sequences(cells, groups, within, seed, size=5, p=60):
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(cells, groups, p, generator=generator, dtype=torch.float64)
    own = torch.randn(cells, groups * size, p, generator=generator, dtype=torch.float64)
    mixed = (1 - within) ** 0.5 * common.repeat_interleave(size, 1) + within**0.5 * own
    return mixed * torch.arange(1, p + 1).double() ** -0.75


@pytest.mark.parametrize(
    ("groups", "within", "true"),
    [(10, 0.1, 0.5), (10, 0.5, 0.99), (30, 0.1, 0.5), (30, 0.5, 0.1)],
)
def test_intervals_by_groups_hold_the_true_value(groups, within, true):
    # A small part of `benchmarks/coverage.py`
    cells = 200
    x, noise = (in_sequences(cells, groups, within, seed) for seed in (1, 2))
    y = true**0.5 * x + (1 - true) ** 0.5 * noise
    labels = [image // 5 for image in range(groups * 5)]
    grams = x @ x.mT, y @ y.mT
    covered = []
    for given in (labels, None):
        found = jackknife(*grams, torch.zeros(cells), paired=True, groups=given)
        covered.append(((found.low <= true) & (true <= found.high)).double().mean().item())
    assert 0.91 <= covered[0] <= 0.99
    assert covered[1] < 0.86  # as single images


def test_a_difference_by_groups_has_the_size_it_says():
    cells, groups = 250, 12
    x = in_sequences(cells, groups, 0.1, 0)
    others = [x + in_sequences(cells, groups, 0.1, seed) for seed in (1, 2)]
    first, second = ((x @ x.mT, y @ y.mT) for y in others)
    p = torch.zeros(cells), torch.zeros(cells)
    labels = [image // 5 for image in range(groups * 5)]
    rejected = [
        (difference(first, second, p, paired=True, groups=given)[1] <= 0.05).double().mean().item()
        for given in (labels, None)
    ]
    assert 0.02 <= rejected[0] <= 0.08
    assert rejected[1] > 0.12


def test_layers_that_begin_alike_are_found_one_by_one():
    (a, b), (c, _) = pair(9, layers=3), pair(10, layers=3)
    other = a.copy()
    other[1] = c[1]
    assert same_start(*tensors(a, other)).tolist() == [True, False, True]
    assert same_start(*tensors(a, a * (1 + 1e-7))).all()
    assert not same_start(*tensors(a, b)).any()


def test_a_gap_between_singles_and_sequences_is_free_of_bias_and_its_test_keeps_its_size():
    # One distribution: 60 single images of one domain, 10 sequences of 6 of the other
    clusters = [f"a{i}" for i in range(60)] + [f"b{i // 6}" for i in range(60)]
    first = torch.arange(120) < 60
    x = torch.cat([in_sequences(300, 60, 0.2, 1, size=1), in_sequences(300, 10, 0.2, 2, size=6)], 1)
    x = x * torch.arange(1, 61).double() ** 0.25  # variances as 1 / i
    grams = x @ x.mT
    value = mmd2(grams, first, clusters=clusters)
    assert value.mean().abs() < 2 * value.std() / 300**0.5
    assert mmd2(grams, first).mean() > 0.03  # as single images
    # One draw of divisions serves all 300 experiments
    rejected = (gap_test(grams, first, 400, clusters=clusters).p <= 0.05).double().mean().item()
    assert 0.03 <= rejected <= 0.07


def test_a_gap_by_clusters_is_that_of_their_means():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((len(GROUPS), 3))
    means = np.stack([x[group == GROUPS].mean(0) for group in range(8)])
    first, side = torch.from_numpy(GROUPS < 3), torch.arange(8) < 3
    found = mmd2(*tensors(x @ x.T), first, relative=False, clusters=GROUPS.tolist())
    expected = mmd2(*tensors(means @ means.T), side, relative=False)
    torch.testing.assert_close(found, expected)
