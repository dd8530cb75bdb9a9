"""Further measures held against chance and jackknifed, with groups of images."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from scipy.stats import t as student

from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.measures import MEASURES, mutual_neighbours, procrustes_angle
from yolo_synth.analysis.similarity.opinions import opinion, rank_agreement, rank_agreements


def normal(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gram(x):
    return x @ x.mT


@pytest.fixture(scope="module")
def pair():
    """Six layers of two networks that have less and less in common, 24 images."""
    first, second = normal(6, 24, 40, seed=0), normal(6, 24, 40, seed=1)
    share = torch.linspace(1, 0, 6, dtype=torch.float64)[:, None, None]
    return gram(first), gram(share * first + 0.7 * second)


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_has_a_value_an_interval_and_chance(name, pair):
    series = opinion(name, *pair, draws=40).series
    same = opinion(name, pair[0], pair[0], draws=40).series

    np.testing.assert_allclose(same.value, MEASURES[name].agree, atol=1e-6)
    assert np.isfinite(series.p).all()
    assert series.p[-1] > 0.05
    for row in (series.floor, series.null):
        assert np.isfinite(row).all()
    if name not in ("cca", "svcca", "pwcca"):  # all of rank 23: nothing to be seen
        assert series.p[0] <= 0.05
        assert series.low[0] < series.value[0] < series.high[0]
        assert np.isnan(series.low[-1])
        beyond = series.above(MEASURES[name].agree)
        assert beyond[0] > 0.2 > abs(beyond[-1])


def test_a_small_angle_of_noise_is_chance_and_no_agreement():
    series = opinion(
        "angle", gram(normal(1, 60, 20_000, seed=0)), gram(normal(1, 60, 20_000, seed=1))
    ).series
    assert series.value[0] == pytest.approx(0.039, abs=0.001)
    assert series.floor[0] == pytest.approx(series.value[0], abs=0.001)
    assert abs(series.above(0.0)[0]) < 0.05
    assert series.p[0] > 0.05


@pytest.mark.parametrize("measure", [procrustes_angle, lambda a, b: mutual_neighbours(a, b, 5)])
def test_chance_is_what_orders_of_the_images_give(measure, pair):
    name = "angle" if measure is procrustes_angle else "neighbours"
    series = opinion(name, *pair, draws=300).series
    generator = torch.Generator().manual_seed(9)
    orders = [torch.randperm(24, generator=generator) for _ in range(300)]
    drawn = torch.stack([measure(pair[0], pair[1][:, o][:, :, o]) for o in orders])
    np.testing.assert_allclose(series.floor, drawn.mean(0), atol=0.01)
    level = 0.05 if name == "angle" else 0.95
    np.testing.assert_allclose(series.null, drawn.quantile(level, 0), atol=0.02)


def test_the_interval_is_the_jackknife_s_by_its_definition(pair):
    series = opinion("angle", *pair, draws=40).series
    left = torch.stack(
        [
            procrustes_angle(*(x[:, kept][:, :, kept] for x in pair))
            for kept in ([i for i in range(24) if i != out] for out in range(24))
        ],
        dim=1,
    ).numpy()[0]
    deviation = left - left.mean()
    error = (23 / 24 * (deviation**2).sum()) ** 0.5
    kurtosis = (deviation**4).mean() / (deviation**2).mean() ** 2
    reach = student.ppf(0.975, min(23, 48 / (kurtosis - 1))) * error
    assert series.high[0] - series.value[0] == pytest.approx(reach, rel=1e-5)
    assert series.value[0] - series.low[0] == pytest.approx(reach, rel=1e-5)


def test_frames_of_a_sequence_add_nothing(pair):
    places = torch.arange(24).repeat_interleave(3)
    often = [x[:, places][:, :, places] for x in pair]
    for name in ("angle", "neighbours", "rsa"):
        once = opinion(name, *pair, draws=40).series
        found = opinion(name, *often, groups=places.tolist(), draws=40).series
        for row, other in zip(once.columns("x").values(), found.columns("x").values(), strict=True):
            np.testing.assert_allclose(row, other, atol=1e-6)


@pytest.mark.parametrize("name", ["angle", "neighbours"])
def test_intervals_hold_the_mean_over_images(name):
    # 200 experiments as layers: what each shows in 40 images, of the same two networks
    x = normal(200, 40, 10, seed=3)
    a, b = gram(x), gram(x + normal(200, 40, 10, seed=4))
    series = opinion(name, a, b, draws=20).series
    mean = series.value.mean()
    held = (series.low <= mean) & (mean <= series.high)
    assert 0.92 <= held.mean() <= 1.0


def test_more_images_than_blocks_are_left_out_in_blocks():
    x = normal(3, 130, 8, seed=5)
    found = opinion("neighbours", gram(x), gram(x + normal(3, 130, 8, seed=6)), draws=20)
    assert found.without.shape == (3, 60)
    assert (found.series.high - found.series.low < 0.2).all()


def test_measures_that_both_fall_with_depth_do_not_agree_by_that():
    depth, nothing = np.arange(60.0), np.empty((60, 0))
    noise = normal(200, 2, 60, seed=7).numpy()
    pairs = [(-depth + 10 * first, -depth + 10 * second) for first, second in noise]
    plain = [spearmanr(*two).statistic for two in pairs]
    found = [rank_agreement(*two, nothing, nothing)[0] for two in pairs]
    assert np.mean(plain) > 0.6
    assert abs(np.mean(found)) < 0.04
    same, low, high = rank_agreement(pairs[0][0], 3 * pairs[0][0], nothing, nothing)
    assert same == pytest.approx(1)
    assert np.isnan([low, high]).all()


def test_the_agreement_of_measures_has_an_interval_over_images(pair):
    a, b = (torch.cat([x, x[torch.tensor([3, 1, 0, 4, 2, 5])]]) for x in pair)
    angle = opinion("angle", a, b, draws=20)
    debiased = normal(12, seed=8).numpy()
    found = rank_agreements(debiased, a, b, {"angle": angle})
    ((name, (value, low, high)),) = found.items()
    assert name == "CKA and angle"
    expected, *_ = rank_agreement(debiased, -angle.series.value, *[np.empty((12, 0))] * 2)
    assert value == expected
    assert -1 <= low <= value <= high <= 1
    assert high - low > 1e-4


def test_layers_that_did_not_change_share_a_rank_whatever_their_rounding(pair):
    grams, other = (torch.cat([x] * 3) for x in pair)
    ranked = []
    for seed in (1, 2):
        noise = normal(18, 24, 24, seed=seed)
        b = other.clone()
        b[:12] = grams[:12] * (1 + 1e-9 * (noise + noise.mT))[:12]  # as float32's sums differ
        angle = opinion("angle", grams, b, draws=20)
        debiased = cka(grams, b, debiased=True).diagonal().numpy()
        assert len(set(debiased[:12])) > 6
        ranked.append(rank_agreements(debiased, grams, b, {"angle": angle})["CKA and angle"][0])
    assert ranked[0] == ranked[1]


def test_refusals(pair):
    with pytest.raises(ValueError, match="no measure 'cosine': choose of angle, neighbours"):
        opinion("cosine", *pair)
    with pytest.raises(ValueError, match="at least 4 groups of images, not 3"):
        opinion("angle", *pair, groups=[i // 8 for i in range(24)])
    few = opinion("angle", *pair, groups=[i // 5 for i in range(24)], draws=20)
    assert np.isnan(few.series.low).all()
    assert few.without.shape == (6, 0)
