"""What is written is read back by our readers and, as COCO, by an independent program."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO as PyCOCO  # noqa: N811 a class

from yolo_synth.cli import main
from yolo_synth.data.bdd100k import BDD100K
from yolo_synth.data.coco import COCO
from yolo_synth.data.convert import write_converted
from yolo_synth.data.gtav import GTAV
from yolo_synth.data.table import kept
from yolo_synth.data.yolo import YOLO

SPLITS = {"train": "train", "valid": "val", "test": "test"}


@pytest.fixture(scope="module", params=[BDD100K, GTAV], ids=["real", "synthetic"])
def drawn(request, tiny_root):
    name = "bdd100k" if request.param is BDD100K else "gtav"
    return request.param(tiny_root / name, splits=tiny_root / "splits" / name, image_size=64)


def boxes(data, split):
    """Return every image's boxes, cut off at its border, by the image's name without folders."""
    used = kept(data.table)
    found = {name: [] for name in data.names(split)}
    for row in used[used["image"].isin(found)].itertuples():
        edges = np.clip([row.x1, row.y1, row.x2, row.y2], 0, [row.width, row.height] * 2)
        found[row.image].append((row.label, *edges))
    return {name.rsplit("/", 1)[-1]: rows for name, rows in found.items()}


def same(some, others):
    assert some.keys() == others.keys()
    for name, rows in some.items():
        assert np.allclose(rows, others[name], atol=1e-3), name


@pytest.mark.parametrize(("to", "reader"), [("coco", COCO), ("yolo", YOLO)])
def test_the_readers_find_the_same_images_boxes_and_splits(drawn, tmp_path, to, reader):
    count = write_converted(drawn, to, tmp_path / "out")
    again = reader(tmp_path / "out", image_size=64, num_workers=0)
    assert sum(len(rows) for split in SPLITS for rows in boxes(drawn, split).values()) == count > 30
    for split in SPLITS:
        same(boxes(drawn, split), boxes(again, split))
    assert not list(tmp_path.glob("*.draft"))
    again.setup()
    images, targets = next(iter(again.test_dataloader()))
    assert images.shape[1:] == (3, 64, 64)
    assert any(len(target["labels"]) for target in targets)


def test_coco_files_are_what_an_independent_program_reads(drawn, tmp_path):
    write_converted(drawn, "coco", tmp_path / "out", "copy")
    for split, part in SPLITS.items():
        other = PyCOCO(str(tmp_path / f"out/annotations/instances_{part}.json"))
        assert [c["name"] for c in other.loadCats(other.getCatIds())][2:] == ["car", "bus", "truck"]
        found = {}
        for image in other.loadImgs(other.getImgIds()):
            assert (tmp_path / "out/images" / part / image["file_name"]).is_file()
            rows = other.loadAnns(other.getAnnIds(imgIds=[image["id"]]))
            found[image["file_name"]] = [
                (
                    row["category_id"] - 1,
                    *row["bbox"][:2],
                    *np.add(row["bbox"][:2], row["bbox"][2:]),
                )
                for row in rows
            ]
        same(boxes(drawn, split), found)


def test_pngs_keep_their_suffix(tiny_root, tmp_path):
    shutil.copytree(tiny_root / "gtav", tmp_path / "gtav")
    for path in (tmp_path / "gtav/train/img").glob("*/*.jpg"):
        cv2.imwrite(str(path.with_suffix(".png")), cv2.imread(str(path)))
        path.unlink()
    data = GTAV(tmp_path / "gtav", splits=tiny_root / "splits/gtav")
    write_converted(data, "yolo", tmp_path / "out")
    again = YOLO(tmp_path / "out")
    assert {path.rsplit(".")[-1] for path in again.table["path"]} == {"png"}
    assert kept(again.table)["label"].value_counts().to_dict() == (
        kept(data.table)["label"].value_counts().to_dict()
    )


def test_night_stays_night(tiny_root, tmp_path):
    data = BDD100K(tiny_root / "bdd100k", split_by="image")
    write_converted(data, "coco", tmp_path / "out")
    converted = COCO(tmp_path / "out", where={"timeofday": "night"}, split_by="image")
    nights = data.table.loc[data.table["timeofday"] == "night", "image"].nunique()
    assert 0 < sum(len(converted.names(split)) for split in SPLITS) == nights


def files_of(data, folder):
    """Return the images that a converted folder has, each with the one that it was made from."""
    sources = {Path(path).stem: data.root / path for path in data.table["path"]}
    return [(path, sources[path.stem]) for path in folder.rglob("*.jpg")]


def test_images_are_hard_links_unless_copies_or_symlinks_are_asked_for(drawn, tmp_path):
    for placing in ("link", "copy", "symlink"):
        write_converted(drawn, "yolo", tmp_path / placing, placing)
        files = files_of(drawn, tmp_path / placing)
        assert len(files) == 40
        for path, source in files:
            assert path.samefile(source) == (placing != "copy")
            assert path.is_symlink() == (placing == "symlink")
            assert path.read_bytes() == source.read_bytes()
    with pytest.raises(
        ValueError, match=r"leads to .*COCO and YOLO data, which have no label_root"
    ):
        YOLO(tmp_path / "symlink").names("test")


def no_hard_links(self, target):
    raise OSError(errno.EXDEV, "Invalid cross-device link")


def test_on_another_disk_images_are_copied_and_it_is_said(drawn, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Path, "hardlink_to", no_hard_links)
    with caplog.at_level("INFO", "yolo_synth"):
        write_converted(drawn, "coco", tmp_path / "out")
    assert "cannot be a hard link (Invalid cross-device link)" in caplog.text
    assert "40 images are copied, which takes 0." in caplog.text
    files = files_of(drawn, tmp_path / "out")
    assert len(files) == 40
    assert not any(path.samefile(source) for path, source in files)


def test_what_there_is_no_room_for_is_not_begun(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(ValueError, match=r"copies of 40 images take 0.\d MB, and 0.0 MB are free"):
        write_converted(drawn, "coco", tmp_path / "out", "copy")
    assert not files_of(drawn, tmp_path)


def test_the_command_writes_and_does_not_overwrite(tiny_root, tmp_path, capsys):
    file = tmp_path / "data.yaml"
    settings = {"root": str(tiny_root / "gtav"), "splits": str(tiny_root / "splits/gtav")}
    file.write_text(yaml.dump({"class_path": "yolo_synth.GTAV", "init_args": settings}))
    command = ["data", "convert", str(file), "--to", "yolo", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "24 train, 8 valid, 8 test images with" in capsys.readouterr().out
    about = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert about["names"] == dict(enumerate(["person", "cycle", "car", "bus", "truck"]))
    assert (tmp_path / "out" / about["val"]).is_dir()
    assert main(command) == 2
    assert "exists already; choose another folder" in capsys.readouterr().err
    assert main(["data", "convert", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml: no such file" in capsys.readouterr().err
    file.write_text("root: here")
    assert main(["data", "convert", str(file)]) == 2
    assert "names no data set" in capsys.readouterr().err
