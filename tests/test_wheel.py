"""The wheel and the source archive, installed where the project's folder is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent


def run(*command: str | Path, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """Return a wheel built from the project's files, and one built from its source archive."""
    root = tmp_path_factory.mktemp("built")
    copy = root / "project"
    copy.mkdir()
    for name in ("yolo_synth", "experiments"):
        shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copyfile(PROJECT / name, copy / name)
    build = (
        "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"
    )
    for kind in ("sdist", "wheel"):
        run(sys.executable, "-c", build, f"build_{kind}", root / kind, folder=copy)
    shutil.unpack_archive(next((root / "sdist").glob("*.tar.gz")), root / "unpacked", filter="data")
    unpacked = next((root / "unpacked").iterdir())
    run(sys.executable, "-c", build, "build_wheel", root / "again", folder=unpacked)
    return {
        "wheel": next((root / "wheel").glob("*.whl")),
        "source archive": next((root / "again").glob("*.whl")),
    }


@pytest.mark.parametrize("kind", ["wheel", "source archive"])
def test_what_is_installed_works_without_the_project(kind, wheels, tmp_path):
    """In an environment that sees the dependencies and not the project."""
    venv.create(tmp_path / "venv")
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    shutil.unpack_archive(wheels[kind], site, format="zip")
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python, folder = tmp_path / "venv/bin/python", tmp_path / "empty"
    folder.mkdir()
    where = run(python, "-c", "import yolo_synth; print(yolo_synth.__file__)", folder=folder)
    assert Path(where.strip()) == site / "yolo_synth/__init__.py"

    def files(root: Path, *kinds: str) -> set[Path]:
        return {path.relative_to(root) for kind in kinds for path in root.rglob(kind)}

    kinds = ("*.py", "*.html", "*.css", "*.js", "py.typed")
    assert files(site / "yolo_synth", *kinds) == files(PROJECT / "yolo_synth", *kinds)
    command = (python, "-m", "yolo_synth")
    assert "init" in run(*command, "--help", folder=folder)
    run(*command, "init", folder=folder)
    assert files(folder / "experiments", "*") == files(PROJECT / "experiments", "*")
    if kind == "source archive":
        return
    run(*command, "data", "tiny", "demo/data", "--images", "40", folder=folder)
    options = (
        "--model.backbone null --model.width 0.0625 --trainer.max_epochs 1 --data.num_workers 0"
    )
    run(
        *(*command, "fit", "--config", "experiments/tiny_u_real.yaml", *options.split()),
        *("--similarity.images", "0", "--pictures.images", "0"),
        folder=folder,
    )
    assert (folder / "runs/U-Real/0/summary.json").is_file()


def test_init_overwrites_nothing(tmp_path, capsys):
    from yolo_synth.cli import main

    assert main(["init", str(tmp_path)]) == 0
    (tmp_path / "experiments/u_real.yaml").write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "experiments: is there already" in line
    assert (tmp_path / "experiments/u_real.yaml").read_text() == "mine"
