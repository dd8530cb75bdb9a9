"""What two seeds allow to say, against leaving groups out for real and in simulations."""

import numpy as np
import pytest
import torch
from scipy.stats import ttest_ind

from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.seeds import (
    as_two_seeds,
    difference_of_means,
    label_test,
    seed_test,
)
from yolo_synth.analysis.similarity.trainings import together


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def gram(x):
    return x @ x.mT


def seeds_of(core, noise, seed):
    return [gram(core + noise * normal(*core.shape, seed=seed + k)) for k in (0, 1)]


def significant(p):
    return (p <= 0.05).mean()


def test_the_ratio_and_its_error_are_those_of_leaving_groups_out():
    groups = [image // 2 for image in range(20)]
    core = normal(1, 20, 5, seed=0)
    first, second = seeds_of(core, 0.5, 1), seeds_of(core + 0.4 * normal(1, 20, 5, seed=9), 0.4, 5)

    def ratio(*left_out):
        kept = [i for i, group in enumerate(groups) if group not in left_out]
        rest = [groups[i] for i in kept]

        def c(a, b):
            a, b = (x[:, kept][:, :, kept] for x in (a, b))
            return cka(a, b, debiased=True, groups=rest).item()

        across = np.mean([c(a, b) for a in first for b in second])
        return np.log(across) - (np.log(c(*first)) + np.log(c(*second))) / 2

    found = as_two_seeds(first, second, groups=groups)
    assert found.ratio.item() == pytest.approx(np.exp(ratio()))
    one = np.array([ratio(g) for g in range(10)])
    whole = (9 / 10 * ((one - one.mean()) ** 2).sum()) ** 0.5
    half = np.log(found.high / found.low).item() / 2
    assert whole / 2**0.5 * 1.8 < half < whole * 5
    assert found.low < found.ratio < found.high


def test_models_that_differ_as_seeds_do_are_rarely_below_and_never_alike_without_evidence():
    core = normal(300, 40, 12, seed=0)
    stacks = [*seeds_of(core, 0.5, 1), *seeds_of(core, 0.5, 5)]
    same = together(stacks, ["A", "A", "B", "B"], {})["A", "B"]
    assert significant(same.below) < 0.08
    assert significant(seed_test(same, 0.1).p_below) < 0.02
    few = as_two_seeds(
        [x[:, :10, :10] for x in seeds_of(core, 2.0, 1)],
        [x[:, :10, :10] for x in seeds_of(core, 2.0, 5)],
        margin=0.01,
    )
    low, high = same.ratio.ends()
    assert 0.92 <= ((low <= 0) & (high >= 0)).mean() <= 0.98
    assert significant(few.p_alike) < 0.05
    other = core + normal(300, 40, 12, seed=20)
    below = as_two_seeds(seeds_of(core, 0.3, 1), seeds_of(other, 0.3, 5))
    assert significant(below.p_below) > 0.95


def test_models_with_nothing_in_common_are_below_though_that_has_no_logarithm():
    first, second = (normal(60, 40, 12, seed=seed) for seed in (0, 50))
    found = as_two_seeds(seeds_of(first, 0.3, 1), seeds_of(second, 0.3, 5))
    assert np.isnan(found.ratio).mean() > 0.2
    assert significant(found.p_below) == 1
    assert significant(found.p_alike) == 0


def test_all_pairs_of_seeds_count_and_not_those_of_one_seed_alone():
    core = normal(1, 30, 5, seed=0)
    first, second = seeds_of(core, 0.5, 1), seeds_of(core, 0.5, 5)
    whole, swapped = as_two_seeds(first, second), as_two_seeds(first, second[::-1])
    np.testing.assert_allclose(whole.ratio, swapped.ratio)
    np.testing.assert_allclose(whole.high, swapped.high)


def test_what_is_the_same_function_is_judged_by_nothing():
    frozen, core = gram(normal(3, 12, 4, seed=0)), normal(3, 12, 4, seed=3)
    found = as_two_seeds([frozen, frozen], [frozen, frozen])
    for row in (found.ratio, found.p_below, found.p_alike):
        assert np.isnan(row).all()
    # and is out of the correction of the others
    first, second = seeds_of(core, 0.5, 1), seeds_of(core + normal(3, 12, 4, seed=8), 0.5, 5)
    alone = as_two_seeds(first, second)
    beside = as_two_seeds(*([torch.cat([x, frozen]) for x in model] for model in (first, second)))
    np.testing.assert_allclose(beside.p_below[:3], alone.p_below)
    with pytest.raises(ValueError, match="two seeds of one model are needed"):
        as_two_seeds([frozen], [frozen])
    with pytest.raises(ValueError, match="between 0 and 1, not 2"):
        as_two_seeds([frozen, frozen], [frozen, frozen], margin=2)


def test_means_over_parts_and_pairs_of_runs_have_the_interval_of_leaving_images_out():
    core = normal(4, 25, 6, seed=0)
    runs = [*seeds_of(core, 0.5, 1), *seeds_of(core, 0.8, 5)]
    parts = {"backbone": range(3), "head": range(3, 4)}
    counted = {(0, 2): [True, False, True, True], (0, 3): [True] * 4, (1, 2): [True] * 4}
    counted |= {pair: [True] * 4 for pair in ((0, 1), (2, 3), (1, 3))}
    found = together(runs, ["A", "A", "B", "B"], parts, counted=counted)["A", "B"]
    assert found.ratio is None

    def means(kept):
        def of_pair(i, j):
            values = cka(*(runs[k][:, kept][:, :, kept] for k in (i, j)), debiased=True).diagonal()
            layers = np.flatnonzero(counted[i, j])
            return [values[[x for x in layers if x in part]].mean() for part in parts.values()]

        both = np.mean([of_pair(i, j) for i in (0, 1) for j in (2, 3)], 0)
        return np.array([*both, both[0] - both[1]])

    np.testing.assert_allclose(found.means.value, means(list(range(25))))
    left = np.array([means([k for k in range(25) if k != i]) for i in range(25)])
    first_order = (24 / 25 * ((left - left.mean(0)) ** 2).sum(0)) ** 0.5
    assert (found.means.error <= first_order * (1 + 1e-9)).all()
    assert (found.means.error >= first_order / 2**0.5 * 0.999).all()


def test_names_of_runs_are_permuted_exactly_and_reject_as_often_as_they_say():
    is_first = [True] * 4 + [False] * 4
    rng = np.random.default_rng(0)
    p = []
    for _ in range(400):
        runs = rng.standard_normal((8, 6)) + rng.standard_normal(6)
        p.append(label_test(np.corrcoef(runs), is_first)[0])
    assert 0.01 < significant(np.array(p)) < 0.05  # 2 of 70 divisions are one and the same
    planted = rng.standard_normal((8, 6)) + 3 * np.array(
        [[1, 0, 0]] * 4 + [[0, 1, 0]] * 4
    ) @ np.eye(3, 6)
    assert label_test(np.corrcoef(planted), is_first) == (pytest.approx(2 / 70), 70)
    many = label_test(np.corrcoef(rng.standard_normal((20, 6))), [True] * 10 + [False] * 10)
    assert many[1] == 10_000
    with pytest.raises(ValueError, match="1 and 7 runs"):
        label_test(np.eye(8), [True] + [False] * 7)


def test_a_difference_of_scores_has_students_interval():
    first, second = [0.71, 0.69, 0.72], [0.66, 0.70]
    apart, low, high = difference_of_means(first, second)
    expected = ttest_ind(second, first).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert apart == pytest.approx(np.mean(second) - np.mean(first))
    assert np.isnan(difference_of_means([0.1], [0.2])[1:]).all()
    # Two seeds each and no difference: wrong in one of twenty studies, not in every fifth
    draws = np.random.default_rng(0).standard_normal((2000, 4))
    ends = [difference_of_means(x[:2], x[2:])[1:] for x in draws]
    wrong = np.mean([low > 0 or high < 0 for low, high in ends])
    assert 0.035 < wrong < 0.065
