"""Kept scores: they count as long as weights, pictures and labels are those that were measured."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers import fit

from yolo_synth import evaluation, scoring
from yolo_synth.average_precision import AveragePrecision
from yolo_synth.cli import main
from yolo_synth.files import Kept


@pytest.fixture(scope="module")
def measured(formats, tmp_path_factory) -> Path:
    """Return a folder with YOLO data and a run on them, evaluated once."""
    root = tmp_path_factory.mktemp("measured")
    shutil.copytree(formats["yolo"], root / "data")
    options = ("--data.splits=null", "--data.domain=Own", f"--data.root={root}/data")
    fit(formats["yolo"].parent, root / "runs", "YOLO", *options)
    assert main(["evaluate", str(root / "runs")]) == 0
    return root


@pytest.fixture
def run(measured, tmp_path) -> Path:
    """Return a run folder of the test's own."""
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    run = tmp_path / "runs/U-Own/0"
    for path in (run / "config.yaml", run / "test/Own.json"):
        path.write_text(path.read_text().replace(str(measured), str(tmp_path)))
    kept = json.loads((run / "test/Own.json").read_text())
    origin = {name: kept.pop(name) for name in ("format", "key", "digest")}
    Kept(run / "test/Own.json", origin["key"], origin["format"]).write(kept)
    return run


def pictures(run: Path) -> list[Path]:
    data = evaluation.data_module(json.loads((run / "test/Own.json").read_text())["data"])
    dataset = data.dataset("test")
    return [dataset.root / path for path in dataset._paths]


def mend_labels(run: Path) -> None:
    picture = pictures(run)[0]
    label = Path(str(picture).replace("images", "labels")).with_suffix(".txt")
    label.write_text("0 0.5 0.5 0.3 0.3\n")


def change_a_picture(run: Path) -> None:
    first, second = pictures(run)[:2]
    states = first.stat()
    first.write_bytes(second.read_bytes())
    os.utime(first, ns=(states.st_atime_ns, states.st_mtime_ns))


def change_a_weight(run: Path) -> None:
    checkpoint = torch.load(run / "best.ckpt", weights_only=True)
    checkpoint["state_dict"]["network.layers.0.conv.weight"] += 1
    torch.save(checkpoint, run / "best.ckpt")


def name_the_groups(run: Path) -> None:
    """Say what images belong to: scores without each block leave whole groups out."""
    groups = run.parents[2] / "groups.csv"
    data = evaluation.data_module(json.loads((run / "test/Own.json").read_text())["data"])
    names = data.table["image"].unique()
    groups.write_text("image,group\n" + "".join(f"{name},{name[-5]}\n" for name in names))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["init_args"]["groups"] = str(groups)
    (run / "config.yaml").write_text(yaml.dump(config))


def cut_the_kept_file(run: Path) -> None:
    path = run / "test/Own.json"
    path.write_bytes(path.read_bytes()[:40])


def keep_as_before(run: Path) -> None:
    """Write the file as it was when scores knew the options of the data alone."""
    path = run / "test/Own.json"
    data = json.loads(path.read_text())["data"]
    path.write_text(json.dumps({"data": data, "scores": {"map50": 0.75, "map": 0.5}}))


def count_measurements(monkeypatch) -> list[str]:
    measured = []
    scores = evaluation.test_scores

    def counts(run, module):
        measured.append(run.name)
        return scores(run, module)

    monkeypatch.setattr(evaluation, "test_scores", counts)
    return measured


@pytest.mark.parametrize(
    "change",
    [
        *(mend_labels, change_a_picture, change_a_weight, name_the_groups, cut_the_kept_file),
        keep_as_before,
    ],
)
def test_a_score_is_measured_anew_when_what_it_follows_from_changes(run, change, monkeypatch):
    measured = count_measurements(monkeypatch)
    assert main(["evaluate", str(run.parents[1])]) == 0
    assert not measured
    change(run)
    assert main(["evaluate", str(run.parents[1])]) == 0
    assert measured == ["U-Own/0"]
    assert json.loads((run / "test/Own.json").read_text())["scores"]["map50"] != 0.75


def test_a_data_set_that_moved_or_is_not_here_leaves_the_score(run, tmp_path, monkeypatch, caplog):
    measured = count_measurements(monkeypatch)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert main(["evaluate", str(run.parents[1])]) == 0
    assert (
        "the Own test images are not here, so its kept scores are taken as they are" in caplog.text
    )
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(f"{tmp_path}/data", f"{tmp_path}/elsewhere"))
    assert main(["evaluate", str(run.parents[1])]) == 0
    assert not measured


def test_what_is_kept_without_each_block_is_what_the_images_left_give():
    generator = torch.Generator().manual_seed(0)

    def boxes(count):
        corner = torch.rand(count, 2, generator=generator) * 40
        return torch.cat([corner, corner + 10], 1)

    images = []
    for _ in range(12):
        true = {"boxes": boxes(4), "labels": torch.randint(2, (4,), generator=generator)}
        shifted = true["boxes"] + torch.randn(4, 1, generator=generator)
        found = {
            "boxes": torch.cat([shifted, boxes(3)]),
            "labels": torch.cat([true["labels"], torch.randint(2, (3,), generator=generator)]),
            "scores": torch.rand(7, generator=generator),
        }
        images.append((found, true))
    groups = [f"ride {image // 2}" for image in range(12)]

    def metric(chosen):
        value = AveragePrecision(("car", "person"))
        value.update(*zip(*(images[image] for image in chosen), strict=True))
        return value

    def area(chosen):
        """Area under the envelope of precision, class by class, of these images alone."""
        values = metric(chosen)
        scores, labels, hits = (torch.cat(x) for x in (values.scores, values.labels, values.hits))
        of_classes = []
        for label in (0, 1):
            order = scores[labels == label].argsort(descending=True)
            right = hits[labels == label][order, 0].double()
            precision = right.cumsum(0) / torch.arange(1, len(right) + 1)
            best = precision.flip(0).cummax(0).values.flip(0)
            of_classes.append((right * best).sum() / int(values.objects[label]))
        return float(sum(of_classes) / 2)

    objects = np.stack([np.bincount(true["labels"], minlength=2) for _, true in images])
    found = scoring.without_blocks(metric(range(12)), objects, groups)
    expected = [area([i for i in range(12) if groups[i] != f"ride {g}"]) for g in range(6)]
    assert sorted(found) == pytest.approx(sorted(expected))
    assert scoring.without_blocks(metric(range(12)), objects, ["one"] * 12) == []


def test_each_run_keeps_what_is_left_without_the_same_blocks(measured):
    kept = json.loads((measured / "runs/U-Own/0/test/Own.json").read_text())
    assert len(kept["without"]) >= 5
