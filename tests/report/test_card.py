"""The card: each of its sentences where it must speak, and where it must be silent or undecided."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report.made import comparison, label
from scipy.stats import t as student

from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.analysis.similarity.trainings import Alike, Spread
from yolo_synth.report.models import Models
from yolo_synth.report.pairs import away_from_home, with_series
from yolo_synth.report.panels import freezing, scores, start, verdicts
from yolo_synth.report.report import CARD, PANELS
from yolo_synth.runs import read_run

MINUS = "\N{MINUS SIGN}"


def rows(*given: tuple[str, str, float], spread: float = 0.02) -> pd.DataFrame:
    """Return scores: run, test images and mAP, which blocks of images scatter about."""
    noise = np.random.default_rng(0).normal(0, spread / 20**0.5, (len(given), 20))
    frame = pd.DataFrame(given, columns=["run", "domain", "map50"])
    frame["model"] = frame["run"].str.rpartition("/")[0]
    frame["seed"] = frame["run"].str.rpartition("/")[2].astype(int)
    frame["without"] = list(noise + frame["map50"].to_numpy()[:, None])
    return frame


def scored(*given: tuple[str, str, float], **options) -> scores.Scores:
    frame = rows(*given, **options)
    return scores.Scores([label(run) for run in dict.fromkeys(frame["run"])], frame)


FALLEN = (
    *(("U-Real/0", "Real", 0.74), ("U-Real/1", "Real", 0.70)),
    *(("U-Real/0", "Synthetic", 0.2), ("U-Real/1", "Synthetic", 0.2)),
    *(("U-Synthetic/0", "Real", 0.17), ("U-Synthetic/1", "Real", 0.13)),
    *(("U-Synthetic/0", "Synthetic", 0.73), ("U-Synthetic/1", "Synthetic", 0.71)),
)


def test_the_gap_is_told_with_both_scores_its_interval_and_what_the_other_training_reaches():
    said = scores.short(scored(*FALLEN))
    pattern = (
        r"U-Synthetic has mAP@0\.5 0\.720 on Synthetic and 0\.150 on Real test images, a gap of 0\.570 "
        r"\[(.*), (.*)\]; U-Real, trained on Real, has 0\.720 there\."
    )
    low, high = map(float, re.fullmatch(pattern, said).groups())
    frame = scored(*FALLEN).rows
    left = [
        np.mean(
            list(frame[(frame["model"] == "U-Synthetic") & (frame["domain"] == d)]["without"]), 0
        )
        for d in ("Real", "Synthetic")
    ]
    images = [19 / 20 * ((one - one.mean()) ** 2).sum() for one in left]
    seeds = np.var([0.56, 0.58], ddof=1) / 2
    total = sum(images) + seeds
    freedom = total**2 / (sum(one**2 / 19 for one in images) + seeds**2)
    reach = student.ppf(0.975, freedom) * total**0.5
    assert (low, high) == pytest.approx((0.57 - reach, 0.57 + reach), abs=5e-4)
    table = next(t for t in scores.tables(scored(*FALLEN)) if t.key == "table_2_gaps").frame
    told = table.loc[("U-Synthetic", "Synthetic", "Real")]
    assert told.tolist() == pytest.approx([0.57, 0.57 - reach, 0.57 + reach])
    assert table.loc[("U-Real", "Real", "Synthetic"), "gap"] == pytest.approx(0.52)


@pytest.mark.parametrize(
    ("real", "synthetic", "said"),
    [
        (0.60, 0.61, "whether that is a gap is undecided, +0.010 [" + MINUS),
        (0.70, 0.20, "it is better there, by 0.500 [0.4"),
    ],
)
def test_a_gap_that_is_none_is_not_called_one(real, synthetic, said):
    found = scored(("U-Synthetic/0", "Real", real), ("U-Synthetic/0", "Synthetic", synthetic))
    assert said in scores.short(found)
    assert "a gap of" not in scores.short(found)
    assert scores.short(found).endswith("(one seed).")


def test_of_a_gap_there_is_nothing_to_say_with_one_domain_and_no_interval_with_few_images():
    assert scores.short(scored(("U-Synthetic/0", "Synthetic", 0.7))) == ""
    few = scored(*FALLEN)
    few.rows["without"] = [np.zeros(0)] * len(few.rows)
    assert "a gap of 0.570 (no interval: too few test images)" in scores.short(few)


def test_the_interval_of_a_gap_holds_the_true_one_in_19_of_20_draws():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        trainings = rng.normal(0, 0.02, 3)
        made = []
        for domain, true in (("Synthetic", 0.7), ("Real", 0.2)):
            images = rng.normal(0, 0.2, 40) + rng.normal(0, 0.02, (3, 1)) + trainings[:, None]
            without = true + (images.sum(1, keepdims=True) - images) / 39
            frame = pd.DataFrame({"seed": range(3), "map50": true + images.mean(1)})
            made.append(frame.assign(domain=domain, without=list(without)))
        _, low, high = scores.gap_interval(*made)
        held += low <= 0.5 <= high
    assert 0.92 <= held / 300 <= 0.99, held


@pytest.mark.parametrize(
    ("runs", "tested", "expected"),
    [
        ("U-Real U-Synthetic", "Real Synthetic", "U-Synthetic Synthetic Real U-Real"),
        ("F-Synthetic U-Real", "Real Synthetic", "F-Synthetic Synthetic Real U-Real"),
        ("F-Synthetic U-Synthetic", "Synthetic Real", "U-Synthetic Synthetic Real"),
        ("U-City U-Game", "City Game", "U-Game Game City U-City"),
        ("U-City", "City Fog", "U-City City Fog"),
        ("U-City", "City", ""),
    ],
)
def test_the_card_speaks_of_synthetic_training_on_real_images_if_there_is_any(
    runs, tested, expected
):
    found = away_from_home([label(f"{run}/0") for run in runs.split()], tested.split())
    assert " ".join(found or ()).strip() == expected


def alike(values, error=0.02, ratio=None) -> Alike:
    """Return what two models have in common over backbone, head and their difference."""
    spread = Spread(np.array(values), np.full(len(values), error), np.full(len(values), 40.0))
    if ratio is None:
        return Alike(spread)
    logs = np.r_[np.zeros(107), np.log(ratio)]
    return Alike(spread, Spread(logs, np.full(109, 0.05), np.full(109, 40.0)), np.full(109, 0.5))


def parted(below: int, same: int = 0, seeds: int = 2, margin: float = 0.1, **series):
    """Return verdicts on two models of which the last layers are below two seeds, the first as two."""
    values = np.full(107, 0.5)
    values[62:85] = 0.3
    p_below, p_alike = np.full(107, 0.5), np.full(107, 0.5)
    p_below[107 - below :] = p_alike[:same] = 0.01
    tests = {"p_below": p_below, "p_alike": p_alike} if seeds > 1 else {}
    matrix = np.diag(values)
    pairs = [
        with_series(
            comparison(
                f"U-Real/{n}", f"U-Synthetic/{n}", matrix, matrix, p=np.full(107, 0.01), **tests
            ),
            **series,
        )
        for n in range(seeds)
    ]
    two = {
        ("U-Real", "U-Synthetic"): alike([0.5, 0.4, 0.1], ratio=[0.6, 0.4] if seeds > 1 else None)
    }
    models = {("Real", 32): Models(two, {})}
    return verdicts.Verdicts(pairs, models, {"U-Real": seeds, "U-Synthetic": seeds}, margin)


def test_where_the_networks_part_by_more_than_two_seeds_is_told_with_its_layers_and_shares():
    lowest = np.where((np.arange(107) >= 62) & (np.arange(107) < 97), 0.4, 0.01)
    assert verdicts.short(parted(60, p_lowest_region=LayerSeries(lowest))) == (
        "U-Real and U-Synthetic, seen with Real images, are less alike than two seeds of one model in 60 "
        "of 107 layers (47\N{EN DASH}106), least in layers 62\N{EN DASH}84 or 85\N{EN DASH}96: of two "
        "seeds' CKA they have 0.60 [0.54, 0.66] over the backbone and 0.40 [0.36, 0.44] over the head."
    )


def test_regions_are_named_as_least_alike_only_where_few_may_be():
    few = np.where(np.arange(107) == 0, 0.4, 0.01)
    assert ", least in layers 0 or 62\N{EN DASH}84:" in verdicts.short(
        parted(60, p_lowest_region=LayerSeries(few))
    )
    many = verdicts.short(parted(60, p_lowest_region=LayerSeries(np.full(107, 0.4))))
    assert "least in" not in many
    assert "least in" not in verdicts.short(parted(60))


def test_whether_they_part_is_undecided_where_the_tests_tell_nothing():
    said = verdicts.short(parted(0, 5))
    assert said.startswith(
        "Whether U-Real and U-Synthetic, seen with Real images, part by more than two"
    )
    assert "is undecided: they are below in 0 and as alike in 5 of 107 layers: of two" in said
    same = verdicts.short(parted(0, 107))
    assert "are as alike as two seeds of one model within 10 % in all 107 layers" in same
    one = verdicts.short(parted(0, seeds=1))
    assert (
        "is undecided, since there is one seed of each (mean CKA 0.50 [0.46, 0.54] over the" in one
    )
    assert "train a second one" in one
    assert "less alike" not in said + same + one


def test_of_parting_nothing_is_said_without_two_models_or_without_a_test():
    assert verdicts.short(verdicts.Verdicts([], {}, {}, 0.1)) == ""
    untested = parted(60)
    bare = [
        with_series(one, debiased=replace(one.debiased_series, p_below=None, p_alike=None))
        for one in untested.pairs
    ]
    assert verdicts.short(untested._replace(pairs=bare)) == ""


def shared(both: float, real: float | None, synthetic: float | None, error: float = 0.02):
    """Return what training added, of which models and seeds share so much over the backbone."""
    values = {
        ("U-Real", "U-Synthetic"): both,
        ("U-Real", "U-Real"): real,
        ("U-Synthetic", "U-Synthetic"): synthetic,
    }
    matrix = np.diag(np.full(107, 0.5))
    pair = comparison("U-Real/0", "U-Synthetic/0", matrix, matrix)
    pair = with_series(pair, partial=LayerSeries(np.full(107, both)))
    found = {two: alike([x, 0.3, 0.1], error) for two, x in values.items() if x is not None}
    return start.Added([pair], {("Real", 32): Models({}, found)})


def test_what_training_added_is_held_against_two_seeds_of_either_model():
    assert start.short(shared(0.12, 0.59, 0.75)) == (
        "Of what training added U-Real and U-Synthetic share less than two seeds do: partial CKA 0.12 "
        "[0.08, 0.16] over the backbone (Real images), two seeds of U-Real 0.59 [0.55, 0.63], of "
        "U-Synthetic 0.75 [0.71, 0.79]."
    )
    assert "share more than two seeds do" in start.short(shared(0.9, 0.59, 0.75))


@pytest.mark.parametrize(
    "values",
    [(0.55, 0.59, 0.75, 0.02), (0.72, 0.59, 0.75, 0.02), (0.12, 0.59, 0.75, 0.2)],
)
def test_what_training_added_is_undecided_where_intervals_meet(values):
    said = start.short(shared(*values))
    assert said.startswith(
        "Whether U-Real and U-Synthetic share less of what training added than two"
    )
    assert "is undecided: partial CKA" in said


def test_what_training_added_is_undecided_with_one_seed_and_silent_without_a_common_start():
    one = start.short(shared(0.12, None, None))
    assert (
        "is undecided, since there is one seed of each: partial CKA 0.12 [0.08, 0.16] over" in one
    )
    assert start.short(start.Added([], {})) == ""
    unknown = shared(0.12, 0.59, 0.75)
    assert start.short(unknown._replace(models={("Real", 32): Models({}, {})})) == ""


def frozen(*changes: float, seeds: int = 2, **options) -> freezing.Freezing:
    """Return scores of free and frozen synthetic training, which differ so much on Real and Synthetic."""
    given = []
    for seed in range(seeds):
        for domain, before, change in zip(("Real", "Synthetic"), (0.2, 0.7), changes, strict=True):
            jitter = 0.01 * seed
            given.append((f"U-Synthetic/{seed}", domain, before + jitter))
            given.append((f"F-Synthetic/{seed}", domain, before + change - jitter / 2))
    frame = rows(*given, **options)
    return freezing.Freezing([label(run) for run in dict.fromkeys(frame["run"])], frame, [], [])


def test_what_freezing_did_is_told_of_home_first_and_undecided_where_it_is():
    said = freezing.short(frozen(0.0, -0.4))
    pattern = (
        r"Freezing the backbone while training on Synthetic lowered mAP@0\.5 on Synthetic by 0\.40\d "
        rf"\[0\.3\d+, 0\.4\d+\]; what it did on Real \({MINUS}0\.00\d \[{MINUS}0\.\d+, \+0\.\d+\]\) is "
        r"undecided\."
    )
    assert re.fullmatch(pattern, said), said
    raised = freezing.short(frozen(0.3, -0.4))
    assert "on Synthetic by 0.4" in raised
    assert "and raised mAP@0.5 on Real by 0.29" in raised
    assert "undecided" not in raised


def test_freezing_is_undecided_where_neither_domain_tells_and_silent_where_nothing_was_frozen():
    said = freezing.short(frozen(0.0, -0.001))
    assert said.startswith(
        "What freezing the backbone while training on Synthetic did to mAP@0.5 is"
    )
    assert "lowered" not in said
    assert "raised" not in said
    one = freezing.short(frozen(0.0, -0.4, seeds=1))
    assert one.endswith("is unknown with one seed.")
    free = frozen(0.0, -0.4)
    assert (
        freezing.short(free._replace(labels=[x for x in free.labels if x.frozen == "none"])) == ""
    )


def test_the_card_stands_first_in_findings_and_page_and_leads_into_the_page(out):
    text, page = ((out / name).read_text() for name in ("findings.md", "report.html"))
    card = re.findall(r"^(\d)\. (.*) \(\[(.*)\]\(report\.html#(.*)\)\)$", text, re.MULTILINE)
    assert [number for number, *_ in card] == [str(n) for n in range(1, len(card) + 1)]
    assert 3 <= len(card) <= CARD
    assert text.index(card[0][1]) < text.index("## ")
    sections = re.findall(r'<section aria-labelledby="(.*?)">', page)
    assert {key for *_, key in card} <= set(sections)
    assert page.index('class="card"') < page.index("<section aria-labelledby")
    command = card[-1][1].replace("\\", "").partition("ask why: ")[2].split()
    assert command[:2] == ["yolo-synth", "why"]
    assert [read_run(command[2]).name, read_run(command[4]).name] == ["F-Synthetic/0", "U-Real/0"]
    assert sum(panel.short is not None for panel in PANELS) == CARD


def test_no_paragraph_is_lost_between_text_and_page(out):
    text, page = ((out / name).read_text() for name in ("findings.md", "report.html"))
    said = re.findall(r"^- (.*)$", text.partition("## Notes")[0], re.MULTILINE)
    assert len(said) > 10
    plain = re.sub(r"\s+", " ", page.replace("&#39;", "'").replace("&lt;", "<"))
    for paragraph in said:
        assert paragraph.replace("\\", "")[:60] in plain, paragraph
