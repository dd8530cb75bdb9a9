"""An option that a later file overrules is said."""

from __future__ import annotations

import logging

import pytest

from yolo_synth.cli import main


@pytest.mark.parametrize("spelling", ["--data.batch_size=4", "--data.batch_size 4"])
def test_an_option_before_the_file_that_overrules_it_is_said(tmp_path, caplog, capsys, spelling):
    data = tmp_path / "data.yaml"
    data.write_text(
        f"class_path: yolo_synth.COCO\ninit_args: {{root: {tmp_path}, batch_size: 2}}\n"
    )
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(f"data: {data}\nmodel: {{lr: 0.5}}\n")
    early = [*spelling.split(), "--model.lr=0.25", "--seed_everything=3", "--data.min_area=0"]
    caplog.set_level(logging.WARNING, "yolo_synth")
    assert main(["fit", "--data=yolo_synth.COCO", *early, f"--config={experiment}"]) == 2
    said = [record.message for record in caplog.records if "overruled" in record.message]
    assert said == [
        f"--data.batch_size 4 is overruled by --config {experiment}, which comes after it and makes "
        "it 2: give the option after the file",
        f"--model.lr 0.25 is overruled by --config {experiment}, which comes after it and makes it "
        "0.5: give the option after the file",
    ]
    caplog.clear()
    assert main(["fit", f"--config={experiment}", *early, f"--runs={tmp_path}"]) == 2
    assert "overruled" not in caplog.text
    assert main(["fit", "--data=yolo_synth.COCO", *early, f"--data={data}"]) == 2
    assert f"--data.batch_size 4 is overruled by --data {data}" in caplog.text
