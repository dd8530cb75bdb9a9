"""Each further format is read as its own tools write it: equal boxes, splits, groups, clear errors."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import timedelta

import numpy as np
import pytest
import yaml
from data.formats import (
    drawn,
    write_image,
    write_kitti,
    write_scalabel,
    write_solo,
    write_tao,
    write_vkitti2,
    write_voc,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import yolo_synth
from yolo_synth.cli import main
from yolo_synth.data.table import COLUMNS, EDGES
from yolo_synth.labels import CLASSES

FORMATS = {
    "kitti": (write_kitti, "KITTI"),
    "tao": (write_tao, "KITTI"),
    "voc": (write_voc, "VOC"),
    "solo": (write_solo, "SOLO"),
    "scalabel": (write_scalabel, "Scalabel"),
    "vkitti2": (write_vkitti2, "VirtualKITTI2"),
}
HAS_SPLITS = ("tao", "voc", "scalabel")
HAS_SEQUENCES = ("solo", "scalabel", "vkitti2")
IMAGES = drawn()


@pytest.fixture(params=FORMATS)
def layout(request, tmp_path):
    """A data set in one of the formats: its key, its root, and a data module."""
    write, name = FORMATS[request.param]
    write(tmp_path / "set", IMAGES)
    return request.param, tmp_path / "set", getattr(yolo_synth, name)(tmp_path / "set")


def boxes_of(table):
    """Return how often each category with these edges occurs, wherever."""
    found = table[table["dropped"] != "no box"]
    return Counter(
        (row.category, *map(int, (row.x1, row.y1, row.x2, row.y2))) for row in found.itertuples()
    )


def test_every_box_is_where_it_was_drawn(layout):
    _, _, data = layout
    table = data.table
    assert boxes_of(table) == Counter(box for image in IMAGES for box in image.boxes)
    assert table["image"].nunique() == len(IMAGES)
    assert (table.loc[table["dropped"] == "no box", "image"].nunique()) == 1
    assert set(zip(table["width"], table["height"], strict=True)) == {(64, 48)}
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == dict(COLUMNS)


def test_a_set_s_own_categories_are_its_classes(layout, tmp_path):
    key, _, five = layout
    assert five.classes == CLASSES
    own = {"person": "pallet", "car": "Car", "truck": "fork lift" if key == "voc" else "forklift"}
    images = [
        image._replace(boxes=[(own[kind], *edges) for kind, *edges in image.boxes])
        for image in IMAGES
    ]
    write, name = FORMATS[key]
    write(tmp_path / "own", images)
    data = getattr(yolo_synth, name)(tmp_path / "own")
    assert data.classes == tuple(sorted(own.values()))
    assert boxes_of(data.table) == Counter(box for image in images for box in image.boxes)
    used = data.table[data.table["dropped"] == ""]
    assert [data.classes[label] for label in used["label"]] == used["category"].tolist()
    again = getattr(yolo_synth, name)(tmp_path / "own", labels={"Car": "car", "*": None})
    assert again.classes == CLASSES
    assert set(again.table.loc[again.table["dropped"] == "", "category"]) == {"Car"}


def test_boxes_stay_with_their_image(layout):
    key, _, data = layout
    if key in ("solo", "vkitti2"):
        pytest.skip("their images have other names; the boxes of each group are looked at below")
    found = {
        image[-30:].split("/")[-1].split(".")[0].split("_")[0]: boxes_of(rows)
        for image, rows in data.table.groupby("image")
    }
    assert found == {image.stem: Counter(image.boxes) for image in IMAGES}


def test_sequences_are_groups_and_stay_whole(layout):
    key, _, data = layout
    if key not in HAS_SEQUENCES:
        assert data.table["group"].nunique() == len(IMAGES)
        return
    groups = data.table.groupby("group")
    assert sorted(Counter(rows["image"].nunique() for _, rows in groups)) == [3]
    drawn_boxes = Counter(
        frozenset(Counter(b for i in IMAGES if i.sequence == s for b in i.boxes).items())
        for s in {image.sequence for image in IMAGES}
    )
    assert Counter(frozenset(boxes_of(rows).items()) for _, rows in groups) == drawn_boxes
    parts = {name: set(data.groups(data.names(name))) for name in ("train", "valid", "test")}
    assert not parts["train"] & parts["test"]
    assert not parts["valid"] & parts["test"]


def test_a_set_s_own_splits_are_followed(layout):
    key, _, data = layout
    counts = {name: len(data.names(name)) for name in ("train", "valid", "test")}
    assert sum(counts.values()) == len(IMAGES)
    if key in HAS_SPLITS:
        assert counts["test"] == sum(image.split == "val" for image in IMAGES)


def test_conditions_are_read_where_there_are_some(layout):
    key, _, data = layout
    said = set(data.table["weather"]), set(data.table["timeofday"])
    assert said == {"scalabel": ({"rainy"}, {"night"}), "vkitti2": ({"fog"}, {""})}.get(
        key, ({""}, {""})
    )


def test_every_verb_takes_it_and_both_conversions_have_equal_boxes(layout, tmp_path, capsys):
    _, root, data = layout
    file = tmp_path / "data.yaml"
    settings_ = {"root": str(root), "image_size": 64}
    file.write_text(
        yaml.safe_dump({"class_path": f"yolo_synth.{type(data).__name__}", "init_args": settings_})
    )
    assert main(["data", "check", str(file)]) == 0, capsys.readouterr().out
    assert main(["data", "describe", str(file), "--out", str(tmp_path / "describe")]) == 0
    assert main(["data", "preview", str(file), "--out", str(tmp_path / "sheet.png")]) == 0
    expected = boxes_of(data.table)
    for form, name in (("coco", "COCO"), ("yolo", "YOLO")):
        out = tmp_path / form
        assert main(["data", "convert", str(file), "--to", form, "--out", str(out)]) == 0
        again = getattr(yolo_synth, name)(out)
        table = again.table.assign(**{edge: again.table[edge].round() for edge in EDGES})
        assert boxes_of(table) == expected
        for split in ("train", "valid", "test"):
            assert len(again.names(split)) == len(data.names(split))


def test_what_is_missing_is_said(layout, tmp_path, caplog):
    key, root, data = layout
    image = root / data.table["path"].iloc[0]
    image.unlink()
    table = getattr(yolo_synth, FORMATS[key][1])(root).table
    if key == "vkitti2":
        assert table["image"].nunique() in (len(IMAGES) - 1, len(IMAGES))
    else:
        assert table["image"].nunique() == len(IMAGES) - 1
        assert "1 records have no image" in caplog.text or key == "kitti"
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError, match=r"looked for|no folder"):
        _ = getattr(yolo_synth, FORMATS[key][1])(root).table


def test_a_folder_of_pictures_needs_no_label(tmp_path, caplog):
    for name in ("a.jpg", "b/c.png", "b/d.JPG"):
        write_image(tmp_path / name) if name.islower() else write_image(tmp_path / name.lower())
    data = yolo_synth.Pictures(tmp_path)
    with caplog.at_level("INFO", logger="yolo_synth"):
        data.log_counts()
    assert "Pictures: 0 train, 0 valid, 3 test images, no boxes" in caplog.text
    assert "left out" not in caplog.text
    assert data.names("test") == ["a.jpg", "b/c.png", "b/d.jpg"]
    assert data.names("train") == []
    images, names = data.probe("test", 3, 32)
    assert images.shape == (3, 3, 32, 32)
    assert sorted(names) == data.names("test")
    with pytest.raises(FileNotFoundError, match="no pictures in"):
        _ = yolo_synth.Pictures(tmp_path / "nothing").table


def test_voc_that_counts_from_zero_is_an_option(tmp_path):
    write_voc(tmp_path, IMAGES)
    one, zero = yolo_synth.VOC(tmp_path), yolo_synth.VOC(tmp_path, one_based=False)
    differences = zero.table[EDGES].to_numpy() - one.table[EDGES].to_numpy()
    known = ~np.isnan(differences[:, 0])
    assert (differences[known] == [1, 1, 0, 0]).all()


def test_xml_with_entities_is_refused(tmp_path):
    write_voc(tmp_path, IMAGES)
    file = next((tmp_path / "Annotations").glob("*.xml"))
    bomb = (
        '<!DOCTYPE a [<!ENTITY b "c">]><annotation><object><name>&b;</name></object></annotation>'
    )
    file.write_text(bomb)
    with pytest.raises(ValueError, match="entities"):
        _ = yolo_synth.VOC(tmp_path).table


quick = settings(
    max_examples=200,
    derandomize=True,
    deadline=timedelta(seconds=5),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """One root a format, with the label file that the fuzzing writes over and its content."""
    places = {
        "kitti": "training/label_2/00000.txt",
        "tao": "train/labels/00000.txt",
        "voc": "Annotations/00000.xml",
        "solo": "sequence.0/step0.frame_data.json",
        "scalabel": "discrete/images/train/front/det_2d.json",
        "vkitti2": "Scene00/fog/bbox.txt",
    }
    found = {}
    for key, place in places.items():
        root = tmp_path_factory.mktemp(key)
        FORMATS[key][0](root, IMAGES)
        found[key] = (root, place, (root / place).read_bytes())
    return found


@quick
@given(
    st.sampled_from(sorted(FORMATS)),
    st.integers(0, 2000),
    st.integers(0, 30),
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [b"nan", b"-1", b"1e999", b"null", b"[]", b"{}", b"\xff\xfe", b'"', b"<", b"\n"]
        ),
    ),
)
def test_any_label_file_is_records_or_a_clear_error(roots, key, place, length, insert):
    root, file, content = roots[key]
    place %= len(content)
    (root / file).write_bytes(content[:place] + insert + content[place + length :])
    kind = getattr(yolo_synth, FORMATS[key][1])
    records, said = [], file
    try:
        records = kind.read_label(root, file)
    except ValueError as error:
        said = str(error)
    finally:
        (root / file).write_bytes(content)
    assert "\n" not in said
    assert file.rpartition("/")[2] in said
    for record in records:
        for category, *edges in record.boxes:
            assert category
            assert np.isfinite(edges).all()
