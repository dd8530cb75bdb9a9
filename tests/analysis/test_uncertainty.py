"""Calibration of intervals and tests, closed forms against leaving images out for real."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, false_discovery_control, kstest
from scipy.stats import t as student

from yolo_synth.analysis.similarity.chance import holm
from yolo_synth.analysis.similarity.cka import cka, deconfound
from yolo_synth.analysis.similarity.gaps import gap_test
from yolo_synth.analysis.similarity.jackknife import (
    difference,
    influence,
    jackknife,
    leave_one_out,
    residual_p,
)
from yolo_synth.analysis.similarity.permutation import (
    PermutationTest,
    permutation_test,
)


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def gram(features):
    return features @ features.mT


def related(cells, n, p, mixing, decay, seed):
    """Gaussian x and y = mixing x + noise, and ‖Σxy‖² / (‖Σxx‖ ‖Σyy‖).

    All covariances are multiples of one with eigenvalues i^-decay, which cancels.
    """
    scale = torch.arange(1, p + 1).double() ** (-decay / 2)
    x, noise = (normal(cells, n, p, seed=seed + k) * scale for k in (0, 1))
    return gram(x), gram(mixing * x + noise), mixing**2 / (mixing**2 + 1)


def stacks(la, lb, n=14):
    shared = normal(n, 3, seed=1)
    return (
        gram(shared + normal(la, n, 3, seed=2)),
        gram(shared + normal(lb, n, 3, seed=3)),
    )


def test_leave_one_out_leaves_one_out():
    a, b = stacks(3, 2)
    found = leave_one_out(a, b)
    for image in range(14):
        rest = [i for i in range(14) if i != image]
        expected = cka(a[:, rest][:, :, rest], b[:, rest][:, :, rest], debiased=True)
        torch.testing.assert_close(found[..., image], expected)
    torch.testing.assert_close(
        leave_one_out(a[:2], b, paired=True), found[:2].diagonal().movedim(-1, 0)
    )


def test_the_error_is_that_of_efron_and_stein():
    # By leaving out one and two images for real and going through all pairs
    n = 24
    shared = normal(n, 3, seed=1)
    a, b = (gram(shared + 0.3 * normal(1, n, 3, seed=s)) for s in (2, 3))

    def without(*left_out):
        rest = [i for i in range(n) if i not in left_out]
        return cka(a[:, rest][:, :, rest], b[:, rest][:, :, rest], debiased=True).item()

    value, one = without(), [without(i) for i in range(n)]
    first = (n - 1) / n * np.sum((one - np.mean(one)) ** 2)
    pairs = [
        n * value - (n - 1) * (one[i] + one[j]) + (n - 2) * without(i, j)
        for i in range(n)
        for j in range(i)
    ]
    second = np.sum((pairs - np.mean(pairs)) ** 2) / (n * (n - 1))
    assert first / 2 < first - second

    interval = jackknife(a, b, torch.zeros(1, 1))
    assert interval.value.item() == pytest.approx(value)
    error = (first - second) ** 0.5
    assert interval.error.item() == pytest.approx(error)

    # How the error changes along the direction in which images move the value most
    away = np.mean(one) - one
    bend = 2 * sum(
        (q - np.mean(pairs)) * away[i] * away[j]
        for q, (i, j) in zip(pairs, ((i, j) for i in range(n) for j in range(i)), strict=True)
    )
    bend /= n * np.sum(away**2) ** 1.5
    kurtosis = np.mean(away**4) / np.mean(away**2) ** 2
    t = student.ppf(0.975, 2 * n * (error**2 / first) ** 2 / (kurtosis - 1))
    assert abs(bend) > 0.01
    for end, sign in ((interval.low, -1), (interval.high, 1)):
        expected = value + error * (np.exp(sign * bend * t) - 1) / bend
        assert end.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mixing", "p", "decay"),
    [(0.6, 40, 0.0), (1.0, 150, 0.0), (1.0, 60, 1.0), (3.0, 10, 0.0)],
)
def test_the_interval_covers_the_population_value(mixing, p, decay):
    covered, values, errors = [], [], []
    for part in range(4):
        a, b, population = related(250, 100, p, mixing, decay, seed=2 * part)
        assert 0.2 < population <= 0.9
        interval = jackknife(a, b, torch.zeros(250), paired=True)
        covered.append((interval.low <= population) & (population <= interval.high))
        values.append(interval.value)
        errors.append(interval.error)

    assert 0.93 <= torch.cat(covered).double().mean() <= 0.97
    # The error bars are as long as the estimates scatter
    scatter = torch.cat(values).std().item()
    assert torch.cat(errors).mean().item() == pytest.approx(scatter, rel=0.12)


@pytest.mark.parametrize("decay", [1.0, 2.0])
def test_the_interval_covers_a_low_similarity(decay):
    # A symmetric one holds it 90 and 86 % of the time: low estimates have small errors
    held, below = [], []
    for part in range(4):
        a, b, population = related(250, 50, 200, 1 / 3, decay, seed=100 + 2 * part)
        interval = jackknife(a, b, torch.zeros(250), paired=True)
        held.append((interval.low <= population) & (population <= interval.high))
        below.append(interval.high < population)

    assert population == pytest.approx(0.1)
    assert 0.93 <= torch.cat(held).double().mean() <= 0.975
    assert torch.cat(below).double().mean() < 0.05


def test_pairs_and_matrix_agree():
    a, b = stacks(11, 11)
    p = torch.zeros(11, 11)
    p[2, 3] = 0.2
    matrix, pairs = jackknife(a, b, p), jackknife(a, b, p.diagonal(), paired=True)

    for name in ("value", "low", "high", "error"):
        torch.testing.assert_close(getattr(pairs, name), getattr(matrix, name).diagonal())
    torch.testing.assert_close(matrix.value, cka(a, b, debiased=True))
    assert matrix.low.isnan().nonzero().tolist() == [[2, 3]]
    assert not matrix.value.isnan().any()


def test_no_interval_is_offered_for_independent_features():
    a, b = gram(normal(200, 40, 30, seed=1)), gram(normal(200, 40, 30, seed=2))
    test = permutation_test(a, b, draws=199, paired=True)
    offered = ~jackknife(a, b, test.p, paired=True).low.isnan()

    assert offered.sum() == (test.p <= 0.05).sum() < 25


def test_the_same_layer_has_an_interval_without_width():
    a, _ = stacks(2, 1)
    interval = jackknife(a, 3 * a, torch.zeros(2), paired=True)

    torch.testing.assert_close(interval.low, torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(interval.high, torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("debiased", [True, False])
def test_p_values_of_independent_features_are_uniform(debiased):
    a, b = gram(normal(500, 25, 60, seed=3)), gram(normal(500, 25, 60, seed=4))
    test = permutation_test(a, b, draws=199, seed=1, paired=True, debiased=debiased)

    # Ranks among 200 are uniform on a grid; spread within its cells for the continuous test
    spread = test.p - normal(500, seed=5).abs().frac() / 200
    assert kstest(spread.numpy(), "uniform").pvalue > 0.01
    assert binomtest(int((test.p <= 0.05).sum()), 500, 0.05).pvalue > 0.01


def test_corrected_p_values_hold_over_dependent_layers():
    # Layers of one network resemble each other: six layers with a shared part, 300 experiments
    whole, best = [], []
    for experiment in range(300):
        a, b = (
            gram(normal(20, 4, seed=s) + 0.5 * normal(6, 20, 4, seed=s + 5000))
            for s in (2 * experiment, 2 * experiment + 1)
        )
        test = permutation_test(a, b, draws=99, seed=experiment)
        whole.append(test.p_corrected.min().item())
        best.append(test.best_match()[1].min().item())
        assert (test.p_corrected >= test.p - 1e-12).all() or test.p_corrected.min() > 0.01

    for p in (whole, best):
        assert binomtest(int(np.sum(np.array(p) <= 0.1)), 300, 0.1).pvalue > 0.01


def test_permutations_count_as_their_definition_says():
    a, b = stacks(2, 3)
    test = permutation_test(a, b, draws=50)

    assert test.draws.shape == (50, 2, 3)
    torch.testing.assert_close(test.value, cka(a, b, debiased=True))
    expected = (1 + (test.draws >= test.value).sum(0)) / 51
    torch.testing.assert_close(test.p, expected.double())
    same = permutation_test(a, b, draws=50)
    assert (same.draws == test.draws).all()
    assert (permutation_test(a, b, draws=50, seed=1).draws != test.draws).any()


def test_the_biased_null_is_high_where_features_are_many():
    a, b = (gram(normal(1, 20, 900, seed=s)) for s in (0, 1))
    test = permutation_test(a, b, draws=50, debiased=False)

    torch.testing.assert_close(test.value, cka(a, b))
    assert test.null_mean > 0.95
    assert test.null_mean < test.null_quantile(0.95)


def test_pairs_are_the_diagonal_of_the_matrix_in_every_draw():
    a, b = stacks(4, 4)
    matrix, pairs = (permutation_test(a, b, draws=60, paired=paired) for paired in (False, True))

    torch.testing.assert_close(pairs.draws, matrix.draws.diagonal(dim1=1, dim2=2))
    torch.testing.assert_close(pairs.value, matrix.value.diagonal())


def test_the_matching_layer_is_found():
    shared = normal(3, 30, 5, seed=0)
    a, b = gram(shared), gram(shared.flip(0) + 0.3 * normal(3, 30, 5, seed=1))
    b = torch.cat([b, torch.ones(1, 30, 30)])
    test = permutation_test(torch.cat([a, torch.ones(1, 30, 30)]), b, draws=199)
    match, p = test.best_match()

    assert match.tolist() == [2, 1, 0, -1]
    assert (p[:3] < 1 / 200).all()
    assert p[3].isnan()
    assert test.p_corrected[0, 2] == test.p_corrected.nan_to_num(1).min() == 1 / 200
    assert test.p_corrected[0, 0] > 0.05
    assert test.p[3].isnan().all()


def test_a_layer_that_is_like_all_others_is_nobody_s_own_match():
    # The first layer holds what all share and nothing else; the others have parts of their own and noise
    shared, own, noise = (
        normal(60, 10, seed=0),
        normal(6, 60, 15, seed=1),
        normal(2, 6, 60, 15, seed=2),
    )
    stacks = []
    for other in noise:
        features = torch.cat([shared.expand(6, 60, 10), own + other], -1)
        features[0, :, 10:] = 0
        stacks.append(gram(features))
    test = permutation_test(*stacks, draws=199)
    (hubs, _), (match, p) = test.best_match(), test.without_means().best_match()

    assert len(hubs.unique()) < 6
    assert match.tolist() == [0, 1, 2, 3, 4, 5]
    assert (p <= 0.05).all()


def test_fitted_tails_hold_what_they_say_with_few_draws():
    found = []
    for experiment in range(300):
        a, b = (
            gram(normal(20, 4, seed=s) + 0.5 * normal(6, 20, 4, seed=s + 5000))
            for s in (2 * experiment, 2 * experiment + 1)
        )
        found.append(permutation_test(a, b, draws=50, seed=experiment, paired=True).p_fitted.min())

    for level in (0.05, 0.1, 0.5):
        assert binomtest(int(np.sum(np.array(found) <= level)), 300, level).pvalue > 0.01
    # The same data with other draws: 50 fitted ones are as sure as 50 / .6 counted ones
    a, b = (gram(normal(20, 4, seed=s) + 0.5 * normal(6, 20, 4, seed=s + 5000)) for s in (0, 1))
    tests = [permutation_test(a, b, draws=50, seed=seed, paired=True) for seed in range(100)]
    counted, fitted = (
        torch.stack([getattr(t, p) for t in tests]) for p in ("p_corrected", "p_fitted")
    )
    assert (fitted.std(0) < counted.std(0)).all()
    assert torch.allclose(fitted.mean(0), counted.mean(0), atol=0.03)


def test_pooled_groups_pass_a_free_permutation_and_not_one_within_groups():
    # Independent features, one standard deviation between two groups of images
    groups = ["real"] * 50 + ["synthetic"] * 50
    offset = torch.tensor([0.0] * 50 + [1.0] * 50)[:, None]
    a, b = (gram(normal(1, 100, 200, seed=s) + offset) for s in (1, 2))
    free, within = (permutation_test(a, b, draws=199, groups=g) for g in (None, groups))

    assert free.value.item() > 0.85
    assert free.p.item() == 1 / 200
    assert within.p.item() > 0.05


def test_images_of_a_group_stay_in_it():
    # Only the two images of group b can change places: two different values in all draws
    a, b = stacks(1, 1, n=6)
    test = permutation_test(a, b, draws=40, groups=["a", "b", "c", "d", "b", "e"])

    swapped = [0, 4, 2, 3, 1, 5]
    expected = cka(a, b[:, swapped][:, :, swapped], debiased=True).item()
    drawn = test.draws.flatten()
    own = (drawn - test.value.item()).abs() < 1e-9
    assert 5 < own.sum() < 35
    torch.testing.assert_close(drawn[~own], torch.full_like(drawn[~own], expected))


def test_influence_finds_the_images_that_both_networks_think_alike():
    a, b = normal(1, 30, 50, seed=1), normal(1, 30, 50, seed=2)
    a[:, [7, 20]] += 2
    b[:, [7, 20]] += 2
    found = influence(gram(a), gram(b), paired=True)

    assert found.shape == (1, 30)
    assert sorted(found[0].topk(2).indices.tolist()) == [7, 20]
    matrix = influence(*stacks(3, 2))
    assert matrix.shape == (3, 2, 14)
    torch.testing.assert_close(
        influence(*(x[:2] for x in stacks(3, 2)), paired=True), matrix[:2].diagonal().movedim(-1, 0)
    )


def test_a_difference_is_found_and_else_its_p_values_are_uniform():
    # One network against two that are equally like it, and against one that is more so
    x = normal(600, 60, 15, seed=0)
    equal = [gram(x + normal(600, 60, 15, seed=s)) for s in (1, 2)]
    closer = gram(x + 0.5 * normal(600, 60, 15, seed=3))
    p = (torch.zeros(600), torch.zeros(600))
    interval, chance = difference((gram(x), equal[0]), (gram(x), equal[1]), p, paired=True)

    assert kstest(chance.numpy(), "uniform").pvalue > 0.01
    rejected = int((chance <= 0.05).sum())
    assert 0.03 <= rejected / 600 <= 0.07
    assert int(((interval.low > 0) | (interval.high < 0)).sum()) == rejected
    interval, chance = difference((gram(x), closer), (gram(x), equal[0]), p, paired=True)
    assert (chance < 0.001).all()
    assert interval.value.mean().item() == pytest.approx(0.8 - 0.5, abs=0.02)


def test_a_difference_of_chance_values_is_not_offered():
    a, b = stacks(2, 2)
    p = torch.tensor([0.01, 0.5]), torch.tensor([0.6, 0.4])
    interval, chance = difference((a, b), (a, b), p, paired=True)

    assert chance.tolist()[0] == 1
    assert chance[1].isnan()
    assert interval.low.isnan().tolist() == [False, True]
    matrix, _ = difference((a, b), (b, a), (torch.zeros(2, 2),) * 2)
    assert matrix.value.shape == (2, 2)


def test_deconfounded_grams_go_through_every_test():
    start = normal(1, 80, 100, seed=0)
    change = normal(1, 80, 100, seed=1)
    a, b, c = (
        deconfound(gram(start + 0.2 * x), gram(start))
        for x in (change, change + normal(1, 80, 100, seed=2), normal(1, 80, 100, seed=3))
    )
    same, other = (permutation_test(a, x, draws=199, paired=True) for x in (b, c))

    assert same.p.item() == 1 / 200
    assert other.p.item() > 0.05
    assert jackknife(a, b, same.p, paired=True).low.item() > 0
    assert jackknife(a, c, other.p, paired=True).low.isnan().all()


@pytest.mark.parametrize(("n", "p", "decay", "change"), [(60, 50, 1, 0.3), (60, 20, 0, 0.2)])
def test_independent_changes_of_one_start_are_not_beyond_chance(n, p, decay, change):
    # Where the start has few directions a permutation test alone rejects most of the time
    scale = torch.arange(1, p + 1).double() ** (-decay / 2)
    permuted, both = [], []
    for experiment in range(40):
        start, *changes = normal(3, n, p, seed=experiment) * scale
        own = normal(2, 6, n, p, seed=experiment + 1000) * scale
        a, b = (
            deconfound(gram(start + change * added + 0.2 * noise), gram(start)[None])
            for added, noise in zip(changes, own, strict=True)
        )
        test = permutation_test(a, b, draws=99, seed=experiment, paired=True)
        permuted.append((test.p_corrected <= 0.05).any().item())
        both.append((residual_p(a, b, test.p_corrected) <= 0.05).any().item())

    assert np.mean(permuted) > 0.15
    assert binomtest(int(np.sum(both)), 40, 0.05, alternative="greater").pvalue > 0.01


def test_what_two_trainings_both_added_is_beyond_chance():
    start, shared = normal(2, 60, 30, seed=0)
    a, b = (
        deconfound(gram(start + 0.3 * (shared + normal(4, 60, 30, seed=s))), gram(start)[None])
        for s in (1, 2)
    )
    test = permutation_test(a, b, draws=199, paired=True)
    assert (residual_p(a, b, test.p_corrected) <= 0.05).all()
    with pytest.raises(ValueError, match=r"p-values of \[3\] cells for \[4\]"):
        residual_p(a, b, test.p[:3])


def test_the_layer_where_the_gap_opens():
    features = normal(3, 40, 30, seed=0)
    first = torch.arange(40) < 20
    features[2, first] += 0.5
    test = gap_test(gram(features), first, draws=199)

    assert (test.p_corrected < 0.05).tolist() == [False, False, True]
    assert test.draws.shape == (199, 3)
    # E[shift² / variance] is 0.25 for a shift of half a standard deviation
    assert test.value[2].item() == pytest.approx(0.25, abs=0.1)


def test_a_gap_of_images_in_clusters_is_one_of_clusters():
    # No gap between the groups, but each has ten sequences of five frames that are alike
    clusters = [image // 5 for image in range(100)]
    first = torch.arange(100) < 50
    free, whole = [], []
    for experiment in range(100):
        sequences = normal(20, 30, seed=experiment).repeat_interleave(5, 0)
        grams = gram(sequences + normal(100, 30, seed=experiment + 1000))[None]
        tests = (gap_test(grams, first, 99, experiment, clusters=c) for c in (None, clusters))
        for found, test in zip((free, whole), tests, strict=True):
            found.append(test.p.item() <= 0.1)

    assert np.mean(free) > 0.9
    assert binomtest(int(np.sum(whole)), 100, 0.1).pvalue > 0.01
    with pytest.raises(ValueError, match="a cluster has images of both groups"):
        gap_test(grams, first, clusters=[image % 5 for image in range(100)])
    with pytest.raises(ValueError, match="99 clusters for 100 images"):
        gap_test(grams, first, clusters=clusters[1:])


def test_holm_steps_down():
    p = torch.tensor([0.01, 0.04, torch.nan, 0.03, 0.005], dtype=torch.float64)

    found = holm(p)
    assert found[2].isnan()
    expected = [0.03, 0.06, 0.06, 0.02]
    assert found[~found.isnan()].tolist() == pytest.approx(expected)
    assert holm(torch.tensor([0.9, 0.8])).tolist() == [1, 1]
    assert holm(p.view(5, 1)).shape == (5, 1)
    assert (expected >= false_discovery_control(p[~p.isnan()].numpy())).all()


def test_refusals():
    a, b = stacks(3, 2)
    with pytest.raises(ValueError, match="3 and 2 layers make no pairs"):
        permutation_test(a, b, paired=True)
    with pytest.raises(ValueError, match="nothing can be shuffled"):
        permutation_test(a, b, groups=range(14))
    with pytest.raises(ValueError, match="13 group labels for 14 images"):
        permutation_test(a, b, groups=[0] * 13)
    with pytest.raises(ValueError, match=r"p-values of \[3\] cells for \[3, 2\]"):
        jackknife(a, b, torch.zeros(3))
    with pytest.raises(ValueError, match="at least 6 images, not 5"):
        jackknife(a[:, :5, :5], b[:, :5, :5], torch.zeros(3, 2))
    with pytest.raises(ValueError, match="same layers on the same images"):
        difference((a, b), (b, a), (torch.zeros(3, 2),) * 2)
    with pytest.raises(ValueError, match="every layer with every layer"):
        PermutationTest(torch.zeros(2), torch.zeros(5, 2)).best_match()


def test_a_best_match_has_its_own_p_value():
    # One layer shares an offset of the groups alone, the other a little within them
    offset = torch.tensor([0.0] * 30 + [2.0] * 30)[:, None]
    own = normal(60, 30, seed=0)
    a = gram(own + offset)[None]
    b = torch.stack([gram(normal(60, 30, seed=1) + offset), gram(own + normal(60, 30, seed=2))])
    test = permutation_test(a, b, draws=199, groups=[0] * 30 + [1] * 30)
    match, p = test.best_match()

    assert test.value[0, 0] > test.value[0, 1]
    assert (test.p[0] <= 0.05).tolist() == [False, True]
    assert match.tolist() == [0]
    assert p.item() > 0.05
