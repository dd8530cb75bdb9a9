"""The tiny data sets: true formats, true boxes, one recipe."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolo_synth.scenes import drawing, street, world
from yolo_synth.scenes.formats import write_tiny
from yolo_synth.scenes.world import HEIGHT, WIDTH

# Written down from the data sets' own documents, not taken from the package.
REAL_CLASSES = {
    "person": "person",
    "rider": "person",
    "bike": "cycle",
    "motor": "cycle",
    "car": "car",
    "bus": "bus",
    "truck": "truck",
}
GAME_CLASSES = {
    20: "person",
    22: "cycle",
    23: "cycle",
    24: "car",
    25: "car",
    26: "bus",
    27: "truck",
    28: "truck",
}
FIVE = {"person", "cycle", "car", "bus", "truck"}
IMAGES = 100


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "new" / "folder"
    write_tiny(folder, images=IMAGES, seed=0)
    return folder


def frames_of(root: Path) -> dict[str, dict]:
    frames = {}
    for part in ("train", "val"):
        text = (root / f"bdd100k/labels/bdd100k_labels_images_{part}.json").read_text()
        for frame in json.loads(text):
            assert (root / f"bdd100k/images/100k/{part}/{frame['name']}").is_file()
            frames[frame["name"]] = frame
    return frames


def rows_of(root: Path) -> dict[str, list[list[str]] | None]:
    rows = {}
    for image in sorted(root.glob("gtav/train/img/*/*.jpg")):
        assert image.stem.startswith(image.parent.name + "_")
        boxes = root / "gtav/train/bb" / image.parent.name / f"{image.stem}.csv"
        rows[image.name] = None
        if boxes.exists():
            rows[image.name] = list(csv.reader(boxes.read_text().splitlines()))
    return rows


def lists_of(root: Path, which: str) -> dict[str, list[str]]:
    return {
        split: (root / f"splits/{which}/{split}.txt").read_text().split("\n")
        for split in ("train", "valid", "test")
    }


def box_of(row: list[str]) -> list[int]:
    return [int(edge) for edge in row[2:6]]


def area(box: list[int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_images_have_one_wide_size(root):
    pictures = list(root.rglob("*.jpg"))
    assert len(pictures) == 2 * IMAGES
    for path in pictures:
        assert cv2.imread(str(path)).shape == (HEIGHT, WIDTH, 3)
    assert WIDTH * 9 == HEIGHT * 16


def test_bdd100k_has_the_form_of_2018(root):
    frames = frames_of(root)
    categories, times = Counter(), Counter()
    for name, frame in frames.items():
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{8}\.jpg", name)
        assert set(frame) == {"name", "attributes", "timestamp", "labels"}
        assert set(frame["attributes"]) == {"weather", "scene", "timeofday"}
        times[frame["attributes"]["timeofday"]] += 1
        assert [label["id"] for label in frame["labels"]] == list(range(len(frame["labels"])))
        for label in frame["labels"]:
            categories[label["category"]] += 1
            assert ("box2d" in label) != (label["category"] in ("lane", "drivable area"))
            assert ("box2d" in label) != ("poly2d" in label)
            if "box2d" in label:
                box = label["box2d"]
                assert list(box) == ["x1", "y1", "x2", "y2"]
                assert 0 <= box["x1"] <= box["x2"] <= WIDTH
                assert 0 <= box["y1"] <= box["y2"] <= HEIGHT
    assert set(categories) == {
        *REAL_CLASSES,
        "traffic light",
        "traffic sign",
        "lane",
        "drivable area",
    }
    assert set(times) == {"daytime", "night", "dawn/dusk"}


def test_bdd100k_has_the_odd_cases_of_the_original(root):
    frames = frames_of(root)
    names = {path.name for path in root.glob("bdd100k/images/100k/*/*.jpg")}
    assert 1 <= len(names - frames.keys()) <= IMAGES // 20
    assert any(frame["labels"] == [] for frame in frames.values())
    assert any(
        frame["labels"] and all("box2d" not in label for label in frame["labels"])
        for frame in frames.values()
    )
    boxes = [b for f in frames.values() for label in f["labels"] if (b := label.get("box2d"))]
    assert any(box["x1"] >= box["x2"] for box in boxes)
    rides = Counter(name.split("-")[0] for name in names)
    assert 1 < len(rides) < len(names)


def test_gtav_has_28_columns_and_instances_that_are_no_classes(root):
    classes = Counter()
    for rows in rows_of(root).values():
        instances = [int(row[1]) for row in rows or []]
        assert len(instances) == len(set(instances))
        assert all(instance > 31 for instance in instances)
        for row in rows or []:
            assert len(row) == 28
            assert np.isfinite([float(number) for number in row]).all()
            classes[int(row[0])] += 1
            left, top, right, bottom = box_of(row)
            assert 0 <= left < right <= WIDTH
            assert 0 <= top < bottom <= HEIGHT
    assert set(classes) >= {*GAME_CLASSES, 13, 14}


def test_gtav_has_the_odd_cases_of_the_original(root):
    rows = rows_of(root)
    assert any(found is None for found in rows.values())
    assert any(found == [] for found in rows.values())
    vehicles = [box_of(row) for found in rows.values() for row in found or [] if row[0] == "24"]
    small = [box for box in vehicles if area(box) < 100]
    assert small
    # An ordinary car that the lower edge cuts is no hood.
    assert any(b[3] == HEIGHT and 0.3 * WIDTH < b[2] - b[0] < 0.8 * WIDTH for b in vehicles)


def test_a_drive_is_consecutive_and_its_objects_move_on_before_a_still_hood(root):
    drives: dict[str, list[tuple[int, list[list[str]]]]] = {}
    for name, rows in rows_of(root).items():
        drive, frame = name.removesuffix(".jpg").split("_")
        drives.setdefault(drive, []).append((int(frame), rows or []))
    hoods = {}
    for drive, frames in drives.items():
        numbers = [number for number, _ in frames]
        assert numbers == list(range(numbers[0], numbers[0] + len(frames)))
        where: dict[str, list[list[int]]] = {}
        for _, rows in frames:
            for row in rows:
                where.setdefault(row[1], []).append(box_of(row))
        still = {
            instance: boxes
            for instance, boxes in where.items()
            if len(boxes) == len(frames) and all(box == boxes[0] for box in boxes)
        }
        hoods[drive] = len(still)
        for boxes in still.values():
            assert boxes[0][3] == HEIGHT
            assert boxes[0][2] - boxes[0][0] > 0.8 * WIDTH
        large = [boxes for boxes in where.values() if len(boxes) > 1 and area(boxes[0]) > 400]
        assert sum(boxes[0] != boxes[1] for boxes in large) >= 4
    assert set(hoods.values()) == {0, 1}


@pytest.mark.parametrize(("images", "seed"), [(IMAGES, 0), (30, 1), (40, 0)])
def test_lists_split_60_20_20_with_all_five_classes_everywhere(root, tmp_path, images, seed):
    if images != IMAGES:
        root = tmp_path / "tiny"
        write_tiny(root, images, seed)
    frames, rows = frames_of(root), rows_of(root)
    for which in ("bdd100k", "gtav"):
        lists = lists_of(root, which)
        if which == "bdd100k":  # these files end with a newline, the other ones do not
            assert all(names.pop() == "" for names in lists.values())
        assert [len(lists[s]) for s in ("train", "valid", "test")] == pytest.approx(
            [0.6 * images, 0.2 * images, 0.2 * images], abs=1
        )
        members = [name for names in lists.values() for name in names]
        pictures = {path.name for path in (root / which).rglob("*.jpg")}
        assert sorted(members) == sorted(pictures)
        for names in lists.values():
            assert names != sorted(names)
            if which == "bdd100k":
                found = {
                    REAL_CLASSES.get(label["category"])
                    for name in names
                    for label in frames.get(name, {"labels": []})["labels"]
                }
                parts = {path.parent.name for n in names for path in root.rglob(n)}
                assert parts == {"train", "val"}
            else:
                big = [r for n in names for r in rows[n] or [] if area(box_of(r)) >= 100]
                low = [r for r in big if int(r[5]) - int(r[3]) > 20]  # not the hood
                found = {GAME_CLASSES.get(int(row[0])) for row in low}
            assert found >= FIVE


def test_no_drive_is_in_two_splits(root):
    drives = [{name.split("_")[0] for name in names} for names in lists_of(root, "gtav").values()]
    assert sum(map(len, drives)) == len(set.union(*drives))


@pytest.mark.parametrize("kind", sorted(drawing._DRAWINGS))
@pytest.mark.parametrize("flipped", [False, True])
def test_a_box_frames_what_is_painted(kind, flipped):
    # What is painted is the same on a black and on a white ground.
    shape = world.SHAPES.get(kind, world.Shape(1.0, 1.5, 6.0, 9.0))
    for distance in (shape.near, (shape.near + shape.far) / 2, shape.far):
        box = world.standing(shape, 120.0, distance)
        thing = world.Thing(kind, box, distance)
        grounds = [np.full((2 * HEIGHT, 2 * WIDTH, 3), grey, np.uint8) for grey in (0, 255)]
        for ground in grounds:
            drawing.draw_thing(ground, thing._replace(flipped=flipped), street.GAME)
        rows, columns = np.nonzero((grounds[0] == grounds[1]).all(axis=2))
        painted = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.abs(np.array(painted) / 2 - box).max() <= 0.5


def test_wheels_end_at_the_lower_edge_of_the_written_boxes(root):
    seen = 0
    for name, rows in rows_of(root).items():
        boxes = [(int(row[0]), box_of(row)) for row in rows or []]
        picture = cv2.imread(str(root / "gtav/train/img" / name[:3] / name)).max(axis=2)
        for kind, (left, _, right, bottom) in boxes:
            near = [b for _, b in boxes if b[2] > left and b[0] < right and b[3] > bottom - 8]
            if kind not in (24, 25, 26, 27) or right - left < 40 or len(near) > 1 or bottom > 125:
                continue
            assert picture[bottom - 4 : bottom, left:right].min() < 60  # a tyre
            assert picture[bottom + 1 : bottom + 3, left:right].min() > 60  # the road
            seen += 1
    assert seen >= 10


def test_real_pictures_are_noisier_and_duller_than_synthetic_ones(root):
    def look(path: Path) -> tuple[float, float]:
        picture = cv2.imread(str(path))
        grain = np.abs(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.CV_32F))
        return float(np.median(grain)), float(
            cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)[..., 1].std()
        )

    real = np.array([look(p) for p in root.glob("bdd100k/images/100k/*/*.jpg")])
    game = np.array([look(p) for p in root.glob("gtav/train/img/*/*.jpg")])
    assert np.quantile(real[:, 0], 0.05) > np.quantile(game[:, 0], 0.95)
    assert np.median(real[:, 1]) < 0.7 * np.median(game[:, 1])


def test_the_seed_decides_every_byte(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_tiny(tmp_path / name, images=30, seed=seed)
    first, same, other = (contents(tmp_path / name) for name in "abc")
    assert first == same
    pictures = {content for name, content in first.items() if name.endswith(".jpg")}
    assert pictures.isdisjoint(other.values())


def test_a_finished_folder_is_left_and_another_one_never_overwritten(tmp_path):
    write_tiny(tmp_path / "tiny", images=30, seed=0)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "tiny").rglob("*")}
    write_tiny(tmp_path / "tiny", images=30, seed=0)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "tiny").rglob("*")}
    with pytest.raises(
        ValueError, match=r"already holds .*\"seed\": 0.*\"seed\": 1.*another folder"
    ):
        write_tiny(tmp_path / "tiny", images=30, seed=1)
    # A call that was cut off has left no tiny.json.
    (tmp_path / "tiny/tiny.json").unlink()
    with pytest.raises(ValueError, match=r"no finished tiny data set.*remove it"):
        write_tiny(tmp_path / "tiny", images=30, seed=0)


def test_a_file_in_the_way_and_too_few_images_are_errors(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="file already holds something"):
        write_tiny(tmp_path / "file")
    with pytest.raises(ValueError, match=r"images=29 is too few.*30 at least"):
        write_tiny(tmp_path / "new", images=29)
    assert not (tmp_path / "new").exists()
