"""CONTRIBUTING.md's recipes, followed to the letter in a copy of the package, do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

PROJECT = Path(__file__).parent.parent
TEXT = (PROJECT / "CONTRIBUTING.md").read_text()
BLOCK = re.compile(r"^`([\w./]+)`\n\n```(python|yaml|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

COMMANDS = """
import sys
from yolo_synth.cli import main

tiny = (
    "--runs=runs --data=experiments/data/csv_boxes.yaml --data.splits=null --data.image_size=64 "
    "--data.num_workers=0 --trainer.max_epochs=1 --trainer.accelerator=cpu "
    "--trainer.logger=false --trainer.enable_progress_bar=false --similarity.images=0 --pictures.images=0"
)
check, fit = sys.argv[1:]
for command in (
    check,
    f"{fit} {tiny} --name First",
    f"{fit} {tiny} --name Second --model.lr=0.01",
    "yolo-synth compare runs/First/0 runs/Second/0 --images 8 --out compared --measures pearson",
    "yolo-synth report runs --out report --images 8 --sizes [32] --measures angle,pearson",
):
    program, *arguments = command.split()
    code = main(arguments)
    assert code == 0, (command, code)
"""


def follow(folder: Path) -> list[str]:
    """Write what the recipes' blocks say into a folder; return the files that were written."""
    blocks = BLOCK.findall(TEXT)
    for name, language, text in blocks:
        path = folder / name
        if language == "diff":
            lines = text.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            new = "".join(line[1:] for line in lines if line[0] in " +")
            before = path.read_text()
            assert before.count(old) == 1, f"{name} has not these lines:\n{old}"
            path.write_text(before.replace(old, new))
        else:
            assert not path.exists(), f"{name} is there already"
            path.write_text(text)
    return [name for name, _, _ in blocks]


def draw_scenes(root: Path) -> None:
    """Write 40 images with a bright car each, and a person in every second one."""
    numbers = np.random.default_rng(0)
    for part in ("images", "boxes"):
        (root / part).mkdir(parents=True)
    for index in range(40):
        pixels = numbers.integers(0, 90, (64, 64, 3), dtype=np.uint8)
        left, top = numbers.integers(0, 32, 2)
        pixels[top : top + 24, left : left + 30] = (220, 40, 40)
        lines = [f"automobile,{left},{top},{left + 30},{top + 24}"]
        if index % 2:
            pixels[40:60, 50:58] = (40, 220, 40)
            lines.append("person,50,40,58,60")
        Image.fromarray(pixels).save(root / "images" / f"scene{index}.jpg")
        (root / "boxes" / f"scene{index}.csv").write_text("\n".join(lines) + "\n")


def command_of(recipe: str) -> str:
    """Return the command that stands in a recipe."""
    [section] = re.findall(rf"^## {recipe}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    [command] = re.findall(r"^\$ (yolo-synth .*)$", section, re.MULTILINE)
    return command


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """Follow all recipes in a copy, and run what they lead to: two trainings, compare, report."""
    folder = tmp_path_factory.mktemp("copy")
    leave = shutil.ignore_patterns("__pycache__")
    for part in ("yolo_synth", "experiments"):
        shutil.copytree(PROJECT / part, folder / part, ignore=leave)
    written = follow(folder)
    draw_scenes(folder / "data" / "csv_boxes")
    (folder / "commands.py").write_text(COMMANDS)
    done = subprocess.run(
        [sys.executable, "commands.py", command_of("A data set"), command_of("A detector")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleNamespace(folder=folder, written=written, said=done.stdout + done.stderr)


def test_each_recipe_writes_files_and_changes_few_places(followed):
    twice = len(followed.written) - len(set(followed.written))
    assert twice == 2  # places in report.py and measures.py
    assert len(followed.written) == 10


def test_a_detector_trains_and_is_compared_block_by_block(followed):
    run = followed.folder / "runs" / "First" / "0"
    states = [
        torch.load(run / name, weights_only=True)["state_dict"]
        for name in ("initial.ckpt", "best.ckpt")
    ]
    moved = {name for name in states[0] if not torch.equal(*(state[name] for state in states))}
    assert {"network.stem.0.weight", "network.head.weight"} <= moved
    compared = pd.read_csv(followed.folder / "compared" / "layers.csv")
    assert list(compared["layer"]) == [0, 1, 2]
    assert compared["cka_debiased"].between(-1, 1).all()


def test_a_data_set_is_read_and_split(followed):
    assert "40 images, 60 boxes" in followed.said
    table = pd.read_csv(followed.folder / "report" / "tables" / "table_2.csv")
    assert "Drawn" in table.to_string()


def test_a_measure_is_reached_by_its_name(followed):
    compared = pd.read_csv(followed.folder / "compared" / "layers.csv")
    assert {"pearson", "pearson_low", "pearson_high", "pearson_null", "pearson_p"} <= set(compared)
    assert (followed.folder / "compared" / "pearson.png").is_file()
    page = (followed.folder / "report" / "report.html").read_text()
    assert "Correlation of squared distances between images (pearson); 8 Drawn test images" in page
    tables = followed.folder / "report" / "tables"
    layers = pd.read_csv(tables / "similarity_layers.csv")
    runs = layers[(layers["first"] == "First/0") & (layers["second"] == "Second/0")]
    assert len(runs) == 3
    assert runs["pearson"].between(-1, 1).all()
    assert runs["pearson"].nunique() > 1
    assert runs["pearson_p"].between(0, 1).all()
    assert "pearson, head" in pd.read_csv(tables / "second_opinion.csv").columns


def test_a_panel_s_sentence_stands_in_the_report(followed):
    sentence = "Most alike of 1 pairs: First/0 vs Second/0, "
    assert f"- {sentence}" in (followed.folder / "report" / "findings.md").read_text()
    assert sentence in (followed.folder / "report" / "report.html").read_text()
