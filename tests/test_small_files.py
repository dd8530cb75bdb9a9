# ruff: noqa: PT017 - what is refused is looked at as closely as what is read
"""Small files that are read back: damaged ones count as absent, or one line names them."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
import yaml
from damage import FUZZ, damaged
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from yolo_synth.analysis.activations.gram_files import METHOD, GramFolder, load_grams
from yolo_synth.boxes import place
from yolo_synth.callbacks.record import MetricsFile
from yolo_synth.cli import main
from yolo_synth.commands.grid import trials
from yolo_synth.data.cache import ImageCache
from yolo_synth.evaluation import read_metrics
from yolo_synth.files import Kept
from yolo_synth.runs import read_run

pytestmark = pytest.mark.fuzz

CONFIG = {
    "seed_everything": 0,
    "name": None,
    "freezing": {"mode": [0, 36]},
    "model": {"width": 0.0625, "num_classes": 5, "network": None},
    "data": {
        "class_path": "yolo_synth.Mixed",
        "init_args": {
            "parts": {"a": {"class_path": "yolo_synth.GTAV", "init_args": {"root": "x"}}}
        },
    },
}
METRICS = b"step,train/loss,val/map50,epoch\n0,10.5,,0\n1,9.25,,0\n1,,0.125,0\n2,8.0,,1\n"
SCORES = {"scores": {"map50": 0.5, "map": 0.25}, "images": "abc", "data": {"root": "x"}}


@FUZZ
@given(damaged(yaml.dump(CONFIG).encode()))
def test_a_configuration_is_read_or_one_line_names_it(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    try:
        run = read_run(tmp_path)
    except ValueError as error:
        assert "config.yaml" in str(error)
    else:
        assert run.name


@FUZZ
@given(damaged(METRICS))
def test_metrics_go_on_or_one_line_names_them(tmp_path, content):
    (tmp_path / "metrics.csv").write_bytes(content)
    metrics = MetricsFile(tmp_path)
    try:
        metrics.resume(2)
    except ValueError as error:
        assert "metrics.csv" in str(error)
        assert "\n" not in str(error)
    else:
        assert all(row["step"] < 2 for row in metrics.rows)


@FUZZ
@given(damaged(METRICS))
def test_curves_are_of_numbers_that_can_be_drawn(tmp_path, content):
    (tmp_path / "metrics.csv").write_bytes(content)
    rows = read_metrics(tmp_path / "metrics.csv")
    if rows is not None:
        values = rows.to_numpy()
        assert (np.abs(values[~np.isnan(values)]) <= 1e12).all()


@pytest.mark.parametrize("ending", ["json", "npz"])
@FUZZ
@given(data=st.data())
def test_a_kept_result_comes_back_as_it_was_or_not_at_all(tmp_path, ending, data):
    values = SCORES if ending == "json" else {"a": np.arange(12.0), "b": np.array(["x"])}
    kept = Kept(tmp_path / f"kept.{ending}", "key", 1)
    kept.write(values)
    kept.path.write_bytes(data.draw(damaged(kept.path.read_bytes())))
    read = kept.read()
    if read is not None:
        assert {name: np.asarray(value).tolist() for name, value in read.items()} == {
            name: np.asarray(value).tolist() for name, value in values.items()
        }


@FUZZ
@given(data=st.data())
def test_damaged_grams_count_as_absent(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("grams")
    origin = {"weights": "a", "network": "b", "images": "c", "shape": [3, 3, 8, 8]}
    origin |= {"precision": "float32", "layers": ["0", "1"], "method": METHOD}
    store = GramFolder(folder, origin)
    for layer in range(2):
        store.save(layer, torch.full((3, 3), float(layer), dtype=torch.float64))
    file = folder / data.draw(st.sampled_from(["fingerprint.json", "001.npy"]))
    file.write_bytes(data.draw(damaged(file.read_bytes())))
    try:
        grams, _ = load_grams(folder)
    except FileNotFoundError as error:
        assert str(folder) in str(error)
    else:
        assert grams[:, 0, 0].tolist() == [0.0, 1.0]
    kept = torch.empty(2, 3, 3, dtype=torch.float64)
    for layer in GramFolder(folder, origin).load_into(kept):
        assert torch.equal(kept[layer], torch.full((3, 3), float(layer), dtype=torch.float64))


@FUZZ
@given(damaged(b'{"epochs": 2, "steps": 6, "best_map50": 0.25, "stopped_early": false}'))
def test_a_damaged_summary_is_of_no_finished_run(tmp_path, content):
    (tmp_path / "config.yaml").write_text(yaml.dump(CONFIG))
    (tmp_path / "summary.json").write_bytes(content)
    run = read_run(tmp_path)
    if run.finished:
        assert isinstance(run.summary, dict)
        return
    with pytest.raises(ValueError, match=r"summary\.json"):
        _ = run.summary


SWEEP = {
    "method": "grid",
    "parameters": {
        "seed_everything": {"values": [0, 1]},
        "data": {"parameters": {"root": {"value": "x"}}},
    },
    "command": ["yolo-synth", "fit", "--data=yolo_synth.GTAV", "${args}"],
}


@FUZZ
@given(damaged(yaml.dump(SWEEP).encode()))
def test_a_sweep_file_is_a_grid_or_one_line_names_it(tmp_path, content):
    file = tmp_path / "sweep.yaml"
    file.write_bytes(content)
    try:
        found = trials(str(file), str(tmp_path))
    except (ValueError, OSError) as error:
        assert str(error)
    else:
        assert all(isinstance(part, str) for trial in found for part in trial.command)


@FUZZ
@given(data=st.data())
def test_a_damaged_image_in_the_cache_is_read_from_its_file(tmp_path, data):
    source, placement = tmp_path / "image.png", place(8, 6, 8)
    if not source.exists():
        pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(source)
    cache = ImageCache(tmp_path / "cache")
    whole = np.array(cache.read(source, 8, 6, placement))
    file = cache.file(source, 8, 6, placement)
    file.write_bytes(data.draw(damaged(file.read_bytes())))
    assert np.array_equal(cache.read(source, 8, 6, placement), whole)


def test_one_bad_folder_does_not_end_evaluate(tmp_path, capsys):
    for name, text in (("bad", "a: [1"), ("odd", "seed_everything: x\n"), ("list", "[1, 2]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "config.yaml").write_text(yaml.dump(CONFIG | {"name": "Whole"}))
    assert main(["evaluate", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out.count("left out") == 4
    assert "no finished run" in said.err


def test_a_damaged_metrics_file_is_named(tmp_path, caplog):
    (tmp_path / "metrics.csv").write_text("step,train/loss\n1e300,1\n")
    with caplog.at_level(logging.WARNING, "yolo_synth"):
        assert read_metrics(tmp_path / "metrics.csv") is None
    assert str(tmp_path / "metrics.csv") in caplog.text


def test_a_changed_digit_of_a_kept_score_is_noticed(tmp_path):
    kept = Kept(tmp_path / "kept.json", "key", 1)
    kept.write(SCORES)
    assert kept.read() == SCORES
    kept.path.write_text(kept.path.read_text().replace("0.25", "0.35"))
    assert json.loads(kept.path.read_text())["scores"]["map"] == 0.35
    assert kept.read() is None
