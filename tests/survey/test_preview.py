from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from survey.scenes import data_file, write_scenes

from yolo_synth.cli import main
from yolo_synth.labels import CLASS_COLOURS
from yolo_synth.survey import sheet as sheet_file
from yolo_synth.survey.sheet import TILE, contact_sheet


@pytest.fixture
def tiny(tiny_root, tmp_path):
    """Return the files that name the tiny scenes of each style."""
    for name in ("bdd100k", "gtav", "splits"):
        (tmp_path / name).symlink_to(tiny_root / name)
    return {data: data_file(tmp_path, data) for data in ("BDD100K", "GTAV")}


@pytest.mark.parametrize(("name", "images", "rows"), [("a.png", 5, 2), ("b.JPG", 1, 1)])
def test_the_sheet_is_written_and_its_size_follows_the_images(
    name, images, rows, tiny, tmp_path, capsys
):
    out = tmp_path / "new" / name
    arguments = ["data", "preview", tiny["BDD100K"], f"--images={images}", f"--out={out}"]
    assert main(arguments) == 0
    assert f"{images} images" in capsys.readouterr().out
    height, width = cv2.imread(str(out)).shape[:2]
    assert width // TILE == (3 if images > 2 else 2)
    assert height // 270 == rows


def test_the_same_seed_draws_the_same_sheet(tiny, tmp_path):
    sheets = []
    for number, seed in enumerate((0, 0, 1)):
        out = tmp_path / f"{number}.png"
        options = ["--images=2", f"--seed={seed}", f"--out={out}"]
        assert main(["data", "preview", tiny["GTAV"], *options]) == 0
        sheets.append(out.read_bytes())
    assert sheets[0] == sheets[1] != sheets[2]


def drawn(monkeypatch):
    """Keep what is handed to the drawing."""
    kept = {}

    def keep(images, boxes, colours, title):
        kept.update(images=list(images), boxes=boxes, title=title)
        return contact_sheet(images, boxes, colours, title)

    monkeypatch.setattr(sheet_file, "contact_sheet", keep)
    return kept


def test_dropped_boxes_are_shown_with_their_reason(tiny, tmp_path, monkeypatch):
    kept = drawn(monkeypatch)
    out = tmp_path / "dropped.png"
    assert main(["data", "preview", tiny["GTAV"], "--dropped", "--images=4", f"--out={out}"]) == 0
    reasons = {"hood": "hood", "area": "too small", "label": "of another kind"}
    boxes = kept["boxes"]
    assert (boxes["dropped"].astype(str).map(reasons) == boxes["key"]).all()
    assert {"hood", "too small", "of another kind"} <= set(boxes["key"])
    assert len(kept["images"]) == 4 == boxes["image"].nunique()
    assert main(["data", "preview", tiny["GTAV"], "--split=valid", f"--out={out}"]) == 0
    assert set(kept["boxes"]["dropped"]) == {""}
    assert kept["title"].startswith("GTAV valid: ")


def test_a_rare_reason_is_not_drowned_by_a_common_one():
    boxes = pd.DataFrame({"image": [*"abcdefghij", "x", "y"], "dropped": "label"})
    boxes.loc[10:, "dropped"] = ["hood", "area"]
    for seed in range(3):
        drawn = sheet_file._draw_by_reason(boxes, 4, seed)
        assert drawn[:2] == ["x", "y"]
        assert len(set(drawn)) == 4
        assert sheet_file._draw_by_reason(boxes, 99, seed)[:4] == drawn


def test_boxes_stand_where_they_should_in_the_colour_of_their_class():
    pixels = np.full((270, TILE, 3), 90, np.uint8)
    boxes = pd.DataFrame(
        {"image": "a", "x1": [50.0, 300], "y1": [60.0, 100], "x2": [200.0, 302], "y2": [160.0, 101]}
    )
    boxes["key"] = ["car", "bus"]
    colours = dict(zip(("car", "bus"), CLASS_COLOURS, strict=False))
    figure = contact_sheet({"a": (pixels, 0.5)}, boxes, colours, "title")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    left, top = 10, 62  # the gap and the head
    car, bus = (np.array(to_rgb(colour)) * 255 for colour in CLASS_COLOURS[:2])

    def near(x, y, colour):
        spot = image[top + y - 2 : top + y + 3, left + x - 2 : left + x + 3].reshape(-1, 3)
        return np.abs(spot - colour).max(axis=1).min() < 40

    for x, y in ((25, 55), (100, 55), (60, 30), (60, 80)):  # the edges' middles, at half the size
        assert near(x, y, car)
    assert not near(60, 55, car)
    assert near(150 + 8, 50, bus)  # the ring round a box that is too small to be seen


def test_without_dropped_boxes_nothing_is_written(tmp_path, capsys):
    file = data_file(write_scenes(tmp_path), "BDD100K")
    out = tmp_path / "dropped.png"
    assert main(["data", "preview", file, "--dropped", f"--out={out}"]) == 0
    assert "no filter left out a box" in capsys.readouterr().out
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--out=sheet.gif", "--out is a .png or .jpg, not sheet.gif"),
        ("--images=0", "--images is 1 at least"),
        ("--split=val", "not val"),
    ],
)
def test_a_wrong_option_is_answered_in_one_line(option, named, tiny, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert main(["data", "preview", tiny["GTAV"], f"--out={out}", option]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert named in line
    assert not out.exists()
