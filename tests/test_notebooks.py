"""The notebooks run from start to end, say what is true, and are kept without their outputs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import yolo_synth

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a notebook in an empty folder and returns its cells by id."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = tmp_path / "work"
    folder.mkdir()

    def execute(name: str) -> dict[str, nbformat.NotebookNode]:
        notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
        place = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=240, resources=place).execute()
        assert not list(folder.iterdir())
        return {cell.id: cell for cell in notebook.cells}

    return execute


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


def numbers(cell: nbformat.NotebookNode) -> list[float]:
    """Return what a cell printed with a decimal point."""
    return [float(number) for number in re.findall(r"-?\d+\.\d+", printed(cell))]


def draws(cell: nbformat.NotebookNode) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_valid_and_without_outputs(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_use_public_names_alone(path):
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    tree = ast.parse(re.sub(r"^%.*$", "", code, flags=re.MULTILINE))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    own = [node for node in imports if (node.module or "").startswith("yolo_synth")]
    assert {node.module for node in own} == {"yolo_synth"}
    assert {alias.name for node in own for alias in node.names} <= set(yolo_synth.__all__)


def test_reading_a_report(run):
    cells = run("reading_a_report.ipynb")
    biased, debiased = numbers(cells["noise"])
    assert biased > 0.95
    assert abs(debiased) < 0.1
    said, mean = numbers(cells["check"])
    assert said == pytest.approx(mean, abs=1e-4)
    assert 0.1 < said < 0.95
    assert draws(cells["curve"])
    assert draws(cells["map"])


def test_any_network(run):
    cells = run("any_network.ipynb")
    same, same_null, p_same, mixed, mixed_null, p_mixed = numbers(cells["test"])
    assert same_null < same < 1
    assert p_same == pytest.approx(1 / 501, abs=1e-4)
    assert mixed < mixed_null < 0.5
    assert p_mixed > 0.05
    assert draws(cells["grams"])
