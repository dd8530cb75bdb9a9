"""`data check` as a user meets it: each kind of fault is found, named and counted, and nothing else."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from survey.scenes import (
    JSON,
    bdd_name,
    data_file,
    gtav_name,
    picture,
    write_image,
    write_scenes,
    write_text,
)

from yolo_synth.cli import main
from yolo_synth.data.source import open_data
from yolo_synth.survey.faults import KINDS, box_faults
from yolo_synth.survey.findings import examine


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def root(sound, tmp_path):
    return Path(shutil.copytree(sound, tmp_path / "data"))


def checked(root, data, capsys, *options):
    """Return the exit code of `data check`, what it printed, and how many faults of each kind."""
    code = main(["data", "check", data_file(root, data), *options])
    out = capsys.readouterr().out
    found = re.findall(r"^([a-z-]+): .*\((\d+)(?:, ignored)?\)$", out, re.M)
    return code, out, {kind: int(number) for kind, number in found}


@pytest.mark.parametrize("data", ["BDD100K", "GTAV", "COCO", "YOLO"])
def test_a_sound_data_set_passes(data, root, capsys):
    code, out, found = checked(root, data, capsys)
    assert (code, found) == (0, {})
    assert "10 images opened (160x96: 10), 10 boxes." in out
    alone = data in ("BDD100K", "YOLO")
    assert ("Each image is a group (sequence, ride) of its own." in out) == alone
    assert out.rstrip().endswith(
        "Nothing is broken." if alone else "No file is broken, but see LEAK above."
    )


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit_json(root: Path, change, part: str = "train") -> None:
    path = root / JSON.format(part=part)
    frames = json.loads(path.read_text())
    change(frames)
    path.write_text(json.dumps(frames))


def bdd(root: Path, number: int) -> Path:
    return root / f"bdd100k/images/100k/train/{bdd_name(number)}"


def gtav(root: Path, number: int, kind: str = "img", suffix: str = "jpg") -> Path:
    frame = gtav_name(number)
    return root / f"gtav/train/{kind}/{frame[:3]}/{frame}.{suffix}"


def coco(root: Path, number: int) -> Path:
    return root / f"coco/images/train/{gtav_name(number)}.jpg"


def set_box(**edges):
    return lambda frames: frames[2]["labels"][0]["box2d"].update(edges)


BREAKS = {
    "image cut off": (
        "BDD100K",
        lambda root: cut(bdd(root, 3)),
        {"damaged-image": 1},
        bdd_name(3),
    ),
    "no image but text": (
        "GTAV",
        lambda root: gtav(root, 4).write_text("404 Not Found"),
        {"damaged-image": 1},
        "001_00005.jpg",
    ),
    "empty image, which the reader refuses": (
        "BDD100K",
        lambda root: bdd(root, 3).write_bytes(b""),
        {"refused": 1, "damaged-image": 1},
        bdd_name(3),
    ),
    "wrong size": (
        "GTAV",
        lambda root: write_image(gtav(root, 4), picture(9)[:80]),
        {"wrong-size": 1},
        "001_00005.jpg: 160x80, its labels are made for 160x96",
    ),
    "box outside": (
        "BDD100K",
        lambda root: edit_json(root, set_box(x2=190.0)),
        {"box-outside": 1},
        f"{bdd_name(2)}: car 10 10 190 50 in 160x96",
    ),
    "degenerate box": (
        "BDD100K",
        lambda root: edit_json(root, set_box(x2=10.0)),
        {"degenerate-box": 1},
        f"{bdd_name(2)}: car 10 10 10 50 in 160x96",
    ),
    "duplicate name": (
        "BDD100K",
        lambda root: shutil.copy(bdd(root, 1), root / "bdd100k/images/100k/val"),
        {"refused": 1, "duplicate-name": 1},
        bdd_name(1),
    ),
    "duplicate name of another suffix": (
        "GTAV",
        lambda root: write_image(gtav(root, 1, suffix="png"), picture(5)),
        {"refused": 1, "duplicate-name": 1},
        "002_00002.png",
    ),
    "image without label, JSON": (
        "BDD100K",
        lambda root: edit_json(root, lambda frames: frames.pop(2)),
        {"image-without-label": 1},
        bdd_name(2),
    ),
    "image without label, CSV": (
        "GTAV",
        lambda root: gtav(root, 2, "bb", "csv").unlink(),
        {"image-without-label": 1},
        "001_00003.jpg",
    ),
    "label without image, JSON": (
        "BDD100K",
        lambda root: edit_json(root, lambda frames: frames.append({"name": "gone.jpg"})),
        {"label-without-image": 1},
        ": gone.jpg",
    ),
    "label without image, CSV": (
        "GTAV",
        lambda root: write_text(root / "gtav/train/bb/002/002_09999.csv", ""),
        {"label-without-image": 1},
        "002_09999.csv",
    ),
    "image without label, COCO": (
        "COCO",
        lambda root: shutil.copy(coco(root, 2), coco(root, 2).with_stem("new")),
        {"image-without-label": 1},
        "images/train/new.jpg: no label",
    ),
    "label without image, COCO": (
        "COCO",
        lambda root: coco(root, 2).unlink(),
        {"label-without-image": 1},
        f"images/train/{gtav_name(2)}.jpg",
    ),
    "image cut off, COCO": (
        "COCO",
        lambda root: cut(coco(root, 2)),
        {"damaged-image": 1},
        f"images/train/{gtav_name(2)}.jpg",
    ),
    "image without label, YOLO": (
        "YOLO",
        lambda root: (root / f"yolo/labels/train/{gtav_name(2)}.txt").unlink(),
        {"image-without-label": 1},
        f"images/train/{gtav_name(2)}.jpg: no label",
    ),
    "label without image, YOLO": (
        "YOLO",
        lambda root: [
            write_text(root / f"yolo/labels/val/{name}.txt", "") for name in ("new", "classes")
        ],
        {"label-without-image": 1},
        "yolo/labels/val/new.txt: images/val/new.jpg",
    ),
    "malformed line, YOLO": (
        "YOLO",
        lambda root: write_text(root / f"yolo/labels/train/{gtav_name(2)}.txt", "0 1 2"),
        {"refused": 1},
        f"{gtav_name(2)}.txt line 1: '0 1 2' is not",
    ),
    "malformed JSON": (
        "BDD100K",
        lambda root: cut(root / JSON.format(part="train")),
        {"refused": 1},
        "bdd100k_labels_images_train.json",
    ),
    "malformed CSV": (
        "GTAV",
        lambda root: gtav(root, 2, "bb", "csv").write_text("24,1,2,3,4\n"),
        {"refused": 1},
        "001_00003.csv line 1: 5 columns instead of 28",
    ),
    "list that names no image, and an image cut off": (
        "BDD100K",
        lambda root: (
            cut(bdd(root, 3)),
            write_text(root / "splits/bdd100k/valid.txt", "gone.jpg\n"),
        ),
        {"refused": 1, "damaged-image": 1},
        "valid.txt line 1: there is no image gone.jpg",
    ),
}


@pytest.mark.parametrize("case", BREAKS)
def test_each_fault_is_found_and_nothing_else(case, root, capsys):
    data, breaks, faults, named = BREAKS[case]
    breaks(root)
    code, out, found = checked(root, data, capsys)
    assert (code, found) == (1, faults)
    # one fault, one line
    assert len([line for line in out.splitlines() if line.startswith("  ")]) == sum(faults.values())
    assert named in out


def test_an_empty_label_is_a_street_without_objects(root, capsys):
    gtav(root, 2, "bb", "csv").write_text("")
    edit_json(root, lambda frames: frames[2].update(labels=[]))
    assert checked(root, "GTAV", capsys)[0] == 0
    assert checked(root, "BDD100K", capsys)[0] == 0


def test_a_box_may_end_on_the_last_pixel_in_either_count(root, capsys):
    edit_json(root, set_box(x1=-1.0, x2=161.0, y2=97.0))
    assert checked(root, "BDD100K", capsys)[0] == 0


@pytest.mark.parametrize("edges", [{"x1": -3.0}, {"y1": -3.0}, {"x2": 163.0}, {"y2": 99.0}])
def test_a_used_box_may_not_reach_over_any_edge(edges, root, capsys):
    edit_json(root, set_box(**edges))
    assert checked(root, "BDD100K", capsys)[2] == {"box-outside": 1}
    edit_json(root, lambda frames: frames[2]["labels"][0].update(category="traffic light"))
    assert checked(root, "BDD100K", capsys)[2] == {}, "a box of another kind is not used"


def test_boxes_in_an_image_of_no_known_size_are_not_judged(root):
    table = open_data(data_file(root, "BDD100K")).table
    table.loc[table["image"] == bdd_name(4), ["width", "height"]] = 0
    assert box_faults(table) == []


def test_an_image_that_went_after_its_labels_were_read_is_missing(root):
    module = open_data(data_file(root, "BDD100K"))
    assert len(module.table) == 10
    bdd(root, 5).unlink()
    [fault] = examine(module).faults
    assert (fault.kind, Path(fault.where).name) == ("missing-image", bdd_name(5))


def test_kinds_that_are_ignored_are_listed_but_do_not_count(root, capsys):
    cut(bdd(root, 3))
    edit_json(root, lambda frames: frames.pop(2))
    one = checked(root, "BDD100K", capsys, "--ignore=image-without-label")
    both = checked(root, "BDD100K", capsys, "--ignore=image-without-label, damaged-image")
    assert (one[0], both[0]) == (1, 0)
    assert one[2] == both[2] == {"damaged-image": 1, "image-without-label": 1}
    assert "1 thing is broken." in one[1]
    assert main(["data", "check", data_file(root, "BDD100K"), "--ignore=rust"]) == 2
    assert "there is no kind rust; there are refused, " in capsys.readouterr().err


def test_all_findings_are_written_and_ten_of_a_kind_are_printed(root, tmp_path, capsys):
    boxes = [
        {"category": "bus", "box2d": {"x1": 0, "y1": n, "x2": 400, "y2": 50}} for n in range(14)
    ]
    edit_json(root, lambda frames: frames[0].update(labels=boxes))
    code, out, found = checked(root, "BDD100K", capsys, f"--out={tmp_path / 'found'}")
    assert (code, found) == (1, {"box-outside": 14})
    assert "and 4 more" in out
    with (tmp_path / "found/faults.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 14
    assert {row["kind"] for row in rows} == {"box-outside"} <= KINDS.keys()


def test_sequences_and_copies_that_two_splits_share_are_told_and_do_not_count(
    root, tmp_path, capsys
):
    _, out, _ = checked(root, "GTAV", capsys)
    assert "LEAK: 2 of 2 sequences" in out
    assert "(2 in train, valid, test)" in out
    assert "No image has a near-duplicate in another split." in out
    lighter = (0.85 * picture(1) + 20).astype("uint8")
    write_image(bdd(root, 8), lighter)  # of test; picture 1 is of train
    code, out, _ = checked(root, "BDD100K", capsys, f"--out={tmp_path / 'found'}")
    assert code == 0
    assert "LEAK: 1 of 2 images of test (50.0%) have a near-duplicate in train" in out
    with (tmp_path / "found/near_duplicates.csv").open() as stream:
        [row] = csv.DictReader(stream)
    assert (Path(row["image"]).name, Path(row["like"]).name) == (bdd_name(8), bdd_name(1))
    assert (row["split"], row["like_split"]) == ("test", "train")


def test_streets_that_look_alike_are_no_duplicates(tiny_root, tmp_path, capsys):
    for name in ("bdd100k", "splits"):
        (tmp_path / name).symlink_to(tiny_root / name)
    code, out, found = checked(tmp_path, "BDD100K", capsys)
    assert "No image has a near-duplicate in another split." in out
    assert (code, set(found)) == (1, {"degenerate-box", "image-without-label"})  # drawn on purpose


def test_images_of_no_list_leak_nothing(root, capsys):
    for split, number in (("train", 0), ("valid", 1), ("test", 3)):  # 0 is of sequence 001
        write_text(root / f"splits/gtav/{split}.txt", f"{gtav_name(number)}.jpg")
    shutil.copy(gtav(root, 0), gtav(root, 2))
    code, out, _ = checked(root, "GTAV", capsys)
    assert code == 0
    assert "LEAK: 1 of 1 sequences or rides of several images" in out
    assert "(1 in valid, test)" in out
    assert "No image has a near-duplicate in another split." in out
    assert "7 images are in no split." in out


def test_the_answer_does_not_depend_on_the_number_of_threads(root, capsys):
    for number in (1, 4, 7):
        cut(bdd(root, number))
    texts = {checked(root, "BDD100K", capsys, f"--workers={n}")[1] for n in (1, 3)}
    assert len(texts) == 1


MISTAKES = {
    "no such file": (None, "nowhere.yaml: no such file"),
    "not YAML": ("a: [", "not YAML"),
    "no data set": ("root: x", "class_path is missing"),
    "unknown class": ("class_path: yolo_synth.Nothing", "yolo_synth.Nothing"),
    "another class": ("class_path: yolo_synth.Detector", "Detector"),
    "unknown option": (
        "{class_path: yolo_synth.GTAV, init_args: {root: x, colour: red}}",
        "colour",
    ),
    "option of a wrong kind": (
        "{class_path: yolo_synth.GTAV, init_args: {root: x, min_area: big}}",
        "min_area",
    ),
    "no folder": ("{class_path: yolo_synth.GTAV, init_args: {root: gone}}", "no folder gone"),
}


@pytest.mark.parametrize("verb", ["check", "describe", "preview", "anchors"])
@pytest.mark.parametrize("case", MISTAKES)
def test_a_wrong_data_file_is_answered_in_one_line(case, verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text, named = MISTAKES[case]
    if text is not None:
        (tmp_path / "nowhere.yaml").write_text(text)
    before = sorted(tmp_path.iterdir())
    assert main(["data", verb, "nowhere.yaml"]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("yolo-synth: error: ")
    assert named in line
    assert sorted(tmp_path.iterdir()) == before
