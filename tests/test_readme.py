"""What the README tells a reader to type works."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image
from report.run_folders import write_run

import yolo_synth
from yolo_synth.analysis.similarity.series import CONSTANT, SHARED, WORDS
from yolo_synth.cli import main
from yolo_synth.data import SETS

PROJECT = Path(__file__).parent.parent
TEXT = (PROJECT / "README.md").read_text()


def commands(heading: str) -> list[str]:
    """Return the commands in the console blocks under a heading."""
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    blocks = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


def test_the_steps_run_one_by_one(tmp_path, monkeypatch, capsys):
    shutil.copytree(PROJECT / "experiments", tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)
    steps = commands("The steps, one by one")
    assert len(steps) >= 7
    for step in steps:
        program, *arguments = shlex.split(step)
        assert program == "yolo-synth"
        if arguments[0] == "fit":
            arguments += ["--similarity.images=8", "--trainer.check_val_every_n_epoch=1"]
        assert main(arguments) == 0, step
    assert "U-Synthetic" in capsys.readouterr().out
    assert list(tmp_path.glob("runs/U-Real/0/similarity/U-Synthetic-0*/heatmap_biased.png"))
    assert (tmp_path / "u_real.weights").stat().st_size > 1_000_000


def test_the_commands_for_the_true_data_are_ones_the_program_takes(monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    steps = [shlex.split(step) for step in commands("The true data")]
    fits = [arguments for program, *arguments in steps if arguments[0] == "fit"]
    assert len(fits) == 3
    for arguments in fits:
        with pytest.raises(SystemExit) as ending:
            main([*arguments, "--print_config"])
        assert ending.value.code == 0
    named = {word for step in steps for word in step if word.startswith("experiments/")}
    assert all((PROJECT / name).is_file() for name in named)


def test_the_page_on_verdicts_explains_every_word():
    page = (PROJECT / "docs/how_to_read_a_verdict.md").read_text()
    assert "(docs/how_to_read_a_verdict.md)" in TEXT
    explained = [line.split("|")[1].strip() for line in page.splitlines() if line[:1] == "|"]
    assert set(explained[2:]) == {*WORDS, SHARED, CONSTANT}


def test_the_two_set_up_commands_are_make_targets():
    makefile = (PROJECT / "Makefile").read_text()
    for command in commands("Start"):
        program, target = command.split()
        assert program == "make"
        assert f"\n{target}:" in makefile


def test_the_python_examples_run(tmp_path, monkeypatch, capsys):
    similarity, detection, difference = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(compile(similarity, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip() == similarity.rpartition("# ")[2].strip()
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs"), "U-Real", 0, tmp_path)
    Image.new("RGB", (128, 64)).save("street.jpg")
    names: dict[str, object] = {}
    exec(compile(detection.replace("0.25", "0.01"), "README.md", "exec"), names)
    assert "x1" in capsys.readouterr().out
    found = names["found"]
    assert set(found["image"]) == {"street.jpg"}
    assert found[["x2", "y2"]].max().tolist() <= [128, 64]
    boxes = [{"image_id": n, "category_id": 1, "bbox": [5, 5, 20, 20]} for n in range(12)]
    found = [{**box, "score": 0.9} for box in boxes]
    truth = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 64} for n in range(12)
        ],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{**box, "id": n, "area": 400} for n, box in enumerate(boxes, 1)],
    }
    for name, content in (("a", found[:6]), ("b", found), ("truth", truth)):
        Path(f"{name}.json").write_text(json.dumps(content))
    exec(compile(difference, "README.md", "exec"), {})
    assert "B is better than A by" in capsys.readouterr().out


def test_every_file_it_links_to_is_there():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    assert links
    missing = [link for link in links if not (PROJECT / link).exists()]
    assert not missing


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{p.name}" for p in PROJECT.glob("docs/*.md"))]
)
def test_python_that_a_page_shows_imports_public_names_alone(page):
    blocks = re.findall(r"```python\n(.*?)```", (PROJECT / page).read_text(), re.DOTALL)
    assert blocks or page != "README.md"
    found = [node for block in blocks for node in ast.walk(ast.parse(block))]
    own = [node for node in found if isinstance(node, ast.ImportFrom)]
    own = [node for node in own if (node.module or "").startswith("yolo_synth")]
    assert all(node.module == "yolo_synth" for node in own)
    names = {alias.name for node in own for alias in node.names}
    assert names <= {*yolo_synth.__all__, *SETS}
    assert names or page != "README.md"
