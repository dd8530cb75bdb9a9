"""Findings: the sentences name the right layers and claim no more than the numbers allow."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from report.made import STRUCTURE, comparison, findings, label

from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.analysis.similarity.trainings import Alike, Spread
from yolo_synth.comparison import Comparison
from yolo_synth.report.models import Models
from yolo_synth.report.pairs import with_series
from yolo_synth.report.panels.gap import DomainGap
from yolo_synth.report.words import number


def pair(first: str = "U-Real/0", second: str = "U-Synthetic/0", head: float = 0.3) -> Comparison:
    values = np.r_[np.full(75, 0.8), np.full(32, head)]
    values[62:85] = 0.2
    values[82] = 0.1
    return comparison(
        first,
        second,
        biased=np.diag(values + 0.1),
        debiased=np.diag(values),
        low=values - 0.05,
        high=values + 0.05,
        floor=np.zeros(107),
        null=np.full(107, 0.02),
        p=np.full(107, 0.005),
    )


def judged(pair: Comparison, **rows) -> Comparison:
    """Return a pair with other rows of its debiased CKA."""
    return with_series(pair, debiased=replace(pair.debiased_series, **rows))


def added(pair: Comparison, values, p=None) -> Comparison:
    """Return a pair with what training added."""
    return with_series(pair, partial=LayerSeries(values, p=p))


def scores(**values: float) -> pd.DataFrame:
    """Return scores on Synthetic test images; `U0=0.5` is of seed 0 of U-Synthetic."""
    rows = [(f"{k[0]}-Synthetic", int(k[1]), "Synthetic", v) for k, v in values.items()]
    return pd.DataFrame(rows, columns=["model", "seed", "domain", "map50"])


def said(sentences: list[str], words: str) -> str:
    found = [sentence for sentence in sentences if words in sentence]
    assert len(found) == 1
    return found[0]


def test_the_region_and_the_layer_where_they_are_farthest_apart_are_named():
    sentences = findings(scores(U0=0.5), [pair()])
    text, chance = said(sentences, "By scale region"), said(sentences, "Judged layer by layer")
    assert "lowest in layers 62\N{EN DASH}84 (0.20)" in text
    assert "lowest single layer is 82 (detection, 0.10, 95 % interval 0.05 to 0.15)" in text
    assert (
        "beyond chance of permuted images, corrected over the layers, in 107 of 107 layers"
        in chance
    )
    assert "unknown, since there is one seed" in chance


def test_layers_and_regions_that_may_be_the_lowest_too_are_counted():
    plain = pair()
    lowest = np.where(np.isin(np.arange(107), [80, 82, 83]), 0.4, 0.001)
    region = np.where(np.arange(107) < 62, 0.001, 0.3)
    alone = np.where((np.arange(107) >= 12) & (np.arange(107) < 37), 0.9, 0.01)
    p = {"p_lowest": lowest, "p_lowest_region": region, "p_highest_region": alone}
    other = with_series(plain, **{name: LayerSeries(value) for name, value in p.items()})
    text = said(findings(scores(U0=0.5), [other]), "By scale region")
    assert "lowest in layers 62\N{EN DASH}84 (0.20, one of 3 that may be it)" in text
    assert "highest in layers 12\N{EN DASH}36 (0.80, told from all others)" in text
    assert "95 % interval 0.05 to 0.15, one of 3 that may be it)" in text


def test_seeds_of_two_models_share_a_sentence():
    two = [
        added(
            pair(f"U-Real/{seed}", f"U-Synthetic/{seed}", head),
            np.full(107, head / 2),
            np.full(107, 0.01),
        )
        for seed, head in ((0, 0.3), (1, 0.4))
    ]
    sentences = findings(scores(U0=0.5), two)
    text, where = (said(sentences, words) for words in ("What training added", "By scale region"))
    assert "U-Real vs U-Synthetic, seeds 0 and 1 (Real images)" in text
    assert "to 0.15 and 0.20 over the head. It is beyond chance in 107 and 107 of" in text
    assert (
        "U-Real and U-Synthetic, seeds 0 and 1, have a mean debiased CKA of 0.70 and 0.70" in where
    )
    assert "lowest in layers 62\N{EN DASH}84 (0.20) and layers 62\N{EN DASH}84 (0.20)" in where


def test_what_does_not_stand_out_from_chance_is_not_given_an_interval():
    plain = pair()
    low, high = (plain.debiased_series.low.copy(), plain.debiased_series.high.copy())
    low[82] = high[82] = np.nan
    p = plain.debiased_series.p.copy()
    p[82] = 0.2
    sentences = findings(scores(U0=0.5), [judged(plain, low=low, high=high, p=p)])
    text = "82 (detection, 0.10, not distinguishable from permuted images)"
    assert text in said(sentences, "region")
    assert "in 106 of 107 layers" in said(sentences, "Judged layer by layer")


def held(pair: Comparison, below: int, alike: int) -> Comparison:
    """Return a pair whose first layers are below two seeds, and the next ones as two."""
    p_below, p_alike = np.full(107, 0.5), np.full(107, 0.5)
    p_below[:below] = p_alike[below : below + alike] = 0.01
    return judged(
        pair, ceiling=np.full(107, 0.9), ratio=np.full(107, 0.8), p_below=p_below, p_alike=p_alike
    )


def test_layers_below_two_seeds_and_as_two_are_counted_with_the_margin_and_the_seeds():
    pairs = [
        held(pair(f"U-Real/{a}", f"U-Synthetic/{b}"), 60, 7) for a in (0, 1) for b in (0, 1, 2)
    ]
    shared = np.r_[np.ones(5), pairs[0].debiased_series.value[5:]]
    pairs = [judged(one, value=shared) for one in pairs]
    estimates = Spread(*(np.array(row) for row in ([0.5] * 3, [0.1] * 3, [20.0] * 3)))
    ratio = Spread(
        *(np.r_[np.zeros(107), row] for row in (np.log([0.8, 0.4]), [0.1] * 2, [20] * 2))
    )
    alike = Alike(estimates, ratio, np.full(109, 0.5))
    models = {("Real", 32): Models({("U-Synthetic", "U-Real"): alike}, {})}
    text = said(findings(scores(U0=0.5), pairs, models=models), "Judged layer by layer")
    assert "(2 of U-Real and 3 of U-Synthetic, all 6 pairs of runs)" in text
    assert "below two seeds in 55, as alike as two seeds within 10 % in 7" in text
    assert "undecided in 40 of 102 layers" in text
    assert "0.80 (95 % interval over images 0.65 to 0.99) over the backbone and 0.40" in text


def test_both_nulls_are_named_and_untrained_networks_stand_beside_them():
    p = np.r_[np.full(35, 0.01), np.full(72, 0.5)]
    floor = np.r_[np.full(75, 0.19), np.full(32, 0.05)]
    inside = with_series(
        judged(pair(), untrained=floor), within=LayerSeries(np.full(107, 0.13), p=p)
    )
    text = said(findings(scores(U0=0.5), [inside]), "Judged layer by layer")
    assert "between sequences (whole ones permuted, by their means)" in text
    assert "within sequences (their means taken out, images permuted within each) in 35." in text
    assert (
        "Two untrained networks of this architecture have a mean debiased CKA of 0.19 over" in text
    )


def test_backbone_and_head_are_compared_by_an_interval_and_not_by_counting_pairs():
    alike = Alike(Spread(np.array([0.6, 0.4, 0.2]), np.full(3, 0.05), np.full(3, 30.0)))
    models = {("Real", 32): Models({("U-Real", "U-Synthetic"): alike}, {})}
    pairs = [pair(f"U-Real/{a}", f"U-Synthetic/{b}") for a in (0, 1) for b in (0, 1)]
    sentences = findings(scores(U0=0.5), pairs, models=models)
    text = said(sentences, "Backbone minus head")
    assert "U-Real and U-Synthetic 0.20 (95 % interval over images 0.10 to 0.30)" in text
    assert not [sentence for sentence in sentences if "comparisons" in sentence]


def test_a_layer_not_told_from_chance_in_one_pair_can_be_below_two_seeds():
    p = np.full(107, 0.5)
    pairs = [judged(held(pair(), 60, 0), p=p), held(pair("U-Real/1", "U-Synthetic/1"), 60, 0)]
    text = said(findings(scores(U0=0.5), pairs), "Judged layer by layer")
    assert "in 0 and 107 of 107 layers" in text
    assert "below two seeds in 60" in text


def test_what_two_seeds_share_of_what_training_added_stands_first_beside_what_two_models_share():
    values = {("U-Real", "U-Real"): 0.75, ("U-Synthetic", "U-Synthetic"): 0.57}
    values[("U-Real", "U-Synthetic")] = 0.08
    names = ["U-Real/0", "U-Real/1", "U-Synthetic/0", "U-Synthetic/1"]
    pairs = []
    for a, b in combinations(names, 2):
        value = values[tuple(name.partition("/")[0] for name in (a, b))]
        partial = np.r_[np.full(75, value + (a[-1] == b[-1]) * 0.02), np.full(32, np.nan)]
        pairs.append(added(pair(a, b), partial))
    alike = {
        two: Alike(Spread(np.array([x, np.nan, np.nan]), np.full(3, 0.02), np.full(3, 40.0)))
        for two, x in values.items()
    }
    models = {("Real", 32): Models({}, alike)}
    first = findings(scores(U0=0.5), pairs, models=models)[0]
    assert (
        "over the backbone, two seeds of U-Real share 0.75 (95 % interval over images 0.71" in first
    )
    assert "two seeds of U-Synthetic share 0.57 (95 %" in first
    assert "U-Real and U-Synthetic 0.08 (95 %" in first
    assert "4 pairs of runs, 0.08 to 0.10" in first
    assert "over the head" not in first
    assert first.endswith("This is of 2 and 2 trainings: so few tell nothing of others.")


def test_what_training_added_comes_before_the_plain_figure():
    partial = np.full(107, 0.25)
    p = np.r_[np.full(40, 0.01), np.full(67, 0.2)]
    sentences = findings(scores(U0=0.5), [added(pair(), partial, p)])
    texts = [said(sentences, "What training added"), said(sentences, "By scale region")]
    assert [sentences.index(text) for text in texts] == [0, 2]
    assert "beyond chance in 40 of 107 layers" in texts[0]


def test_a_second_opinion_names_how_alike_the_families_rank_the_layers():
    plain = pair()
    values = np.diag(plain.debiased)
    match = np.arange(107.0)
    match[:7] = 50
    p = np.r_[np.full(90, 0.01), np.full(17, 0.5)]
    other = with_series(
        plain,
        angle=LayerSeries(1.5 - values, p=p),
        neighbours=LayerSeries(1 - values, p=np.ones(107)),
        match=LayerSeries(match, p=p),
        own_match=LayerSeries(np.full(107, 3.0), p=np.ones(107)),
    )
    ranks = {"CKA and angle": (0.5, 0.2, 0.7), "CKA and neighbours": (-0.3, np.nan, np.nan)}
    sentences = findings(scores(U0=0.5), [replace(other, agreement=ranks)])
    text = said(sentences, "second opinion")
    assert "beyond permuted images are 90 (angle) and 0 (neighbours) of 107 layers" in text
    assert (
        "Spearman's correlation of debiased CKA over the layers, without what both owe to depth, is "
        "0.50 (95 % interval 0.20 to 0.70) with angle and \N{MINUS SIGN}0.30 with neighbours"
        in text
    )
    text = said(sentences, "Best matches")
    assert "the layer of the same number is the best match in 100 of 107 layers" in text
    assert "beyond chance in 90 (corrected over all 107 x 107 cells)" in text
    assert "are 100 different layers" in text
    assert "the same number in 1, beyond chance in 0, and 1 different layers" in text


def test_the_layer_where_the_domains_part_is_named():
    values = np.zeros(107)
    values[60:] = 0.5
    values[81] = 2.25
    p = np.where(values > 0, 0.005, 0.6)
    series = LayerSeries(values, null=p * 0, p=p)
    images = ("Real", "Synthetic"), (200, 150), 32, STRUCTURE
    gap = DomainGap(label("U-Real/0"), *images, series, (values, values))
    text = said(findings(scores(U0=0.5), [pair()], [gap]), "farthest apart")
    assert "layer 81 (convolution; MMD\N{SUPERSCRIPT TWO} 2.25 times" in text
    assert "in 47 of 107 layers, of which layer 60 is the first" in text
    chance = replace(gap, series=replace(series, p=np.ones(107)))
    text = said(findings(scores(U0=0.5), [pair()], [chance]), "Inside")
    assert "in no layer farther apart than chance" in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"U0": 0.886, "F0": 0.892}, "from 0.886 to 0.892 (+0.006); whether that is more than"),
        (
            {"U0": 0.886, "U1": 0.894, "F0": 0.892, "F1": 0.882},
            "from 0.890 to 0.887 (\N{MINUS SIGN}0.003, 95 % interval over seeds \N{MINUS SIGN}0.031 to "
            "0.025; 2 and 2 seeds cannot tell)",
        ),
        (
            {"U0": 0.886, "U1": 0.894, "F0": 0.5, "F1": 0.51},
            "(\N{MINUS SIGN}0.385, 95 % interval over seeds \N{MINUS SIGN}0.413 to \N{MINUS SIGN}0.357)",
        ),
    ],
)
def test_freezing_is_held_against_the_spread_over_seeds(values, words):
    text = said(findings(scores(**values), []), "Freezing")
    assert words in text
    assert ("unknown with one seed" in text) == (len(values) == 2)


def test_freezing_is_held_against_other_images_too():
    frame = scores(U0=0.5, U1=0.52, F0=0.50, F1=0.53)
    frame["without"] = [np.full(9, value) + 0.01 * np.arange(9) for value in (0.5, 0.5, 0.5, 0.6)]
    frame.at[3, "without"] = frame["without"][3] + 0.02 * np.cos(np.arange(9))
    text = said(findings(frame, []), "Freezing")
    assert "2 and 2 seeds cannot tell, over images" in text
    assert "the images cannot tell" in text
    assert "both together cannot tell" in text


def test_similarity_of_frozen_and_free_is_held_against_seeds_too():
    pairs = [
        pair(f"U-Real/{seed}", f"{model}-Synthetic/{seed}", head)
        for model, seed, head in (("U", 0, 0.30), ("U", 1, 0.34), ("F", 0, 0.32), ("F", 1, 0.33))
    ]
    text = said(findings(scores(U0=0.5), pairs), "mean debiased CKA with U-Real")
    assert "2 and 2 seeds cannot tell" in text


def test_what_training_added_counts_the_layers_that_did_not_change():
    partial = np.full(107, 0.25)
    partial[:75] = np.nan
    text = said(findings(scores(U0=0.5), [added(pair(head=0.23), partial)]), "added")
    assert "to no value over the backbone, of which training changed no layer in both" in text
    assert "from 0.22 to 0.25 over the head (75 layers" in text


def test_no_sentence_says_similar_or_different():
    everything = [
        added(
            held(pair(), 50, 20),
            np.full(107, 0.1),
        ),
        pair("U-Real/0", "F-Synthetic/0"),
        pair("U-Real/0", "initial state"),
    ]
    sentences = findings(scores(U0=0.5, F0=0.4), everything)
    assert len(sentences) >= 7
    for sentence in sentences:
        assert "similar" not in sentence.lower()
        assert "different" not in sentence.lower()


def test_a_single_run_has_findings_too():
    assert findings(scores(U0=0.5), []) == [
        "mAP@0.5 on the test images of each domain: U-Synthetic 0.500 on Synthetic."
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.126, "0.13"), (-0.126, "\N{MINUS SIGN}0.13"), (-0.001, "0.00"), (np.nan, "undefined")],
)
def test_numbers_have_a_true_minus_and_no_negative_zero(value, text):
    assert number(value) == text


def test_seeds_are_counted_by_model():
    text = said(findings(scores(U0=0.5, U1=0.7, F0=0.4)), "mAP@0.5 on the test images")
    assert (
        "mean of each model's seeds: U-Synthetic (seeds: 2) 0.600 (seeds 0.500 to 0.700) on Synthetic"
        in text
    )
    assert "F-Synthetic (seeds: 1) 0.400" in text
    assert "mean of 2 seeds:" in said(findings(scores(U0=0.5, U1=0.7)), "mAP@0.5 on the test")


def test_freeze_mode_and_domain_are_not_read_off_a_name():
    free, frozen, third = (
        label(name)._replace(model=model)
        for name, model in (
            ("U-Synthetic/0", "MyModel"),
            ("F-Synthetic/0", "Uncle"),
            ("U-Real/0", "First"),
        )
    )
    pairs = [
        replace(pair(head=head), first=third, second=other)
        for other, head in ((free, 0.3), (frozen, 0.4))
    ]
    rows = [("MyModel", 0, "Synthetic", 0.5), ("Uncle", 0, "Synthetic", 0.4)]
    frame = pd.DataFrame(rows, columns=["model", "seed", "domain", "map50"])
    sentences = findings(frame, pairs)
    text = said(sentences, "Freezing the backbone while training on Synthetic changed mAP@0.5")
    assert "from 0.500 to 0.400" in text
    assert "CKA with First" in said(
        sentences, "Freezing the backbone on Synthetic changed the mean"
    )
    assert "First/0 and MyModel/0 have a mean" in said(sentences, "By scale region")
