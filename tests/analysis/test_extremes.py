"""Sets of layers that hold the lowest and the highest one."""

import pytest
import torch

from yolo_synth.analysis.similarity.extremes import lowest_and_highest
from yolo_synth.analysis.similarity.jackknife import difference


def networks(levels, n, seed, size=1):
    """Gram matrices of layers whose true CKA are the levels, their noise half in common."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).repeat_interleave(
            size, -2
        )

    levels = torch.tensor(levels, dtype=torch.float64)[:, None, None]
    x = (normal(n, 20) + normal(len(levels), n, 20)) * torch.arange(1, 21).double() ** -0.5
    noise = (normal(n, 20) + normal(len(levels), n, 20)) * torch.arange(1, 21).double() ** -0.5
    y = levels.sqrt() * x + (1 - levels).sqrt() * noise
    return x @ x.mT, y @ y.mT


@pytest.mark.parametrize(
    ("levels", "n"), [([0.5] * 8, 40), ([0.5] * 8, 12), ([0.3] + [0.35] * 7, 40)]
)
def test_the_set_holds_the_lowest_layer(levels, n):
    held, sizes = 0, 0
    for seed in range(150):
        lowest, _ = lowest_and_highest(*networks(levels, n, seed), seed=seed)
        held += bool(lowest[0] > 0.05)
        sizes += int((lowest > 0.05).sum())
    assert held / 150 >= 0.94
    assert sizes > 150


def test_layers_that_are_surely_higher_are_not_in_it():
    lowest, highest = lowest_and_highest(*networks([0.9, 0.2, 0.5, 0.2, 0.9], 150, seed=1))
    assert (lowest > 0.05).tolist() == [False, True, False, True, False]
    assert (highest > 0.05).tolist() == [True, False, False, False, True]


def test_of_two_layers_it_is_the_test_of_their_difference():
    a, b = networks([0.5, 0.4], 40, seed=3)
    lowest, highest = lowest_and_highest(a, b)
    zero = torch.zeros(1)
    _, p = difference((a[:1], b[:1]), (a[1:], b[1:]), (zero, zero), paired=True)
    assert min(lowest[0], highest[0]).item() == pytest.approx(p.item() / 2, abs=0.03)
    assert lowest[0].item() == pytest.approx(highest[1].item(), abs=0.05)


def test_the_same_values_and_constant_layers():
    a, b = networks([0.3, 0.3, 0.9], 40, seed=4)
    a[1], b[1] = a[0], 2 * b[0]
    a, b = (torch.cat([x, torch.ones(1, 40, 40)]) for x in (a, b))
    lowest, highest = lowest_and_highest(a, b)
    assert (lowest[:2] > 0.9).all()
    assert lowest[2] < 0.01
    assert highest[2] > 0.9
    assert lowest[3].isnan()
    assert highest[3].isnan()


def test_parts_of_a_network_and_frames_of_sequences():
    levels = [0.9, 0.85, 0.3, 0.35, 0.6]
    parts = [range(2), range(2, 4), range(4, 5)]
    a, b = networks(levels, 60, seed=5)
    lowest, highest = lowest_and_highest(a, b, parts=parts)
    assert (lowest > 0.05).tolist() == [False, True, False]
    assert (highest > 0.05).tolist() == [True, False, False]

    places = torch.arange(60).repeat_interleave(3)
    often = (x[:, places][:, :, places] for x in (a, b))
    found = lowest_and_highest(*often, groups=places.tolist(), parts=parts)
    torch.testing.assert_close(found, (lowest, highest))
