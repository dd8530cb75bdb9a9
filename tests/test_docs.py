"""What stands in docs/ and in the docstrings' examples is so."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import yolo_synth

PROJECT = Path(__file__).parent.parent
PAGES = [*sorted((PROJECT / "docs").glob("*.md")), PROJECT / "CONTRIBUTING.md"]
CALCULATED = (
    *("boxes", "data.splits"),
    *(f"analysis.similarity.{name}" for name in ("cka", "centring", "chance", "gaps", "jackknife")),
    *(f"analysis.similarity.{name}" for name in ("measures", "permutation", "distances")),
    *(f"analysis.similarity.{name}" for name in ("opinions", "extremes", "seeds")),
)
"""Files whose functions show by numbers what they do."""


@pytest.mark.parametrize("name", CALCULATED)
def test_examples_in_docstrings_give_the_numbers_that_they_show(name):
    tried = doctest.testmod(import_module(f"yolo_synth.{name}"))
    assert tried.attempted
    assert not tried.failed


@pytest.mark.parametrize("page", [PROJECT / "SECURITY.md", *PAGES], ids=lambda page: page.name)
def test_tests_that_a_page_names_are_there(page):
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text()):
        tree = ast.parse((PROJECT / file).read_text())
        found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in found, f"{page.name} names {file}::{name}"


def test_each_promise_of_the_same_answer_names_its_test():
    rows = [
        row.strip("| \n").split(" | ")
        for row in (PROJECT / "docs/same_answer.md").read_text().splitlines()
        if row.startswith("| ")
    ]
    assert rows[0] == ["change", "answer", "test"]
    assert len(rows) > 10
    for change, answer, test in rows[1:]:
        promised = "another network" not in answer
        assert ("::test_" in test) == promised, change
        assert (test == "none: not promised") != promised, change


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page):
    text = page.read_text()
    added = set(re.findall(r"^`([\w./]+)`\n\n```", text, re.MULTILINE))  # by the page's own recipes
    named = set(re.findall(r"`((?:yolo_synth|tests|experiments|docs)/[\w./]+)`", text))
    made = {"docs/api"}
    missing = [name for name in named - added - made if not (PROJECT / name).exists()]
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    missing += [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_glossary_has_at_most_25_words_in_order():
    rows = (PROJECT / "docs" / "glossary.md").read_text().splitlines()[4:]
    words = [row.split("|")[1].strip().lower() for row in rows]
    assert 15 < len(words) <= 25
    assert words == sorted(words)


def test_make_docs_writes_a_page_for_each_file_and_all_public_names(tmp_path):
    assert importlib.util.find_spec("pdoc"), "pdoc is missing: pip install -c constraints.txt pdoc"
    [line] = re.findall(
        r"^docs: .*\n\t\$\(BIN\)/python (.*)$", (PROJECT / "Makefile").read_text(), re.M
    )
    script, folder = line.split()
    assert folder == "docs/api"
    done = subprocess.run(
        [sys.executable, script, str(tmp_path)], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    pages = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.html")}
    package = Path(yolo_synth.__file__).parent
    for file in package.rglob("*.py"):
        module = file.relative_to(package.parent).with_suffix("")
        if module.name == "__main__":
            continue
        page = module.parent if module.name == "__init__" else module
        assert f"{page}.html" in pages
    public = (tmp_path / "yolo_synth.html").read_text()
    assert all(f'id="{name}"' in public for name in yolo_synth.__all__)
