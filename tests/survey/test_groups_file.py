"""Groups of images for data of any kind, as a user gives them: patterns, folders, near-duplicates."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from survey.scenes import bdd_name, data_file, picture, write_image, write_scenes
from survey.test_leakage import thumbnail

from yolo_synth.cli import main
from yolo_synth.data.source import open_data
from yolo_synth.survey.leakage import ALIKE, clusters, gradients


@pytest.fixture
def root(tmp_path):
    return write_scenes(tmp_path / "data")


def path_of(root: Path, number: int) -> Path:
    return root / f"bdd100k/images/100k/{'val' if number == 9 else 'train'}/{bdd_name(number)}"


def test_near_duplicates_become_groups_that_the_data_file_names(root, tmp_path, capsys):
    # 0, 3 and 7 are one place in other light, and so are 4 and 9
    for number, like, light in ((3, 0, 0.8), (7, 0, 1.1), (9, 4, 0.9)):
        pixels = np.clip(picture(like) * light, 0, 255).astype(np.uint8)
        write_image(path_of(root, number), pixels)
    assert main(["data", "check", data_file(root, "BDD100K"), f"--out={tmp_path / 'checked'}"]) == 0
    out = capsys.readouterr().out
    assert "Near-duplicates join 10 groups of 10 images to 7." in out
    assert "near_duplicates.csv, groups.csv" in out
    file = tmp_path / "checked" / "groups.csv"
    with file.open() as rows:
        named = {row["image"]: row["group"] for row in csv.DictReader(rows)}
    names = [bdd_name(number) for number in range(10)]
    assert [names.index(name) for name in named] == list(range(10))
    joined = {3: 0, 7: 0, 9: 4}
    first = open_data(data_file(root, "BDD100K")).groups(names)
    assert [named[name] for name in names] == [first[joined.get(n, n)] for n in range(10)]

    settings = {"groups": str(file), "splits": None, "split_by": "group"}
    data = open_data(data_file(root, "BDD100K", **settings))
    assert data.groups(names) == [named[name] for name in names]
    parts = [{named[name] for name in data.names(part)} for part in ("train", "valid", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 7
    again = data_file(root, "BDD100K", groups=str(file))
    assert main(["data", "check", again]) == 0
    assert "LEAK: 2 of 2 sequences or rides of several images" in capsys.readouterr().out


@pytest.mark.parametrize("data", ["COCO", "YOLO"])
def test_folders_and_names_of_sequences_are_groups_by_a_pattern(data, root, capsys):
    file = data_file(root, data, group=r"(\d{3})_\d{5}\.jpg$")
    assert main(["data", "check", file]) == 0
    assert "LEAK: 2 of 2 sequences or rides of several images" in capsys.readouterr().out
    assert main(["data", "check", data_file(root, data, group=r"^(.*)/")]) == 0
    assert "sequences or rides of several images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file"),
        ("name,group\na,b\n", "has no columns image and group"),
        ("image,group\nother.jpg,b\n", "names no group of 10 of 10 images"),
        ("image,group\na.jpg,b\na.jpg,c\n", "line 3: a.jpg stands twice"),
        ("image,group\na.jpg,\n", "line 2: a name is missing"),
    ],
)
def test_a_wrong_file_of_groups_is_answered_in_one_line(content, said, root, tmp_path, capsys):
    path = tmp_path / "groups.csv"
    if content is not None:
        path.write_text(content)
    assert main(["data", "describe", data_file(root, "GTAV", groups=str(path))]) == 2
    error = capsys.readouterr().err
    assert said in error.strip().splitlines()[-1]
    assert "Traceback" not in error


def test_clusters_are_joined_through_others_and_with_the_groups_there_are():
    generator = np.random.default_rng(0)
    thumbnails = np.stack([thumbnail(picture(seed).astype(np.float32)) for seed in range(9)])
    step = thumbnail(picture(20).astype(np.float32)) - thumbnails[0]
    for row, way in ((1, 0.25), (2, 0.42)):
        thumbnails[row] = thumbnails[0] + way * step
    order = generator.permutation(9)
    shown = thumbnails[order]
    likeness = gradients(shown) @ gradients(shown).T
    places = [int(np.flatnonzero(order == n)[0]) for n in range(9)]
    assert likeness[places[0], places[2]] < ALIKE
    assert likeness[places[1], [places[0], places[2]]].min() >= ALIKE
    groups = [f"g{n // 4}" if n > 3 else f"alone {n}" for n in order]  # 4 to 7 are one, 8 another
    found = pd.Series(clusters(shown, groups), index=order)
    assert len({found[0], found[1], found[2]}) == 1
    assert found[3] == "alone 3"
    assert set(found[[4, 5, 6, 7]]) == {"g1"}
    assert found[8] == "g2"
