"""The null within groups: its size where nothing is shared within, and its power where something is."""

import pytest
import torch

from yolo_synth.analysis.similarity.centring import within_groups
from yolo_synth.analysis.similarity.judging import within


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def gram(x):
    return x @ x.mT


GROUPS = [f"sequence {image // 5}" for image in range(40)]


def test_what_is_left_are_features_without_the_means_of_their_groups():
    x = normal(3, 40, 6, seed=0)
    own = x - x.view(3, 8, 5, 6).mean(2, keepdim=True).expand(3, 8, 5, 6).reshape(3, 40, 6)
    torch.testing.assert_close(within_groups(gram(x), GROUPS), gram(own))
    assert within_groups(gram(x), None) is None
    assert within_groups(gram(x), list(map(str, range(40)))) is None


@pytest.mark.parametrize("common", [0.0, 1.0])
def test_means_of_groups_that_both_share_do_not_count_and_what_is_within_them_does(common):
    means = normal(150, 8, 6, seed=1).repeat_interleave(5, 1)
    own, inside = (normal(150, 40, 6, seed=seed) for seed in (2, 3))
    second = normal(150, 40, 6, seed=4)
    a, b = gram(5 * means + own + common * inside), gram(5 * means + second + common * inside)
    found = within(a, b, GROUPS)
    # single tests, from the corrected ones' draws: value against the 95 % point of each layer
    beyond = (found.value > found.null).mean()
    assert 0.01 < beyond < 0.10 if common == 0 else beyond > 0.9
    assert (found.p <= 0.05).mean() <= (0.02 if common == 0 else 1)
