from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import SequentialSampler

from yolo_synth.data.coco import COCO, read_coco
from yolo_synth.data.dataset import loader
from yolo_synth.data.table import kept

CATEGORIES = [{"id": 3, "name": "car"}, {"id": 7, "name": "pedestrian"}, {"id": 9, "name": "dog"}]
LABELS = {"pedestrian": "person", "dog": None}


def box(image, category, *edges, **more):
    return {"id": 1, "image_id": image, "category_id": category, "bbox": edges, **more}


def content(*images, boxes=(), categories=CATEGORIES):
    entries = [{"width": 64, "height": 36, **image} for image in images]
    return {"images": entries, "annotations": list(boxes), "categories": categories}


TRAIN = content(
    {"id": 11, "file_name": "town/a.png", "timeofday": "night", "group": "ride"},
    {"id": 12, "file_name": "town/b.png"},
    {"id": 13, "file_name": "gone.png"},
    boxes=[
        box(12, 7, 1.5, 2, 10, 20.25, iscrowd=0, area=3, segmentation=[[1, 2, 3]]),
        box(12, 3, 0, 0, 30, 30, iscrowd=1, segmentation={"counts": "x", "size": [1, 2]}),
        box(13, 3, 0, 0, 5, 5),
        box(12, 9, 0, 0, 5, 5),
        box(12, 3, 5, 5, 0, 5),
    ],
)
VAL = content({"id": "x", "file_name": "a.png"}, boxes=[box("x", 3, 60, 30, 10, 10)])


@pytest.fixture
def root(tmp_path):
    for path in ("train2017/town/a.png", "train2017/town/b.png", "val2017/a.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 36)).save(tmp_path / path)
    (tmp_path / "annotations").mkdir()
    write(tmp_path, TRAIN)
    write(tmp_path, VAL, "val")
    return tmp_path


def write(root, values, part="train"):
    file = root / f"annotations/instances_{part}2017.json"
    file.write_bytes(values if isinstance(values, bytes) else json.dumps(values).encode())
    return file


def test_images_and_boxes_of_all_files_make_one_table(root, caplog):
    with caplog.at_level("INFO", "yolo_synth"):
        table = read_coco(root, labels=LABELS)
    assert "3 images, 5 boxes; 1 entries have no image" in caplog.text
    a, b, val = "train2017/town/a.png", "train2017/town/b.png", "val2017/a.png"
    assert table["image"].tolist() == [a, b, b, b, b, val]
    assert table["path"].tolist() == table["image"].tolist()
    assert table["dropped"].tolist() == ["no box", "", "crowd", "label", "degenerate", ""]
    assert table["category"].tolist()[1:] == ["pedestrian", "car (crowd)", "dog", "car", "car"]
    assert table["label"].tolist() == [-1, 0, 2, -1, 2, 2]
    assert table.loc[1, ["x1", "y1", "x2", "y2"]].tolist() == [1.5, 2, 11.5, 22.25]
    assert table.loc[[0, 1], "group"].tolist() == ["ride", b]
    assert table.loc[[0, 1], "timeofday"].tolist() == ["night", ""]
    assert set(table["width"]) == {64}
    assert set(table["height"]) == {36}
    split = COCO(root).read_files(LABELS, None).table.groupby("image")["split"].first()
    assert split.to_dict() == {a: "train", b: "train", val: "valid"}


def test_crowd_regions_reach_evaluation_apart_from_boxes_through_workers_too(root):
    data = COCO(root, labels=LABELS, image_size=64)
    dataset = data.some(["train2017/town/b.png", "val2017/a.png"], size=64)
    [alone] = loader(dataset, SequentialSampler(dataset), 2, 0)
    [[_, (with_crowd, without)]] = loader(dataset, SequentialSampler(dataset), 2, 1)
    row = data.table[data.table["dropped"] == "crowd"].iloc[0]
    top = (64 - 36) / 2  # the letterbox's bars; 64x36 is not scaled
    expected = [row["x1"], row["y1"] + top, row["x2"], row["y2"] + top]
    assert with_crowd["crowd_boxes"].tolist() == [pytest.approx(expected)]
    assert with_crowd["crowd_labels"].tolist() == [2]
    assert with_crowd["labels"].tolist() == [0]
    assert without.keys() == {"boxes", "labels"}
    assert torch.equal(alone[1][0]["crowd_boxes"], with_crowd["crowd_boxes"])


def test_one_file_for_all_and_sizes_from_the_images(root):
    only = content({"id": 1, "file_name": "b.png"}, boxes=[box(1, 3, 0, 0, 9, 9)])
    del only["images"][0]["width"]
    (root / "all.json").write_text(json.dumps(only))
    table = read_coco(root, "all.json", "train2017/town", LABELS)
    assert table[["width", "height"]].to_numpy().tolist() == [[64, 36]]
    assert set(
        COCO(root, annotations="all.json", images="train2017/town")
        .read_files(LABELS, None)
        .table["split"]
    ) == {""}
    data = COCO(root, annotations="all.json", images="train2017/town", labels=LABELS)
    with pytest.raises(ValueError, match="the images here are in none of them; use split_by image"):
        data.names("train")


def test_the_data_module_splits_by_file_and_groups_by_path(root):
    names = [f"town/{number}.png" for number in range(1, 6)]
    for name in names:
        Image.new("RGB", (64, 36)).save(root / "train2017" / name)
    write(root, content(*({"id": name, "file_name": name} for name in names)))
    data = COCO(root, labels=LABELS, group="([^/1-3]+)/?[1-3]?.png$", image_size=64, min_area=10)
    assert set(data.table["group"]) == {"town", "4", "5", "a"}
    assert data.names("test") == ["val2017/a.png"]
    assert data.names("valid") in (["train2017/town/4.png"], ["train2017/town/5.png"])
    assert len(data.names("train")) == 4
    assert data.dataset("test")[0][1]["labels"].tolist() == [2]
    by_image = COCO(root, labels=LABELS, split_by="image", min_area=101)
    assert [len(by_image.names(split)) for split in ("train", "valid", "test")] == [4, 1, 1]
    assert kept(by_image.table).empty


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            {"car": "car"},
            "has boxes of 'pedestrian', 'dog', of which data.labels says nothing: .*'car', 'pedes",
        ),
        ({**LABELS, "dog": "animal"}, "'dog' cannot be 'animal'; the classes are person, cycle"),
        ({"*": None, "pedestrain": "person"}, "'pedestrain' is no category of the COCO data in"),
    ],
)
def test_categories_that_are_not_mapped(root, labels, message):
    with pytest.raises(ValueError, match=message):
        read_coco(root, labels=labels)


def test_a_star_leaves_out_all_others_and_names_can_be_turned_round(root):
    assert kept(read_coco(root, labels={"*": None}))["category"].tolist() == ["car"]
    turned = read_coco(root, labels={"car": "truck", "*": "cycle"})
    assert kept(turned)["label"].tolist() == [1, 1, 4]


def swap(values, key, number, **changes):
    """Return a copy of a file's content with one entry changed."""
    changed = json.loads(json.dumps(values))
    changed[key][number] |= changes
    return changed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (b"", "instances_train2017.json is empty"),
        (b"[1, 2", r"instances_train2017.json: .*is this a COCO file"),
        (b'{"images": []}', "missing required field `annotations`"),
        (b"\xff\xfe{}", "instances_train2017.json: "),
        (b'{"images": ' + b"[" * 100_000, "instances_train2017.json: "),
        (swap(TRAIN, "annotations", 1, bbox=[1, 2, 3]), r"annotation 1: bbox: Expected .*4, got 3"),
        (swap(TRAIN, "annotations", 1, image_id=99), "annotation 1: no image has the id 99"),
        (swap(TRAIN, "annotations", 1, category_id=99), "annotation 1: no category has the id 99"),
        (swap(TRAIN, "annotations", 0, bbox=[1e300, 0, 1e308, 1]), r"annotation 0: .*1e\+300.* are no box"),
        (swap(TRAIN, "images", 1, id=11), "image 1: another one has the id 11"),
        (swap(TRAIN, "images", 1, width=-3), "image 1: -3 is no width or height in pixels"),
        (swap(TRAIN, "images", 1, width="wide"), "image 1: 'wide' is no width"),
        (swap(TRAIN, "images", 0, file_name="../../secret.png"), "'../../secret.png' is not the path"),
        (swap(TRAIN, "images", 1, file_name="/etc/passwd"), "'/etc/passwd' is not the path"),
        (swap(TRAIN, "images", 1, file_name="C:\\a.png"), "is not the path"),
        (swap(TRAIN, "images", 1, file_name="town/a.png"), "two images are called train2017/town/a"),
    ],
)  # fmt: skip
def test_malformed_files_are_named(root, values, message):
    write(root, values)
    with pytest.raises(ValueError, match=message):
        read_coco(root, labels=LABELS)


def test_what_is_missing_is_named_with_where_it_was_looked_for(root):
    with pytest.raises(
        FileNotFoundError, match=r"looked for other_\{part\}.json, \{part\} being train"
    ):
        read_coco(root, "other_{part}.json")
    with pytest.raises(
        FileNotFoundError, match=r"no image of .*instances_val.*a.png: looked in JPEG"
    ):
        read_coco(root, "annotations/instances_val2017.json", "JPEG")
    with pytest.raises(ValueError, match="'/elsewhere' is not the path"):
        read_coco(root, images="/elsewhere")
    with pytest.raises(FileNotFoundError, match=r"annotations/instances_\{part\}\.json, "):
        read_coco(root / "train2017")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
ids = st.sampled_from([1, 2, "1", 2**70, None, 1.5])
names = st.sampled_from(["town/a.png", "town/b.png", "../a.png", "", "town", "\0", "no.png"])
image_entries = st.fixed_dictionaries(
    {"id": ids, "file_name": names | scalars},
    optional={"width": scalars, "height": st.sampled_from([0, 36, 2**40]), "group": scalars},
)
box_entries = st.fixed_dictionaries(
    {"image_id": ids, "category_id": ids},
    optional={"bbox": st.lists(st.floats() | st.just(1), max_size=5), "iscrowd": scalars},
)
category_entries = st.fixed_dictionaries({"id": ids, "name": st.sampled_from(["car", "", None])})
files = st.fixed_dictionaries(
    {
        "images": st.lists(image_entries | scalars, max_size=3),
        "annotations": st.lists(box_entries, max_size=3),
        "categories": st.lists(category_entries, max_size=2) | scalars,
    }
)


@pytest.mark.fuzz
@given(files.map(lambda values: json.dumps(values).encode()) | st.binary(max_size=30))
def test_any_file_gives_a_table_or_a_value_error(root, values):
    file = write(root, values)
    (root / "annotations/instances_val2017.json").unlink(missing_ok=True)
    try:
        table = read_coco(root)
    except (ValueError, FileNotFoundError) as error:
        named = (str(root), "data.labels", "train2017/town/")
        assert any(name in str(error) for name in named)  # noqa: PT017
    else:
        assert len(table)
        assert file.is_file()


STRAY = {
    "no number": {"annotations": {"area": float("nan")}},
    "no finite number": {"annotations": {"area": float("-inf")}},
    "sides as fractions": {"images": {"width": 64.0, "height": 36.0}},
    "sides that are not known": {"images": {"width": 0, "height": None}},
    "a crowd that is null": {"annotations": {"iscrowd": None}},
    "numbers as fractions": {"annotations": {"category_id": 7.0, "iscrowd": 0.0}},
    "foreign attributes": {"images": {"scene": None, "weather": {"a": 1}, "timeofday": [2]}},
    "a name from here": {"images": {"file_name": "./town/b.png"}},
    "images by text": {"annotations": {"image_id": "12"}},
}


@pytest.mark.parametrize("kind", STRAY)
def test_fields_that_are_not_needed_cannot_refuse_a_file(root, kind):
    write(root, TRAIN)
    plain = read_coco(root, labels=LABELS)
    values = json.loads(json.dumps(TRAIN))
    for field, changes in STRAY[kind].items():
        values[field][field == "images"].update(changes)
    write(root, values)
    pd.testing.assert_frame_equal(read_coco(root, labels=LABELS), plain)


def test_groups_may_be_numbers(root):
    write(root, swap(TRAIN, "images", 0, group=3))
    assert "3" in set(read_coco(root, labels=LABELS)["group"])


def test_all_mistakes_of_a_file_are_told_at_once(root):
    values = swap(TRAIN, "annotations", 0, bbox=[1, 2, 3])
    values = swap(values, "annotations", 1, image_id=99, bbox=[1, 2, 3, 4])
    values = swap(values, "images", 1, file_name="../a.png")
    write(root, values)
    with pytest.raises(ValueError, match=r"\(and 2 more; yolo-synth data check") as error:
        read_coco(root, labels=LABELS)
    places = [line.rpartition("json ")[2] for line in error.value.lines]
    assert [place.partition(":")[0] for place in places] == [
        "annotation 0",
        "image 1",
        "annotation 1",
    ]


def test_one_image_in_the_files_of_two_parts_is_named(root):
    (root / "train2017").rename(root / "images")
    write(root, TRAIN, "val")
    with pytest.raises(
        ValueError, match=r"train2017\.json and .*val2017\.json both list images/town"
    ):
        read_coco(root, labels=LABELS)


@pytest.mark.parametrize(("width", "height"), [(36, 64), (64, 36)])
def test_sizes_in_the_file_tell_which_frame_of_a_turned_picture_is_meant(root, width, height):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.zeros((36, 64, 3), np.uint8)
    stored[10:20, 40:60] = 255
    Image.fromarray(stored).save(root / "train2017/town/a.png", exif=exif)
    box = [40, 10, 20, 10] if width == 64 else [36 - 20, 40, 10, 20]
    values = swap(TRAIN, "images", 0, width=width, height=height)
    values["annotations"] = [{"image_id": 11, "category_id": 3, "bbox": box}]
    write(root, values)
    data = COCO(root, labels=LABELS, image_size=64, split_by="image")
    sample = data.some(["train2017/town/a.png"], size=64)[0]
    x1, y1, x2, y2 = sample[1]["boxes"][0].round().int().tolist()
    assert (sample[0][:, y1:y2, x1:x2] > 250).all()
    assert (sample[0] > 200).sum() == 3 * (y2 - y1) * (x2 - x1)
