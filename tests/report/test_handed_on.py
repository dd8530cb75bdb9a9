"""What the report hands on: groups, corrections, the order of networks, ceilings, the right layer.

The statistics have tests of their own; these are of which of them the report takes, and of what. The
Gram matrices are drawn and lie in the run folders, where the report keeps those that it computes.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from report.made import comparison
from report.run_folders import write_run

from yolo_synth.analysis.activations.gram_files import GramFolder, fingerprint
from yolo_synth.analysis.similarity.cka import cka, deconfound
from yolo_synth.analysis.similarity.extremes import EXTREMES
from yolo_synth.analysis.similarity.gaps import gap_test
from yolo_synth.analysis.similarity.jackknife import difference, leave_one_out
from yolo_synth.analysis.similarity.permutation import permutation_test
from yolo_synth.analysis.similarity.seeds import as_two_seeds
from yolo_synth.comparison import Comparison
from yolo_synth.probe import Probe
from yolo_synth.report.pairs import held_against_seeds
from yolo_synth.report.panels import freezing, gap, outputs, verdicts
from yolo_synth.report.study import Study

LAYERS, SCENES, FRAMES, DRAWS = 107, 16, 2, 1000
DOMAINS = ("Real", "Synthetic")
RUNS = ("U-Real", "U-Synthetic", "F-Synthetic")
SEEDS = (("U-Real", 1),)  # further ones


def features(subject, domain: str) -> torch.Tensor:
    """Draw what a network puts out for the scenes of a domain [layers, scenes, features].

    The first 30 layers have little but the one direction that all start from. In the others the
    networks' likeness, and how far apart they put the domains, grows from layer to layer.
    """

    def normal(*what: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(sum(map(ord, "".join(what))))
        return torch.randn(LAYERS, SCENES, 4, generator=generator, dtype=torch.float64)

    few = torch.arange(LAYERS)[:, None, None] < 30
    start = normal("start", domain) * torch.where(
        few, torch.tensor([10.0, 0, 0, 0]), torch.tensor([3.0, 1, 0.3, 0.1])
    )
    if subject.label.is_initial:
        if subject.label.seed:  # shares the backbone's start and not the head's
            start = torch.cat([start[:75], normal("another start", domain)[75:]])
        return start
    share = torch.linspace(0, 1, LAYERS, dtype=torch.float64)[:, None, None]
    own = normal(subject.label.name, domain)
    task = normal("task", domain) + 4 * (domain == "Real") * normal("shift")[:, :1]
    few_own = own * torch.tensor([1.0, 0.1, 0.1, 0.1])
    return torch.where(few, start + few_own, own + share * (start + task))


def gram(x: torch.Tensor) -> torch.Tensor:
    return x @ x.mT


def probe(domain: str, size: int, frames: int) -> Probe:
    """Return each scene's image so many times: with several, a sequence of one scene."""
    generator = torch.Generator().manual_seed(len(domain))
    images = torch.randint(256, (SCENES, 3, size, size), generator=generator, dtype=torch.uint8)
    groups = [f"{domain} {scene}" for scene in range(SCENES) for _ in range(frames)]
    names = [f"{number}.png" for number in range(len(groups))]
    return Probe(images.repeat_interleave(frames, 0), names, domain, groups)


def keep(subject, images: Probe, x: torch.Tensor) -> None:
    names = list(map(str, range(LAYERS)))
    origin = fingerprint(subject.network, images.images, "float32", names)
    folder = GramFolder(subject.kept("grams", images), origin)
    for layer, matrix in enumerate(gram(x)):
        folder.save(layer, matrix)


def study_of(runs: Path, folder: Path, frames: int) -> Study:
    """Return a study whose scenes are shown in so many frames each."""
    study = Study(str(runs), folder, images=8)
    study.scores = pd.DataFrame(columns=["model", "domain", "seed", "map50"])
    probes = {
        domain: {size: probe(domain, size, frames) for size in (32, 64)} for domain in DOMAINS
    }
    study.domains = {name: SimpleNamespace(probe=sizes.get) for name, sizes in probes.items()}
    both = [probes[domain][32] for domain in DOMAINS]
    together = Probe(torch.cat([one.images for one in both]), [], " and ".join(DOMAINS))
    for subject in [*study.subjects, *(study.starts[f"U-Real/{seed}"] for seed in (0, 1))]:
        drawn = [features(subject, domain).repeat_interleave(frames, 1) for domain in DOMAINS]
        for images, x in zip([*both, together], [*drawn, torch.cat(drawn, 1)], strict=True):
            keep(subject, images, x)
    return study


@pytest.fixture(scope="module")
def studies(tiny_root, tmp_path_factory) -> tuple[Study, Study]:
    """Return a study of scenes shown once, and one of sequences of the same scenes."""
    root = tmp_path_factory.mktemp("handed")
    for model, seed in [*((model, 0) for model in RUNS), *SEEDS]:
        write_run(root / "runs", model, seed, tiny_root)
    once, often = (study_of(root / "runs", root / str(n), n) for n in (1, FRAMES))
    return once, often


@pytest.fixture(scope="module")
def once(studies) -> Study:
    return studies[0]


def same(first, second) -> None:
    """Compare two `LayerSeries`, row by row."""
    rows, others = first.columns("value"), second.columns("value")
    assert list(rows) == list(others)
    for name, row in rows.items():
        np.testing.assert_allclose(row, others[name], atol=1e-8, err_msg=name)


def of(study: Study, *names: str) -> Comparison:
    """Return a pair of a study, seen with real images."""
    chosen = [
        p for p in study.pairs if (p.first.model, p.second.model, p.probe) == (*names, "Real")
    ]
    return next(p for p in chosen if p.is_two_runs)


def drawn(study: Study, model: str, domain: str = "Real") -> torch.Tensor:
    return features(next(s for s in study.subjects if s.label.model == model), domain)


def corrected(test) -> np.ndarray:
    """Correct the p-values of a permutation test by the largest of all standardised layers."""
    value, draws = test.value.numpy(), test.draws.numpy()
    every = np.vstack([value, draws])
    scores = (every - every.mean(0)) / every.std(0)
    reached = scores[1:].max(1)[:, None] >= scores[0] - 1e-9
    return (1 + reached.sum(0)) / (1 + len(draws))


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p-values one after another, from the smallest on."""
    result, worst = np.full(len(p), np.nan), 0.0
    places = [place for place in np.argsort(p) if np.isfinite(p[place])]
    for rank, place in enumerate(places):
        worst = max(worst, min(1.0, (len(places) - rank) * p[place]))
        result[place] = worst
    return result


def test_frames_of_a_sequence_add_nothing_to_a_pair(studies):
    for first, second in zip(*(study.pairs for study in studies), strict=True):
        assert first.name == second.name
        assert second.images == FRAMES * first.images
        np.testing.assert_allclose(first.debiased, second.debiased, atol=1e-8)
        for name in ("debiased", "partial", *EXTREMES):
            assert (name in first.series) == (name in second.series)
            if name in first.series:
                # Of untrained networks batch normalisation sees the images in other batches
                same(*(replace(p.series[name], untrained=None) for p in (first, second)))
    judged = of(studies[1], "U-Real", "U-Synthetic").debiased_series
    assert 10 < judged.significant.sum() < LAYERS - 10


def test_frames_of_a_sequence_add_nothing_to_a_gap_between_domains(studies):
    found = [gap.compute(study) for study in studies]
    for first, second in zip(*found, strict=True):
        same(first.series, second.series)
        np.testing.assert_allclose(first.dimensions, second.dimensions)
    assert 10 < found[0][0].series.significant.sum() < LAYERS - 10


def test_frames_of_a_sequence_add_nothing_to_a_contrast(studies):
    found = [freezing.compute(study).contrasts for study in studies]
    for first, second in zip(*found, strict=True):
        same(first.series, second.series)
    assert np.isfinite(found[0][0].series.p).sum() > 10


def test_a_pair_has_its_first_network_in_the_rows(once):
    pair = of(once, "U-Real", "F-Synthetic")
    x, y = (drawn(once, name)[layer] for name, layer in (("U-Real", 90), ("F-Synthetic", 106)))
    x, y = x - x.mean(0), y - y.mean(0)
    expected = (y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())
    assert pair.biased[90, 106] == pytest.approx(expected.item())
    assert abs(pair.biased[90, 106] - pair.biased[106, 90]) > 0.01


def test_p_values_of_a_pair_are_corrected_over_the_layers(once):
    grams = (gram(drawn(once, name)) for name in ("U-Real", "U-Synthetic"))
    test = permutation_test(*grams, DRAWS, paired=True)
    found = of(once, "U-Real", "U-Synthetic").debiased_series.p
    np.testing.assert_allclose(found, corrected(test))
    assert (found > test.p.numpy() + 0.2).sum() > 10


def test_p_values_of_a_gap_are_corrected_over_the_layers(once):
    x = torch.cat([drawn(once, "U-Real", domain) for domain in DOMAINS], 1)
    test = gap_test(gram(x), torch.arange(2 * SCENES) < SCENES, DRAWS)
    found = next(one for one in gap.compute(once) if one.run.model == "U-Real").series.p
    np.testing.assert_allclose(found, corrected(test))
    assert (found > test.p.numpy() + 0.2).sum() > 10


def test_a_contrast_is_frozen_less_free_and_its_p_values_are_corrected(once):
    third, free, frozen = (gram(drawn(once, name)) for name in RUNS)
    pairs = (third, frozen), (third, free)
    chance = tuple(
        torch.from_numpy(corrected(permutation_test(*pair, DRAWS, paired=True))) for pair in pairs
    )
    interval, p = difference(*pairs, chance, paired=True)
    found = next(c for c in freezing.compute(once).contrasts if c.probe == "Real").series
    np.testing.assert_allclose(found.value, interval.value)
    np.testing.assert_allclose(found.p, holm(p.numpy()))
    assert (found.p > p.numpy() + 0.2).sum() > 10


def test_what_training_added_is_beyond_chance_by_both_tests(once):
    start = gram(features(once.starts["U-Real/0"], "Real"))
    rests = [deconfound(gram(drawn(once, name)), start) for name in ("U-Real", "U-Synthetic")]
    permuted = corrected(permutation_test(*rests, DRAWS, paired=True))
    left = leave_one_out(*rests, paired=True).numpy()
    error = (left.std(1) ** 2 * (SCENES - 1)) ** 0.5
    partial = of(once, "U-Real", "U-Synthetic").series["partial"]
    unsure = partial.value < 2 * error
    assert (permuted[unsure] <= 0.05).any()
    assert (partial.p[unsure] > 0.05).all()
    assert (partial.p >= permuted - 1e-12).all()


def hooked(network, images: torch.Tensor) -> list[torch.Tensor]:
    """Return every layer's output, by a plain forward pass."""
    kept: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, x: kept.append(x.double()))
        for layer in network.layers
    ]
    with torch.no_grad():
        network(images.float() / 255)
    for hook in hooks:
        hook.remove()
    return kept


def test_outputs_are_those_of_the_layer_with_the_number(once):
    subject = once.subjects[0]
    given = SimpleNamespace(subjects=[subject], probes=lambda size: [probe("Real", size, 1)])
    for found in outputs.compute(given):
        (table,) = found.layers.values()
        layers = hooked(subject.network, probe("Real", found.size, 1).images)
        expected = [[x.mean().item(), x.min().item(), x.max().item()] for x in layers]
        assert len(expected) == LAYERS
        assert table["layer"].tolist() == list(range(LAYERS))
        np.testing.assert_allclose(table[["mean", "min", "max"]], expected, 1e-3, 1e-4)


def test_frames_of_a_sequence_add_nothing_to_what_is_said_of_two_models(studies):
    once, often = (study.models["Real", 32] for study in studies)
    for first, second in zip(once, often, strict=True):
        assert list(first) == list(second)
        for two, alike in first.items():
            np.testing.assert_allclose(
                np.stack(alike.means), np.stack(second[two].means), atol=1e-7
            )
            if alike.ratio is not None:
                np.testing.assert_allclose(alike.below, second[two].below, atol=1e-6)
    assert ("U-Real", "U-Real") in once.added


def test_frames_of_a_scene_have_a_null_of_their_own(studies, tiny_root, tmp_path):
    once, often = studies
    assert not [pair for pair in once.pairs if "within" in pair.series]
    # Frames that are copies differ in nothing within their sequence
    assert all(
        np.isnan(pair.series["within"].value).all() for pair in often.pairs if pair.is_two_runs
    )


def test_untrained_networks_are_beside_two_runs_and_kept(once, monkeypatch):
    first, *_ = [pair for pair in once.pairs if pair.is_two_runs]
    floor = first.debiased_series.untrained
    assert floor.shape == (LAYERS,)
    assert 0 < np.nanmean(floor[:75]) < 1
    assert all(p.debiased_series.untrained is None for p in once.pairs if not p.is_two_runs)
    real, synthetic = (
        next(p for p in once.pairs if p.is_two_runs and p.probe == domain).debiased_series.untrained
        for domain in DOMAINS
    )
    assert not np.array_equal(real, synthetic)
    (table,) = verdicts.tables(verdicts.compute(once))
    row = table.frame.loc[("Real", 32, "U-Real/0 vs U-Synthetic/0")]
    assert row["untrained, backbone"] == pytest.approx(np.nanmean(floor[:75]))


def test_a_network_is_taken_apart_once_and_not_by_each_thread(once):
    assert all(subject.structure is subject.structure for subject in once.subjects)


def test_two_models_are_held_against_the_seeds_of_both_by_all_pairs_of_runs(once):
    runs = {str(s.label): gram(features(s, "Real")) for s in once.subjects}
    real = [runs["U-Real/0"], runs["U-Real/1"]]
    expected = as_two_seeds(real, [runs["U-Synthetic/0"]])
    assert np.nanstd(expected.ratio) > 0.01
    assert len(np.unique(expected.p_alike)) > 10
    for pair in once.pairs:
        if set(pair.models) == {"U-Real", "U-Synthetic"} and pair.probe == "Real":
            found = pair.debiased_series
            np.testing.assert_allclose(found.ratio, expected.ratio, rtol=1e-4)
            np.testing.assert_allclose(found.p_below, expected.p_below, rtol=1e-3, atol=1e-9)
            np.testing.assert_allclose(found.p_alike, expected.p_alike, rtol=1e-3, atol=1e-9)


def test_the_margin_is_handed_on_and_printed(once):
    strict, lax = replace_margin(once, 0.02), replace_margin(once, 0.9)
    counts = []
    for study in (strict, lax):
        pair = of(study, "U-Real", "F-Synthetic").debiased_series
        counts.append(int((pair.p_alike <= 0.05).sum()))
        (table,) = verdicts.tables(verdicts.compute(study))
        said = next(verdicts.sentences(verdicts.compute(study)))
        for text in (table.caption, said):
            assert f"within {100 * study.margin:.3g} %" in text
    assert counts[0] < counts[1]


def replace_margin(study: Study, margin: float) -> Study:
    other = copy(study)
    other.margin = margin
    for name in ("pairs", "models"):
        other.__dict__.pop(name, None)
    return other


def test_what_training_added_has_the_common_start_of_each_layer_taken_out(once):
    starts = [gram(features(once.starts[f"U-Real/{seed}"], "Real")) for seed in (0, 1)]
    rests = [
        deconfound(gram(features(s, "Real")), start)
        for s, start in zip([once.subjects[0], once.subjects[-1]], starts, strict=True)
    ]
    names = [str(s.label) for s in (once.subjects[0], once.subjects[-1])]
    assert names == ["U-Real/0", "U-Real/1"]
    pair = next(p for p in once.pairs if p.name == " vs ".join(names) and p.probe == "Real")
    value = pair.series["partial"].value
    common = np.isfinite(value)
    # The start of the first seed is that of the second in the backbone alone
    assert common.tolist() == [layer < 75 for layer in range(LAYERS)]
    expected = cka(*rests, debiased=True).diagonal().numpy()
    np.testing.assert_allclose(value[common], expected[common], atol=1e-6)
    means = once.models["Real", 32].added["U-Real", "U-Real"].means
    assert means.value[0] == pytest.approx(expected[:75].mean(), abs=1e-6)
    assert np.isnan(means.value[1])


def of_seeds(first: str, second: str, value: float) -> Comparison:
    matrix = np.diag(np.full(LAYERS, value))
    return comparison(first, second, matrix, matrix)


def test_the_ceiling_is_of_the_two_models_of_a_pair():
    pairs = [
        of_seeds("U-Real/0", "U-Real/1", 0.8),
        of_seeds("U-Synthetic/0", "U-Synthetic/1", 0.5),
        of_seeds("F-Synthetic/0", "F-Synthetic/1", 0.3),
        of_seeds("U-Real/0", "U-Synthetic/0", 0.2),
    ]
    *_, found = held_against_seeds(pairs, {})
    np.testing.assert_allclose(found.debiased_series.ceiling, (0.8 * 0.5) ** 0.5)
