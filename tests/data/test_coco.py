from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from yolo_synth.data.coco import COCO, read_coco, read_with_splits
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
    assert table["dropped"].tolist() == ["no box", "", "label", "label", "degenerate", ""]
    assert table["category"].tolist()[1:] == ["pedestrian", "car (crowd)", "dog", "car", "car"]
    assert table["label"].tolist() == [-1, 0, -1, -1, 2, 2]
    assert table.loc[1, ["x1", "y1", "x2", "y2"]].tolist() == [1.5, 2, 11.5, 22.25]
    assert table.loc[[0, 1], "group"].tolist() == ["ride", b]
    assert table.loc[[0, 1], "timeofday"].tolist() == ["night", ""]
    assert set(table["width"]) == {64}
    assert set(table["height"]) == {36}
    split = read_with_splits(root, labels=LABELS).groupby("image")["split"].first()
    assert split.to_dict() == {a: "train", b: "train", val: "valid"}


def test_one_file_for_all_and_sizes_from_the_images(root):
    only = content({"id": 1, "file_name": "b.png"}, boxes=[box(1, 3, 0, 0, 9, 9)])
    del only["images"][0]["width"]
    (root / "all.json").write_text(json.dumps(only))
    table = read_coco(root, "all.json", "train2017/town", LABELS)
    assert table[["width", "height"]].to_numpy().tolist() == [[64, 36]]
    assert set(read_with_splits(root, "all.json", "train2017/town", LABELS)["split"]) == {""}
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
            {},
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
        (swap(TRAIN, "annotations", 1, bbox=[1, 2, 3]), r"\$.annotations\[1\].bbox"),
        (swap(TRAIN, "annotations", 1, image_id=99), "annotation 1: no image has the id 99"),
        (swap(TRAIN, "annotations", 1, category_id=99), "annotation 1: no category has the id 99"),
        (swap(TRAIN, "annotations", 0, bbox=[1e300, 0, 1e308, 1]), r"annotation 0: .*1e\+300.* are no box"),
        (swap(TRAIN, "images", 1, id=11), "image 1: another one has the id 11"),
        (swap(TRAIN, "images", 1, width=0), r"\$.images\[1\].width"),
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
