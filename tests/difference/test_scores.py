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

from yolo_synth.difference.precision import matches, rankings
from yolo_synth.difference.results import read_results
from yolo_synth.difference.scores import draws, interval, precisions, score_table
from yolo_synth.difference.truth import read_truth


def read(content, tmp_path, *lists):
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    truth = read_truth(path)
    return truth, *(read_results(rows, truth, "AB"[i]) for i, rows in enumerate(lists))


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
    table = score_table(*lists, truth, resamples=2).set_index(["measure", "part", "of"])
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
    table = score_table(found, found, truth, resamples=2).set_index(["part", "of"])
    expected = coco(alone, [row for row in rows if row["image_id"] in night])[0].mean()
    assert table.loc[("timeofday", "night"), "A"] == pytest.approx(expected, abs=1e-12)
    assert table.loc[("timeofday", "night"), "images"] == len(night)


def test_weights_give_what_drawing_whole_sequences_and_measuring_anew_gives(tmp_path):
    """A plain bootstrap: images are copied under new ids, and pycocotools measures the copies."""
    content = draw_truth(24, group=3)
    rows = [draw_results(content, seed) for seed in (1, 2)]
    truth, *lists = read(content, tmp_path, *rows)
    weights = draws(8, 6, seed=5)
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


def test_the_interval_is_students_about_the_difference_and_wider_for_few_groups():
    again = np.random.default_rng(0).normal(5, 0.1, 4000)
    low, high = interval(0.3, again, 1000)
    assert (low + high) / 2 == pytest.approx(0.3)
    assert (high - low) / 2 == pytest.approx(1.96 * 0.1, rel=0.03)
    assert np.diff(interval(0.3, again, 6)) == pytest.approx(2 * 2.571 * 0.1 * 1.095, rel=0.03)


def test_swapping_the_lists_turns_every_sign_and_nothing_else(tmp_path):
    content = draw_truth(30)
    truth, a, b = read(content, tmp_path, draw_results(content, 1), draw_results(content, 2, 0.9))
    there, back = (score_table(*lists, truth, resamples=50) for lists in ((a, b), (b, a)))
    assert (there["difference"] == -back["difference"]).all()
    assert there["low"].to_numpy() == pytest.approx(-back["high"].to_numpy(), abs=1e-12)
    assert there["A"].tolist() == back["B"].tolist()


def test_a_list_against_itself_differs_by_nothing_with_no_doubt(tmp_path):
    content = draw_truth(30)
    truth, a = read(content, tmp_path, draw_results(content))
    table = score_table(a, a, truth, resamples=50)
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)


def test_images_of_few_sequences_have_no_interval_and_pictures_of_one_are_drawn_together(tmp_path):
    content = draw_truth(24, group=6)
    truth, a, b = read(content, tmp_path, draw_results(content, 1), draw_results(content, 2))
    table = score_table(a, b, truth, resamples=20)
    assert table["groups"].iloc[0] == 4
    assert table["low"].isna().all()


def test_a_class_that_a_draw_lacks_is_out_of_its_mean(tmp_path):
    content = draw_truth(12)
    rare = next(box for box in content["annotations"] if box["category_id"] == 8)
    content["annotations"] = [
        box for box in content["annotations"] if box["category_id"] != 8 or box is rare
    ]
    truth, a, b = read(content, tmp_path, draw_results(content, 1), draw_results(content, 2))
    table = score_table(a, b, truth, resamples=200)
    assert np.isfinite(table.loc[table["part"] == "all", ["low", "high"]]).all(axis=None)


def test_scores_that_tie_are_ranked_as_pycocotools_ranks_them(tmp_path):
    content = draw_truth(40)
    rows = [{**row, "score": round(row["score"], 1)} for row in draw_results(content)]
    truth, found = read(content, tmp_path, rows)
    table = score_table(found, found, truth, resamples=2)
    assert table["A"].iloc[1] == pytest.approx(coco(content, rows).mean(), abs=1e-12)
