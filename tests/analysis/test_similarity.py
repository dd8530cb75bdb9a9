"""CKA and its relatives against published numbers, other packages and the feature form."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from yolo_synth.analysis.similarity.centring import center, u_center
from yolo_synth.analysis.similarity.cka import cka, deconfound
from yolo_synth.analysis.similarity.distances import rbf, rsa


def partial_cka(a, b, start, other=None):
    starts = start, start if other is None else other
    return cka(*map(deconfound, (a, b), starts), debiased=True)


def grams(*features):
    return torch.stack([torch.from_numpy(x @ x.T) for x in features])


def peers_features():
    rng = np.random.default_rng(5)
    shared = rng.standard_normal((24, 6))
    x = shared @ rng.standard_normal((6, 9)) + 0.7 * rng.standard_normal((24, 9)) + 3
    y = shared @ rng.standard_normal((6, 40)) + 2.0 * rng.standard_normal((24, 40)) - 2
    return x, y


def test_published_numbers():
    # The notebook of Kornblith et al.; the offset is added here, since without it a code that
    # forgets to centre agrees to four digits
    np.random.seed(1337)
    x = np.random.randn(100, 10)
    y = np.random.randn(100, 10) + x
    a, b = grams(x + 3), grams(y - 2)

    assert cka(a, b).item() == pytest.approx(0.5576132566117588, abs=1e-13)
    assert cka(a, b, debiased=True).item() == pytest.approx(0.513456489505526, abs=1e-13)
    assert cka(rbf(a, 0.5), rbf(b, 0.5)).item() == pytest.approx(0.6548311822614982, abs=1e-13)


def test_other_packages():
    # ckatorch 1.0.3, cka_base(x, y, kernel, unbiased, threshold), and rsatoolbox 0.3.2,
    # calc_rdm(method="euclidean") and compare(…, "spearman") or "corr", on the same features
    a, b = grams(*peers_features()).split(1)

    assert cka(a, b).item() == pytest.approx(0.5943089669329081, abs=1e-12)
    assert cka(a, b, debiased=True).item() == pytest.approx(0.5291927119679676, abs=1e-12)
    # ckatorch takes the lower of the two middle distances, not their mean
    assert cka(rbf(a, 0.8), rbf(b, 0.8)).item() == pytest.approx(0.72295992263198, abs=1e-4)
    assert rsa(a, b).item() == pytest.approx(0.47407885161456026, abs=1e-12)
    assert rsa(a, b, rank=False).item() == pytest.approx(0.38406274146900116, abs=1e-12)


def test_every_layer_with_every_layer_equals_the_feature_form():
    rng = np.random.default_rng(0)
    features_a = [rng.standard_normal((30, p)) + 1 for p in (2, 50, 7)]
    features_b = [x[:, :2] @ rng.standard_normal((2, 5)) + 4 for x in features_a[:2]]

    def feature_form(x, y):
        x, y = x - x.mean(0), y - y.mean(0)
        norm = np.linalg.norm
        return norm(y.T @ x) ** 2 / (norm(x.T @ x) * norm(y.T @ y))

    expected = [[feature_form(x, y) for y in features_b] for x in features_a]
    found = cka(grams(*features_a), grams(*features_b))

    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_debiased_is_free_of_bias_where_features_are_many():
    rng = np.random.default_rng(0)
    a, b = (grams(*rng.standard_normal((6, 40, 3000))) for _ in "ab")

    assert cka(a, b).mean() > 0.95
    assert cka(a, b, debiased=True).mean().abs() < 0.01


def test_u_centering_makes_the_independence_criterion_unbiased():
    # Gaussian x and y = x M: the population's covariance norm is known, and so is its estimate's
    # mean over many samples of five images
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200_000, 5, 2, generator=generator, dtype=torch.float64)
    mixing = torch.tensor([[1.0, 0.5], [0.0, 2.0]], dtype=torch.float64)
    y = x @ mixing
    estimates = (u_center(x @ x.mT) * u_center(y @ y.mT)).sum((-2, -1)) / (5 * 2)

    assert estimates.mean().item() == pytest.approx(mixing.square().sum().item(), rel=0.02)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-3, 1e3),
    debiased=st.booleans(),
    n=st.integers(5, 12),
    p=st.integers(2, 15),
)
def test_invariances(seed, scale, debiased, n, p):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, p)) + 2, rng.standard_normal((n, 4))
    value = cka(grams(x), grams(y), debiased)
    rotation, order = ortho_group.rvs(p, random_state=rng), rng.permutation(p)

    for same in (x @ rotation, x[:, order], scale * x, x + 5):
        torch.testing.assert_close(cka(grams(same), grams(y), debiased), value)
    torch.testing.assert_close(cka(grams(y), grams(x), debiased), value)
    torch.testing.assert_close(cka(center(grams(x)), center(grams(y)), debiased), value)
    images = rng.permutation(n)
    torch.testing.assert_close(cka(grams(x[images]), grams(y[images]), debiased), value)
    assert value.abs().item() <= 1 + 1e-12


def test_images_in_another_order_change_the_value():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 5))
    a, b = grams(x), grams(x[rng.permutation(20)])

    assert cka(a, b).item() < 0.9
    assert cka(a, b, debiased=True).item() < 0.9
    assert rsa(a, b).item() < 0.9


def test_shared_start_is_taken_out():
    rng = np.random.default_rng(0)
    start = rng.standard_normal((150, 400))
    a, b = (grams(start + 0.08 * rng.standard_normal((150, 400))) for _ in "ab")

    assert cka(a, b, debiased=True).item() > 0.98
    assert abs(partial_cka(a, b, grams(start)).item()) < 0.05


def test_partial_equals_the_partial_correlation_of_the_three_values():
    rng = np.random.default_rng(1)
    start = rng.standard_normal((40, 6))
    change = rng.standard_normal((40, 6))
    a, b, s = grams(start + change), grams(start - 0.5 * change), grams(start)
    ab, a0, b0 = (cka(x, y, debiased=True).item() for x, y in ((a, b), (a, s), (b, s)))
    expected = (ab - a0 * b0) / ((1 - a0**2) * (1 - b0**2)) ** 0.5

    assert partial_cka(a, b, s).item() == pytest.approx(expected, abs=1e-12)
    assert partial_cka(a, b, s.expand(1, 40, 40), s).item() == pytest.approx(expected, abs=1e-12)


def test_a_frozen_layer_has_no_partial_value_even_after_float32():
    rng = np.random.default_rng(1)
    start, change = rng.standard_normal((2, 20, 6))
    noisy = (start @ start.T) * (1 + 1e-8 * rng.standard_normal((20, 20)))
    frozen = torch.from_numpy((noisy + noisy.T) / 2)[None]

    assert (deconfound(frozen, grams(start)) == 0).all()
    assert partial_cka(frozen, grams(start + change), grams(start)).isnan().all()


def test_constant_layers_have_no_value():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10, 3))
    constant = np.broadcast_to(rng.standard_normal(7) * 1e3, (10, 7))
    stack = grams(x, constant, np.zeros((10, 2)))

    for values in (cka(stack, stack), cka(stack, stack, True), rsa(stack, stack)):
        assert values.isnan().tolist() == [[False, True, True], [True] * 3, [True] * 3]
    assert cka(rbf(stack), rbf(stack))[1:].isnan().all()


def test_images_equally_far_apart_have_no_debiased_value():
    stack = torch.eye(6)[None]

    assert cka(stack, stack, debiased=True).isnan().all()
    assert cka(stack, stack).item() == pytest.approx(1)


def test_refusals():
    ten, four, three = torch.eye(10)[None], torch.eye(4)[None], torch.eye(3)[None]
    broken = torch.eye(10).repeat(3, 1, 1)
    broken[1, 2, 3] = torch.nan

    with pytest.raises(ValueError, match="10 and of 4 images"):
        cka(ten, four)
    with pytest.raises(ValueError, match=r"\[layers, n, n\], not \[1, 4, 10\]"):
        cka(ten[:, :4], ten)
    with pytest.raises(ValueError, match="at least 4 images, not 3"):
        cka(three, three, debiased=True)
    with pytest.raises(ValueError, match=r"layer \[1\]"):
        cka(ten, broken)
    with pytest.raises(ValueError, match="3 layers have 2 initial ones"):
        deconfound(broken.nan_to_num(), broken[:2].nan_to_num())
    with pytest.raises(ValueError, match="no RBF bandwidth"):
        rbf(grams(np.eye(10)[:, :1]))
