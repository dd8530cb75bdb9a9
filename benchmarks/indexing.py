"""Time the first index and the second start of BDD100K and GTAV at their true size.

    python benchmarks/indexing.py --folder /tmp/true_size

writes, once, 80,000 images and the two label files of 2018 with lanes and areas (70,000 and 10,000
frames, indented as the true ones are), and 134,097 images and box files of 28 columns in 77 sequences:
about 4 GB and 430,000 files. The images are small files of one grey each with the true sizes in their
headers, all that an index reads of them; every one is a file of its own. Then it prints a Markdown
table of medians. Every measurement is a process of its own, its imports not counted:

- bare reading: each label file opened and read once by one process, and nothing done with it;
- bare reading, again with the pages dropped from memory first, so that the disk is read (`--cold`);
- first index: no index is there; second start: it is, and all files are checked for changes;
- data module: the second start with its filters and split, until images could be loaded.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from yolo_synth.data.bdd100k import read_bdd100k
from yolo_synth.data.gtav import read_gtav

SETS = {"BDD100K": "bdd100k", "GTAV": "gtav"}
KINDS = ("bare reading", "first index", "second start", "data module")


def write_bdd100k(root: Path) -> None:
    """Write images and label files; 500 different frames are repeated under other names."""
    rng = random.Random(0)
    image = _jpeg(1280, 720)
    frames = [
        json.dumps(_frame(rng), indent=4).replace("\n", "\n    ") for _ in range(500)
    ]  # fmt: skip
    for part, images, labelled in (("train", 70_000, 69_863), ("val", 10_000, 10_000)):
        folder = root / "bdd100k/images/100k" / part
        folder.mkdir(parents=True)
        names = {f"{rng.getrandbits(32):08x}-{rng.getrandbits(32):08x}" for _ in range(images)}
        for name in names:
            (folder / f"{name}.jpg").write_bytes(image)
        file = root / f"bdd100k/labels/bdd100k_labels_images_{part}.json"
        file.parent.mkdir(exist_ok=True)
        with file.open("w") as stream:
            for number, name in enumerate(sorted(names)[:labelled]):
                stream.write("[\n    " if number == 0 else ",\n    ")
                stream.write(rng.choice(frames).replace("NAME", f"{name}.jpg"))
            stream.write("\n]")


def _frame(rng: random.Random) -> dict[str, object]:
    """Draw a frame: 18 boxes, 2 areas and 8 lanes on average, as in the true files."""
    kinds = (
        ["car"] * 10 + ["traffic sign"] * 4 + ["traffic light"] * 3 + ["person", "truck", "bike"]
    )
    labels: list[dict[str, object]] = []
    for _ in range(max(0, int(rng.gauss(18.4, 9)))):
        x, y = rng.uniform(0, 1200), rng.uniform(0, 680)
        box = {"x1": x, "y1": y, "x2": x + rng.uniform(3, 80), "y2": y + rng.uniform(3, 40)}
        occluded = {"occluded": rng.random() < 0.5, "truncated": False, "trafficLightColor": "none"}
        labels.append({"category": rng.choice(kinds), "attributes": occluded, "box2d": box})
    for kind, count, points in (("drivable area", 2, 5), ("lane", 8, 2)):
        for _ in range(count):
            line = [[rng.uniform(0, 1280), rng.uniform(0, 720)] for _ in range(points)]
            form = {"vertices": line, "types": "L" * points, "closed": kind != "lane"}
            style = {"laneDirection": "parallel", "laneStyle": "solid", "laneTypes": "road curb"}
            labels.append({"category": kind, "attributes": style, "poly2d": [form]})
    for number, label in enumerate(labels):
        label |= {"manualShape": True, "manualAttributes": True, "id": number}
    attributes = {"weather": rng.choice(["clear", "rainy"]), "scene": "city street"}
    attributes["timeofday"] = rng.choice(["daytime", "night"])
    return {"name": "NAME", "attributes": attributes, "timestamp": 10000, "labels": labels}


def write_gtav(root: Path) -> None:
    """Write 77 sequences of images and box files with 15 boxes on average."""
    rng = np.random.default_rng(0)
    image = _jpeg(1920, 1080)
    ends = [",".join(f"{number:.6f}" for number in rng.normal(0, 30, 22)) for _ in range(2000)]
    for sequence in range(1, 78):
        name = f"{sequence:03d}"
        for kind in ("img", "bb"):
            (root / "train" / kind / name).mkdir(parents=True)
        for frame in range(134_097 // 77 + (sequence <= 134_097 % 77)):
            count = int(rng.geometric(1 / 16)) - 1
            low = rng.uniform(0, (1800, 1000), (count, 2))
            edges = np.hstack([low, low + 2 + rng.exponential(55, (count, 2))]).round().astype(int)
            pairs = zip(rng.choice([20, 24, 24, 25, 27, 13, 14], count), edges, strict=True)
            lines = [
                f"{kind},{rng.integers(1, 99999)},{','.join(map(str, box))},{ends[(frame + i) % 2000]}\n"
                for i, (kind, box) in enumerate(pairs)
            ]
            stem = f"{name}_{frame:05d}"
            (root / f"train/img/{name}/{stem}.jpg").write_bytes(image)
            (root / f"train/bb/{name}/{stem}.csv").write_text("".join(lines))


def _jpeg(width: int, height: int) -> bytes:
    """Return the first 2 kB of a grey JPEG, header and all."""
    stream = io.BytesIO()
    Image.new("L", (width, height), 99).save(stream, "JPEG")
    return stream.getvalue()[:2000]


def label_folders(root: Path) -> list[Path]:
    """Return the folders with the label files of either set."""
    return [*root.glob("bdd100k/labels"), *sorted(root.glob("train/bb/*"))]


def measure(data: str, kind: str, root: Path) -> dict[str, float]:
    """Do one thing in this process and return what it took."""
    load = {"BDD100K": read_bdd100k, "GTAV": read_gtav}[data]
    if kind == "data module":
        import yolo_synth

        def load(root: Path) -> None:
            module = getattr(yolo_synth, data)(root)
            module.prepare_data()
            module.setup()

    if kind == "first index":
        shutil.rmtree(root / ".yolo_synth", ignore_errors=True)
    start, before = time.perf_counter(), _cpu()
    if kind == "bare reading":
        for folder in label_folders(root):
            with os.scandir(folder) as entries:
                for entry in entries:
                    with open(entry.path, "rb") as stream:  # noqa: PTH123 nothing but reading
                        while stream.read(1 << 24):
                            pass
    else:
        load(root)
    wall, cpu = time.perf_counter() - start, _cpu() - before
    own, helper = (
        resource.getrusage(who).ru_maxrss / 2**20
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"wall": wall, "cpu": cpu, "own": own, "helper": helper}


def _cpu() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def drop_pages(root: Path) -> None:
    """Ask the system to forget what is in the label files, so that the disk is read again."""
    for file in (file for folder in label_folders(root) for file in folder.iterdir()):
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main() -> None:
    """Write what is missing, measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, help="where the data sets are kept; else for once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold", action="store_true", help="read the disk, not the memory")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        data, kind = options.measure
        print(json.dumps(measure(data, kind, options.folder)))
        return
    folder = options.folder or Path(tempfile.mkdtemp())
    for name, write in (("bdd100k", write_bdd100k), ("gtav", write_gtav)):
        if not (folder / name / "written").exists():
            write(folder / name)
            (folder / name / "written").touch()
    print("| | wall s | / bare | CPU s | peak GiB | of a helper |\n|---|---|---|---|---|---|")
    for data, name in SETS.items():
        taken = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind in KINDS:
                if options.cold:
                    drop_pages(folder / name)
                command = [sys.executable, __file__, "--folder", str(folder / name)]
                done = subprocess.run(
                    [*command, "--measure", data, kind], check=True, capture_output=True, text=True
                )
                taken[kind].append(json.loads(done.stdout.splitlines()[-1]))
        bare = statistics.median(one["wall"] for one in taken["bare reading"])
        for kind, all_of_it in taken.items():
            wall, cpu, own, helper = (
                statistics.median(one[key] for one in all_of_it)
                for key in ("wall", "cpu", "own", "helper")
            )
            print(
                f"| {data}, {kind} | {wall:.1f} | {wall / bare:.2f} | {cpu:.1f} | {own:.2f} | "
                f"{helper:.2f} |",
                flush=True,
            )
    if options.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
