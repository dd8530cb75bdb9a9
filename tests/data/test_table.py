from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from yolo_synth.data.filters import drop_small
from yolo_synth.data.gtav_boxes import GTAV_LABELS
from yolo_synth.data.splits import random_split, read_split
from yolo_synth.data.table import COLUMNS, REASONS, box_table, count_dropped, kept

WIDTH, HEIGHT = 1920, 1080


def table_of(frames, group="001"):
    """Build a table from a list of frames, each a list of (category, instance, x1, y1, x2, y2)."""
    names = [f"{group}_{number:05d}.jpg" for number in range(len(frames))]
    images = pd.DataFrame(
        {
            "image": names,
            "path": [f"train/img/{name}" for name in names],
            "width": WIDTH,
            "height": HEIGHT,
            "group": group,
        }
    )
    rows = [(number, *box) for number, frame in enumerate(frames) for box in frame]
    columns = ["row", "category", "instance", "x1", "y1", "x2", "y2"]
    return box_table(images, pd.DataFrame(rows, columns=columns), GTAV_LABELS)


def test_every_image_has_a_row_and_boxes_keep_their_order():
    table = table_of(
        [[("van", 7, 0, 0, 50, 60), ("sky", 1, 0, 0, 9, 9)], [], [("person", 2, 1, 2, 30, 40)]]
    )
    assert table["image"].tolist() == ["001_00000.jpg"] * 2 + ["001_00001.jpg", "001_00002.jpg"]
    assert table["category"].tolist()[:2] == ["van", "sky"]
    assert table["label"].tolist() == [2, -1, -1, 0]
    assert table["dropped"].tolist() == ["", "label", "no box", ""]
    assert table["instance"].tolist() == [7, 1, -1, 2]
    assert np.isnan(table.loc[2, ["x1", "y1", "x2", "y2"]].astype(float)).all()
    assert list(table.columns) == list(COLUMNS)
    for column, dtype in COLUMNS.items():
        assert table[column].dtype == dtype
    assert len(kept(table)) == 2


def test_images_are_sorted_whatever_the_order_they_were_read_in():
    images = pd.DataFrame(
        {"image": ["b", "c", "a"], "path": list("bca"), "width": 9, "height": 9, "group": ""}
    )
    boxes = pd.DataFrame(
        {"row": [0, 2, 0], "category": ["car", "bus", "van"], "instance": 0}
        | {"x1": 0.0, "y1": 0.0, "x2": [1.0, 2.0, 3.0], "y2": 1.0}
    )
    table = box_table(images, boxes, GTAV_LABELS)
    assert table["image"].tolist() == ["a", "b", "b", "c"]
    assert table["x2"].tolist()[:3] == [2.0, 1.0, 3.0]


def test_a_box_that_covers_nothing_of_its_image_is_degenerate():
    boxes = [
        ("car", 1, 10, 10, 10, 20),  # no width
        ("car", 2, 10, 20, 20, 10),  # upside down
        ("car", 3, -50, 10, 0, 90),  # left of the image
        ("car", 4, WIDTH, 10, WIDTH + 9, 90),  # right of it
        ("car", 5, -50, 10, 1, 90),  # one column inside
    ]
    assert table_of([boxes])["dropped"].tolist() == ["degenerate"] * 4 + [""]


def test_two_images_of_one_name_are_refused():
    images = pd.DataFrame(
        {
            "image": "x.jpg",
            "path": ["train/x.jpg", "val/x.jpg"],
            "width": 1,
            "height": 1,
            "group": "",
        }
    )
    boxes = pd.DataFrame(columns=["row", "category", "instance", "x1", "y1", "x2", "y2"])
    with pytest.raises(ValueError, match=r"x\.jpg: train/x\.jpg and val/x\.jpg"):
        box_table(images, boxes, GTAV_LABELS)


def test_the_area_filter_is_strict():
    boxes = [("car", i, 0, 0, width, 10) for i, width in enumerate((9.99, 10, 10.01))]
    table = drop_small(table_of([boxes, []]))
    assert table["dropped"].tolist() == ["area", "", "", "no box"]
    assert drop_small(table_of([boxes]), 0)["dropped"].tolist() == [""] * 3


def test_the_first_reason_stays_and_all_are_counted():
    table = table_of([[("sky", 1, 0, 0, 5, 5), ("car", 2, 3, 3, 3, 9), ("car", 3, 0, 0, 5, 5)], []])
    counts = count_dropped(drop_small(table))
    assert counts.to_dict() == {
        "kept": 0, "no box": 1, "label": 1, "degenerate": 1, "area": 1, "hood": 0, "crowd": 0
    }  # fmt: skip
    assert len(counts) == len(REASONS)
    assert count_dropped(table)["area"] == 0, "a filter must not change the table it is given"


@pytest.fixture
def lists(tmp_path):
    for name, text in (
        ("train", "a.jpg\nb.jpg\n"),
        ("valid", "c.jpg\n\n"),
        ("test", "d.jpg\ne.jpg"),
    ):
        (tmp_path / f"{name}.txt").write_text(text)
    return tmp_path


def test_split_lists_are_read_with_and_without_a_last_newline(lists):
    expected = {"train": ["a.jpg", "b.jpg"], "valid": ["c.jpg"], "test": ["d.jpg", "e.jpg"]}
    assert read_split(lists) == expected
    assert read_split(lists, {f"{letter}.jpg" for letter in "abcdef"}) == expected


def test_a_listed_image_that_is_not_there_is_named_with_file_and_line(lists):
    with pytest.raises(
        ValueError, match=r"test\.txt line 2: there is no image e\.jpg \(1 of the list's 2"
    ):
        read_split(lists, {"a.jpg", "b.jpg", "c.jpg", "d.jpg"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("valid", "c.jpg\na.jpg", r"valid\.txt line 2: a\.jpg stands in .*train\.txt line 1 already"),
        ("train", "a.jpg\na.jpg", r"train\.txt line 2: a\.jpg stands in .*train\.txt line 1 already"),
        ("test", "../e.jpg", r"test\.txt line 1: '\.\./e\.jpg' is not the plain name"),
        ("test", "/etc/e.jpg", r"test\.txt line 1: '/etc/e\.jpg' is not the plain name"),
        ("test", "\n", r"test\.txt names no image"),
    ],
)  # fmt: skip
def test_wrong_lists(lists, name, text, message):
    (lists / f"{name}.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_split(lists)


def test_a_missing_list_is_named(lists):
    (lists / "valid.txt").rename(lists / "val.txt")
    with pytest.raises(FileNotFoundError, match=r"no valid\.txt"):
        read_split(lists)


def test_random_split_has_the_papers_sizes_and_depends_on_seed_and_names_only():
    # The published lists hold 80,458, 26,819 and 26,820 of 134,097 images.
    names = [f"{n:06d}.jpg" for n in range(134_097)]
    split = random_split(names, 1)
    assert [len(split[part]) for part in ("train", "valid", "test")] == [80_458, 26_819, 26_820]
    assert sorted(name for part in split.values() for name in part) == names
    assert random_split(names[:50][::-1], 1) == random_split(names[:50], 1)
    assert random_split(names[:50], 2) != random_split(names[:50], 1)
    with pytest.raises(ValueError, match="3 images"):
        random_split(names[:3])
