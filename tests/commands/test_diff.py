"""The verb diff: what it prints and writes, and what it answers to bad input."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from difference.drawn import draw_results, draw_truth, exact_results
from PIL import Image

import yolo_synth
from yolo_synth.cli import main


@pytest.fixture
def folder(tmp_path):
    """A truth with drawn pictures, and two lists of which B is much better."""
    content = draw_truth(30, most=10)
    content["categories"] = [*content["categories"], {"id": 9, "name": "never"}]
    rng = np.random.default_rng(0)
    for image in content["images"]:
        path = tmp_path / image["file_name"]
        path.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 255, (360, 640, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, quality=50)
    write(tmp_path / "truth.json", content)
    write(tmp_path / "a.json", draw_results(content, 1, 0.4))
    write(tmp_path / "b.json", draw_results(content, 2, 0.95, 1.0))
    return tmp_path


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def diff(folder, *options, a="a.json", b="b.json", truth="truth.json"):
    files = [str(folder / a), str(folder / b), "--truth", str(folder / truth)]
    return main(["diff", *files, "--out", str(folder / "out"), *options])


def test_diff_prints_a_verdict_and_writes_a_page_that_loads_nothing(folder, capsys):
    assert diff(folder) == 0
    out = capsys.readouterr().out
    verdict = next(line for line in out.splitlines() if line.startswith("B is better than A by"))
    scores = pd.read_csv(folder / "out" / "scores.csv")
    assert f"{scores['difference'][0]:+.3f}" in verdict
    boxes = pd.read_parquet(folder / "out" / "boxes.parquet")
    truth = json.loads((folder / "truth.json").read_text())
    assert len(boxes) == len(truth["annotations"])
    page = (folder / "out" / "diff.html").read_text()
    assert len(page) < 5_000_000
    assert verdict.removesuffix(".") in page
    assert "&lt;tram&gt;" in page
    assert "<tram>" not in page
    bold = re.findall(r'class="clear">([^<]+)<', page)
    beyond = (scores["low"] > 0) | (scores["high"] < 0)
    assert bold == [f"{value:+.3f}" for value in scores.loc[beyond, "difference"]]
    assert 0 < len(bold) < len(scores)
    assert not re.search(r"<script|https?://|url\(|@import", page)
    pictures = re.findall(r'src="([^"]{30})', page)
    assert 60 < len(pictures) <= 5 * 24
    assert all(source.startswith("data:image/webp;base64,") for source in pictures)
    only_b = int((boxes["found_by"] == "B").sum())
    assert f"of {only_b}: at most one of an image, the true boxes that B finds" in page


def test_no_pictures_puts_none_into_the_page_and_names_no_image(folder, capsys):
    assert diff(folder, "--no_pictures") == 0
    page = (folder / "out" / "diff.html").read_text()
    assert "<img" not in page
    assert "street/0" not in page
    assert len(page) < 60_000


def test_a_picture_that_is_broken_or_lies_elsewhere_is_counted_and_not_shown(
    folder, capsys, caplog
):
    content = json.loads((folder / "truth.json").read_text())
    (folder / "below").mkdir()
    for image in content["images"][:10]:
        image["file_name"] = f"../{image['file_name']}"
    (folder / content["images"][20]["file_name"]).write_bytes(b"no picture")
    write(folder / "below" / "truth.json", content)
    options = ("--pictures", str(folder / "below"))
    for image in content["images"][10:]:
        (folder / "below" / "street").mkdir(exist_ok=True)
        (folder / image["file_name"]).rename(folder / "below" / image["file_name"])
    assert diff(folder, *options, truth="below/truth.json") == 0
    assert "pictures of the galleries cannot be read" in caplog.text
    assert "cannot identify image file" in caplog.text
    assert "<img" in (folder / "out" / "diff.html").read_text()


def test_alike_detectors_cannot_be_told_apart(folder, capsys):
    assert diff(folder, "--no_pictures", b="a.json") == 0
    out = capsys.readouterr().out
    assert "A and B cannot be told apart" in out
    assert "difference +0.000 has the 95 % interval +0.000 to +0.000" in out
    assert "only A 0, only B 0" in out


def test_a_planted_difference_is_printed(folder, capsys):
    content = json.loads((folder / "truth.json").read_text())
    planted = {box["id"] for box in content["annotations"][::5][:20]}
    write(folder / "a.json", exact_results(content))
    write(folder / "b.json", exact_results(content, without=planted))
    assert diff(folder, "--no_pictures") == 0
    out = capsys.readouterr().out
    assert "only A 20, only B 0, neither 0" in out
    assert "A is better than B by" in out


ROW = {"image_id": 0, "category_id": 3, "bbox": [0, 0, 9, 9], "score": 0.5}


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("", "b.json: is empty"),
        ("[]", "holds no detection"),
        ("not json", "no COCO result file"),
        ('{"images": []}', "no COCO result file"),
        ([{**ROW, "score": "high"}], r"Expected `float`, got `str` - at `\$\[0\].score`"),
        ([{**ROW, "score": float("nan")}], "holds NaN or Infinity"),
        ([{**ROW, "bbox": [0, 0, -3, 9]}], "box of detection 0"),
        ([{**ROW, "bbox": [0, 0, 9]}], "no COCO result file"),
        ([{**ROW, "image_id": 77}, {**ROW, "image_id": 78}], "belongs to another truth"),
        ([{**ROW, "category_id": 99}], "no detection is of a category"),
    ],
)
def test_a_bad_file_is_answered_in_one_line(folder, capsys, content, answer):
    write(folder / "b.json", content)
    assert diff(folder) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert re.search(answer, error)
    assert str(folder / "b.json") in error
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (("--confidence", "2"), "confidence is a score from 0 to 1"),
        (("--pictures", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_a_bad_option_is_answered_in_one_line(folder, capsys, options, answer):
    assert diff(folder, *options) == 2
    assert answer in capsys.readouterr().err


def test_diff_without_truth_or_with_a_bad_one_is_answered_in_one_line(folder, capsys):
    assert main(["diff", str(folder / "a.json"), str(folder / "b.json")]) == 2
    assert "diff needs --truth" in capsys.readouterr().err
    write(folder / "none.json", {"images": [], "annotations": [], "categories": []})
    for truth, answer in (("gone.json", "no such file"), ("none.json", "has no true box")):
        assert diff(folder, truth=truth) == 2
        assert answer in capsys.readouterr().err


def test_what_does_not_belong_to_the_truth_is_counted_and_left_out(folder, capsys, caplog):
    rows = json.loads((folder / "b.json").read_text())
    assert diff(folder, "--no_pictures") == 0
    before = (folder / "out" / "scores.csv").read_text()
    strange = [{**ROW, "image_id": 12345}] * 3 + [{**ROW, "category_id": 55}] * 2
    beyond = [{**ROW, "image_id": 0, "category_id": 9, "score": 0.001}] * 104
    write(folder / "b.json", rows + strange + beyond)
    assert diff(folder, "--no_pictures") == 0
    total = len(rows) + 109
    for note in (
        f"B: 3 of {total} detections are in images that the truth has not, and are left out",
        f"B: 2 of {total} detections are of categories that the truth has not, and are left out",
        "B: 4 detections are beyond the 100 surest of their image and class",
    ):
        assert note in caplog.text
        assert note in (folder / "out" / "diff.html").read_text()
    assert (folder / "out" / "scores.csv").read_text() == before


def test_images_may_be_called_by_their_names_and_the_truth_may_be_a_data_file(folder, capsys):
    assert diff(folder, "--no_pictures") == 0
    before = pd.read_csv(folder / "out" / "scores.csv")
    content = json.loads((folder / "truth.json").read_text())
    content["categories"] = [
        {"id": 3, "name": "car"},
        {"id": 7, "name": "bus"},
        {"id": 8, "name": "truck"},
    ]
    (folder / "annotations").mkdir()
    write(folder / "annotations" / "test.json", content)
    for part in ("train", "val"):  # a data set has these parts too
        Image.new("RGB", (64, 64)).save(folder / "street" / f"{part}.jpg")
        images = [{"id": 1, "file_name": f"street/{part}.jpg", "width": 64, "height": 64}]
        write(
            folder / "annotations" / f"{part}.json",
            {**content, "images": images, "annotations": []},
        )
    data = {"class_path": "yolo_synth.COCO", "init_args": {"root": str(folder)}}
    write(folder / "data.yaml", json.dumps(data))
    names = {image["id"]: image["file_name"] for image in content["images"]}
    kinds = {3: "car", 7: "bus", 8: "truck"}
    for file, form in (("a.json", str), ("b.json", lambda name: name.rpartition("/")[2][:-4])):
        rows = json.loads((folder / file).read_text())
        write(
            folder / file,
            [
                {**row, "image_id": form(names[row["image_id"]])}
                | {"category_id": kinds[row["category_id"]]}
                for row in rows
            ],
        )
    assert diff(folder, "--no_pictures", truth="data.yaml") == 0
    after = pd.read_csv(folder / "out" / "scores.csv")
    whole = before["part"] == "all"
    columns = ["A", "B"]
    assert after.loc[after["part"] == "all", columns].to_numpy() == pytest.approx(
        before.loc[whole, columns].to_numpy(), abs=2e-3
    )


def test_five_lines_of_python_give_the_difference(folder):
    rows = json.loads((folder / "b.json").read_text())
    found = yolo_synth.compare_detections(folder / "a.json", rows, folder / "truth.json")
    assert found.verdict().startswith("B is better than A by")
    assert found.scores.loc[0, "difference"] > 0.1
    with pytest.raises(ValueError, match="detection 0 is no COCO result"):
        yolo_synth.compare_detections([{}], rows, found.truth)
    nan = [rows[0], {**rows[1], "score": np.nan}]
    with pytest.raises(ValueError, match="score of detection 1 is nan"):
        yolo_synth.compare_detections(rows, nan, found.truth)
