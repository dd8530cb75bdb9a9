"""What two seeds allow to say, against leaving groups out for real and in simulations."""

import numpy as np
import pytest
import torch
from scipy.stats import ttest_ind

from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.seeds import as_two_seeds, difference_of_means


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def gram(x):
    return x @ x.mT


def seeds_of(core, noise, seed):
    return [gram(core + noise * normal(*core.shape, seed=seed + k)) for k in (0, 1)]


def test_the_ratio_and_its_error_are_those_of_leaving_groups_out():
    groups = [image // 2 for image in range(20)]
    core = normal(1, 20, 5, seed=0)
    first, second = seeds_of(core, 0.5, 1), seeds_of(core + 0.4 * normal(1, 20, 5, seed=9), 0.4, 5)

    def ratio(*left_out):
        kept = [i for i, group in enumerate(groups) if group not in left_out]
        rest = [groups[i] for i in kept]

        def log(a, b):
            a, b = (x[:, kept][:, :, kept] for x in (a, b))
            return np.log(cka(a, b, debiased=True, groups=rest).item())

        across = np.mean([log(a, b) for a in first for b in second])
        return across - (log(*first) + log(*second)) / 2

    found = as_two_seeds(first, second, groups=groups)
    assert found.ratio.item() == pytest.approx(np.exp(ratio()))
    one = np.array([ratio(g) for g in range(10)])
    whole = (9 / 10 * ((one - one.mean()) ** 2).sum()) ** 0.5
    half = (found.high / found.low).log().item() / 2
    assert whole / 2**0.5 * 1.8 < half < whole * 5
    assert found.low < found.ratio < found.high


def test_models_that_differ_as_seeds_do_are_rarely_below_and_never_alike_without_evidence():
    core = normal(300, 40, 12, seed=0)
    same = as_two_seeds(seeds_of(core, 0.5, 1), seeds_of(core, 0.5, 5))
    few = as_two_seeds(
        [x[:, :10, :10] for x in seeds_of(core, 2.0, 1)],
        [x[:, :10, :10] for x in seeds_of(core, 2.0, 5)],
        margin=0.01,
    )
    assert (same.words() == "below two seeds").mean() < 0.02
    inside = ((same.low <= 1) & (same.high >= 1)).double().mean()
    assert 0.92 <= inside <= 0.98
    assert (few.words() == "as alike as two seeds").mean() < 0.05
    other = core + normal(300, 40, 12, seed=20)
    below = as_two_seeds(seeds_of(core, 0.3, 1), seeds_of(other, 0.3, 5))
    assert (below.words() == "below two seeds").mean() > 0.95


def test_the_same_network_is_as_alike_as_two_seeds():
    frozen = gram(normal(3, 12, 4, seed=0))
    found = as_two_seeds([frozen, frozen], [frozen, frozen])
    assert found.words().tolist() == ["as alike as two seeds"] * 3
    with pytest.raises(ValueError, match="two seeds of one model are needed"):
        as_two_seeds([frozen], [frozen])
    with pytest.raises(ValueError, match="between 0 and 1, not 2"):
        as_two_seeds([frozen, frozen], [frozen], margin=2)


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
