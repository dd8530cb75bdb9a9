"""A small study for the tests of the report: run folders, and what `report` writes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from report.run_folders import write_run

from yolo_synth.report import drawing
from yolo_synth.report import report as reporting
from yolo_synth.report.report import report

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


@pytest.fixture(scope="session", autouse=True)
def _figures_of_one_probe():
    """Draw what the real images show alone, which is half of the work."""

    def write_some(pairs, *rest):
        drawing.write_figures([pair for pair in pairs if pair.probe == "Real"], *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reporting, "write_figures", write_some)
        yield


@pytest.fixture(scope="session")
def out(runs) -> Path:
    """Return the report's folder."""
    report(str(runs), str(runs.parent / "report"), images=200, sizes=(32,))
    return runs.parent / "report"
