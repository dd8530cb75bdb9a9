"""`yolo-synth curve`: it trains each recipe once, goes on where it was killed, and says what it cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from yolo_synth.cli import main
from yolo_synth.commands.trainings import _Processes
from yolo_synth.curves.answer import Answer, Point
from yolo_synth.curves.recipes import budget
from yolo_synth.detector import Detector
from yolo_synth.report.curve import write_curve

EXPERIMENT = {
    "trainer": {"accelerator": "cpu", "logger": False, "max_epochs": 1},
    "model": {"width": 0.0625, "lr": 0.001, "confidence": 0.2},
    "early_stopping": {"patience": 1},
}


@pytest.fixture(scope="module")
def files(tiny_root, tmp_path_factory) -> Path:
    """Return a folder with data files of both kinds and an experiment file."""
    folder = tmp_path_factory.mktemp("files")
    for name, kind in (("bdd100k", "BDD100K"), ("gtav", "GTAV")):
        arguments = {
            **{"root": str(tiny_root / name), "splits": str(tiny_root / "splits" / name)},
            **{"image_size": 32, "num_workers": 0, "augment": False, "batch_size": 2},
        }
        said = {"class_path": f"yolo_synth.{kind}", "init_args": arguments}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(said))
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    return folder


@pytest.fixture
def started(monkeypatch) -> list[str]:
    """Have trainings run in this process, and return the files of those that were started."""
    files: list[str] = []

    def run(self, command, **options):
        files.append(Path(command[4].removeprefix("--config=")).stem)
        return main(command[3:])

    monkeypatch.setattr(_Processes, "run", run)
    return files


def arguments(files: Path, out: Path, *more: str) -> list[str]:
    config = f"--config={files / 'experiment.yaml'}"
    sets = [str(files / "gtav.yaml"), str(files / "bdd100k.yaml")]
    return [
        "curve",
        *sets,
        "--real=[0,6]",
        "--seeds=1",
        "--steps=10",
        config,
        f"--out={out}",
        *more,
    ]


def test_what_was_killed_goes_on_and_comes_to_the_same_bytes(
    files, tmp_path, started, monkeypatch, capsys
):
    assert main(arguments(files, tmp_path / "whole")) == 0
    assert started == ["synthetic 0", "real-6 0", "both-6 0", "tuned-6-lr=0.001 0"]
    said = capsys.readouterr()
    assert "What 24 synthetic-trained plus 6 real pictures are worth is not said" in said.out
    assert "Each recipe takes 10 steps of 2 pictures in all" in said.out
    assert "early_stopping is left out" in said.err
    rows = pd.read_csv(tmp_path / "whole/curve.csv")
    assert list(rows["recipe"]) == [
        *("synthetic only", "real only", "both together", "synthetic, then real")
    ]
    assert list(rows["steps"]) == [5, 10, 10, 10]
    page = (tmp_path / "whole/curve.html").read_text()
    assert "<script" not in page
    assert "One seed: there are no intervals." in page

    started.clear()
    for run in (tmp_path / "whole/trainings").glob("*/[rs]*/0"):  # two that were finished before
        shutil.copytree(run, tmp_path / "killed" / run.relative_to(tmp_path / "whole"))
    step = Detector.training_step

    def dies(self, batch, batch_idx):
        if started[-1].startswith("both") and self.global_step == 3:
            raise RuntimeError("killed")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(Detector, "training_step", dies)
        with pytest.raises(RuntimeError, match="killed"):
            main(arguments(files, tmp_path / "killed"))
    assert main(arguments(files, tmp_path / "killed")) == 0
    assert started == ["both-6 0", "both-6 0", "tuned-6-lr=0.001 0"]
    for name in ("curve.json", "curve.csv", "curve.html", "curve.svg"):
        whole, killed = (tmp_path / where / name for where in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes(), name
    before = len(started)
    assert main(arguments(files, tmp_path / "killed")) == 0
    assert len(started) == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--real=[0]", "--real is a list of numbers of pictures, each once, some above 0, not [0]"),
        ("--real=[10,-1]", "some above 0, not [10, -1]"),
        ("--real=[4,4]", "each once"),
        ("--real=[4,999]", "bdd100k.yaml has 24 training images; ask for fewer"),
        ("--seeds=0", "--seeds is at least 1, not 0"),
        ("--steps=0", "--steps is at least 1, not 0"),
        ("--rate=0", "--rate is a learning rate above 0, not 0.0"),
        ("--parallel=0", "--parallel is at least 1, not 0"),
        ("--config=nowhere.yaml", "nowhere.yaml: no such experiment file"),
    ],
)
def test_what_cannot_be_is_said_in_a_line_before_anything_is_trained(
    files, tmp_path, started, more, message, capsys
):
    assert main(arguments(files, tmp_path / "out", more)) == 2
    assert message in capsys.readouterr().err
    assert started == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("bdd100k", {"image_size": 64}, "image_size is 64 in"),
        ("bdd100k", {"train_images": 3}, "train_images is the curve's own: leave it out"),
        ("gtav", {"epoch_images": 3}, "epoch_images is the curve's own: leave it out"),
        ("experiment", {"weights": "x.ckpt"}, "model.weights is the curve's own"),
        ("experiment", {"network": {"class_path": "strange.Network"}}, "is no network of ours"),
    ],
)
def test_files_that_do_not_go_together_are_refused(
    files, tmp_path, started, file, change, message, capsys
):
    for name in ("bdd100k", "gtav", "experiment"):
        said = yaml.safe_load((files / f"{name}.yaml").read_text())
        if name == file:
            said["model" if name == "experiment" else "init_args"] |= change
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(said))
    assert main(arguments(tmp_path, tmp_path / "out")) == 2
    assert message in capsys.readouterr().err
    assert started == []


def test_real_and_synthetic_given_the_wrong_way_round_are_told_apart(files, started, capsys):
    given = [str(files / "bdd100k.yaml"), str(files / "gtav.yaml")]
    for sets in (given, given[:1] * 2):
        assert main(["curve", *sets, f"--out={files}/none"]) == 2
        assert "the first is to be the file of the synthetic data" in capsys.readouterr().err
    assert started == []


def test_planted_curves_are_drawn_and_said(tmp_path):
    """The second recipe at n is as good as the first at three times as many."""
    points = []
    for seed, shift in enumerate((-0.002, 0.0, 0.002)):
        points.append(Point("synthetic", 0, seed, 0.3 + shift, 0.1))
        for n in (10, 40, 160):
            for number, (recipe, times) in enumerate((("real", 1), ("tuned", 3), ("both", 1.5))):
                wobble = shift * (1 if number else -1) * n**-0.1
                score = 0.7 - 1.2 * (times * n) ** -0.4 + wobble
                points.append(Point(recipe, n, seed, score, score / 2))
    answer = Answer(
        *(points, [0, 10, 40, 160], 3, budget(100, 8), 0.001, (300, 200), ("Real", "Game"), 100)
    )
    write_curve(answer, tmp_path)
    said = json.loads((tmp_path / "curve.json").read_text())
    worth = {(one["recipe"], one["real"]): one for one in said["worth"]}
    assert worth["tuned", 40]["value"] == pytest.approx(120, rel=0.02)
    assert worth["both", 10]["value"] == pytest.approx(15, rel=0.03)
    assert worth["tuned", 160]["value"] is None
    assert worth["tuned", 160]["more"]
    low, high = worth["tuned", 40]["interval"]
    assert low < 120 < high
    worth_it = f"120 [{low:.0f}, {high:.0f}] real ones: more than the 40 themselves."
    sentence = f"200 synthetic-trained plus 40 real pictures are worth {worth_it}"
    assert said["sentence"] == sentence
    assert sentence in (tmp_path / "curve.html").read_text()
    assert said["curves"]["real"]["exponent"] == pytest.approx(0.4, abs=0.02)
    svg = (tmp_path / "curve.svg").read_text()
    assert "synthetic, then real" in svg
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
