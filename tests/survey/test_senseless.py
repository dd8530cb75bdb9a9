"""Training material that teaches nothing is a fault of `data check`; without boxes `fit` ends."""

from __future__ import annotations

import re

import pytest
import yaml
from PIL import Image

from yolo_synth.cli import main
from yolo_synth.data.source import data_module
from yolo_synth.data.yolo import YOLO


def write(root, names="[person, car]", **lines):
    """Draw a YOLO data set of 12 images; `lines` are the labels of some, the others have one car."""
    for number in range(12):
        part = ("train", "val", "test")[min(number // 6, 1) + (number > 8)]
        image = root / f"set/images/{part}/{number}.png"
        label = root / f"set/labels/{part}/{number}.txt"
        for path in (image, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 48), 90).convert("RGB").rotate(number).save(image)
        label.write_text(lines.get(f"n{number}", "1 0.5 0.5 0.5 0.5\n"))
    (root / "set/data.yaml").write_text(f"names: {names}\n")


def checked(root, capsys, **settings):
    config = {"class_path": "yolo_synth.YOLO", "init_args": {"root": str(root / "set"), **settings}}
    (root / "data.yaml").write_text(yaml.dump(config))
    code = main(["data", "check", str(root / "data.yaml")])
    out = capsys.readouterr().out
    found = re.findall(r"^([a-z-]+): .*\((\d+)\)$", out, re.M)
    return code, out, {kind: int(number) for kind, number in found}


CASES = {
    "boxes below a pixel": (
        {"n0": "1 0.5 0.5 0.01 0.5\n1 0.2 0.2 0.1 0.01\n1 .5 .5 .1 .1\n"}, {"tiny-box": 2}
    ),
    "a box three times": ({"n1": "1 .5 .5 .2 .2\n" * 3 + "0 .5 .5 .2 .2\n"}, {"double-box": 2}),
    "a validation without boxes": (dict.fromkeys(("n6", "n7", "n8"), ""), {"split-without-box": 1}),
    "no box at all": (dict.fromkeys((f"n{n}" for n in range(12)), ""), {"split-without-box": 3}),
    "one image without boxes": ({"n0": ""}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_senseless_material_is_a_fault(tmp_path, case, capsys):
    lines, faults = CASES[case]
    write(tmp_path, **lines)
    code, _, found = checked(tmp_path, capsys)
    assert (code, found) == (int(bool(faults)), faults)


@pytest.mark.parametrize("name", ["Person", "CAR", " bus", "Truck "])
def test_a_class_in_other_letters_is_not_left_out_by_the_star(tmp_path, name, capsys):
    write(tmp_path, f"[dog, {name!r}]")
    code, out, found = checked(tmp_path, capsys, labels={"*": None})
    assert (code, found) == (1, {"refused": 1})
    assert f"has a category {name!r}, which is no name of a class" in out
    code, out, found = checked(tmp_path, capsys, labels={"*": None, name: name.strip().lower()})
    assert (code, found) == (0, {})
    assert checked(tmp_path, capsys, labels={"*": None, name: None})[2] == {"split-without-box": 3}


def test_kinds_that_are_left_out_are_counted(tmp_path, capsys):
    write(tmp_path, "[dog, car]", n0="0 .5 .5 .2 .2\n1 .5 .5 .2 .2\n")
    _, out, _ = checked(tmp_path, capsys, labels={"*": None})
    assert "Boxes of other kinds, which are left out: 1 dog." in out


def test_images_that_are_not_read_are_faults_and_other_files_are_told(tmp_path, capsys):
    write(tmp_path)
    (tmp_path / "set/images/train/a.heic").write_bytes(b"x")
    (tmp_path / "set/labels/train/a.xml").write_text("<a/>")
    code, out, found = checked(tmp_path, capsys)
    assert (code, found) == (1, {"unread-image": 1})
    assert "a.heic: .heic is not read; convert it" in out
    assert "1 files are not used: 1 .xml, as " in out


def test_all_mistakes_are_told_in_one_round(tmp_path, capsys):
    write(tmp_path, n0="1 2\n9 .1 .1 .1 .1\n", n7="1 5 5 5 5\n")
    code, out, found = checked(tmp_path, capsys)
    assert (code, found) == (1, {"refused": 3})
    assert [where in out for where in ("0.txt line 1", "0.txt line 2", "7.txt line 1")] == [
        True
    ] * 3


def test_nothing_is_trained_without_a_box_and_nothing_is_left_behind(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, **{f"n{number}": "" for number in range(6)})
    config = {"class_path": "yolo_synth.YOLO", "init_args": {"root": "set", "image_size": 64}}
    message = r"none of the 6 training images has a box of a class .*: 6 have no box at all"
    with pytest.raises(ValueError, match=message):
        data_module(config).train_dataloader()
    (tmp_path / "data.yaml").write_text(yaml.dump(config))
    assert main(["fit", "--data", "data.yaml", "--model.width", "0.125"]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


def test_a_test_without_training_boxes_can_still_be_measured(tmp_path):
    write(tmp_path, **{f"n{number}": "" for number in range(6)})
    data = YOLO(tmp_path / "set", image_size=64)
    data.prepare_data()
    assert len(data.dataset("test")) == 3
