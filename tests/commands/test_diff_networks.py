"""`diff` of networks, which it runs itself, on data files and on COCO files with their pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from references import anybodys
from report.run_folders import write_run

from yolo_synth.cli import main


@pytest.fixture(scope="module")
def place(tiny_root, tmp_path_factory) -> Path:
    """Return a folder with a run, a data file of its test images and a program that finds one box."""
    root = tmp_path_factory.mktemp("networks")
    run = write_run(root, "U-Synthetic", 0, tiny_root)
    data = yaml.safe_load((run / "config.yaml").read_text())["data"]
    data["init_args"].pop("image_size")
    (root / "data.yaml").write_text(yaml.dump(data))
    anybodys.program(root, 0)
    return root


def test_networks_give_the_difference_that_their_kept_results_give(place, tmp_path, capsys):
    pair = [str(place / "U-Synthetic/0"), f"{place}/own.py:make"]
    given = ["--trust", "--size=64"]
    truth = f"--truth={place}/data.yaml"
    assert main(["diff", *pair, truth, *given, f"--out={tmp_path}/own", "--no_pictures"]) == 0
    said = capsys.readouterr()
    assert "U-Synthetic/0: shown 8 pictures, 64 pixels a side" in said.out
    assert "make does not know cycle, bus, truck of the" in said.err
    config = yaml.safe_load((place / "data.yaml").read_text())
    config["init_args"]["domain"] = "Other"
    (tmp_path / "other.yaml").write_text(yaml.dump(config))
    kept = ["--data", f"{tmp_path}/other.yaml", f"--out={tmp_path}/kept"]
    assert main(["evaluate", *pair, *given, *kept]) == 0
    files = [f"{tmp_path}/kept/{name}_Other.json" for name in ("U-Synthetic-0", "make")]
    assert main(["diff", *files, truth, f"--out={tmp_path}/files", "--no_pictures"]) == 0
    own, theirs = (pd.read_csv(tmp_path / name / "scores.csv") for name in ("own", "files"))
    pd.testing.assert_frame_equal(own, theirs, atol=1e-4)
    for name, file in zip(("A_U-Synthetic-0", "B_make"), files, strict=True):
        rows = json.loads((tmp_path / "own" / f"{name}.json").read_text())
        others = json.loads(Path(file).read_text())
        assert len(rows) == len(others) > 7
        assert {row["image_id"] for row in rows} == {row["image_id"] for row in others}
        for column in ("score", "bbox"):
            ours, evaluated = (np.array([row[column] for row in x]) for x in (rows, others))
            np.testing.assert_allclose(ours[:7], evaluated[:7], atol=2e-2)


@pytest.fixture
def coco(formats, tmp_path) -> Path:
    """Return a COCO file's folder, its pictures beside it."""
    shutil.copytree(formats["coco"], tmp_path / "coco")
    [file] = (tmp_path / "coco").rglob("*test*.json")
    return file


def test_a_network_is_judged_by_the_pictures_of_a_coco_file(place, coco, tmp_path, capsys):
    network = f"{place}/own.py:make"
    content = json.loads(coco.read_text())
    first = content["images"][0]
    rows = [{"image_id": first["id"], "category_id": "car", "bbox": [0, 0, 9, 9], "score": 0.5}]
    (tmp_path / "b.json").write_text(json.dumps(rows))
    given = ["diff", network, f"{tmp_path}/b.json", f"--truth={coco}", f"--out={tmp_path}/out"]
    assert main([*given, "--trust", "--size=64", "--names={person: car}"]) == 0
    kept = json.loads((tmp_path / "out/A_make.json").read_text())
    scale = max(first["width"], first["height"]) / 64
    left = max(0.0, (8 - (64 - first["width"] / scale) / 2) * scale)
    assert [row["image_id"] for row in kept] == [image["id"] for image in content["images"]]
    assert kept[0]["category_id"] == "car"
    assert kept[0]["bbox"][0] == pytest.approx(left, abs=0.5)
    assert "<img" in (tmp_path / "out/diff.html").read_text()
    capsys.readouterr()
    picture = next(coco.parents[1].rglob(Path(first["file_name"]).name))
    picture.write_bytes(picture.read_bytes()[:300])
    refused = [*given[:-1], f"--out={tmp_path}/none"]
    assert main([*refused, "--trust", "--size=64"]) == 2
    assert "would not be judged by the same pictures" in capsys.readouterr().err
    picture.unlink()
    assert main([*refused, "--trust", "--size=64"]) == 2
    assert "name the folder of all its pictures by --pictures" in capsys.readouterr().err
    assert main(refused) == 2
    assert "give --trust" in capsys.readouterr().err
    (tmp_path / "b.json").unlink()
    assert main([*refused, "--trust"]) == 2
    assert "b.json: no such file; name a COCO result file, or a network" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
