"""Kill commands at random moments, give the same ones again, compare with the undisturbed ones.

    python benchmarks/kills.py --before 10 --between 25 --after 5
    python benchmarks/kills.py --verbs sweep evaluate report compare cache index --times 10

Each trial works on small drawn scenes, is killed by SIGKILL, every other time with its children, and
goes on by the same command. A training has workers, mosaics and a similarity, and has survived if it
ends with 0 and all that the run folder holds of it is the same to the bit: weights, optimizer, early
stopping, metrics, summary. Any other verb has survived if it ends with 0 and without a traceback and
leaves the same files, byte by byte. Of its trials every other one is killed while it writes a file.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import yaml

from yolo_synth.scenes.formats import write_tiny

COMPARED = ("initial.ckpt", "best.ckpt", "last.ckpt", "metrics.csv", "summary.json")

STRAY = (".draft", ".claim", ".room")


def options_of_fit(scenes: Path, out: Path, epochs: int) -> list[str]:
    """Return the options of a small training with workers, mosaics and a similarity."""
    options = {
        "--runs": out,
        "--data": "yolo_synth.BDD100K",
        "--data.root": scenes / "bdd100k",
        "--data.splits": scenes / "splits/bdd100k",
        "--data.image_size": 64,
        "--data.num_workers": 2,
        "--data.mosaic": "true",
        "--model.width": 0.0625,
        "--model.lr": 0.001,
        "--model.schedule": "one_cycle",
        "--trainer.accelerator": "cpu",
        "--trainer.max_epochs": epochs,
        "--trainer.log_every_n_steps": 1,
        "--trainer.enable_progress_bar": "false",
        "--trainer.enable_model_summary": "false",
        "--similarity.images": 8,
        "--pictures.every": 3,
    }
    return [f"{name}={value}" for name, value in options.items()]


def command(*arguments: object) -> list[str]:
    """Return a command of the command line."""
    return [sys.executable, "-m", "yolo_synth", *map(str, arguments)]


def fit(scenes: Path, out: Path, epochs: int, *further: str) -> list[str]:
    """Return the command of a small training."""
    return command("fit", *options_of_fit(scenes, out, epochs), *further)


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, without a server."""
    return subprocess.Popen(
        arguments,
        env=os.environ | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def numbers(value: object, place: str = "") -> dict[str, torch.Tensor]:
    """Return all numbers in a checkpoint, by place; folders in the places are left out."""
    if isinstance(value, dict):
        items = [
            (Path(key).name if str(key).startswith(os.sep) else str(key), part)
            for key, part in value.items()
        ]
    elif isinstance(value, list | tuple):
        items = [(str(number), part) for number, part in enumerate(value)]
    else:
        known = isinstance(value, torch.Tensor | int | float)
        return {place: torch.as_tensor(value)} if known else {}
    return {k: v for key, part in items for k, v in numbers(part, f"{place}/{key}").items()}


def differing(run: Path, whole: Path) -> list[str]:
    """Name what differs between two run folders; how often a loop was started is no difference."""
    found = []
    for name in COMPARED:
        if not (run / name).is_file():
            found.append(name)
        elif name.endswith(".ckpt"):
            ours, theirs = (numbers(torch.load(r / name, weights_only=True)) for r in (run, whole))
            keys = {k for k in {*ours, *theirs} if not k.startswith("/loops")}
            found += [
                f"{name}{key}"
                for key in sorted(keys)
                if key not in ours or key not in theirs or not torch.equal(ours[key], theirs[key])
            ][:1]
        elif (run / name).read_bytes() != (whole / name).read_bytes():
            found.append(name)
    return (
        found
        + strays(run)
        + ([] if list(run.glob("similarity/*/similarity.npz")) else ["similarity"])
    )


def strays(folder: Path) -> list[str]:
    """Name what is left of a writer that was killed."""
    drafts = [path for path in folder.rglob(".drafts/*") if path.is_file()]
    return [path.name for path in folder.rglob("*") if path.name.endswith(STRAY)] + [
        path.name for path in drafts
    ]


def wait(process: subprocess.Popen[bytes], path: Path | None, seconds: float) -> None:
    """Wait for a file and then so many seconds, or for the process's end."""
    while path is not None and not path.is_file() and process.poll() is None:
        time.sleep(0.01)
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)


def kill(process: subprocess.Popen[bytes], with_children: bool) -> bool:
    """Kill a process; False if it had ended."""
    ended = process.poll() is not None
    if not ended:
        (os.killpg if with_children else os.kill)(process.pid, signal.SIGKILL)
    process.communicate()
    return not ended


def told(place: str, killed: bool, code: int, wrong: list[str], said: str) -> bool:
    """Print how a trial ended; tell whether it survived."""
    good = code == 0 and not wrong and "Traceback" not in said
    state = "survived" if good else f"LOST: exit {code}, {wrong[:5]} {said[-300:]}"
    print(f"{place}{'' if killed else ', which had ended'}: {state}", flush=True)
    return good


class Verb(NamedTuple):
    """A verb that is killed.

    Attributes:
        start: Folders of what there is before, and where in the place of work it is copied to.
        arguments: The command.
        differing: Names what differs between the place of work and the undisturbed one.
    """

    start: dict[str, Path]
    arguments: list[str]
    differing: Callable[[Path, Path], list[str]]


def files(folder: Path) -> dict[str, bytes]:
    """Return what all files below a folder hold, by name."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def differing_files(work: Path, whole: Path) -> list[str]:
    """Name the files that are not the same, byte by byte."""
    ours, theirs = files(work), files(whole)
    names = sorted({*ours, *theirs})
    return [name for name in names if ours.get(name) != theirs.get(name)] + strays(work)


def differing_trainings(work: Path, whole: Path) -> list[str]:
    """Name what differs between two folders of run folders."""
    runs = [path.parent.relative_to(whole) for path in whole.rglob("summary.json")]
    return [name for run in runs for name in differing(work / run, whole / run)]


def differing_cache(work: Path, whole: Path) -> list[str]:
    """Name what differs between two trainings and their image caches."""
    ours, theirs = (files(place / "cache") for place in (work, whole))
    wrong = [name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)]
    return wrong + strays(work) + differing_trainings(work, whole)


def verbs(root: Path, work: Path) -> dict[str, Verb]:
    """Return the verbs, after what they need was made."""
    scenes, trained = root / "scenes", root / "trained"
    for number, name in enumerate(("A", "B")):
        arguments = fit(scenes, trained, 2, f"--seed_everything={number}", f"--name={name}")
        subprocess.run(arguments, check=True, capture_output=True)
        shutil.rmtree(trained / f"{name}/{number}/similarity")
    grid = {
        "method": "grid",
        "parameters": {"seed_everything": {"values": [0, 1]}},
        "command": ["yolo-synth", "fit", *options_of_fit(scenes, work / "runs", 1), "${args}"],
    }
    (root / "sweep.yaml").write_text(yaml.dump(grid))
    data = {
        "class_path": "yolo_synth.BDD100K",
        "init_args": {
            "root": str(work / "many/bdd100k"),
            "splits": str(work / "many/splits/bdd100k"),
        },
    }
    (root / "data.yaml").write_text(yaml.dump(data))
    write_tiny(root / "many", images=400)
    runs = work / "runs"
    a, b = runs / "A/0", runs / "B/1"
    of_runs, out = {"runs": trained}, work / "out"
    cache = f"--data.cache={work / 'cache'}"
    return {
        "sweep": Verb(
            {}, command("sweep", root / "sweep.yaml", "--runs", runs), differing_trainings
        ),
        "evaluate": Verb(of_runs, command("evaluate", runs), differing_files),
        "report": Verb(
            of_runs,
            command("report", runs, "--out", out, "--images", 8, "--sizes", "[32]"),
            differing_files,
        ),
        "compare": Verb(
            of_runs, command("compare", a, b, "--out", out, "--images", 8), differing_files
        ),
        "cache": Verb({}, fit(scenes, work / "runs", 1, cache), differing_cache),
        "index": Verb(
            {"many": root / "many"},
            command("data", "describe", root / "data.yaml", "--out", out),
            differing_files,
        ),
    }


def writes(work: Path) -> bool:
    """Tell whether a file is being written just now."""
    found = (name for _, _, names in os.walk(work) for name in names)
    return any(name.endswith(".draft") for name in found) or any((work / "cache/.drafts").glob("*"))


def kill_verb(name: str, verb: Verb, times: int, work: Path, draw: random.Random) -> int:
    """Kill a verb so many times; return how many it survived."""
    whole = work.with_name(f"whole_{name}")

    def prepare() -> None:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        for place, folder in verb.start.items():
            shutil.copytree(folder, work / place)

    prepare()
    begun = time.monotonic()
    undisturbed = start(verb.arguments)
    said = undisturbed.communicate()[1].decode(errors="replace")
    assert undisturbed.returncode == 0, said
    seconds = time.monotonic() - begun
    work.rename(whole)
    survived = 0
    for number in range(times):
        at = (number + draw.random()) / times * seconds
        killed, writing = False, number % 2 == 1
        while not killed:  # where it had ended, or wrote nothing more, earlier
            prepare()
            process = start(verb.arguments)
            wait(process, None, at)
            while writing and process.poll() is None and not writes(work):
                time.sleep(0.0005)
            killed = kill(process, with_children=number % 4 > 1)
            at = at if killed else draw.uniform(0, at)
        again = start(verb.arguments)
        said = again.communicate()[1].decode(errors="replace")
        wrong = verb.differing(work, whole)
        moment = f"{name} + {at:.2f} of {seconds:.2f} s{', writing' if writing else ''}"
        survived += told(moment, killed, again.returncode, wrong, said)
    shutil.rmtree(whole)
    return survived


def kill_trainings(options: argparse.Namespace, root: Path, draw: random.Random) -> None:
    """Kill trainings before the first checkpoint, from there to the end, and after that."""
    run = Path("U-Real/0")
    process = start(fit(root / "scenes", root / "whole", options.epochs))
    begun = time.monotonic()
    wait(process, root / "whole" / run / "last.ckpt", 0)
    first = time.monotonic() - begun
    wait(process, root / "whole" / run / "summary.json", 0)
    training = time.monotonic() - begun - first
    assert process.wait() == 0
    after = time.monotonic() - begun - first - training
    moments: list[tuple[str, str | None, float]] = [
        *[("before", None, draw.uniform(0, first)) for _ in range(options.before)],
        *[("between", "last.ckpt", draw.uniform(0, training)) for _ in range(options.between)],
        *[("after", "summary.json", draw.uniform(0, after)) for _ in range(options.after)],
    ]
    survived = dict.fromkeys(("before", "between", "after"), 0)
    for number, (phase, file, seconds) in enumerate(moments):
        out = root / str(number)
        arguments = fit(root / "scenes", out, options.epochs)
        process = start(arguments)
        wait(process, None if file is None else out / run / file, seconds)
        killed = kill(process, with_children=number % 2 == 1)
        again = start(arguments)
        said = again.communicate()[1].decode(errors="replace")
        wrong = differing(out / run, root / "whole" / run)
        moment = f"{phase} + {seconds:.2f} s"
        survived[phase] += told(moment, killed, again.returncode, wrong, said)
        shutil.rmtree(out)
    for phase, count in survived.items():
        print(f"{phase}: {count} of {getattr(options, phase)} survived")


def main() -> None:
    """Run the trials and print how many survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=int, default=10, help="kills before the first checkpoint")
    parser.add_argument("--between", type=int, default=25, help="from there to the training's end")
    parser.add_argument("--after", type=int, default=5, help="after summary.json")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument(
        "--verbs", nargs="*", help="other verbs than fit, or all where none is named"
    )
    parser.add_argument("--times", type=int, default=10, help="kills of each of them")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_tiny(root / "scenes", images=40)
        if options.verbs is None:
            kill_trainings(options, root, draw)
            return
        known = verbs(root, root / "work")
        survived = {
            name: kill_verb(name, known[name], options.times, root / "work", draw)
            for name in options.verbs or known
        }
        for name, count in survived.items():
            print(f"{name}: {count} of {options.times} survived")


if __name__ == "__main__":
    main()
