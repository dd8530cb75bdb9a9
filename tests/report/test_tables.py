"""Tables: seeds and spread, the scorecard against the paper's own figures, the written files."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report.made import comparison, label
from scipy.stats import t as student
from scipy.stats import ttest_ind

from yolo_synth.analysis.similarity.seeds import difference_over_both
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.comparison import Comparison
from yolo_synth.report import paper
from yolo_synth.report.models import Models
from yolo_synth.report.panel import Table
from yolo_synth.report.panels import outputs, scores, similarity, start
from yolo_synth.report.panels.outputs import Outputs
from yolo_synth.report.panels.scorecard import Scorecard, models_here
from yolo_synth.report.panels.scorecard import tables as scorecards
from yolo_synth.report.panels.similarity_figures import drawings
from yolo_synth.report.tables import latex, markdown, write_table


def frame_of(*rows: tuple[str, int, str, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["model", "seed", "domain", "map50"])
    return frame.assign(map50_car=frame["map50"] / 2, map=0.1)


def pair(first: str, second: str, backbone: float, head: float, **options) -> Comparison:
    diagonal = np.diag(np.r_[np.full(75, backbone), np.full(32, head)])
    return comparison(first, second, biased=diagonal, debiased=diagonal / 2, **options)


def of(frame: pd.DataFrame) -> scores.Scores:
    runs = zip(frame["model"], frame["seed"], strict=True)
    return scores.Scores([label(f"{model}/{seed}") for model, seed in dict.fromkeys(runs)], frame)


def score_tables(frame: pd.DataFrame) -> list[Table]:
    return list(scores.tables(of(frame)))


def scorecard(tables: list[Table]) -> pd.DataFrame:
    labels = [label(f"{model}/0") for model in paper.MODELS.values()]
    frames = {table.key: table.frame for table in tables}
    (card,) = scorecards(Scorecard(frames, models_here(labels), []))
    return card.frame


def papers_own() -> dict[tuple[int, str, str, int], float]:
    return {(f.table, f.row, f.column, f.seed): f.value for f in paper.figures()}


def test_the_papers_table_5_agrees_with_itself():
    figures = papers_own()
    rows = {(row, seed) for table, row, _, seed in figures if table == 5}
    assert len(rows) == 6
    for row, seed in rows:
        printed_apart = row == "U-Synthetic vs F-Synthetic"
        whole, backbone, head = (figures[5, row, part, seed] for part in paper.PARTS)
        assert (75 * backbone + 32 * head) / 107 == pytest.approx(
            whole, abs=4e-3 if printed_apart else 1e-4
        )


def test_the_papers_figures_score_no_difference():
    figures = papers_own()
    assert len(figures) == 12 + 30 + 30 + 18
    table_2 = [(m, s, d, v) for (table, m, d, s), v in figures.items() if table == 2]
    values = {
        number: {
            ("Real", label(f"{model}/{seed}")): pd.DataFrame(
                [
                    {"layer": 0, "kind": "convolutional"}
                    | dict(zip(paper.STATISTICS, row, strict=True))
                ]
            )
            for model in paper.MODELS.values()
            for seed in (0, 1)
            for row in [[figures[number, model, name, seed] for name in paper.STATISTICS]]
        }
        for number in (3, 4)
    }
    pairs = [
        pair(f"{first}/{seed}", f"{second}/{seed}", *parts)
        for first, second in (
            names.split(" vs ") for t, names, c, s in figures if (t, c, s) == (5, "all", 0)
        )
        for seed in (0, 1)
        for parts in [[figures[5, f"{first} vs {second}", part, seed] for part in paper.PARTS[1:]]]
    ]
    tables = [
        *score_tables(frame_of(*table_2)),
        *outputs.tables([Outputs(3, 416, values[3]), Outputs(4, 32, values[4])]),
        *similarity.tables(similarity.Layers(pairs, {})),
    ]
    card = scorecard(tables)
    assert len(card) == 90
    means = card.index.get_level_values("figure") == "all"
    np.testing.assert_allclose(card["difference"][~means], 0, atol=1e-9)
    np.testing.assert_allclose(card["difference"][means], 0, atol=4e-3)


def test_a_lacking_figure_has_no_difference():
    card = scorecard(score_tables(frame_of(("U-Real", 0, "Real", 0.5))))
    assert card.loc[("Table 2", "U-Real", "Real", 0), "difference"] == pytest.approx(0.072)
    assert card["difference"].notna().sum() == 1


def test_a_study_without_any_of_the_papers_networks_has_no_scorecard():
    tables = score_tables(frame_of(("RetinaNet-U-Real", 0, "Real", 0.5)))
    frames = {table.key: table.frame for table in tables}
    assert list(scorecards(Scorecard(frames, {}, []))) == []


def test_the_papers_figures_are_drawn_of_another_architecture_too():
    one, two = "U-Real/0", "U-Synthetic/0"
    pairs = [pair(a, b, 0.5, 0.5) for a, b in ((one, one), (two, two), (one, two))]

    def renamed(network):
        return network._replace(model=f"RetinaNet-{network.model}", architecture="RetinaNet")

    others = [replace(p, first=renamed(p.first), second=renamed(p.second)) for p in pairs]
    drawn, other = (
        {d.name.replace("RetinaNet-", "") for d in drawings(of) if d.is_papers}
        for of in (pairs, others)
    )
    assert {"figure_4_seed_0_real_32", "figure_8_U-Real-0_vs_U-Synthetic-0_real_32"} <= drawn
    assert drawn == other


def test_table_2_has_mean_and_spread_over_seeds_where_there_are_several():
    rows = [("U-Real", 0, "Real", 0.4), ("U-Real", 1, "Real", 0.5), ("F-Real", 0, "Real", 0.3)]
    frame = score_tables(frame_of(*rows))[0].frame
    assert list(frame.index) == ["U-Real", "F-Real"]
    real = frame["Real"]
    assert list(real.columns) == ["seed 0", "seed 1", "mean", "spread"]
    np.testing.assert_allclose(real.loc["U-Real"], [0.4, 0.5, 0.45, 0.1])
    np.testing.assert_allclose(real.loc["F-Real"], [0.3, np.nan, 0.3, np.nan])
    one = score_tables(frame_of(rows[0]))[0].frame
    assert list(one.columns) == [("Real", "seed 0")]


def test_class_table_names_classes():
    frame = score_tables(frame_of(("U-Real", 0, "Real", 0.4)))[1].frame
    assert frame.loc[("U-Real", 0), ("Real", "car")] == pytest.approx(0.2)


def test_table_5_keeps_seeds_probes_and_starts_apart():
    pairs = [
        pair("U-Real/0", "U-Real/0", 1, 1),
        pair("U-Real/0", "U-Synthetic/0", 0.8, 0.2, partial=LayerSeries(np.full(107, 0.1))),
        pair("U-Real/0", "U-Synthetic/0", 0.6, 0.4, probe="Synthetic"),
        pair("U-Real/0", "U-Synthetic/1", 0.5, 0.5),
        pair("U-Real/0", "initial state", 0.9, 0.7),
    ]
    made = [
        *similarity.tables(similarity.Layers(pairs, {})),
        *start.tables(start.Added(pairs[1:2], {("Real", 32): Models({}, {})})),
    ]
    tables = {table.key: table.frame for table in made}
    same = tables["table_5"]
    assert list(same.index) == [
        ("Real", 32, "U-Real vs U-Synthetic"),
        ("Synthetic", 32, "U-Real vs U-Synthetic"),
    ]
    np.testing.assert_allclose(same["biased CKA", "backbone", "seed 0"], [0.8, 0.6])
    np.testing.assert_allclose(same["debiased CKA", "head", "seed 0"], [0.1, 0.2])
    assert tables["table_5_seeds"].index.get_level_values("seeds").tolist() == ["0 vs 1"]
    initial = tables["table_5_initial"]["biased CKA", "all", "seed 0"]
    assert initial.iloc[0] == pytest.approx((75 * 0.9 + 32 * 0.7) / 107)
    assert tables["table_5_partial"]["all", "seed 0"].tolist() == [pytest.approx(0.1)]
    assert len(tables["similarity_layers"]) == 4 * 107


def test_a_layer_without_a_value_is_left_out_of_means():
    broken = pair("U-Real/0", "U-Synthetic/0", 0.8, 0.2)
    broken.biased[3, 3] = np.nan
    frame = next(similarity.tables(similarity.Layers([broken], {}))).frame
    assert frame["biased CKA", "backbone", "seed 0"].iloc[0] == pytest.approx(0.8)


@pytest.fixture
def small() -> Table:
    frame = pd.DataFrame(
        {("a_b", "seed 0"): [0.43, np.nan], ("50 %", "seed 0"): [-21.8, 1e-5]},
        index=pd.Index(["U & V", "W"], name="model"),
    )
    return Table("table_9", "Title", "50 % of a_b", frame)


def test_markdown_aligns_numbers_and_marks_what_is_missing(small):
    lines = markdown(small).splitlines()
    assert lines[4:] == [
        "| model | a_b seed 0 | 50 % seed 0 |",
        "| --- | ---: | ---: |",
        "| U & V | 0.4300 | -21.80 |",
        "| W | \N{EN DASH} | 1.000e-05 |",
    ]


def test_latex_escapes_and_has_as_many_cells_as_columns(small):
    text = latex(small)
    assert r"\caption{Title. 50 \% of a\_b}" in text
    assert r"U \& V & 0.4300 & -21.80 \\" in text
    assert r"W & -- & 1.000e-05 \\" in text
    assert r"\begin{tabular}{lrr}" in text
    long = Table("t", "T", "C", pd.concat([small.frame] * 30))
    rows = re.findall(r"^(?:U \\& V|W) & \S+ & \S+ \\\\$", latex(long), re.MULTILINE)
    assert len(rows) == 60
    assert latex(long).startswith(r"\begin{longtable}{lrr}")


def test_csv_reads_back(small, tmp_path):
    write_table(small, tmp_path)
    back = pd.read_csv(tmp_path / "table_9.csv")
    assert list(back.columns) == ["model", "a_b seed 0", "50 % seed 0"]
    np.testing.assert_allclose(back["50 % seed 0"], [-21.8, 1e-5])
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".md", ".tex"}


def test_differences_of_map_have_intervals_over_seeds_and_over_the_same_images():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 0.05, 20)  # blocks that are hard for all
    frame = frame_of(
        ("U-Real", 0, "Real", 0.70),
        ("U-Real", 1, "Real", 0.72),
        ("F-Real", 0, "Real", 0.66),
        ("U-Synthetic", 0, "Real", 0.2),
    )
    frame["without"] = [hard + 0.7 + rng.normal(0, 0.001, 20) for _ in range(4)]
    (table,) = [t for t in score_tables(frame) if t.key == "table_2_differences"]
    row = table.frame.loc[("Real", "U-Real", "F-Real")]
    assert row["second minus first"] == pytest.approx(-0.05)
    assert row["seeds"] == "2 and 1"
    left = frame["without"][2] - (frame["without"][0] + frame["without"][1]) / 2
    error = (19 / 20 * ((left - left.mean()) ** 2).sum()) ** 0.5
    reach = student.ppf(0.975, 19) * error
    assert row["over images, low"] == pytest.approx(-0.05 - reach)
    assert row["over images, high"] == pytest.approx(-0.05 + reach)
    low, high = ttest_ind([0.66], [0.70, 0.72]).confidence_interval(0.95)
    assert (row["over seeds, low"], row["over seeds, high"]) == pytest.approx((low, high))
    assert np.isnan(table.frame.loc[("Real", "F-Real", "U-Synthetic")]["over seeds, low"])
    variances = [((high - low) / 2 / student.ppf(0.975, 1)) ** 2, error**2]
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 1 + variances[1] ** 2 / 19)
    reach = student.ppf(0.975, freedom) * sum(variances) ** 0.5
    assert row["over both, low"] == pytest.approx(-0.05 - reach)
    assert row["over both, high"] == pytest.approx(-0.05 + reach)
    assert np.isnan(table.frame.loc[("Real", "F-Real", "U-Synthetic")]["over both, low"])
    frame["without"] = [[]] * 4
    assert np.isnan(scores.image_interval(frame[:2], frame[2:3])).all()
    assert np.isnan(scores.both_interval(frame[:2], frame[2:3])[1:]).all()


def test_table_2_and_its_sentence_tell_images_and_seeds_apart():
    rng = np.random.default_rng(0)
    rows = [("U-Real", 0, "Real", 0.4), ("U-Real", 1, "Real", 0.5), ("F-Real", 0, "Real", 0.3)]
    frame = frame_of(*rows)
    frame["without"] = [value + rng.normal(0, 0.01, 20) for *_, value in rows]
    real = score_tables(frame)[0].frame["Real"]
    left = (frame["without"][0] + frame["without"][1]) / 2
    reach = student.ppf(0.975, 19) * (19 / 20 * ((left - left.mean()) ** 2).sum()) ** 0.5
    low, high = (real.loc["U-Real", f"over images, {end}"] for end in ("low", "high"))
    assert (low, high) == pytest.approx((0.45 - reach, 0.45 + reach))
    assert real.loc["U-Real", "spread"] == pytest.approx(0.1)
    [sentence] = scores.sentences(of(frame))
    told = f"U-Real (seeds: 2) 0.450 (95 % interval over images {low:.3f} to {high:.3f}; seeds 0.400 to"
    assert told in sentence
    assert "the third lies outside the other two in two of three cases" in sentence
    [single] = scores.sentences(of(frame[2:]))
    assert "seeds" not in single
    assert "third" not in single


def test_the_interval_over_seeds_and_images_holds_the_true_difference_in_19_of_20_draws():
    rng = np.random.default_rng(5)
    for seeds, spread in ((2, 0.02), (5, 0.02), (3, 0.003)):
        held = 0
        for _ in range(600):
            hard = rng.normal(0, 0.2, 40)  # images that are hard for all, and for one model
            models = []
            for true in (0.6, 0.7):
                own = hard + rng.normal(0, 0.06, 40)
                models.append(true + own + rng.normal(0, spread, (seeds, 1)))
            means = [model.mean(1) for model in models]
            total = models[1].mean(0) - models[0].mean(0)
            without = (total.sum() - total) / 39
            _, low, high = difference_over_both(*means, without)
            held += low <= 0.1 <= high
        assert 0.93 <= held / 600 <= 0.985, (seeds, spread, held)
