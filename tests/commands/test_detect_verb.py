"""The verb detect, and what makes its networks quick."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from references import anybodys
from report.run_folders import calibrated, write_run
from torch import nn

from yolo_synth.cli import main
from yolo_synth.networks.quick import casting, make_quick
from yolo_synth.networks.yolov3 import YOLOv3


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> str:
    """Return a network that finds a car in every picture, at 8 to 40 of 64 pixels."""
    return anybodys.program(tmp_path_factory.mktemp("network"), 0)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Return a folder with a wide JPEG, a tall one on its side, a PNG in a folder and a broken file."""
    root = tmp_path / "pictures"
    (root / "inner").mkdir(parents=True)
    grey = Image.new("RGB", (128, 64), (90, 90, 90))
    grey.save(root / "wide.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    grey.save(root / "turned.jpg", exif=exif)
    grey.resize((64, 64)).save(root / "inner/square.png")
    (root / "broken.jpg").write_bytes((root / "wide.jpg").read_bytes()[:200])
    return root


def detect(*arguments) -> int:
    return main(["detect", *map(str, arguments), "--trust"])


def test_boxes_are_in_pixels_of_the_pictures_and_a_broken_one_is_listed(
    network, pictures, tmp_path, capsys
):
    out = tmp_path / "out"
    assert detect(network, pictures, f"--out={out}", "--size=64", "--batch_size=2") == 0
    said = capsys.readouterr()
    assert "3 boxes (3 car) in 3 pictures; 1 could not be read" in said.out
    assert "left out: " in said.err
    listed = pd.read_csv(out / "pictures.csv", keep_default_na=False).set_index("image")
    assert list(listed.index) == ["broken.jpg", "turned.jpg", "wide.jpg", "inner/square.png"]
    assert "broken.jpg" in listed.loc["broken.jpg", "problem"]
    assert listed.loc["turned.jpg", ["width", "height"]].tolist() == [64, 128]
    expected = {  # a letterbox of 64: wide and tall pictures are halved, with 16 of grey on two sides
        "wide.jpg": [16, 0, 80, 48],
        "turned.jpg": [0, 16, 48, 80],
        "inner/square.png": [8, 8, 40, 40],
    }
    table = pd.read_parquet(out / "detections.parquet")
    assert table["class"].tolist() == ["car"] * 3
    assert table["score"].to_numpy() == pytest.approx(0.9)
    boxes = {row.image: [row.x1, row.y1, row.x2, row.y2] for row in table.itertuples()}
    assert boxes == {name: pytest.approx(box) for name, box in expected.items()}
    rows = json.loads((out / "detections.json").read_text())
    x1, y1, x2, y2 = expected["wide.jpg"]
    [wide] = [row for row in rows if row["image_id"] == "wide.jpg"]
    assert wide["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1])
    assert wide["category_id"] == "car"
    with Image.open(out / "pictures/turned.jpg") as drawn:
        assert drawn.size == (64, 128)
        assert max(abs(np.array(drawn.getpixel((47, 60))) - 90)) > 40  # its right edge
        assert max(abs(np.array(drawn.getpixel((25, 110))) - 90)) < 10  # outside
    assert (out / "pictures/inner/square.png.jpg").is_file()


def test_a_video_is_drawn_and_its_frames_are_counted(network, tmp_path, capsys):
    video = cv2.VideoWriter(
        str(tmp_path / "ride.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (128, 64)
    )
    for level in range(7):
        video.write(np.full((64, 128, 3), 30 * level, np.uint8))
    video.release()
    out = tmp_path / "out"
    assert detect(network, tmp_path / "ride.avi", f"--out={out}", "--size=64") == 0
    assert "7 boxes (7 car) in 7 pictures" in capsys.readouterr().out
    table = pd.read_parquet(out / "detections.parquet")
    assert table["image"].tolist() == [f"ride/{number:06}" for number in range(7)]
    drawn = cv2.VideoCapture(str(out / "ride.mp4"))
    frames = [drawn.read()[1] for _ in range(7)]
    assert drawn.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    assert not drawn.read()[0]
    assert [round(frame[60, 110].mean()) for frame in frames] == pytest.approx(
        [30 * level for level in range(7)], abs=6
    )
    assert not (out / "pictures").exists()


def test_a_run_looks_at_a_data_files_test_images_in_either_precision(tiny_root, tmp_path):
    run = write_run(tmp_path, "U-Synthetic", 0, tiny_root)
    data = yaml.safe_load((run / "config.yaml").read_text())["data"]
    (tmp_path / "data.yaml").write_text(yaml.dump(data))
    given = [run, tmp_path / "data.yaml", "--confidence=0.01", "--no_pictures"]
    found = {}
    for precision in ("float32", "bfloat16"):
        out = tmp_path / precision
        assert detect(*given, f"--precision={precision}", f"--out={out}") == 0
        assert not (out / "pictures").exists()
        found[precision] = pd.read_parquet(out / "detections.parquet")
    names = (tiny_root / "splits/gtav/test.txt").read_text().split()
    listed = pd.read_csv(tmp_path / "float32/pictures.csv")
    assert sorted(Path(name).stem for name in listed["image"]) == sorted(
        Path(name).stem for name in names
    )
    plain, rounded = (found[name]["score"] for name in ("float32", "bfloat16"))
    assert len(plain) > 20
    assert len(rounded) == pytest.approx(len(plain), rel=0.2)


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("nowhere.jpg", (), "nowhere.jpg: no such file or folder"),
        ("text.txt", (), "neither a picture"),
        ("empty", (), "no pictures in"),
        ("film.mp4", (), "film.mp4: is no video that can be read"),
        ("broken.jpg", (), "has no picture that can be read: "),
        ("good.png", ("--confidence=2",), "--confidence is a score from 0 to 1, not 2.0"),
        ("good.png", ("--batch_size=0",), "--batch_size is 1 at least, not 0"),
        ("good.png", ("--size=2",), "does not run on images [1, 3, 2, 2]"),
        ("good.png", ("--out=there",), "there exists already"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_left(
    network, tmp_path, monkeypatch, capfd, source, options, words
):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "there"):
        Path(folder).mkdir()
    for name in ("text.txt", "film.mp4", "broken.jpg"):
        Path(name).write_text("nothing of the kind")
    Image.new("RGB", (64, 64)).save("good.png")
    before = sorted(tmp_path.rglob("*"))
    assert detect(network, source, *options) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if "yolo-synth: error" in line]
    assert len(errors) == 1
    assert words in errors[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_folded_norms_leave_yolov3s_answer_as_it_was():
    torch.manual_seed(0)
    network, images = calibrated(YOLOv3(width=0.125)), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = network(images)
        assert make_quick(network, images) == 72
        after = network(images)
        assert not [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        make_quick(network, images, "bfloat16")
        with casting(torch.device("cpu"), "bfloat16"):
            rounded = network(images)
    for one, two, three in zip(before, after, rounded, strict=True):
        torch.testing.assert_close(two, one, atol=1e-4 * float(one.abs().max()), rtol=0)
        assert (three.float() - one).abs().mean() < 0.1 * one.abs().mean()
        assert three.dtype == torch.bfloat16


class Twice(nn.Module):
    """A convolution whose output goes into the norm, and past it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.norm.running_var.fill_(9.0)

    def forward(self, images):
        inner = self.conv(images)
        return self.norm(inner) + inner


def test_a_norm_that_is_not_all_that_reads_its_convolution_stays():
    network, images = Twice().eval(), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        before = network(images)
        assert make_quick(network, images) == 0
        torch.testing.assert_close(network(images), before, atol=1e-6, rtol=0)
    assert isinstance(network.norm, nn.BatchNorm2d)
