"""Disks that are full, read-only or have a quota: a line with the path, nothing half-written, no way back.

Each test has a disk of its own, which `small_disk` mounts; room for the rest is made by doing.
"""

from __future__ import annotations

import errno
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers import equal, fit, fit_arguments, weights
from small_disk import disks

from yolo_synth.cli import one_line

ODD = re.compile(r"draft|claim|\.part$|unfinished|\.room$")


@pytest.fixture(scope="module")
def disk():
    with disks() as disk:
        yield disk


@pytest.fixture(scope="module")
def runs(tiny_root, tmp_path_factory) -> Path:
    """Return a folder with two finished runs and nothing that later verbs add."""
    out = tmp_path_factory.mktemp("finished")
    for seed in (0, 1):
        fit(tiny_root, out, "BDD100K", f"--seed_everything={seed}")
        (out / f"U-Real/{seed}/last.ckpt").unlink()
    return out


@pytest.fixture
def data_file(tiny_root, tmp_path) -> str:
    file = tmp_path / "gtav.yaml"
    options = {"root": str(tiny_root / "gtav"), "splits": str(tiny_root / "splits/gtav")}
    content = {"class_path": "yolo_synth.GTAV", "init_args": {**options, "image_size": 64}}
    file.write_text(yaml.dump(content))
    return str(file)


def last(said: str) -> str:
    return said.strip().splitlines()[-1]


def assert_whole(files: dict[str, int]) -> None:
    assert not [name for name in files if ODD.search(Path(name).name)]
    ours = {name: size for name, size in files.items() if not name.startswith("tiny/")}
    assert all(size for name, size in ours.items() if name.endswith((".csv", ".json", ".png")))


def test_a_training_on_a_full_disk_keeps_its_checkpoint_and_goes_on_with_room(
    disk, tiny_root, tmp_path
):
    place = tmp_path / "disk"
    options = ("--trainer.max_epochs=3",)
    arguments = fit_arguments(tiny_root, place / "runs", "BDD100K", *options)
    # 1.1 MB the first weights, 1.1 the best, 3.3 the last: each file is written beside the old one
    steps = [
        *(["room", 3_000_000], ["run", arguments], ["files"]),
        *(["room", 5_000_000], ["run", arguments], ["files"]),
        *(["mode", "ro"], ["run", arguments], ["mode", "rw"]),
        *(["room"], ["run", arguments], ["files"], ["fetch", str(tmp_path / "kept")]),
    ]
    done = disk(place, 30_000_000, steps)
    (first, without), (second, with_one), refused, (code, said), end = (
        *((done[1], done[2]), (done[4], done[5])),
        *(done[7], done[10], done[11]),
    )
    run = place / "runs/U-Real/0"
    assert first[0] == second[0] == refused[0] == 2
    line = f"error: {run}/last.ckpt: no space left on device; name another path, or make room"
    assert line in last(first[1])
    assert "runs/U-Real/0/last.ckpt" not in without
    assert re.search(rf"error: {run}/(best|last).ckpt: no space left", last(second[1]))
    assert with_one["runs/U-Real/0/last.ckpt"] > 3_000_000
    assert re.search(rf"error: {run}/\S+: read-only file system", last(refused[1]))
    assert code == 0, said
    for files in (without, with_one, end):
        assert_whole(files)
    fit(tiny_root, tmp_path / "undisturbed", "BDD100K", *options)
    for name in ("best.ckpt", "last.ckpt"):
        whole = weights(tmp_path / "undisturbed/U-Real/0", name)
        assert equal(weights(tmp_path / "kept/runs/U-Real/0", name), whole)


def test_every_verb_names_the_path_that_a_disk_refused_and_goes_on_with_room(
    disk, runs, data_file, tmp_path
):
    place = tmp_path / "disk"
    verbs = {
        "evaluate": ["evaluate", place],
        "compare": [
            *("compare", place / "U-Real/0", place / "U-Real/1", "--images", 8),
            *("--out", place / "compare"),
        ],
        "report": ["report", place, "--out", place / "report", "--images", 6, "--sizes", "[32]"],
        "convert": ["data", "convert", data_file, "--out", place / "coco", "--images", "copy"],
        "yolo": ["data", "convert", data_file, "--to", "yolo", "--out", place / "yolo"],
        "describe": ["data", "describe", data_file, "--out", place / "described"],
        "check": ["data", "check", data_file, "--out", place / "checked"],
        "preview": ["data", "preview", data_file, "--out", place / "preview.png"],
        "tiny": ["data", "tiny", place / "tiny", "--images", 30],
        "export": ["export", place / "U-Real/0", place / "new/x.weights"],
        "init": ["init", place / "new"],
    }
    steps = [["copy", str(runs)]]
    for verb in verbs.values():
        given = [str(part) for part in verb]
        steps += [["room", 0], ["run", given], ["room", 16_384], ["run", given], ["files"]]
        steps += [["room"], ["mode", "ro"], ["run", given], ["mode", "rw"], ["run", given]]
    *done, files = disk(place, 60_000_000, [*steps, ["files"]])
    for number, name in enumerate(verbs):
        full, little, between, refused, again = (done[1 + 10 * number + k] for k in (1, 3, 4, 7, 9))
        for (code, said), why in ((full, "no space left|are free"), (refused, "read-only file")):
            assert code == 2, (name, said)
            assert re.search(rf"error: {place}\S*: .*({why})", last(said)), (name, last(said))
            assert "Traceback" not in said
        assert little[0] in (0, 1, 2), little[1]  # what is small has room, as check's tables
        assert_whole(between)
        assert again[0] in (0, 1), (name, again[1])
    assert_whole(files)
    made = {name.split("/")[0] for name in files}
    assert {"coco", "yolo", "described", "checked", "preview.png", "report", "tiny", "new"} <= made


def test_runs_that_can_only_be_read_are_compared_and_reported_on_without_keeping(
    disk, runs, tmp_path, monkeypatch
):
    place, report = tmp_path / "disk", tmp_path / "report"
    monkeypatch.chdir(tmp_path)
    compare = ["compare", str(place / "U-Real/0"), str(place / "U-Real/1"), "--images", "8"]
    tell = ["report", str(place / "U-Real/0"), "--out", str(report), "--images", "6"]
    steps = [["copy", str(runs)], ["files"], ["mode", "ro"], ["run", compare]]
    steps += [["run", [*tell, "--sizes", "[32]"]], ["files"]]
    _, before, _, compared, reported, after = disk(place, 60_000_000, steps)
    for code, said in (compared, reported):
        assert code == 0, said
        assert "Traceback" not in said
    told = f"{place}/U-Real/{{}}: cannot be written to (read-only file system): what is computed is"
    assert [(compared[1] + reported[1]).count(told.format(seed)) for seed in (0, 1)] == [1, 1]
    assert (
        f"{place}/U-Real/0: cannot be written to, so the comparison is in ./compare" in compared[1]
    )
    assert after == before
    assert {"similarity.npz", "compare.html"} <= {
        path.name for path in (tmp_path / "compare").iterdir()
    }
    assert "U-Real/0" in (report / "findings.md").read_text()


def test_a_sweep_says_which_disk_its_trainings_found_full(disk, tiny_root, tmp_path):
    place = tmp_path / "disk"
    _, *options = fit_arguments(tiny_root, place / "runs", "BDD100K")
    sweep = tmp_path / "sweep.yaml"
    seeds = {"seed_everything": {"values": [0]}}
    command = ["yolo-synth", "fit", *options[1:], "${args}"]
    sweep.write_text(yaml.dump({"method": "grid", "parameters": seeds, "command": command}))
    arguments = ["sweep", str(sweep), "--runs", str(place / "runs")]
    talkative = tmp_path / "talkative.yaml"
    command = [sys.executable, "-c", "import sys; sys.exit(print('word ' * 9999))", "${args}"]
    talkative.write_text(yaml.dump({"method": "grid", "parameters": seeds, "command": command}))
    says = ["sweep", str(talkative), *arguments[2:]]
    steps = [["room", 0], ["run", says], ["room", 1_500_000], ["run", arguments], ["files"]]
    _, full, _, half, files = disk(place, 30_000_000, steps)
    assert full[0] == half[0] == 2
    assert re.search(rf"error: .*{place}/runs/logs\S*: no space left", last(full[1]), re.IGNORECASE)
    assert f"{place}/runs/U-Real/0/best.ckpt: no space left on device" in last(half[1])
    assert_whole(files)


def test_temporary_files_have_no_part_in_a_training(disk, tiny_root, tmp_path):
    """TMPDIR is often a small disk of its own."""
    place = tmp_path / "disk"
    options = ("--data.num_workers=1", "--pictures.images=2", "--similarity.images=8")
    arguments = fit_arguments(tiny_root, tmp_path / "runs", "BDD100K", *options)
    steps, small = [["room", 0], ["run", arguments]], {"TMPDIR": str(place)}
    [_, (code, said)] = disk(place, 100_000, steps, **small, WANDB_MODE="offline")
    assert code == 0, said
    assert "Traceback" not in said
    assert list((tmp_path / "runs/U-Real/0").glob("similarity/*/similarity.npz"))


def test_a_quota_keeps_the_file_of_before(tmp_path):
    """The limit on the length of a file is one that every system has."""
    code = (
        "import sys, torch\n"
        "from yolo_synth.callbacks.record import WholeCheckpoints\n"
        "from yolo_synth.cli import one_line\n"
        "write = WholeCheckpoints().save_checkpoint\n"
        "write({'step': 1}, sys.argv[1])\n"
        "try: write({'step': 2, 'big': torch.zeros(300_000)}, sys.argv[1])\n"
        "except OSError as error: print(one_line(error))\n"
        "print(torch.load(sys.argv[1], weights_only=True))\n"
    )

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    path = tmp_path / "last.ckpt"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    said, kept = done.stdout.splitlines()
    assert said.startswith(f"{path}: file too large; name another path, or make room there")
    assert kept == "{'step': 1}"
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_copy_that_a_disk_refused_names_the_copy(tmp_path):
    error = OSError(errno.EDQUOT, "Disk quota exceeded", "source", None, "copy")
    assert one_line(error).startswith("copy: disk quota exceeded")
