"""The command line as a user meets it: help, wrong input, and every verb's way through."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import fit, fit_arguments
from report.run_folders import write_run

from yolo_synth.cli import TRAINER_VERBS, VERBS, Verb, main
from yolo_synth.detector import Detector


def test_help_lists_every_verb(capsys):
    with pytest.raises(SystemExit) as ending:
        main(["--help"])
    assert ending.value.code == 0
    text = capsys.readouterr().out
    for verb in (*TRAINER_VERBS, *VERBS):
        assert f"\n    {verb} " in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as ending:
        main([verb, "--help"])
    assert ending.value.code == 0
    assert len(capsys.readouterr().out) > 150


def test_the_list_of_verbs_says_what_their_docstrings_say():
    groups = [meaning for meaning in VERBS.values() if not isinstance(meaning, Verb)]
    verbs = [meaning for meaning in VERBS.values() if isinstance(meaning, Verb)]
    verbs += [verb for group in groups for verb in group.values()]
    assert len(verbs) >= 12
    for verb in verbs:
        first = " ".join(verb.load().__doc__.split("\n\n")[0].split()).rstrip(".")
        assert verb.summary == first[0].lower() + first[1:]


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "yolo_synth", "sweep", "nowhere.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("yolo-synth: error: nowhere.yaml: no such sweep file")
    assert len(done.stderr.strip().splitlines()) == 1


def broken_scenes(tmp_path: Path) -> Path:
    """Write four images of each data set with labels, to be broken in one place each."""
    pixels = np.full((90, 160, 3), 120, np.uint8)
    images = tmp_path / "bdd100k/images/100k/train"
    labels = tmp_path / "bdd100k/labels/bdd100k_labels_images_train.json"
    images.mkdir(parents=True)
    labels.parent.mkdir(parents=True)
    box = {"category": "car", "box2d": {"x1": 10, "y1": 10, "x2": 60, "y2": 50}}
    names = [f"{n:08x}-{n:08x}.jpg" for n in range(8)]
    for name in names:
        cv2.imwrite(str(images / name), pixels)
    labels.write_text(json.dumps([{"name": name, "labels": [box]} for name in names]))
    frames = [f"001_{n:05}" for n in range(1, 9)]
    for kind in ("img", "bb"):
        (tmp_path / f"gtav/train/{kind}/001").mkdir(parents=True)
    for frame in frames:
        cv2.imwrite(str(tmp_path / f"gtav/train/img/001/{frame}.jpg"), pixels)
        row = ["24", "5001", "10", "10", "60", "50", *["0"] * 22]
        (tmp_path / f"gtav/train/bb/001/{frame}.csv").write_text(",".join(row) + "\n")
    for data, all_names in (("bdd100k", names), ("gtav", [f"{f}.jpg" for f in frames])):
        lists = tmp_path / "splits" / data
        lists.mkdir(parents=True)
        for split, part in (("train", slice(0, 4)), ("valid", slice(4, 6)), ("test", slice(6, 8))):
            (lists / f"{split}.txt").write_text("\n".join(all_names[part]) + "\n")
    return tmp_path


def append(path: str, text: str):
    def act(root: Path) -> None:
        file = root / path
        file.write_text(file.read_text() + text)

    return act


def replace(path: str, old: str, new: str):
    def act(root: Path) -> None:
        file = root / path
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    return act


def truncate(path: str):
    def act(root: Path) -> None:
        file = root / path
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    return act


JSON = "bdd100k/labels/bdd100k_labels_images_train.json"
CSV = "gtav/train/bb/001/001_00002.csv"

BAD_INPUT = {
    "missing root": ("BDD100K", None, ["--data.root=nowhere"], "nowhere"),
    "split name without image": (
        "BDD100K",
        append("splits/bdd100k/valid.txt", "no-such.jpg\n"),
        [],
        "valid.txt",
    ),
    "malformed JSON": ("BDD100K", truncate(JSON), [], "bdd100k_labels_images_train.json"),
    "unknown category": ("BDD100K", replace(JSON, '"car"', '"cra"'), [], "'cra'"),
    "CSV with 5 columns": (
        "GTAV",
        lambda root: (root / CSV).write_text("24,1,2,3,4\n"),
        [],
        "001_00002.csv",
    ),
    "ambiguous column order": (
        "GTAV",
        lambda root: [
            file.write_text(file.read_text().replace("5001", "24"))
            for file in root.glob("gtav/train/bb/001/*.csv")
        ],
        [],
        "columns",
    ),
    "weights of a wrong length": (
        "BDD100K",
        lambda root: (root / "half.weights").write_bytes(b"\0" * 1000),
        ["--model.weights={root}/half.weights"],
        "half.weights",
    ),
    "no such weights": ("GTAV", None, ["--model.backbone=gone.conv.74"], "gone.conv.74"),
    "size that the network cannot take": ("GTAV", None, ["--data.image_size=100"], "100"),
    "layers that there are not": ("GTAV", None, ["--freezing.mode=[0, 107]"], "107"),
    "reference that is no run": (
        "BDD100K",
        None,
        ["--similarity.images=8", "--similarity.reference=nowhere"],
        "nowhere",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_gets_one_line_and_leaves_nothing_behind(case, tmp_path, capsys):
    data, breaks, options, named = BAD_INPUT[case]
    root = broken_scenes(tmp_path)
    if breaks is not None:
        breaks(root)
    options = [option.format(root=root) for option in options]
    assert main(fit_arguments(root, root / "runs", data, *options)) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(error) == 1
    assert error[0].startswith("yolo-synth: error: ")
    assert named in error[0]
    assert not (root / "runs").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_image_is_named_in_one_line(workers, tmp_path, capsys):
    root = broken_scenes(tmp_path)
    truncate_image = root / "bdd100k/images/100k/train/00000001-00000001.jpg"
    truncate_image.write_bytes(truncate_image.read_bytes()[:400])
    arguments = fit_arguments(root, root / "runs", "BDD100K", f"--data.num_workers={workers}")
    assert main(arguments) == 2
    [error] = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert "00000001-00000001.jpg" in error
    assert "Traceback" not in error


def test_a_truncated_image_is_left_out_if_asked_for_unless_there_are_too_many(
    tmp_path, capsys, caplog
):
    root = broken_scenes(tmp_path)
    image = root / "bdd100k/images/100k/train/00000001-00000001.jpg"
    image.write_bytes(image.read_bytes()[:400])
    arguments = fit_arguments(root, root / "runs", "BDD100K", "--data.on_error=skip")
    assert main(arguments) == 2
    [error] = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert "data.max_skipped" in error
    assert image.name in error
    assert not (root / "runs").exists()
    assert main([*arguments, "--data.max_skipped=0.5"]) == 0
    assert f"left out: {image} is not an image that can be read" in caplog.text
    assert "BDD100K train: 1 of 4 images are left out of all that follows" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fit", "--model.width=wide"], "model.width"),
        (["fit", "--config=nowhere.yaml"], "nowhere.yaml"),
        (["fit", "--no.such.option=1"], "no.such.option"),
        (["fit"], "data"),
        (["conquer"], "conquer"),
        (["data", "conquer"], "conquer"),
        (["report", "somewhere", "--images=many"], "images"),
        (["compare", "a"], "compare.b"),
    ],
)
def test_a_wrong_option_is_answered_in_one_line(arguments, named, capsys):
    assert main(arguments) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("yolo-synth: error: ")
    assert named in line


@pytest.mark.parametrize("verb", [["sweep"], ["data", "check"], ["data", "convert"]])
def test_a_file_that_is_not_yaml_is_answered_in_one_line(verb, tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text("x: [")
    assert main([*verb, str(file)]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert f"{file}: not YAML" in line


@pytest.mark.parametrize("verb", ["compare", "report", "export", "fit"])
def test_a_place_that_cannot_be_written_to_is_answered_in_one_line(
    verb, tiny_root, tmp_path, capsys
):
    run, file = write_run(tmp_path / "runs", "U-Real", 0, tiny_root), tmp_path / "file"
    file.write_text("here already")
    arguments = {
        "compare": [run, run, "--images=6", f"--out={file}"],
        "report": [run, "--images=6", "--sizes=[32]", f"--out={file}"],
        "export": [run, file / "x.weights"],
        "fit": fit_arguments(tiny_root, file)[1:],
    }
    assert main([verb, *map(str, arguments[verb])]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"yolo-synth: error: {file}" in last.replace("\r", "\n").splitlines()[-1]
    assert "name another path" in last
    assert file.read_text() == "here already"


def test_a_device_that_is_out_of_memory_is_answered_in_one_line(
    tiny_root, tmp_path, capsys, monkeypatch
):
    def step(self, batch, batch_idx):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of "
            "which 1.10 GiB is free. Process 4321 has 5.25 GiB memory in use. Process 77 has 512.00 MiB "
            "memory in use. Of the allocated memory 1.00 GiB is allocated by PyTorch, and more is reserved."
        )

    monkeypatch.setattr(Detector, "training_step", step)
    assert main(fit_arguments(tiny_root, tmp_path)) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(
        "yolo-synth: error: CUDA out of memory. Tried to allocate 2.00 GiB, process 4321 holds 5.25 GiB, "
        "process 77 holds 512.00 MiB: batches of fewer images"
    )


def test_measuring_takes_the_best_checkpoint_or_says_that_there_is_none(tmp_path, capsys):
    root = broken_scenes(tmp_path)
    arguments = ["test", *fit_arguments(root, root / "runs", "BDD100K")[1:]]
    assert main(arguments) == 2
    assert "best.ckpt: no such checkpoint" in capsys.readouterr().err


def test_a_configuration_that_is_no_yaml_is_named(tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text("model: {")
    for given in (["--config", str(file)], [f"--config={file}"]):
        assert main(["fit", *given]) == 2
        assert f"{file}: not YAML" in capsys.readouterr().err


def test_the_summary_of_modules_tells_no_operations_that_nobody_counted(
    tiny_root, tmp_path, caplog
):
    with caplog.at_level("INFO", "lightning.pytorch"):
        fit(tiny_root, tmp_path, "BDD100K", "--trainer.enable_model_summary=true")
    assert "Trainable params" in caplog.text
    assert "flops" not in caplog.text.lower()


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        ("fit experiments/u_real.yaml", "is named by --config FILE"),
        ("test runs/U-Real/0", "evaluate NETWORK --data FILE"),
        ("predict torchvision:fcos_resnet50_fpn pictures", "yolo-synth detect NETWORK PICTURES"),
        ("report a.pt b.pt", "compare A B --data DATA"),
        ("report torchvision:fcos_resnet50_fpn", "compare A B --data DATA"),
    ],
)
def test_who_gives_a_verb_a_network_that_it_does_not_take_is_told_what_to_give(
    given, instead, capsys
):
    assert main(given.split()) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert instead in said[-1]


def test_an_option_that_there_is_not_is_not_taken_for_a_network(capsys):
    assert main(["report", "runs", "--colour", "red"]) == 2
    assert "compare A B" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "a", "b", "--images", "ten"], "images: a whole number is expected, not ten"),
        (["curve", "a", "b", "--real", "ten"], "real: a list, as '[1, 2]' is expected, not ten"),
        (["advise", "a", "--real", "b", "--rates", "[c]"], "rates: a number is expected, not c"),
    ],
)
def test_a_value_of_another_type_is_answered_in_words(arguments, said, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"yolo-synth: error: {said}\n"
