"""The panel of pictures: what two runs find and miss, on the page of a report."""

from __future__ import annotations

import html
import re

import pytest

from yolo_synth.cli import main
from yolo_synth.data.source import data_module
from yolo_synth.report import report as reporting
from yolo_synth.report.panels import pictures
from yolo_synth.report.selection import select


@pytest.fixture
def only_pictures(monkeypatch):
    monkeypatch.setattr(reporting, "PANELS", (pictures.PANEL,))


def page(runs, out, *options) -> str:
    given = [str(runs), f"--out={out}", "--images=200", "--sizes=[32]", *options]
    assert main(["report", *given]) == 0
    return (out / "report.html").read_text()


def test_pictures_stand_inside_the_page_chosen_by_a_stated_rule(
    runs, tmp_path, only_pictures, monkeypatch
):
    first = page(runs, tmp_path / "one")
    assert len(first) < 5_000_000
    assert "; img-src data:" in first
    sources = re.findall(r'\bsrc="([^"]{23})', first)
    assert len(sources) == first.count("<img") > 8
    assert set(sources) == {"data:image/webp;base64,"}
    galleries = re.findall(r"<h3>([^<]+)</h3>\s*<p class=\"soft\">(\d+) of [\d,]+: ([^<]+)", first)
    assert len(galleries) == 2 * 5
    assert [title for title, *_ in galleries[:5]] == [
        *("Only A finds", "Only B finds", "Most confident false alarms of A"),
        *("Most confident false alarms of B", "Worst misses: neither finds"),
    ]
    assert all(
        int(count) <= 24 and "at most one of an image" in rule for _, count, rule in galleries
    )
    shown = re.findall(
        r"Of ([\d,]+) true boxes in (\d+) images both find (\d+), only A (\d+),", first
    )
    for (boxes, images, *_), run in zip(shown, select(str(runs)).subjects[:2], strict=True):
        data = data_module(run.run.config["data"])
        names = data.names("test")
        table = data.table
        kept = table[table["image"].isin(names) & (table["dropped"] == "")]
        assert (int(boxes), int(images)) == (len(kept), len(names))
    assert "A is U-Real/0, B is F-Synthetic/0." in html.unescape(first)
    monkeypatch.setattr(pictures, "found_in_truth", None)  # what was found is kept
    monkeypatch.setattr("yolo_synth.report.page.LIMIT", len(first) - 10_000)  # pictures count apart
    assert page(runs, tmp_path / "two") == first


def test_without_pictures_no_network_runs_and_none_is_shown(
    runs, tmp_path, only_pictures, monkeypatch
):
    monkeypatch.setattr(pictures, "detector_of", None)
    shown = page(runs, tmp_path / "none", "--no_pictures")
    assert "<img" not in shown
    assert "; img-src data:" in shown  # of figures, as that of the confusions
    assert 'id="pictures"' not in shown


def test_of_runs_of_one_domain_two_models_are_chosen_and_of_one_model_two_seeds(runs):
    first, other, again = select(str(runs)).subjects
    assert pictures.chosen_pair([first, again, other]) == (first, other)
    assert pictures.chosen_pair([first, again]) == (first, again)
    assert pictures.chosen_pair([first]) is None
