"""`compare` and `evaluate` on networks of anybody's and on folders of pictures, as a user calls them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from references import anybodys
from report.run_folders import write_run

from yolo_synth.analysis.activations.run import gram_matrices
from yolo_synth.analysis.similarity.cka import cka
from yolo_synth.analysis.similarity.gaps import mmd2
from yolo_synth.cli import main
from yolo_synth.data.source import data_module
from yolo_synth.networks.references import loaders, read_reference


@pytest.fixture(scope="module")
def pictures(tiny_root, tmp_path_factory) -> Path:
    """Return a folder with real/ and synthetic/, twelve pictures each and no label."""
    root = tmp_path_factory.mktemp("pictures")
    for name, data in (("real", "bdd100k"), ("synthetic", "gtav")):
        (root / name).mkdir()
        found = sorted(p for p in (tiny_root / data).rglob("*") if p.suffix in (".jpg", ".png"))
        for path in found[:12]:
            shutil.copy(path, root / name / path.name)
        assert len(list((root / name).iterdir())) == 12
    return root


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("networks")
    for name in ("a", "b"):
        (root / name).mkdir()
    return {
        "program": anybodys.program(root / "a", 0),
        "other": anybodys.program(root / "b", 1),
        "export": anybodys.exported(root, 0),
        "darknet": anybodys.darknet(root, 0),
    }


@pytest.fixture(scope="module")
def street(tiny_root, tmp_path_factory) -> str:
    """Return a data file of drawn street scenes."""
    data = {"root": str(tiny_root / "gtav"), "splits": str(tiny_root / "splits/gtav")}
    config = {"class_path": "yolo_synth.GTAV", "init_args": {**data, "num_workers": 0}}
    path = tmp_path_factory.mktemp("street") / "data.yaml"
    path.write_text(yaml.dump(config))
    return str(path)


def test_two_architectures_on_two_sets_of_pictures(networks, pictures, tmp_path, capsys):
    sets = f"[{pictures}/real,{pictures}/synthetic]"
    given = ["compare", networks["program"], networks["export"], f"--data={sets}", "--trust"]
    assert main([*given, "--size=64", f"--out={tmp_path / 'out'}"]) == 0
    said = capsys.readouterr().out
    assert "make: RGB in 0..1, letterbox" in said
    assert "only 64x64" in said
    read = [read_reference(networks[name], trust=True) for name in ("program", "export")]
    whole = []
    for name in ("real", "synthetic"):
        table = pd.read_csv(tmp_path / "out" / name / "layers_first.csv")
        with np.load(tmp_path / "out" / name / "similarity.npz") as kept:
            debiased, names = kept["debiased"], list(kept["image_names"])
        config = {"class_path": "yolo_synth.Pictures", "init_args": {"root": f"{pictures}/{name}"}}
        images, drawn = data_module(config).probe("test", 12, 64)
        assert drawn == names
        whole.append(images)
        expected = cka(*(gram_matrices(one.network, images) for one in read), debiased=True).numpy()
        np.testing.assert_allclose(debiased, expected, atol=1e-6)
        matched = expected[np.arange(len(table)), table["match"]]
        np.testing.assert_allclose(matched, expected.max(1), atol=1e-6)
        np.testing.assert_allclose(table["cka_debiased"], matched, atol=1e-6)
        assert debiased.shape[0] != debiased.shape[1]
    gaps = pd.read_csv(tmp_path / "out/gap.csv")
    both = gram_matrices(read[0].network, torch.cat(whole))
    expected = mmd2(both, torch.arange(24) < 12).numpy()
    own = gaps[gaps["network"] == "make"]
    np.testing.assert_allclose(own["gap"], expected, rtol=1e-4)
    assert (own["two halves"] > 0).all()
    page = (tmp_path / "out/compare.html").read_text()
    for words in ("12 real test images", "12 synthetic test images", "Between the sets", "<svg"):
        assert words in page
    assert "http" not in page.replace("http-equiv", "")


def test_one_architecture_is_compared_layer_by_layer_with_what_was_asked_for(
    networks, pictures, tmp_path, capsys
):
    given = [
        "compare",
        networks["program"],
        networks["other"],
        f"--data={pictures}/real",
        "--trust",
    ]
    asked = ["--layers=[0,'5.*']", "--size=32", "--images=8", f"--out={tmp_path / 'out'}"]
    assert main([*given, *asked]) == 0
    table = pd.read_csv(tmp_path / "out/layers.csv")
    assert table["kind"].tolist() == [0, 5.0, 5.1]
    assert main([*given, "--pooled", "--size=32", f"--out={tmp_path / 'pooled'}"]) == 0
    pooled = pd.read_csv(tmp_path / "pooled/layers.csv")
    exact = pd.read_csv(tmp_path / "out/layers.csv")
    assert len(pooled) == 7
    assert abs(pooled["cka_biased"][0] - exact["cka_biased"][0]) > 1e-4


def test_a_run_and_another_network_are_compared_on_the_runs_data(
    tiny_root, networks, tmp_path, capsys
):
    run = write_run(tmp_path, "U-Real", 0, tiny_root)
    folder = run if isinstance(run, Path) else tmp_path / "U-Real/0"
    given = ["compare", networks["program"], str(folder), "--trust", "--images=6", "--size=32"]
    assert main([*given, f"--out={tmp_path / 'out'}"]) == 0
    assert (tmp_path / "out/compare.html").is_file()
    with np.load(tmp_path / "out/similarity.npz") as kept:
        assert kept["debiased"].shape == (7, 107)


def test_map_of_any_network_whose_classes_match(networks, street, tmp_path, capsys):
    given = ["evaluate", networks["program"], networks["darknet"], f"--data={street}"]
    assert main([*given, "--trust", "--size=64", f"--out={tmp_path / 'out'}"]) == 0
    said = capsys.readouterr()
    assert "make does not know cycle, bus, truck of the" in said.err
    assert "net does not know bus, truck of the" in said.err
    table = pd.read_csv(tmp_path / "out/evaluation.csv")
    assert list(table.columns)[:4] == ["network", "domain", "map50", "map"]
    known = {"map50_car", "map50_person", "map50_cycle"}
    assert known >= {name for name in table.columns if name.startswith("map50_")}
    [first, second] = sorted((tmp_path / "out").glob("*.json"))
    truth = f"--truth={street}"
    assert main(["diff", str(first), str(second), truth, f"--out={tmp_path}/diff"]) == 0
    assert (tmp_path / "diff/diff.html").is_file()
    named = ["--names={car: cycle, person: cycle}", f"--out={tmp_path / 'named'}"]
    assert main([*given, "--trust", "--size=64", *named]) == 0
    assert "map50_cycle" in (tmp_path / "named/evaluation.csv").read_text()
    none = ["--names={car: boat, person: boat, cycle: boat}"]
    assert main([*given, "--trust", "--size=64", *none]) == 2
    assert "or by --names, which is which" in capsys.readouterr().err
    assert main(["evaluate", networks["export"], f"--data={street}", "--trust"]) == 2
    assert "compare takes it" in capsys.readouterr().err
    folder = Path(street).parent
    assert main(["evaluate", networks["program"], f"--data={folder}", "--trust"]) == 2
    assert f"{folder}: a folder, not a data file" in capsys.readouterr().err


def test_two_networks_called_alike_have_their_folders_in_their_names(networks, street, tmp_path):
    given = [networks["program"], networks["other"], networks["program"], f"--data={street}"]
    assert main(["evaluate", *given, "--trust", "--size=64", f"--out={tmp_path}"]) == 0
    names = ["a/make", "b/make", "a/make (2)"]
    assert pd.read_csv(tmp_path / "evaluation.csv")["network"].tolist() == names
    kept = ["a-make-2-_Synthetic.json", "a-make_Synthetic.json", "b-make_Synthetic.json"]
    assert sorted(path.name for path in tmp_path.glob("*_Synthetic.json")) == kept


def test_an_installed_package_adds_a_form_of_its_own(tmp_path, monkeypatch):
    about = tmp_path / "extra-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[yolo_synth.networks]\nextra = extra_form:LOADER\n")
    (tmp_path / "extra_form.py").write_text(
        "from torch import nn\nfrom yolo_synth.networks.references import Loader, Reference\n"
        "takes = lambda text: text.startswith('extra:')\n"
        "LOADER = Loader('extra:NAME', takes, lambda text: Reference(text, nn.Conv2d(3, 1, 1)))\n"
    )
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        loaders.cache_clear()
        assert read_reference("extra:one").name == "extra:one"
    loaders.cache_clear()
    with pytest.raises(FileNotFoundError, match="no other network"):
        read_reference("extra:one")


DETECTIONS = {
    "raise KeyError('boxes')": "its detect raised KeyError",
    "return 3": "its detect returned int for 2 images",
    "return [3] * len(images)": "its detect returned int for an image",
    "return [dict(boxes=box)] * len(images)": "its detect returned ['boxes'] for an image",
    "return [dict(boxes=box, scores=[1], labels=[0])] * len(images)": "returned no tensors",
    "return [dict(boxes=box[0], scores=one, labels=one.int())] * len(images)": "[[4], [1], [1]]",
    "return [dict(boxes=box, scores=one, labels=one.int() + 1)] * len(images)": "from 2 to 2",
}


@pytest.mark.parametrize("line", DETECTIONS)
def test_what_detect_of_a_file_should_not_return_is_told_in_a_line(line, street, tmp_path, capsys):
    anybodys.program(tmp_path, 0)
    first, _ = (tmp_path / "own.py").read_text().split("def detect(")
    body = f"box, one = torch.ones(1, 4), torch.ones(1)\n    {line}\n"
    (tmp_path / "own.py").write_text(f"{first}def detect(images, confidence, iou):\n    {body}")
    given = ["evaluate", f"{tmp_path}/own.py:make", f"--data={street}", "--trust", "--size=64"]
    assert main([*given, f"--out={tmp_path}/out"]) == 2
    [error] = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert DETECTIONS[line].replace("2 images", "") in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "verb",
    [
        *("evaluate NET --data=DATA", "objects NET NET --data=DATA", "advise NET --real=DATA"),
        *("why NET --real=DATA --synthetic=OTHER", "diff NET NET --truth=DATA", "detect NET DATA"),
    ],
)
def test_a_side_that_a_network_does_not_run_at_is_told_in_a_line(
    verb, street, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    other = yaml.safe_load(Path(street).read_text())
    other["init_args"]["domain"] = "Other"
    (tmp_path / "other.yaml").write_text(yaml.dump(other))
    words = {"NET": anybodys.program(tmp_path, 0), "DATA": street, "OTHER": "other.yaml"}
    for name, value in words.items():
        verb = verb.replace(name, value)
    assert main([*verb.split(), "--trust", "--size=2"]) == 2
    [error] = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert "does not run on images [" in error
    assert "give another --size" in error
    assert {path.name for path in tmp_path.iterdir()} <= {"own.py", "other.yaml", "__pycache__"}


def bad(kind: str, root: Path, pictures: Path) -> tuple[list[str], str]:
    """Return the arguments of a mistake, and words of the answer."""
    good = anybodys.program(root, 0)
    data = f"--data={pictures}/real"
    trusted = [data, "--trust"]
    if kind == "no such network":
        return [good, str(root / "nothing"), *trusted], "not a run folder, and no other network"
    if kind == "no trust":
        return [good, good, data], "give --trust"
    if kind == "no checkpoint":
        (root / "net.pth").write_bytes(b"nothing of the kind")
        return [good, f"torchvision:fcos_resnet50_fpn:{root}/net.pth", *trusted], "no checkpoint"
    if kind == "no darknet file":
        (root / "net.weights").write_bytes(b"nothing of the kind")
        return [good, f"{root}/net.weights", *trusted], "net.weights"
    if kind == "another class count":
        from torchvision.models import get_model

        name = "ssdlite320_mobilenet_v3_large"
        state = get_model(name, weights=None, weights_backbone=None, num_classes=3).state_dict()
        other = get_model(name, weights=None, weights_backbone=None, num_classes=7).state_dict()
        key = "head.classification_head.module_list.2.1.weight"
        torch.save({**state, key: other[key]}, root / "net.pth")
        return [good, f"torchvision:{name}:{root}/net.pth", *trusted], "with 3 classes"
    if kind == "a run of another class count":
        return [good, str(root / "run"), *trusted], "not a checkpoint of a YOLOv3"
    if kind == "no function":
        return [good, good.replace(":make", ":build"), *trusted], "has no function 'build'"
    if kind == "no module":
        return [good, good.replace(":make", ":number"), *trusted], "returned int"
    if kind == "raises":
        return [good, good.replace(":make", ":raises"), *trusted], "RuntimeError: no such luck"
    if kind == "broken file":
        (root / "broken.py").write_text("def make(:\n")
        return [good, f"{root}/broken.py:make", *trusted], "SyntaxError"
    if kind == "no data":
        return [good, good, "--trust"], "compare needs --data"
    if kind == "shared picture":
        shutil.copytree(pictures / "real", root / "copy")
        return [good, good, f"--data=[{pictures}/real,{root}/copy]", "--trust"], "share a picture"
    if kind == "empty folder":
        (root / "empty").mkdir()
        return [good, good, f"--data={root}/empty", "--trust"], "no pictures in"
    if kind == "no pictures":
        (root / "texts").mkdir()
        for number in range(6):
            (root / f"texts/{number}.jpg").write_text("a text")
        return [good, good, f"--data={root}/texts", "--trust"], "texts/0.jpg"
    if kind == "too few":
        return [good, good, *trusted, "--images=40"], "12"
    if kind == "too small":
        return [good, good, *trusted, "--size=2"], "does not run on images [2, 3, 2, 2]"
    if kind == "torchvision's name":
        return [good, "torchvision:resnet18", *trusted], "it has fasterrcnn"
    if kind == "an ultralytics file that is none":
        (root / "net.pt").write_bytes(b"nothing of the kind")
        return [good, f"{root}/net.pt", *trusted], "net.pt"
    if kind == "a program that is none":
        (root / "net.pt2").write_bytes(b"nothing of the kind")
        return [good, f"{root}/net.pt2", *trusted], "no program of torch.export"
    assert kind == "layers"
    return [good, good, *trusted, "--layers=head.*"], "'head.*' stands for no module"


@pytest.mark.parametrize(
    "kind",
    [
        *("no such network", "no trust", "no checkpoint", "no darknet file", "another class count"),
        *("a run of another class count", "no function", "no module", "raises", "broken file"),
        *("no data", "shared picture", "empty folder", "no pictures", "too few", "too small"),
        *("torchvision's name", "an ultralytics file that is none", "a program that is none"),
        "layers",
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    kind, pictures, tiny_root, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    if kind == "a run of another class count":
        write_run(tmp_path, "U-Real", 0, tiny_root)
        shutil.move(tmp_path / "U-Real/0", tmp_path / "run")
        config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
        config["model"]["num_classes"] = 9
        config["model"]["classes"] = None
        (tmp_path / "run/config.yaml").write_text(yaml.dump(config))
    arguments, words = bad(kind, tmp_path, pictures)
    assert main(["compare", *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert words in lines[0]
    assert not (tmp_path / "compare").exists()


def test_a_checkpoint_runs_nothing_without_trust(tmp_path, pictures, capsys):
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef make(): pass\n")
    for name in ("own.py:make", "x.pt", "x.pt2"):
        file, name = tmp_path / name.split(":")[0], str(tmp_path / name)
        if file.suffix != ".py":
            assert main(["compare", name, name, f"--data={pictures}/real"]) == 2
            assert f"{file}: no such file; check the path" in capsys.readouterr().err
            file.write_bytes(b"a pickle")
        assert main(["compare", name, name, f"--data={pictures}/real"]) == 2
        assert "give --trust" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
