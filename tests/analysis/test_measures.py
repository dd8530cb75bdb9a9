"""Further measures against computations on the features themselves."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes, subspace_angles
from scipy.spatial.distance import cdist
from scipy.stats import ortho_group

from yolo_synth.analysis.activations.grams import Gram
from yolo_synth.analysis.similarity.canonical import mean_squared_cca, pwcca, svcca
from yolo_synth.analysis.similarity.gaps import mmd2, participation_ratio
from yolo_synth.analysis.similarity.measures import (
    euclidean_distance,
    mutual_neighbours,
    procrustes_angle,
    procrustes_distance,
)

PAIRWISE = [
    procrustes_distance,
    procrustes_angle,
    euclidean_distance,
    mean_squared_cca,
    svcca,
    pwcca,
    mutual_neighbours,
]


def gram(x):
    return torch.from_numpy(x @ x.T)


@pytest.fixture
def features():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((40, 6)) * [5, 3, 2, 1, 0.3, 0.1] + 4
    return x, x @ rng.standard_normal((6, 9)) + rng.standard_normal((40, 9)) * 3 - 2


def centred(x):
    return x - x.mean(0)


def test_procrustes_is_what_the_best_rotation_leaves(features):
    x, y = (centred(z) / np.linalg.norm(centred(z)) for z in features)
    x = np.pad(x, ((0, 0), (0, 3)))
    rotation, _ = orthogonal_procrustes(y, x)
    left = np.linalg.norm(x - y @ rotation)
    a, b = map(gram, features)

    assert procrustes_distance(a, b).item() == pytest.approx(left, abs=1e-7)
    angle = np.arccos(np.sum(x * (y @ rotation)))
    assert procrustes_angle(a, b).item() == pytest.approx(angle, abs=1e-7)


def test_euclidean_sees_the_scale(features):
    x, y = map(centred, features)
    x = np.pad(x, ((0, 0), (0, 3)))
    rotation, _ = orthogonal_procrustes(y, x)
    relative = np.linalg.norm(x - y @ rotation) / np.hypot(np.linalg.norm(x), np.linalg.norm(y))

    assert euclidean_distance(*map(gram, features)).item() == pytest.approx(relative, abs=1e-7)
    # ‖x - 3x‖ / √(‖x‖² + ‖3x‖²)
    assert euclidean_distance(gram(x), gram(3 * x)).item() == pytest.approx(2 / 10**0.5, abs=1e-7)


def test_mean_squared_cca_is_that_of_the_angles_between_subspaces(features):
    cosines = np.cos(subspace_angles(*map(centred, features)))

    assert mean_squared_cca(*map(gram, features)).item() == pytest.approx(np.mean(cosines**2))


def canonical(x, y):
    """Classical canonical correlation analysis by whitened covariances."""
    x, y = centred(x), centred(y)

    def inverse_root(c):
        values, vectors = np.linalg.eigh(c)
        return vectors / np.sqrt(values) @ vectors.T

    whiten = inverse_root(x.T @ x)
    u, correlations, _ = np.linalg.svd(whiten @ x.T @ y @ inverse_root(y.T @ y))
    return x @ whiten @ u, correlations


def leading(x, share):
    u, s, _ = np.linalg.svd(centred(x), full_matrices=False)
    count = np.searchsorted(np.cumsum(s**2) / np.sum(s**2), share) + 1
    return u[:, :count] * s[:count]


def test_canonical_correlations_are_not_made_of_float32s_rounding():
    # Fewer features than images, summed up as the layers of a network are
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(200, 30, generator=generator) for _ in range(2))
    sums = Gram(200, "x"), Gram(200, "y")
    for total, features in zip(sums, (x, y), strict=True):
        total.add([features])
    found, exact = [total.matrix() for total in sums], [z.double() @ z.double().T for z in (x, y)]
    assert mean_squared_cca(*found).item() == pytest.approx(
        mean_squared_cca(*exact).item(), abs=1e-4
    )
    for measure in (svcca, pwcca):
        assert measure(*found, kept=1).item() == pytest.approx(
            measure(*exact, kept=1).item(), abs=1e-4
        )


def test_svcca_is_cca_of_the_leading_components(features):
    x, y = (leading(z, 0.9) for z in features)
    assert x.shape[1] < 6
    _, correlations = canonical(x, y)

    assert svcca(*map(gram, features), kept=0.9).item() == pytest.approx(np.mean(correlations))


def test_pwcca_weighs_by_what_the_variates_account_for(features):
    x, y = (leading(z, 0.99) for z in features)
    for first, second, a, b in ((x, y, *features), (y, x, *features[::-1])):
        variates, correlations = canonical(first, second)
        weights = np.abs(variates.T @ first).sum(1)[: len(correlations)]
        expected = weights @ correlations / weights.sum()
        assert pwcca(gram(a), gram(b)).item() == pytest.approx(expected)


def test_mutual_neighbours_by_search(features):
    x, y = features
    orders = [np.argsort(cdist(z, z), axis=1)[:, 1:6] for z in (x, y)]
    shared = np.mean([len(set(i) & set(j)) / 5 for i, j in zip(*orders, strict=True)])

    assert 0.2 < shared < 0.9
    assert mutual_neighbours(gram(x), gram(y), k=5).item() == pytest.approx(shared)


def test_participation_ratio_is_the_mean_over_four_different_images(features):
    x = features[0][:9]
    half = cdist(x, x, "sqeuclidean") / 2
    k = x @ x.T
    trace, squared = [], []
    for a, b, c, d in permutations(range(9), 4):
        trace.append(half[a, b] * half[c, d])
        squared.append(k[a, b] ** 2 - 2 * k[a, b] * k[a, c] + k[a, b] * k[c, d])
    assert participation_ratio(gram(x)).item() == pytest.approx(np.mean(trace) / np.mean(squared))


@pytest.mark.parametrize("dimensions", [50, 1000])
def test_dimensions_do_not_depend_on_the_number_of_images(dimensions):
    rng = np.random.default_rng(0)
    found = [
        participation_ratio(gram(rng.standard_normal((60, dimensions)))).item() for _ in range(20)
    ]
    assert np.mean(found) == pytest.approx(dimensions, rel=0.02)
    # Frames of a sequence fill no more directions than one of them
    once = gram(rng.standard_normal((30, dimensions)))
    places = torch.arange(30).repeat_interleave(4)
    often = participation_ratio(once[places][:, places], places.tolist()).item()
    assert often == pytest.approx(participation_ratio(once).item())


def test_mmd_by_its_definition(features):
    first = torch.arange(40) < 15
    x, y = features[0][:15], features[0][15:]
    within = [
        np.mean([z[i] @ z[j] for i in range(len(z)) for j in range(len(z)) if i != j])
        for z in (x, y)
    ]
    expected = sum(within) - 2 * np.mean(x @ y.T)
    variance = (np.trace(np.cov(x.T)) + np.trace(np.cov(y.T))) / 2

    a = gram(features[0])
    assert mmd2(a, first, relative=False).item() == pytest.approx(expected)
    assert mmd2(a, first).item() == pytest.approx(expected / variance)
    assert mmd2(a, ~first).item() == pytest.approx(expected / variance)


def test_mmd_has_no_bias_and_finds_the_shift():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 40, 500, generator=generator, dtype=torch.float64)
    first = torch.arange(40) < 20
    shifted = x.clone()
    shifted[:, :20] += 0.3

    assert mmd2(x @ x.mT, first, relative=False).mean().item() == pytest.approx(0, abs=0.5)
    shift = mmd2(shifted @ shifted.mT, first, relative=False).mean().item()
    assert shift == pytest.approx(500 * 0.3**2, rel=0.02)


@pytest.mark.parametrize("measure", PAIRWISE)
def test_invariances(measure, features):
    rng = np.random.default_rng(0)
    x, y = features
    value = measure(gram(x), gram(y))
    rotation = ortho_group.rvs(6, random_state=rng)

    for same in (x @ rotation, x[:, rng.permutation(6)], x + 100):
        torch.testing.assert_close(measure(gram(same), gram(y)), value, rtol=0, atol=1e-7)
    scaled = measure(gram(7 * x), gram(y))
    assert torch.allclose(scaled, value) == (measure is not euclidean_distance)
    shuffled = measure(gram(x[rng.permutation(40)]), gram(y))
    assert (shuffled - value).abs() > 0.02


@pytest.mark.parametrize("measure", PAIRWISE)
def test_a_layer_against_many_and_the_same_layer(measure, features):
    x, y = features
    stack = torch.stack([gram(x), gram(y), gram(np.ones((40, 3)))])
    row = measure(stack[0], stack)

    assert row.shape == (3,)
    same = 0.0 if "distance" in measure.__name__ or "angle" in measure.__name__ else 1.0
    assert row[0].item() == pytest.approx(same, abs=1e-6)
    assert row[1].item() == measure(stack[0], stack[1]).item()
    assert row.isnan().tolist() == [False, False, True]


def test_refusals(features):
    a = gram(features[0])
    with pytest.raises(ValueError, match="1 to 39 neighbours, not 40"):
        mutual_neighbours(a, a, k=40)
    with pytest.raises(ValueError, match="40 and of 4 images"):
        svcca(a, torch.eye(4))
    with pytest.raises(ValueError, match="two groups of at least 2 of the 40 images, not 1"):
        mmd2(a, torch.arange(40) < 1)
