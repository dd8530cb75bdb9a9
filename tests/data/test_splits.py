from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from yolo_synth.data.conditions import check_where, select
from yolo_synth.data.leaks import Shared, shared_groups
from yolo_synth.data.splits import (
    group_split,
    part_of,
    part_split,
    read_split,
    regroup,
)

PARTS = ("train", "valid", "test")


def frames(sizes):
    """Return image name → group, for groups of these sizes."""
    return {f"{g}_{i}.jpg": str(g) for g, size in enumerate(sizes) for i in range(size)}


def off(split, shares=(0.6, 0.2, 0.2)):
    """Return by how much of all images the part that is furthest off misses its share."""
    sizes = np.array([len(split.get(part, [])) for part in PARTS])
    return np.abs(sizes / sizes.sum() - shares).max()


def test_sequences_as_long_as_gtavs_are_split_within_a_thousandth():
    rng = np.random.default_rng(0)
    groups = frames(rng.integers(200, 5000, 77))
    splits = [group_split(groups, seed) for seed in range(3)]
    for split in splits:
        assert sorted(name for part in split.values() for name in part) == sorted(groups)
        assert shared_groups(groups, split) == []
        assert off(split) < 0.001
    assert len({frozenset(groups[name] for name in split["test"]) for split in splits}) == 3
    again = group_split(dict(reversed(groups.items())), 1)
    assert again == splits[1]
    assert len({groups[name] for name in again["test"][:50]}) > 3, "shuffled, not by sequence"


def nearest(sizes):
    """Return by how much the nearest of all ways to deal out whole groups, none empty, is off."""
    offs = [
        np.abs(np.bincount(parts, sizes, 3) / sum(sizes) - (0.6, 0.2, 0.2)).max()
        for parts in itertools.product(range(3), repeat=len(sizes))
        if len(set(parts)) == 3
    ]
    return min(offs)


@settings(max_examples=25)
@given(st.lists(st.integers(1, 12), min_size=3, max_size=7), st.integers(0, 5))
@example([1] * 6, 0)
@example([12, 11, 1, 1, 1, 1, 1], 3)
def test_few_groups_are_whole_no_part_is_empty_and_none_is_nearer(sizes, seed):
    groups = frames(sizes)
    split = group_split(groups, seed)
    assert all(split.values())
    whole = Counter(groups.values())
    for part in PARTS:
        assert Counter(groups[name] for name in split[part]).items() <= whole.items()
    assert off(split) <= max(0.001, nearest(sizes)) + 1e-9


def test_six_groups_of_one_image_are_four_one_and_one_of_which_the_seed_draws_others():
    splits = [group_split(frames([1] * 6), seed) for seed in range(4)]
    assert [[len(split[part]) for part in PARTS] for split in splits] == [[4, 1, 1]] * 4
    assert len({split["test"][0] for split in splits}) > 1


def test_thirty_uneven_groups_are_split_within_a_hundredth_at_once():
    sizes = np.random.default_rng(0).geometric(0.01, 30)
    assert off(group_split(frames(sizes))) < 0.01


def test_too_few_groups_are_refused():
    with pytest.raises(ValueError, match="9 images of 2 groups cannot be split into train, valid"):
        group_split(frames([4, 5]))


def images(**parts):
    """Return a row an image from part=(sizes of its groups); the first group of each is the same."""
    rows = [
        {"image": f"{part}{g}_{i}.jpg", "group": f"{part if g else ''}{g}", "part": part}
        for part, sizes in parts.items()
        for g, size in enumerate(sizes)
        for i in range(size)
    ]
    return pd.DataFrame(rows, columns=["image", "group", "part"])


def test_two_parts_of_their_own_give_a_test_without_leaks():
    table = images(train=[6] + [5] * 20, valid=[3, 4])
    split = part_split(table)
    assert sorted(split["test"]) == sorted(table.loc[table["part"] == "valid", "image"])
    groups = dict(zip(table["image"], table["group"], strict=True))
    assert shared_groups(groups, split) == []
    assert (len(split["train"]), len(split["valid"])) == (80, 20), "the shared group is left out"
    assert part_split(table, 1)["valid"] != split["valid"]
    assert part_split(images(train=[1] * 10, test=[2]))["test"] != []


def test_three_parts_are_taken_as_they_are_and_one_is_refused():
    table = images(train=[6, 2], valid=[3], test=[4])
    split = part_split(table)
    assert {part: len(names) for part, names in split.items()} == {
        "train": 8,
        "valid": 3,
        "test": 4,
    }
    for parts, named in ((["train"], "train"), (["valid", "test"], "valid and test"), ([], "none")):
        with pytest.raises(ValueError, match=f"the images here are in {named}"):
            part_split(images(**{part: [3, 3] for part in parts}))


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("bdd100k/images/100k/val/a.jpg", "valid"),
        ("train/img/001/001_00001.jpg", "train"),
        ("train/images/test/x.png", "test"),
        ("img/001/train.jpg", ""),
    ],
)
def test_the_part_is_read_from_the_folders(path, part):
    assert part_of(path) == part


def test_what_is_shared_is_counted():
    groups = {"a": "1", "b": "1", "c": "2", "d": "2", "e": "3"}
    names = {"train": ["a", "c"], "valid": ["b", "d"], "test": ["e"]}
    assert shared_groups(groups, names) == [Shared("valid", 2, 2, 2)]


TABLE = pd.DataFrame(
    {
        "image": list("abcd"),
        "group": list("1122"),
        "weather": ["rainy", "clear", "rainy", ""],
        "scene": "highway",
        "timeofday": ["night", "night", "daytime", "night"],
    }
)


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ({}, "dcba"),
        ({"timeofday": "night"}, "dba"),
        ({"timeofday": ["night"], "weather": ["rainy", "clear"]}, "ba"),
        ({"timeofday": "night", "test": {"timeofday": ["daytime"]}}, "c"),
        ({"train": {"timeofday": "daytime"}}, "dcba"),
        ({"group": "2", "test": {"weather": ""}}, "d"),
    ],
)
def test_conditions_choose_images_in_order(where, chosen):
    check_where(where)
    assert select(TABLE, list("dcba"), where, "test") == list(chosen)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"wether": "rainy"}, "'wether' is no attribute of an image; there are weather, scene, time"),
        ({"val": {"weather": "rainy"}}, "'val' is no attribute of an image; .* and train, valid, test"),
        ({"train": {"test": "rainy"}}, "'test' is no attribute"),
        ({"train": "rainy"}, "'train' is no attribute"),
        ({"weather": "rain"}, "no image has weather 'rain'; there are '', 'clear', 'rainy'"),
        ({"weather": "clear", "timeofday": "daytime"}, "none of the 4 test images has weather clear and"),
    ],
)  # fmt: skip
def test_conditions_that_cannot_be_met_say_what_there_is(where, message):
    def choose():
        check_where(where)
        return select(TABLE, list("dcba"), where, "test")

    with pytest.raises(ValueError, match=message):
        choose()


def test_groups_are_found_in_paths():
    table = pd.DataFrame({"path": ["a/Scene01/1.jpg", "b/Scene02/1.jpg"], "group": "x"})
    assert regroup(table, r"Scene(\d+)/")["group"].tolist() == ["01", "02"]
    assert regroup(table, r"(?P<first>\w)/")["group"].tolist() == ["a", "b"]
    for pattern, message in (
        ("(", "no regular"),
        ("a", "no parenthesis"),
        ("(a)/", "in b/Scene02"),
    ):
        with pytest.raises(ValueError, match=message):
            regroup(table, pattern)


def test_all_mistakes_of_the_lists_are_told_at_once(tmp_path):
    (tmp_path / "train.txt").write_text("a.jpg\n../b.jpg\na.jpg\ngone.jpg\n")
    (tmp_path / "valid.txt").write_text("\n")
    (tmp_path / "test.txt").write_text("c.jpg\na.jpg\n")
    with pytest.raises(ValueError, match=r"\(and 4 more; ") as error:
        read_split(tmp_path, {"a.jpg", "c.jpg"})
    assert [line.removeprefix(f"{tmp_path}/")[:15] for line in error.value.lines] == [
        "train.txt line ",
        "train.txt line ",
        "train.txt line ",
        "valid.txt names",
        "test.txt line 2",
    ]


def test_lists_may_be_written_from_here_and_begin_with_a_mark(tmp_path):
    for part, name in (("train", "a"), ("valid", "b"), ("test", "c")):
        (tmp_path / f"{part}.txt").write_text(f"\ufeff./images/{name}.jpg\n", encoding="utf-8")
    known = {f"images/{name}.jpg" for name in "abc"}
    assert read_split(tmp_path, known)["valid"] == ["images/b.jpg"]
