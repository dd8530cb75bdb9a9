"""All mistakes of a data set's label files are told in one round, wherever they stand."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from yolo_synth.cli import main
from yolo_synth.data.bdd100k import read_bdd100k
from yolo_synth.data.gtav import read_gtav
from yolo_synth.data.mistakes import Mistakes


@pytest.fixture
def scenes(tiny_root, tmp_path):
    shutil.copytree(tiny_root, tmp_path / "scenes")
    return tmp_path / "scenes"


def told(read, root) -> list[str]:
    with pytest.raises(Mistakes) as error:
        read(root)
    assert f"(and {len(error.value.lines) - 1} more" in str(error.value)
    return list(error.value.lines)


def test_all_of_bdd100ks_files_of_many_frames(scenes):
    files = sorted((scenes / "bdd100k/labels").glob("*.json"))
    for file in files:
        frames = json.loads(file.read_text())
        boxed = [label for frame in frames for label in frame["labels"][:1] if "box2d" in label]
        boxed[0]["category"] = "cra"
        boxed[1]["box2d"]["x1"] = "left"
        frames[-1]["name"] = "../x.jpg"
        file.write_text(json.dumps(frames))
    lines = told(read_bdd100k, scenes / "bdd100k")
    for file in files:
        of_file = [line for line in lines if line.startswith(str(file))]
        assert [what in " ".join(of_file) for what in ("'cra'", "x1", "../x.jpg")] == [True] * 3
        assert len(of_file) == 3


def test_all_of_bdd100ks_files_of_one_image_and_a_file_that_is_cut(scenes):
    root = scenes / "bdd100k"
    [train, val] = sorted((root / "labels").glob("*.json"))
    for part, file in (("train", train), ("val", val)):
        folder = root / f"labels/100k/{part}"
        folder.mkdir(parents=True)
        for frame in json.loads(file.read_text()):
            inner = {"timestamp": 0, "objects": frame["labels"]}
            content = {"name": frame["name"][:-4], "frames": [inner]}
            (folder / f"{frame['name'][:-4]}.json").write_text(json.dumps(content))
        file.unlink()
    read_bdd100k(root)
    wrong = sorted((root / "labels/100k/train").iterdir())[:3]
    wrong[0].write_text("{")
    wrong[1].write_text(wrong[1].read_text().replace('"name": "', '"name": "other', 1))
    wrong[2].write_text('{"frames": [{}, {}]}')
    lines = told(read_bdd100k, root)
    assert [line.split(": ")[0].split(" frame")[0] for line in lines] == [str(f) for f in wrong]


def test_all_of_gtavs_box_files(scenes):
    files = [f for f in sorted((scenes / "gtav/train/bb").rglob("*.csv")) if f.stat().st_size]
    first, last = files[0], files[-1]
    assert first.parent != last.parent
    first.write_text(first.read_text().replace(",", ";", 3) + "1,2,3\n")
    last.write_text("a" + last.read_text())
    lines = told(read_gtav, scenes / "gtav")
    places = [str(first), str(first), str(last)]
    assert [line.split(" line ")[0] for line in lines] == places


def test_all_classes_that_gtav_has_not_and_check_lists_them(scenes, tmp_path, capsys):
    files = [f for f in sorted((scenes / "gtav/train/bb").rglob("*.csv")) if f.stat().st_size]
    for number, file in enumerate((files[0], files[-1])):
        _, rest = file.read_text().split(",", 1)
        file.write_text(f"{77 + number},{rest}")
    data = tmp_path / "data.yaml"
    options = {"root": str(scenes / "gtav"), "columns": "class,instance"}
    data.write_text(yaml.dump({"class_path": "yolo_synth.GTAV", "init_args": options}))
    assert main(["data", "check", str(data), "--out", str(tmp_path / "checked")]) == 1
    table = (tmp_path / "checked/faults.csv").read_text()
    for number, file in enumerate((files[0], files[-1])):
        assert f"{file} line 1: class {77 + number} in column 0 is not one of GTAV's" in table
