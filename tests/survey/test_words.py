"""What is printed speaks of what a data set has, and calls it by its name."""

from __future__ import annotations

import logging

import pytest
import yaml
from survey.test_senseless import write

from yolo_synth.cli import main
from yolo_synth.data.source import open_data
from yolo_synth.data.yolo import YOLO


@pytest.fixture
def file(tmp_path):
    write(tmp_path, **{f"n{number}": "" for number in range(4)})
    settings = {"root": str(tmp_path / "set"), "domain": "Town", "image_size": 64}
    path = tmp_path / "data.yaml"
    path.write_text(yaml.dump({"class_path": "yolo_synth.YOLO", "init_args": settings}))
    return path


def test_a_description_is_silent_on_groups_and_hoods_that_there_are_not(file, tmp_path, capsys):
    assert main(["data", "describe", str(file), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert not [word for word in ("groups", "hood", "ride", "sequence") if word in out]
    assert open_data(file).title == "Town"
    assert YOLO(tmp_path).title == "YOLO"


def test_a_preview_shows_images_with_boxes_first(file, tmp_path, capsys):
    for images, boxes in ((2, 2), (6, 2)):
        out = str(tmp_path / "preview.png")
        main(["data", "preview", str(file), "--images", str(images), "--out", out])
        assert f"{images} images, {boxes} boxes that are used" in capsys.readouterr().out


def test_anchors_of_few_boxes_say_so(file, capsys):
    main(["data", "anchors", str(file), "--count", "1"])
    assert "# so few boxes, less than 100 an anchor" in capsys.readouterr().out


def test_it_is_said_when_val_becomes_the_test(tmp_path, caplog):
    write(tmp_path)
    for kind in ("images", "labels"):
        for path in (tmp_path / f"set/{kind}/test").iterdir():
            path.rename(tmp_path / f"set/{kind}/val/{path.name}")
        (tmp_path / f"set/{kind}/test").rmdir()
    with caplog.at_level(logging.INFO, "yolo_synth"):
        assert len(YOLO(tmp_path / "set").names("test")) == 6
    assert "all of valid is the test set, and 20 % of train is held out" in caplog.text


def test_a_class_of_ones_own_is_looked_at_if_it_is_trusted(file, tmp_path, monkeypatch, capsys):
    (tmp_path / "own_words.py").write_text("from yolo_synth import YOLO\nclass Own(YOLO): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    file.write_text(file.read_text().replace("yolo_synth.YOLO", "own_words.Own"))
    assert main(["data", "check", str(file)]) == 2
    assert "'own_words.Own' is no data set of ours" in capsys.readouterr().err
    assert main(["data", "check", str(file), "--trust"]) == 0
