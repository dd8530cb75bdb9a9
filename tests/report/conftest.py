"""A small study for the tests of the report: run folders, and what `report` writes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from report.run_folders import write_run

from yolo_synth.analysis.activations.structure import structure_of
from yolo_synth.commands.report import report
from yolo_synth.networks.yolov3 import YOLOv3

RUNS = (("U-Real", 0), ("F-Synthetic", 0), ("U-Real", 1))


@pytest.fixture(scope="session")
def runs(tiny_root, tmp_path_factory) -> Path:
    """Return a folder with three sound runs, and ones that are none."""
    folder = tmp_path_factory.mktemp("study") / "runs"
    for model, seed in RUNS:
        write_run(folder, model, seed, tiny_root)
    (write_run(folder, "U-Synthetic", 0, tiny_root) / "summary.json").unlink()
    cut = write_run(folder, "F-Real", 0, tiny_root) / "best.ckpt"
    cut.write_bytes(cut.read_bytes()[:1000])
    garbled = folder / "garbled" / "0"
    garbled.mkdir(parents=True)
    (garbled / "config.yaml").write_text("model: {")
    online = folder / "U-Real" / "0" / "wandb" / "run-1" / "files"
    online.mkdir(parents=True)
    (online / "config.yaml").write_text("wandb_version: 1")
    return folder


@pytest.fixture(scope="session")
def out(runs) -> Path:
    """Return the report's folder."""
    report(str(runs), str(runs.parent / "report"), images=200, sizes=(32,))
    return runs.parent / "report"


@pytest.fixture(scope="session")
def structure():
    return structure_of(YOLOv3(width=0.0625), backbone_end=75)
