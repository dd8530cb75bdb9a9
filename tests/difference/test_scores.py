"""mAP of two lists against pycocotools, its interval against a plain bootstrap."""

from __future__ import annotations

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from difference.drawn import draw_results, draw_truth
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import stats

from yolo_synth.difference.precision import matches, rankings
from yolo_synth.difference.results import read_results
from yolo_synth.difference.scores import areas, interval, leavings, precisions, score_table
from yolo_synth.difference.truth import read_truth


def read(content, tmp_path, *lists):
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    truth = read_truth(path)
    return truth, *(read_results(rows, truth, "AB"[i % 2]) for i, rows in enumerate(lists))


def coco(content, rows, area=0):
    """pycocotools' precision: mean over recalls, [thresholds, classes], -1 without a true box."""
    truth = COCO()
    truth.dataset = copy.deepcopy(content)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(rows)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, area, -1].mean(1)


@pytest.mark.parametrize("crowds", [False, True])
def test_every_number_is_pycocotools_by_class_and_size_and_with_crowds(tmp_path, crowds):
    content = draw_truth(60, crowds=crowds)
    rows = [draw_results(content, seed, found) for seed, found in ((1, 0.7), (2, 0.9))]
    truth, *lists = read(content, tmp_path, *rows)
    table = score_table(*lists, truth).set_index(["measure", "part", "of"])
    for side, of_list in zip("AB", rows, strict=True):
        whole = coco(content, of_list)
        expected = {("mAP", "all", ""): whole.mean(), ("mAP@0.5", "all", ""): whole[0].mean()}
        for index, name in enumerate(truth.classes):
            expected["mAP@0.5", "class", name] = whole[0, index]
        for area, name in enumerate(("small", "medium", "large"), 1):
            of_size = coco(content, of_list, area)[0]
            expected["mAP@0.5", "size", name] = of_size[of_size >= 0].mean()
        found = table[side][list(expected)]
        assert found.to_dict() == pytest.approx(expected, abs=1e-12)
        assert 0.05 < whole.mean() < 0.9


def test_a_condition_is_measured_on_its_own_images_alone(tmp_path):
    content = draw_truth(40)
    rows = draw_results(content)
    night = [image["id"] for image in content["images"] if image["timeofday"] == "night"]
    alone = {
        **content,
        "images": [image for image in content["images"] if image["id"] in night],
        "annotations": [box for box in content["annotations"] if box["image_id"] in night],
    }
    truth, found = read(content, tmp_path, rows)
    table = score_table(found, found, truth).set_index(["part", "of"])
    expected = coco(alone, [row for row in rows if row["image_id"] in night])[0].mean()
    assert table.loc[("timeofday", "night"), "A"] == pytest.approx(expected, abs=1e-12)
    assert table.loc[("timeofday", "night"), "images"] == len(night)


def test_weights_give_what_drawing_whole_sequences_and_measuring_anew_gives(tmp_path):
    """A plain bootstrap: images are copied under new ids, and pycocotools measures the copies."""
    content = draw_truth(24, group=3)
    rows = [draw_results(content, seed) for seed in (1, 2)]
    truth, *lists = read(content, tmp_path, *rows)
    weights = np.random.default_rng(5).multinomial(8, np.full(8, 1 / 8), 6).astype(np.int32)
    ranked = [rankings(x, truth, matches(x, truth), truth.group, 8, 10) for x in lists]
    ours = precisions(ranked, weights)
    for number, weight in enumerate(weights):
        copies = [
            (image["id"], 1000 * copy_number + image["id"])
            for index, image in enumerate(content["images"])
            for copy_number in range(weight[index // 3])
        ]

        def again(entries, copies=copies):
            return [
                {**entry, "image_id": new}
                for old, new in copies
                for entry in entries
                if entry["image_id"] == old
            ]

        boxes = [{**box, "id": i} for i, box in enumerate(again(content["annotations"]), 1)]
        drawn = {**content, "images": [{"id": new} for _, new in copies], "annotations": boxes}
        for side, of_list in enumerate(rows):
            expected = coco(drawn, again(of_list)).T
            expected = np.where(expected < 0, np.nan, expected)
            np.testing.assert_allclose(ours[number, side], expected, rtol=0, atol=1e-12)


def test_the_interval_of_a_mean_is_students():
    """For a mean the jackknife's error is the standard error, and the interval the one of textbooks."""
    values = np.random.default_rng(0).normal(5, 2, 30)
    without = (values.sum() - values) / 29
    expected = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert interval(values.mean(), without) == pytest.approx(expected)


def test_the_area_is_what_many_points_of_the_curve_tend_to(tmp_path):
    content = draw_truth(60)
    truth, found = read(content, tmp_path, draw_results(content))
    match = matches(found, truth)
    weights = np.random.default_rng(0).integers(0, 3, 60).astype(np.int32)
    for ranking in rankings(found, truth, match, truth.group, 60, 1):
        each = weights[ranking.group]
        hit = np.isin(np.arange(len(each)), ranking.hits[0]) * each
        recall = np.cumsum(hit) / (weights @ ranking.objects)
        precision = np.cumsum(hit) / np.maximum(np.cumsum(each), 1)
        points = np.linspace(0, 1, 20_001)[1:]
        curve = [precision[recall >= point].max(initial=0) for point in points]
        assert ranking.area(weights)[0] == pytest.approx(np.mean(curve), abs=1e-4)


def test_every_group_is_left_out_once_and_many_in_blocks():
    for groups, blocks in ((7, 7), (40, 40), (41, 21), (1000, 40)):
        weights = leavings(groups)
        assert weights.shape == (blocks, groups)
        assert ((1 - weights).sum(0) == 1).all()


def test_the_error_is_that_of_a_plain_bootstrap_over_sequences(tmp_path):
    content = draw_truth(400, group=2, seed=3)
    rows = [draw_results(content, seed) for seed in (1, 2)]
    truth, *lists = read(content, tmp_path, *rows)
    row = score_table(*lists, truth).iloc[0]
    assert row["groups"] == 200
    weights = np.random.default_rng(1).multinomial(200, np.full(200, 1 / 200), 300)
    ranked = [rankings(x, truth, matches(x, truth), truth.group, 200, 1) for x in lists]
    means = precisions(ranked, weights.astype(np.int32)).mean((2, 3))
    spread = 2 * 1.97 * (means[:, 1] - means[:, 0]).std()
    assert row["high"] - row["low"] == pytest.approx(spread, rel=0.15)


def test_intervals_hold_the_true_difference_about_as_often_as_they_say(tmp_path):
    """Lists drawn alike differ by nothing; `benchmarks/difference.py` does this at length."""
    content = draw_truth(50, seed=1)
    truth, *lists = read(
        content, tmp_path, *(draw_results(content, seed) for seed in range(2, 122))
    )
    group = truth.group
    ranked = [rankings(x, truth, matches(x, truth), group, 50, 1) for x in lists]
    everything = np.ones((1, 50), np.int32)
    held = 0
    for pair in zip(ranked[::2], ranked[1::2], strict=True):
        [here] = precisions(list(pair), everything).mean((2, 3))
        without = areas(list(pair), leavings(50)).mean((2, 3))
        low, high = interval(here[1] - here[0], without[:, 1] - without[:, 0])
        held += low <= 0 <= high
    assert 53 <= held <= 60


def test_swapping_the_lists_turns_every_sign_and_nothing_else(tmp_path):
    content = draw_truth(30)
    truth, a, b = read(content, tmp_path, draw_results(content, 1), draw_results(content, 2, 0.9))
    there, back = (score_table(*lists, truth) for lists in ((a, b), (b, a)))
    assert (there["difference"] == -back["difference"]).all()
    assert there["low"].to_numpy() == pytest.approx(-back["high"].to_numpy(), abs=1e-12)
    assert there["A"].tolist() == back["B"].tolist()


def test_a_list_against_itself_differs_by_nothing_with_no_doubt(tmp_path):
    content = draw_truth(30)
    truth, a = read(content, tmp_path, draw_results(content))
    table = score_table(a, a, truth)
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)


def test_images_of_few_sequences_have_no_interval_and_pictures_of_one_are_drawn_together(tmp_path):
    content = draw_truth(24, group=6)
    truth, a, b = read(content, tmp_path, draw_results(content, 1), draw_results(content, 2))
    table = score_table(a, b, truth)
    assert table["groups"].iloc[0] == 4
    assert table["low"].isna().all()


def test_a_class_in_one_image_alone_has_no_interval_and_leaves_that_of_all_defined(tmp_path):
    content = draw_truth(12)
    rare = next(box for box in content["annotations"] if box["category_id"] == 8)
    content["annotations"] = [
        box for box in content["annotations"] if box["category_id"] != 8 or box is rare
    ]
    truth, a, b = read(content, tmp_path, draw_results(content, 1), draw_results(content, 2))
    table = score_table(a, b, truth)
    assert np.isfinite(table.loc[table["part"] == "all", ["low", "high"]]).all(axis=None)
    assert table.set_index("of").loc["<tram>", ["low", "high"]].isna().all()


def test_scores_that_tie_are_ranked_as_pycocotools_ranks_them(tmp_path):
    content = draw_truth(40)
    rows = [{**row, "score": round(row["score"], 1)} for row in draw_results(content)]
    truth, found = read(content, tmp_path, rows)
    table = score_table(found, found, truth)
    assert table["A"].iloc[1] == pytest.approx(coco(content, rows).mean(), abs=1e-12)
