"""Run folders: names, reading, and what is said of folders that are none."""

from __future__ import annotations

import pytest

from yolo_synth import runs


def config(data: str, mode: object) -> dict:
    return {"data": {"class_path": f"yolo_synth.{data}"}, "freezing": {"mode": mode}}


@pytest.mark.parametrize(
    ("data", "mode", "name"),
    [
        ("BDD100K", "none", "U-Real"),
        ("GTAV", "none", "U-Synthetic"),
        ("GTAV", "backbone", "F-Synthetic"),
        ("BDD100K", [0, 36], "F0:36-Real"),
        ("Cityscapes", "none", "U-Cityscapes"),
    ],
)
def test_models_are_named_as_in_the_paper(data, mode, name):
    assert runs.model_name(config(data, mode)) == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "not a run folder, it has no config.yaml"),
        ("model: {", "not YAML"),
        ("model: {}", "seed_everything is missing"),
        ("just words", "seed_everything is missing"),
    ],
)
def test_a_folder_that_is_no_run_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        runs.read_run(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_no_run_below_a_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run folder here or below"):
        runs.find_runs(tmp_path)
