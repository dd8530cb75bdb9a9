"""Any classes: a set of pallets and forklifts goes through every verb under its own names."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from helpers import fit_arguments

import yolo_synth
from yolo_synth.callbacks.pictures import boxes_figure
from yolo_synth.cli import main
from yolo_synth.data.mixed import Mixed
from yolo_synth.data.source import open_data
from yolo_synth.labels import CLASS_COLOURS, CLASSES, class_colours, classes_of, label_map
from yolo_synth.runs import read_run

OWN = ("pallet", "forklift")  # not in the order of the alphabet
COLOURS = {"pallet": (40, 120, 200), "forklift": (200, 160, 30)}


def write_set(root: Path, names=OWN) -> None:
    """Write a data set in YOLO's layout: coloured rectangles of its first two classes on grey."""
    rng = np.random.default_rng(0)
    for part, number in (("train", 8), ("val", 4), ("test", 8)):
        for folder in ("images", "labels"):
            (root / folder / part).mkdir(parents=True)
        for image in range(number):
            picture = rng.integers(90, 140, (64, 96, 3)).astype(np.uint8)
            lines = []
            for kind, colour in enumerate(COLOURS.values()):
                x, y = int(rng.integers(0, 24)) + 48 * kind, int(rng.integers(0, 32))
                picture[y : y + 24, x : x + 16 + 8 * kind] = colour
                place = ((x + 8 + 4 * kind) / 96, (y + 12) / 64, (16 + 8 * kind) / 96, 24 / 64)
                lines.append(" ".join(map(str, (kind, *place))))
            name = f"{part}/{image}"
            cv2.imwrite(str(root / "images" / f"{name}.png"), picture)
            # every image has a pallet, every second one a forklift
            text = "\n".join(lines[: 1 + image % 2])
            (root / "labels" / f"{name}.txt").write_text(text)
    (root / "data.yaml").write_text(yaml.safe_dump({"names": list(names)}))


def data_file(path: Path, root: Path, kind: str = "YOLO", **options) -> str:
    settings = {"root": str(root), "image_size": 64, "num_workers": 0, **options}
    path.write_text(yaml.safe_dump({"class_path": f"yolo_synth.{kind}", "init_args": settings}))
    return str(path)


def boxes_of(data) -> Counter:
    """Return how often each class has a box with these edges, by its name."""
    table = data.table[data.table["dropped"] == ""]
    edges = table[["x1", "y1", "x2", "y2"]].round(2)
    names = [data.classes[label] for label in table["label"]]
    return Counter(zip(names, *(edges[edge] for edge in edges), strict=True))


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """A folder with the set, its data file, and a run that was trained on it."""
    here = tmp_path_factory.mktemp("own")
    write_set(here / "set")
    file = data_file(here / "own.yaml", here / "set", domain="Warehouse")
    arguments = [a for a in fit_arguments(here, here / "runs") if not a.startswith("--data")]
    assert main([*arguments, f"--data={file}", "--pictures.images=2"]) == 0
    return here


def test_a_set_s_own_categories_are_its_classes(here):
    data = open_data(here / "own.yaml")
    assert data.classes == OWN
    assert boxes_of(data).total() == 30
    assert Counter(name for name, *_ in boxes_of(data).elements()) == {"pallet": 20, "forklift": 10}
    assert open_data(here / "own.yaml").classes == OWN  # from the index


@pytest.mark.parametrize("to", ["coco", "yolo"])
def test_it_is_checked_described_shown_and_converted_there_and_back(here, to, tmp_path, capsys):
    file = str(here / "own.yaml")
    assert main(["data", "check", file]) == 0, capsys.readouterr().out
    assert main(["data", "describe", file, f"--out={tmp_path}/about"]) == 0
    classes = pd.read_csv(tmp_path / "about/classes.csv")
    every = classes[classes["split"] == "all"].set_index("class")["boxes"]
    assert every.to_dict() == {"pallet": 20, "forklift": 10, "all": 30}
    assert main(["data", "preview", file, f"--out={tmp_path}/sheet.png"]) == 0
    assert main(["data", "convert", file, f"--to={to}", f"--out={tmp_path}/new"]) == 0
    new = getattr(yolo_synth, to.upper())(tmp_path / "new")
    assert new.classes == OWN
    assert boxes_of(new) == boxes_of(open_data(file))


def test_a_training_has_the_data_s_classes_and_every_verb_names_them(here, tmp_path, capsys):
    folder = here / "runs/U-Warehouse/0"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["classes"] == list(OWN)
    assert config["model"]["num_classes"] == 2
    run = read_run(folder)
    assert run.classes == OWN
    assert run.network().num_classes == 2
    assert (folder / "pictures/epoch_000.png").is_file()
    logged = pd.read_csv(folder / "metrics.csv").columns
    assert {n for n in logged if "map50_" in n} == {"val/map50_pallet", "val/map50_forklift"}

    assert main(["evaluate", str(here / "runs")]) == 0
    scores = json.loads((folder / "test/Warehouse.json").read_text())["scores"]
    assert set(scores) == {"map50", "map", "map50_pallet", "map50_forklift"}
    assert main(["predict", f"--config={folder}/config.yaml", "--model.confidence=0"]) == 0
    found = pd.read_csv(folder / "predictions.csv")
    assert len(found)
    assert set(found["label"]) <= set(OWN)
    assert main(["report", str(here / "runs"), f"--out={tmp_path}/report", "--images=6"]) == 0
    table = (tmp_path / "report/tables/table_2_classes.csv").read_text()
    assert "pallet" in table
    assert "person" not in table


def test_a_rename_on_disk_is_another_result(here, tmp_path, capsys):
    write_set(tmp_path / "set", ("pallet", "truck"))
    file = data_file(tmp_path / "own.yaml", tmp_path / "set", domain="Renamed")
    assert main(["evaluate", str(here / "runs"), f"--data={file}"]) == 0
    kept = json.loads((here / "runs/U-Warehouse/0/test/Renamed.json").read_text())
    assert set(kept["scores"]) == {"map50", "map", "map50_pallet"}
    (tmp_path / "set/data.yaml").write_text(yaml.safe_dump({"names": list(OWN)}))
    assert main(["evaluate", str(here / "runs"), f"--data={file}"]) == 0
    kept = json.loads((here / "runs/U-Warehouse/0/test/Renamed.json").read_text())
    assert set(kept["scores"]) == {"map50", "map", "map50_pallet", "map50_forklift"}


def test_what_cannot_be_matched_is_said_and_nothing_in_common_is_refused(
    here, tmp_path, capsys, caplog
):
    write_set(tmp_path / "partly", ("forklift", "crate"))
    file = data_file(tmp_path / "partly.yaml", tmp_path / "partly", domain="Partly")
    assert main(["evaluate", str(here / "runs"), f"--data={file}"]) == 0
    assert "U-Warehouse/0 does not know crate of the Partly images" in caplog.text
    assert "Partly images have no pallet" in caplog.text
    write_set(tmp_path / "other", ("crate", "drum"))
    file = data_file(tmp_path / "other.yaml", tmp_path / "other", domain="Other")
    assert main(["evaluate", str(here / "runs"), f"--data={file}"]) == 2
    assert (
        "Other images have the classes crate, drum, and U-Warehouse/0 knows pallet, forklift"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.num_classes=7"], "model.num_classes is 7, and the data have 2 classes (pallet"),
        (["--model.classes=[a,b]"], "model.classes are a, b, those of the data pallet, forklift"),
    ],
)
def test_a_network_of_other_classes_than_the_data_is_refused(
    here, options, message, tmp_path, capsys
):
    arguments = [a for a in fit_arguments(here, tmp_path / "runs") if not a.startswith("--data")]
    assert main([*arguments, f"--data={here}/own.yaml", *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_another_network_has_the_data_s_classes_too(here, tmp_path):
    arguments = [
        argument
        for argument in fit_arguments(here, tmp_path / "runs")
        if not argument.startswith(("--data", "--model.width"))
    ]
    network = "--model.network=yolo_synth.networks.torchvision.SSD"
    assert main([*arguments, f"--data={here}/own.yaml", network]) == 0
    run = read_run(tmp_path / "runs/SSD-U-Warehouse/0")
    assert run.network().num_classes == 2


def test_classes_and_labels_say_which_is_which(here, tmp_path):
    root = here / "set"
    turned = yolo_synth.YOLO(root, classes=["forklift", "pallet"])
    assert turned.classes == ("forklift", "pallet")
    assert boxes_of(turned) == boxes_of(yolo_synth.YOLO(root))
    things = yolo_synth.YOLO(root, classes=["thing"], labels={"*": "thing"})
    assert boxes_of(things).total() == 30
    assert {name for name, *_ in boxes_of(things)} == {"thing"}
    trucks = yolo_synth.YOLO(root, labels={"forklift": "truck", "*": None})
    assert trucks.classes == CLASSES
    assert {name for name, *_ in boxes_of(trucks)} == {"truck"}
    with pytest.raises(ValueError, match=r"has boxes of 'forklift', of which data\.labels says"):
        _ = yolo_synth.YOLO(root, classes=["pallet"]).table
    with pytest.raises(ValueError, match=r"data\.classes: \['a', 'a'\] are not different names"):
        yolo_synth.YOLO(root, classes=["a", "a"])


def test_a_mixture_has_one_list_of_classes(here, tiny_root):
    parts = {
        "own": yolo_synth.YOLO(here / "set"),
        "real": yolo_synth.BDD100K(tiny_root / "bdd100k"),
    }
    with pytest.raises(
        ValueError, match=r"classes of own are pallet, forklift, those of real pers"
    ):
        _ = Mixed(parts).table
    again = Mixed({name: yolo_synth.YOLO(here / "set") for name in ("a", "b")})
    assert again.classes == OWN
    assert len(again.table) == 2 * 30


def test_categories_that_are_called_like_the_five_are_the_five():
    assert classes_of(["car", "bus"]) == CLASSES
    assert classes_of([]) == CLASSES
    assert classes_of(["car", "tram"]) == ("car", "tram")
    assert classes_of(["Person", "Car"]) == ("Person", "Car")
    assert classes_of(["Person", "Car"], {"*": None}) == CLASSES
    with pytest.raises(ValueError, match="has a category 'Person', which is no name of a class"):
        label_map({"*": None}, ["Person", "Car"], ["Person"], "it")


def test_any_number_of_classes_has_as_many_colours(here):
    assert tuple(class_colours(5)) == CLASS_COLOURS
    colours = class_colours(80)
    assert len(set(colours)) == 80
    assert colours[:5] == class_colours(5)
    data = open_data(here / "own.yaml")
    data.prepare_data()
    image, target = data.dataset("train")[1]
    figure = boxes_figure(
        image[None] / 255, [target], [{**target, "scores": target["labels"] * 0.0}], 0.5, OWN
    )
    assert {text.get_text() for text in figure.axes[0].texts} == set(OWN)


def test_weights_that_meant_other_classes_are_said(here, tmp_path, caplog):
    write_set(tmp_path / "set", ("crate", "drum"))
    file = data_file(tmp_path / "own.yaml", tmp_path / "set", domain="Other")
    arguments = [a for a in fit_arguments(here, tmp_path / "runs") if not a.startswith("--data")]
    best = f"--model.weights={here}/runs/U-Warehouse/0/best.ckpt"
    assert main([*arguments, f"--data={file}", best]) == 0
    assert "best.ckpt tells apart pallet, forklift, and its outputs now mean crate, drum" in (
        caplog.text
    )


def test_more_classes_than_a_byte_counts_are_told_apart(tmp_path):
    names = ["all", *(f"kind {number}" for number in range(1, 300))]
    write_set(tmp_path / "set", names)
    label = tmp_path / "set/labels/train/0.txt"
    label.write_text(label.read_text().replace("0 ", "299 ", 1))
    file = data_file(tmp_path / "own.yaml", tmp_path / "set")
    data = open_data(file)
    assert len(data.classes) == 300
    assert {name for name, *_ in boxes_of(data)} == {"all", "kind 1", "kind 299"}
    assert main(["data", "describe", file, f"--out={tmp_path}/about"]) == 0
