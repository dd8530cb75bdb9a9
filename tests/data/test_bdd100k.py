from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from yolo_synth.data import bdd100k_labels
from yolo_synth.data.bdd100k import BDD100K, read_bdd100k

LANE = {
    "category": "lane",
    "poly2d": [{"vertices": [[0, 1], [2, 3]], "types": "LL", "closed": False}],
}
ATTRIBUTES = {"weather": "rainy", "scene": "highway", "timeofday": "night"}


def box(category, *edges):
    return {
        "category": category,
        "box2d": dict(zip(("x1", "y1", "x2", "y2"), edges, strict=True)),
        "id": 0,
    }


FRAMES = {
    "train": [
        {
            "name": "aaaa-2.jpg",
            "attributes": ATTRIBUTES,
            "timestamp": 10000,
            "labels": [
                LANE,
                box("motor", 1, 2, 30.5, 40),
                box("traffic sign", 5, 6, 7, 8),
                box("car", 9, 9, 9, 9),
            ],
        },
        {"name": "aaaa-1.jpg", "attributes": ATTRIBUTES, "labels": None},
        {"name": "not-there.jpg", "labels": [box("car", 0, 0, 5, 5)]},
    ],
    "val": [{"name": "bbbb-1.jpg", "labels": [box("person", 0, 0, 20, 30)]}],
}
NAMES = {"train": ["aaaa-1.jpg", "aaaa-2.jpg", "aaaa-3.jpg"], "val": ["bbbb-1.jpg"]}
LABELS = {2018: "bdd100k_labels_images_{}.json", 2020: "det_20/det_{}.json"}


def write(images, labels, frames=FRAMES, year=2018, wrap=lambda frames: frames):
    for part, names in NAMES.items():
        (images / part).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (64, 36)).save(images / part / name)
        file = labels / LABELS[year].format(part)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(wrap(frames[part])))


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "bdd100k/images/100k", tmp_path / "bdd100k/labels")
    return tmp_path


def test_2018_labels_of_both_parts_make_one_table(root):
    table = read_bdd100k(root)
    assert table["image"].tolist() == ["aaaa-1.jpg"] + ["aaaa-2.jpg"] * 3 + [
        "aaaa-3.jpg",
        "bbbb-1.jpg",
    ]
    assert table["category"].tolist()[1:4] == ["motor", "traffic sign", "car"]
    assert table["label"].tolist() == [-1, 1, -1, 2, -1, 0]
    assert table["dropped"].tolist() == ["no box", "", "label", "degenerate", "no box", ""]
    assert table.loc[1, ["x1", "y1", "x2", "y2"]].tolist() == [1, 2, 30.5, 40]
    assert table["path"].iloc[-1] == "bdd100k/images/100k/val/bbbb-1.jpg"
    assert (root / table["path"].iloc[-1]).is_file()
    assert table["group"].tolist() == ["aaaa"] * 5 + ["bbbb"]
    assert table["weather"].tolist() == ["rainy"] * 4 + ["", ""]
    assert set(table["width"]) == {64}
    assert set(table["height"]) == {36}
    assert set(table["instance"]) == {-1}


def test_what_has_no_counterpart_is_counted(root, caplog):
    with caplog.at_level("INFO", "yolo_synth"):
        read_bdd100k(root)
    assert "4 images, 4 boxes; 1 images have no entry" in caplog.text
    assert "1 entries have no image" in caplog.text


@pytest.mark.parametrize(
    "wrap", [lambda frames: frames, lambda frames: {"config": None, "frames": frames}]
)
def test_2020_labels_as_list_or_object(tmp_path, wrap):
    renamed = json.loads(
        json.dumps(FRAMES).replace('"motor"', '"motorcycle"').replace('"person"', '"pedestrian"')
    )
    for frames in renamed.values():
        for frame in frames:
            for label in frame.get("labels") or []:
                label |= {"id": "0123", "box2d": label.get("box2d")}
    write(tmp_path / "bdd100k/images/100k", tmp_path / "bdd100k/labels", renamed, 2020, wrap)
    table = read_bdd100k(tmp_path)
    assert table["label"].tolist() == [-1, 1, -1, 2, -1, 0]
    assert table["category"].tolist()[-1] == "pedestrian"


@pytest.mark.parametrize(
    ("images", "labels", "start"),
    [
        ("bdd100k/images/100k", "bdd100k/labels", "bdd100k"),
        ("bdd100k_images_100k/bdd100k/images/100k", "bdd100k_labels_release/bdd100k/labels", ""),
        ("bdd100k/images/100k", "bdd100k_labels_release/bdd100k/labels", ""),
        ("images/100k", "labels", ""),
        ("images/100k", "labels", "images/.."),
        ("bdd100k/bdd100k/images/100k", "bdd100k_labels_release/bdd100k/labels", ""),  # Kaggle's
        ("bdd100k_images_100k/100k", "bdd100k_det_20_labels_trainval/bdd100k/labels", ""),
        ("100k", "", ""),
        ("", "labels", ""),
        ("disk/a/b/images/100k", "disk/c/labels", ""),
    ],
)
def test_layouts(tmp_path, images, labels, start):
    write(tmp_path / images, tmp_path / labels)
    table = read_bdd100k(tmp_path / start)
    assert len(table) == 6
    assert all((tmp_path / start / path).is_file() for path in table["path"])


FORMS = {
    "2018": lambda name, frame: {
        "name": name.removesuffix(".jpg"),
        "attributes": frame.get("attributes"),
        "frames": [{"timestamp": 10000, "objects": frame.get("labels") or []}],
    },
    "Scalabel": lambda name, frame: frame,
    "Scalabel with frames": lambda name, frame: {"frames": [frame], "config": None},
    "Scalabel in a list": lambda name, frame: [frame],
}


def split_labels(root, form, where="bdd100k/labels/100k"):
    """Write a label file for each image, and remove those of all images."""
    for part, frames in FRAMES.items():
        (root / where / part).mkdir(parents=True)
        for frame in frames:
            file = (root / where / part / frame["name"]).with_suffix(".json")
            file.write_text(json.dumps(FORMS[form](frame["name"], frame)))
        (root / "bdd100k/labels" / LABELS[2018].format(part)).unlink()


@pytest.mark.parametrize("form", FORMS)
def test_a_label_file_for_each_image(root, form, caplog):
    expected = read_bdd100k(root)
    split_labels(root, form)
    with caplog.at_level("INFO", "yolo_synth"):
        assert read_bdd100k(root).equals(expected)
    assert "1 images have no entry" in caplog.text
    assert "1 entries have no image" in caplog.text


@pytest.mark.parametrize("where", ["labels_of_images/100k", "bdd100k_labels/labels/100k", "100k"])
def test_places_of_label_files_for_each_image(root, where):
    expected = read_bdd100k(root)
    split_labels(root, "2018", where)
    assert read_bdd100k(root).equals(expected)


def test_png_images_are_called_as_labels_and_lists_call_them(root):
    expected = read_bdd100k(root)
    for file in list(root.rglob("*.jpg")):
        Image.open(file).save(file.with_suffix(".png"))
        file.unlink()
    table = read_bdd100k(root)
    assert table["path"].tolist() == [path.replace(".jpg", ".png") for path in expected["path"]]
    assert table.drop(columns="path").equals(expected.drop(columns="path"))


@pytest.mark.parametrize("inside", ["", "labels", "a/b/bdd100k/labels"])
def test_labels_apart_from_images(root, tmp_path_factory, inside):
    expected = read_bdd100k(root)
    apart = tmp_path_factory.mktemp("apart")
    shutil.move(root / "bdd100k/labels", apart / inside / "x")
    (apart / inside).mkdir(parents=True, exist_ok=True)
    for file in (apart / inside / "x").iterdir():
        file.rename(apart / inside / file.name)
    assert read_bdd100k(root, apart).equals(expected)
    assert not list(apart.rglob("*.parquet")), "the index is beside the images"
    with pytest.raises(FileNotFoundError, match=r"no labels .* holds bdd100k/; .*data\.label_root"):
        read_bdd100k(root)
    edited = next(apart.rglob("*train.json"))
    edited.write_text(edited.read_text().replace('"car"', '"bus"'))
    assert (read_bdd100k(root, apart)["category"] == "bus").sum() == 1


def test_one_label_file_for_all(root, tmp_path_factory):
    expected = read_bdd100k(root)
    shutil.rmtree(root / "bdd100k/labels")
    file = tmp_path_factory.mktemp("apart") / "mine.json"
    file.write_text(json.dumps(FRAMES["train"] + FRAMES["val"]))
    assert read_bdd100k(root, file).equals(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"aaaa-1\.json: Input data was truncated"),
        ("", r"aaaa-1\.json: Input data was truncated"),
        ('{"name": "bbbb-1"}', r"aaaa-1\.json: its labels are of image 'bbbb-1'"),
        ('{"frames": [{}, {}]}', r"aaaa-1\.json: 2 frames in a label file"),
        (json.dumps({"labels": [box("cra", 0, 0, 9, 9)]}), r"aaaa-1\.json: .*'cra'"),
    ],
)  # fmt: skip
def test_malformed_label_files_of_an_image_are_named(root, text, message):
    split_labels(root, "2018")
    (root / "bdd100k/labels/100k/train/aaaa-1.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_bdd100k(root)


def test_2018_labels_come_before_those_of_2020(root):
    other = {part: [] for part in FRAMES}
    for part in other:
        file = root / "bdd100k/labels" / LABELS[2020].format(part)
        file.parent.mkdir(exist_ok=True)
        file.write_text("[]")
    assert (read_bdd100k(root)["dropped"] == "").sum() == 2


def test_missing_folders_are_listed(tmp_path, root):
    with pytest.raises(
        FileNotFoundError,
        match=r"no BDD100K images in .*images/100k and 100k, .*there is no folder .*holds bdd100k/",
    ):
        read_bdd100k(tmp_path / "nowhere")
    (root / "bdd100k/labels/bdd100k_labels_images_val.json").unlink()
    with pytest.raises(
        FileNotFoundError,
        match=r"100k/val: looked for labels/bdd100k_labels_images_val\.json, .*det_20",
    ):
        read_bdd100k(root)


def test_one_part_alone_is_enough(root):
    shutil.rmtree(root / "bdd100k/images/100k/val")
    assert read_bdd100k(root)["image"].nunique() == 3


def train_file(root):
    return root / "bdd100k/labels/bdd100k_labels_images_train.json"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"name": "aaaa-1.jpg", "labels": [}]', r"train\.json: JSON is malformed.*byte 35"),
        ('[{"name": "aaaa-1.jpg"}', r"train\.json: .*truncated"),
        ("", r"train\.json is empty"),
        ("3", r"train\.json: Expected `array`"),
        ('{"images": []}', r"train\.json: .*`frames`"),
        ('[{"name": "aaaa-1.jpg"}, {"labels": []}]', r"train\.json frame 1: .*`name`"),
        (
            '[{"name": "aaaa-1.jpg", "labels": [{"category": "car", "box2d": {"x1": "4"}}]}]',
            r"train\.json frame 0: Expected `float`, got `str` - at `\$\.labels\[0\]\.box2d\.x1`",
        ),
        ('[{"name": "aaaa-1.jpg"}, {"name": "aaaa-1.jpg"}]', r"frame 1: image aaaa-1\.jpg has"),
        ('[{"name": "../aaaa-1.jpg"}]', r"frame 0: '\.\./aaaa-1\.jpg' is not the plain name"),
        ('[{"name": "/etc/passwd"}]', r"frame 0: '/etc/passwd' is not the plain name"),
        ("[" * 100_000, r"train\.json: "),
    ],
)  # fmt: skip
def test_malformed_labels_are_named_with_their_place(root, text, message):
    train_file(root).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_bdd100k(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("block", [1, 8, 64, 200, 1000])
def test_a_label_file_read_in_parts_gives_the_same(root, monkeypatch, block):
    tricky = {"name": "aaaa-3.jpg", "timestamp": ', {"name": "x"}, {"name"', "labels": []}
    inner = [{"name": "no frame"}, {"name": "nor this"}, box("bus", 1, 2, 3, 4)]
    tricky["labels"] = [{**entry, "category": "bus"} for entry in inner]
    file = train_file(root)
    file.write_text(json.dumps([tricky, *FRAMES["train"]], indent=2))
    whole = read_bdd100k(root)
    shutil.rmtree(root / ".yolo_synth")
    monkeypatch.setattr(bdd100k_labels, "_BLOCK", block)
    pd.testing.assert_frame_equal(read_bdd100k(root), whole)


def test_a_label_file_read_in_parts_is_still_checked(root, monkeypatch):
    monkeypatch.setattr(bdd100k_labels, "_BLOCK", 400)
    file = train_file(root)
    frames = [{"name": f"{number}.jpg", "labels": []} for number in range(99)]
    file.write_text(json.dumps(frames)[:-1] + "}")
    with pytest.raises(ValueError, match=rf"{file.name} from frame [1-9]\d on: JSON is malformed"):
        read_bdd100k(root)


def test_labels_of_other_images_are_refused(root):
    for part in ("train", "val"):
        (root / f"bdd100k/labels/bdd100k_labels_images_{part}.json").write_text(
            '[{"name": "other.jpg"}]'
        )
    with pytest.raises(
        ValueError, match=r"none of the 4 images has an entry in .*train\.json or .*val\.json"
    ):
        read_bdd100k(root)


def test_hidden_files_are_no_images(root):
    (root / "bdd100k/images/100k/train/._aaaa-1.jpg").write_bytes(b"left by another system")
    assert read_bdd100k(root)["image"].nunique() == 4


def test_invalid_utf8_is_named(root):
    train_file(root).write_bytes(b'[{"name": "aaaa-1.jpg", "labels": [{"category": "\xff\xfe"}]}]')
    with pytest.raises(ValueError, match=r"train\.json"):
        read_bdd100k(root)


@pytest.mark.parametrize("edge", ["1e300", "-1e12"])
def test_absurd_edges_are_named(root, edge):
    label = f'{{"category": "car", "box2d": {{"x1": 0, "y1": 0, "x2": {edge}, "y2": 5}}}}'
    train_file(root).write_text(f'[{{"name": "aaaa-1.jpg", "labels": [{label}]}}]')
    with pytest.raises(
        ValueError, match=r"train\.json frame 0: .*[<>].*box2d\.[xy]|train\.json frame 0: .*range"
    ):
        read_bdd100k(root)


def test_an_unknown_category_is_named_with_file_image_and_the_known_ones(root):
    frames = [{"name": "aaaa-1.jpg", "labels": [box("cra", 0, 0, 9, 9)]}]
    train_file(root).write_text(json.dumps(frames))
    with pytest.raises(
        ValueError,
        match=r"train\.json frame 0: image aaaa-1\.jpg .*'cra'; known are person, pedestrian",
    ):
        read_bdd100k(root)


def test_a_file_that_is_no_image_is_named_unless_such_are_skipped(root):
    (root / "bdd100k/images/100k/val/bbbb-1.jpg").write_bytes(b"<html>")
    table = read_bdd100k(root)
    sizes = table.set_index("image")[["width", "height"]]
    assert (sizes.loc["bbbb-1.jpg"].to_numpy() == 0).all()
    assert (sizes.drop("bbbb-1.jpg").to_numpy() > 0).all()
    with pytest.raises(ValueError, match=r"bbbb-1\.jpg is not an image"):
        _ = BDD100K(root).table
    assert BDD100K(root, on_error="skip").table.equals(table)


def test_a_size_is_that_of_the_picture_as_it_is_shown(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((36, 64, 3), np.uint8)).save(
        root / "bdd100k/images/100k/val/bbbb-1.jpg", exif=exif
    )
    assert read_bdd100k(root)[["width", "height"]].iloc[-1].tolist() == [36, 64]
