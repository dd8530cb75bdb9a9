"""The split that a YOLO data set states itself, and files that nobody reads."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from yolo_synth.data.coco import COCO
from yolo_synth.data.convert import write_converted
from yolo_synth.data.table import EDGES, kept
from yolo_synth.data.yolo import YOLO, read_yolo

BOX = "0 0.5 0.5 0.5 0.5\n"


def draw(root, *paths, labels="labels"):
    """Draw images, each with a label file of one car."""
    for number, path in enumerate(paths):
        image = root / path
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 40), (number, 0, 0)).save(image)
        label = root / path.replace("images", labels, 1)
        label = label.with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(BOX)


def about(root, **entries):
    """Write data.yaml."""
    lines = [f"{key}: {value}" for key, value in entries.items()]
    (root / "data.yaml").write_text("\n".join([*lines, "names: [car]", ""]))


def split(root):
    data = YOLO(root, image_size=64)
    return {part: sorted(data.names(part)) for part in ("train", "valid", "test")}


def test_a_folder_of_pictures_of_trains_is_no_split(tmp_path):
    train = ["images/train/a.jpg", "images/train/val/b.jpg", "images/train/test/c.jpg"]
    valid = ["images/val/train/a.jpg", "images/val/b.jpg"]
    test = ["images/test/train/a.jpg", "images/test/images/val/b.jpg"]
    draw(tmp_path, *train, *valid, *test)
    wanted = {"train": sorted(train), "valid": sorted(valid), "test": sorted(test)}
    about(tmp_path)
    assert split(tmp_path) == wanted
    about(tmp_path, train="images/train", val="images/val", test="images/test")
    assert split(tmp_path) == wanted


ENTRIES = {
    "below the root": ("pictures/images/a", "pictures/images/b", "pictures/images/c"),
    "beside a folder that is not there": tuple(f"../pictures/images/{x}" for x in "abc"),
    "on another machine": tuple(f"/content/set/pictures/images/{x}" for x in "abc"),
    "several folders": ("[images/a, ./pictures/images/a]", "pictures/images/b", "pictures/images/c"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ENTRIES)
def test_the_folders_that_data_yaml_names_are_followed(tmp_path, kind):
    draw(tmp_path, "pictures/images/a/1.jpg", "pictures/images/b/2.jpg", "pictures/images/c/3.jpg")
    draw(tmp_path, "images/a/4.jpg")
    about(tmp_path, **dict(zip(("train", "val", "test"), ENTRIES[kind], strict=True)))
    found = split(tmp_path)
    more = ["images/a/4.jpg"] if kind == "several folders" else []
    assert found["train"] == [*more, "pictures/images/a/1.jpg"]
    assert found["valid"] == ["pictures/images/b/2.jpg"]
    assert found["test"] == ["pictures/images/c/3.jpg"]


def test_a_path_above_the_entries_and_a_folder_that_holds_images_and_labels(tmp_path):
    draw(tmp_path, "sets/train/images/1.jpg", "sets/valid/images/2.jpg", "sets/test/images/3.jpg")
    about(tmp_path, path="sets", train="train", val="valid/images", test="test")
    assert split(tmp_path) == {
        "train": ["sets/train/images/1.jpg"],
        "valid": ["sets/valid/images/2.jpg"],
        "test": ["sets/test/images/3.jpg"],
    }
    assert len(kept(read_yolo(tmp_path))) == 3


def test_lists_of_images_are_followed(tmp_path, caplog):
    draw(tmp_path, *(f"images/all/{name}.jpg" for name in "abcdef"))
    for part, names in (("train", "abc"), ("val", "d"), ("test", "ex")):
        lines = [f"./images/all/{name}.jpg" for name in names]
        (tmp_path / f"{part}.txt").write_text("\ufeff" + "\n".join(lines) + "\n")
    about(tmp_path, train="train.txt", val="./val.txt", test="test.txt")
    with caplog.at_level(logging.INFO, "yolo_synth"):
        found = split(tmp_path)
    assert found["train"] == [f"images/all/{name}.jpg" for name in "abc"]
    assert found["valid"] + found["test"] == ["images/all/d.jpg", "images/all/e.jpg"]
    assert "1 images are in none of the lists" in caplog.text
    assert "1 images that the lists name are not there" in caplog.text


def test_what_data_yaml_names_and_is_not_there_is_said(tmp_path, caplog):
    draw(tmp_path, *(f"images/train/{n}.jpg" for n in range(8)), "images/val/a.jpg")
    about(tmp_path, train="images/train", val="images/val", test="images/test2017")
    found = split(tmp_path)
    assert found["test"] == ["images/val/a.jpg"]
    assert "data.yaml names test: images/test2017, which is not there" in caplog.text


def test_one_folder_for_train_and_val_is_no_split(tmp_path):
    draw(tmp_path, *(f"images/train2017/{n}.jpg" for n in range(8)))
    about(tmp_path, train="images/train2017", val="images/train2017")
    with pytest.raises(ValueError, match="are in none of them; use split_by image or group"):
        split(tmp_path)
    assert len(YOLO(tmp_path, split_by="image").names("train")) == 5


def test_what_is_converted_is_read_back_with_the_same_split_and_plain_names(tmp_path):
    names = [f"images/train2017/{n}.jpg" for n in range(8)]
    draw(tmp_path / "set", *names, "images/val2017/train/a.jpg")
    about(tmp_path / "set", train="images/train2017", val="images/val2017")
    data = YOLO(tmp_path / "set")
    for to, reader in (("yolo", YOLO), ("coco", COCO)):
        write_converted(data, to, tmp_path / to)
        again = reader(tmp_path / to)
        for part, folder in (("train", "train"), ("valid", "val"), ("test", "test")):
            stems = sorted(name.split("/")[-1] for name in data.names(part))
            assert sorted(again.names(part)) == [f"images/{folder}/{stem}" for stem in stems]


def test_folders_stay_where_names_would_clash_without_them(tmp_path):
    draw(tmp_path / "set", *(f"images/train/{c}/images/{n}.jpg" for c in "ab" for n in range(3)))
    draw(tmp_path / "set", "images/val/a.jpg", "images/val/train/a.jpg")
    about(tmp_path / "set")
    data = YOLO(tmp_path / "set", split_by="image")
    write_converted(data, "yolo", tmp_path / "out")
    again = YOLO(tmp_path / "out")
    assert [len(again.names(part)) for part in ("train", "valid", "test")] == [
        len(data.names(part)) for part in ("train", "valid", "test")
    ]


@pytest.mark.parametrize("ending", ["webp", "bmp", "tif", "tiff", "PNG"])
def test_images_of_every_form_that_is_decoded_are_used(tmp_path, ending):
    draw(tmp_path, *(f"images/train/{n}.jpg" for n in range(4)), f"images/val/a.{ending}")
    about(tmp_path)
    data = YOLO(tmp_path, image_size=64)
    assert data.names("test") == [f"images/val/a.{ending}"]
    image, target = data.dataset("test")[0]
    assert image.shape == (3, 64, 64)
    assert len(target["labels"]) == 1


def test_files_that_nothing_reads_are_counted_at_every_start(tmp_path, caplog):
    draw(tmp_path, *(f"images/train/{n}.jpg" for n in range(4)), "images/val/a.jpg")
    about(tmp_path)
    (tmp_path / "images/train/b.heic").write_bytes(b"x")
    (tmp_path / "labels/train/0.xml").write_text("<a/>")
    (tmp_path / "labels/train/gone.txt").write_text(BOX)
    for quiet in ("labels/train/classes.txt", "labels/train.cache", "images/train/.hidden.gif"):
        (tmp_path / quiet).write_text("")
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.INFO, "yolo_synth"):
            read_yolo(tmp_path)
        assert (
            "2 files beside the images and labels are not used: 1 .heic, 1 .xml, as" in caplog.text
        )
        assert "1 label files have no image" in caplog.text
    names = [path.name for path in YOLO(tmp_path).unused()]
    assert names == ["b.heic", "0.xml"]


def test_two_images_of_one_label_file_are_refused(tmp_path):
    draw(tmp_path, "images/train/a.jpg", "images/train/a.png", "images/train/b.jpg")
    about(tmp_path)
    with pytest.raises(ValueError, match=r"a\.jpg and .*a\.png have one label file, .*a\.txt"):
        read_yolo(tmp_path)


def test_all_mistakes_of_all_label_files_are_told_at_once(tmp_path):
    draw(tmp_path, "images/train/a.jpg", "images/train/b.jpg")
    about(tmp_path)
    (tmp_path / "labels/train/a.txt").write_text("0 1 2\n" + BOX + "7 0.5 0.5 0.5 0.5\n")
    (tmp_path / "labels/train/b.txt").write_text("0 5 5 5 5\n")
    with pytest.raises(ValueError, match=r"a\.txt line 1: .* \(and 2 more; ") as error:
        read_yolo(tmp_path)
    found = [line.partition(": ")[0].rpartition("/")[2] for line in error.value.lines]
    assert found == ["a.txt line 1", "a.txt line 3", "b.txt line 1"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_lie_on_turned_pictures_as_they_are_shown(tmp_path, orientation):
    draw(tmp_path, *(f"images/train/{n}.jpg" for n in range(4)), "images/val/a.png")
    about(tmp_path)
    shown = np.zeros((96, 64, 3), np.uint8)
    shown[60:90, 8:40] = 255
    inverse = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Pillow's numbers of the same turns
    stored = Image.fromarray(shown)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(turns[inverse[orientation]]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "images/val/a.png", exif=exif)
    centre = f"{24 / 64} {75 / 96} {32 / 64} {30 / 96}"
    (tmp_path / "labels/val/a.txt").write_text(f"0 {centre}\n")
    data = YOLO(tmp_path, image_size=96)
    assert kept(data.table)[EDGES].to_numpy()[-1].tolist() == [8, 60, 40, 90]
    image, target = data.dataset("test")[0]
    x1, y1, x2, y2 = target["boxes"][0].int().tolist()
    assert (image[:, y1:y2, x1:x2] > 250).all()
    assert (image > 200).sum() == 3 * (y2 - y1) * (x2 - x1)
