from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from yolo_synth.data.yolo import YOLO, read_yolo

LABELS = {"tram": None}


@pytest.fixture
def root(tmp_path):
    for path in ("train/x/a.jpg", "train/b.JPG", "train/c.png", "val/a.jpeg"):
        file = tmp_path / "images" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 40)).save(file)
    (tmp_path / "images/train/notes.txt").write_text("no image")
    for path, text in (
        ("train/x/a.txt", "2 0.5 0.5 0.25 1\n\n0 1 1 0.5 0.5\n"),
        ("train/b.txt", "\n"),
        ("val/a.txt", b"1 .1 .1 .1 .1"),
    ):
        file = tmp_path / "labels" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "data.yaml").write_text("train: images/train\nnc: 3\nnames: [person, tram, car]\n")
    return tmp_path


def test_images_and_boxes_of_all_parts_make_one_table(root, caplog):
    with caplog.at_level("INFO", "yolo_synth"):
        table = read_yolo(root, LABELS)
    assert "4 images, 3 boxes; 1 images have an empty and 1 no label file" in caplog.text
    assert table["image"].tolist() == [
        "images/train/b.JPG", "images/train/c.png", "images/train/x/a.jpg", "images/train/x/a.jpg",
        "images/val/a.jpeg",
    ]  # fmt: skip
    assert table["dropped"].tolist() == ["no box", "no box", "", "", "label"]
    assert table["label"].tolist() == [-1, -1, 2, 0, -1]
    assert table.loc[2, ["x1", "y1", "x2", "y2"]].tolist() == [30, 0, 50, 40]
    assert table.loc[3, ["x1", "y1", "x2", "y2"]].tolist() == [60, 30, 100, 50]
    assert table["group"].tolist() == table["image"].tolist()
    assert set(table["width"]) == {80}
    assert set(table["height"]) == {40}


def test_the_other_layout_and_names_by_number(root, tmp_path):
    other = tmp_path / "other"
    for kind in ("images", "labels"):
        (other / "train").mkdir(parents=True, exist_ok=True)
        (root / kind / "train").rename(other / "train" / kind)
    (other / "street.yml").write_text("names: {0: person, 2: car}")
    assert read_yolo(other)["path"].tolist()[-1] == "train/images/x/a.jpg"
    (other / "train/labels/b.txt").write_text("1 0 0 0 0")
    with pytest.raises(ValueError, match=r"b.txt line 1: there is no class 1; .* names 0, 2"):
        read_yolo(other)


def test_the_data_module_splits_by_folder(root):
    for number in range(4):
        Image.new("RGB", (80, 40)).save(root / f"images/train/{number}.png")
    data = YOLO(root, labels=LABELS, group=r"images/\w+/(.*)\.", image_size=64)
    assert data.names("test") == ["images/val/a.jpeg"]
    assert len(data.names("train") + data.names("valid")) == 7
    assert data.dataset("train")[data.names("train").index("images/train/b.JPG")][1][
        "boxes"
    ].shape == (0, 4)
    assert "x/a" in set(data.table["group"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.1 0.1 0.1 0.1\n0 0.1 0.1 0.1\n", "a.txt line 2: '0 0.1 0.1 0.1' is not a class number"),
        ("0 0.1 0.1 0.1 0.1 0.9", "a.txt line 1: .* is not a class number"),
        ("car 0.1 0.1 0.1 0.1", "a.txt line 1: 'car .* is not a class number"),
        ("3 0.1 0.1 0.1 0.1", "a.txt line 1: there is no class 3; .* names 0, 1, 2"),
        ("-1 0.1 0.1 0.1 0.1", "there is no class -1"),
        ("0 10 20 30 40", "a.txt line 1: .* are not numbers from 0 to 1"),
        ("0 nan 0.1 0.1 0.1", "a.txt line 1: .* are not numbers from 0 to 1"),
        ("1 0.1 0.1 0.1 0.1", "has boxes of 'tram', of which data.labels says nothing"),
    ],
)  # fmt: skip
def test_malformed_lines_are_named(root, text, message):
    (root / "labels/train/x/a.txt").write_text(text)
    labels = {"car": "car"} if "tram" in message else LABELS
    with pytest.raises(ValueError, match=message):
        read_yolo(root, labels)


def test_what_is_missing_is_named(root):
    (root / "labels/val").rename(root / "labels/valid")
    with pytest.raises(
        FileNotFoundError, match=r"no labels for the images in .*images/val: there is no"
    ):
        read_yolo(root)
    (root / "labels/valid").rename(root / "labels/val")
    (root / "data.yaml").write_text("names: 3")
    with pytest.raises(ValueError, match=r"data.yaml: .*it should have names: \[car"):
        read_yolo(root)
    (root / "data.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no other \.yaml file"):
        read_yolo(root)
    (root / "data.yaml").write_text("names: [car]")
    (root / "images").rename(root / "pictures")
    with pytest.raises(FileNotFoundError, match=r"looked for images/\{part\} and \{part\}/images"):
        read_yolo(root)


fields = st.sampled_from([b"0", b"1", b"0.5", b"1e400", b"nan", b"-1", b"x", b"\xff", b"9" * 5000])
lines = st.lists(fields, max_size=6).map(b" ".join)
texts = st.lists(lines, max_size=3).map(b"\n".join) | st.binary(max_size=30)
yaml_texts = st.sampled_from(
    [b"names: [car, bus]", b"names: {0: car}", b"names: {a: car}", b"names: 2001-99-99", b"names: [1]"]
) | st.binary(max_size=12).map(lambda text: b"names: " + text)  # fmt: skip


@pytest.mark.fuzz
@given(texts, yaml_texts)
def test_any_files_give_a_table_or_a_value_error(root, text, yaml_text):
    (root / "labels/train/x/a.txt").write_bytes(text)
    (root / "data.yaml").write_bytes(yaml_text)
    try:
        table = read_yolo(root)
    except ValueError as error:
        assert str(root) in str(error)  # noqa: PT017
    else:
        assert len(table) >= 4
