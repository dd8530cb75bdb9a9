"""What is written is read back by our readers and, as COCO, by an independent program."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO as PyCOCO  # noqa: N811 a class

from yolo_synth.cli import main
from yolo_synth.data.annotations import kept
from yolo_synth.data.convert import write_converted
from yolo_synth.data.datamodule import BDD100K, COCO, GTAV, YOLO

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
    write_converted(drawn, "coco", tmp_path / "out", copy=True)
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
