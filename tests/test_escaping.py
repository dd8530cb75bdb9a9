"""Names that others chose do nothing where they are shown."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from yolo_synth.cli import main
from yolo_synth.escaping import csv_text, markdown_text, shown
from yolo_synth.report.panel import Table
from yolo_synth.report.tables import markdown


@pytest.mark.parametrize("code", [*range(32), *range(127, 160), 0x202E, 0x2028, 0x200B, 0xFEFF])
def test_a_terminal_gets_no_control_character(code):
    text = shown(f"a{chr(code)}b")
    assert text.isprintable() or code in (9, 10)
    assert len(text) > 3 or code in (9, 10)


def test_what_people_write_stays():
    text = "Fußgänger, 信号, día — 50 %\n\tÅ"
    assert shown(text) == text


def test_no_cell_and_no_name_of_a_csv_file_is_a_formula():
    frame = pd.DataFrame({"=a": ["=HYPERLINK(1)", "@x", "plain", None], "n": [-1.5, 2, 3, 4]})
    frame.index = pd.Index(["+1", "-cmd", "\tb", "c"], name="=i")
    rows = list(csv.reader(io.StringIO(csv_text(frame))))
    cells = [cell for row in rows for cell in row if cell != "-1.5"]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert rows[1][1:] == ["'=HYPERLINK(1)", "-1.5"]
    assert rows[3][1] == "plain"


def test_several_rows_of_heads_stay_as_they_were():
    frame = pd.DataFrame([[0.5, 0.25]], index=pd.Index(["U-Real"], name="model"))
    frame.columns = pd.MultiIndex.from_tuples([("Real", 0), ("Real", 1)], names=["domain", "seed"])
    assert csv_text(frame) == frame.to_csv()


def test_markdown_shows_a_name_and_obeys_none():
    name = "<img src=x onerror=alert(1)>|[a](javascript:b)`c`"
    assert markdown_text(name) == (r"&lt;img src=x onerror=alert(1)&gt;\|\[a\](javascript:b)\`c\`")
    table = Table("k", "T", "C", pd.DataFrame({"x": [1.0]}, index=pd.Index([name], name="model")))
    assert "<img" not in markdown(table)
    assert "| &lt;img" in markdown(table)


def test_every_verb_prints_names_so(tmp_path, capsys):
    """A run folder and a data file of a stranger, whose names would set the window's title."""
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    data = {"class_path": "\x1b]0;title\x07", "init_args": {}}
    (tmp_path / "data.yaml").write_text(yaml.dump(data))
    config = {"seed_everything": 0, "model": {}, "data": data, "freezing": {"mode": "none"}}
    (folder / "config.yaml").write_text(yaml.dump(config))
    for arguments in (
        ["data", "check", str(tmp_path / "data.yaml")],
        ["data", "describe", str(tmp_path / "data.yaml")],
        ["evaluate", str(tmp_path / "runs")],
        ["report", str(tmp_path / "runs")],
    ):
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err
        assert "\x07" not in said.out + said.err


def test_what_is_logged_is_shown_so():
    code = (
        "import logging; from yolo_synth.cli import _show_progress_notes; _show_progress_notes();"
        "logging.getLogger('yolo_synth.x').warning('run \\x1b]0;title\\x07')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "run \\x1b]0;title\\x07\n"
