"""What export writes, read back by others: Darknet's rules, torch.export, onnxruntime, the Hub's mixin."""

from __future__ import annotations

import json
import re
import runpy
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from report.run_folders import calibrated, save, write_run
from torch.nn import functional as F

from yolo_synth import PretrainedDetector, read_run
from yolo_synth.boxes import place
from yolo_synth.cli import main
from yolo_synth.data.images import Picture, centred, read
from yolo_synth.networks.references import read_reference
from yolo_synth.networks.yolov3 import YOLOv3

ANCHORS = [
    [5.5, 7],
    [9, 21],
    [20, 14],
    [18, 40],
    [41, 30],
    [39, 79],
    [77, 60],
    [104, 132],
    [248, 217],
]
CLASSES = ["person", "cycle", "car", "bus", "lorry, or van"]
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def run(tiny_root, tmp_path_factory):
    """Return a run folder with anchors and class names of its own."""
    folder = write_run(tmp_path_factory.mktemp("runs"), "U-Real", 0, tiny_root, size=96)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"] |= {"anchors": ANCHORS, "classes": CLASSES}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(0)
    network = calibrated(YOLOv3(width=0.0625, anchors=ANCHORS))
    for prediction in (network.layers[index].conv for index in (81, 93, 105)):
        prediction.bias.data.view(3, 10)[:, 4] += 4  # as many objects as there are none
    save(network, folder / "best.ckpt")
    return folder


@pytest.fixture(scope="module")
def pictures(tiny_root):
    """Return eight drawn scenes as the network gets them, [8, 3, 96, 96]."""
    empty = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    samples = []
    for file in sorted(tiny_root.rglob("*.jpg"))[:8]:
        with Image.open(file) as picture:
            size = picture.size
        pixels = read(file, *size, place(*size, 96))
        samples.append(centred(Picture(pixels, *empty), 96)[0])
    return torch.stack(samples).float() / 255


def of_darknet(cfg: Path, weights: Path, images: torch.Tensor) -> list[torch.Tensor]:
    """Run a .cfg and .weights by Darknet's own rules: a section after the other, sources by number."""
    lines = [line.strip() for line in cfg.read_text().splitlines()]
    sections: list[dict[str, str]] = []
    for line in lines:
        if line.startswith("["):
            sections.append({"kind": line.strip("[]")})
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            sections[-1][key.strip()] = value.strip()
    numbers = np.fromfile(weights, "<f4", offset=20)
    place_in_file, outputs, maps = 0, [], []

    def take(*shape):
        nonlocal place_in_file
        place_in_file += (size := int(np.prod(shape)))
        return torch.from_numpy(numbers[place_in_file - size : place_in_file].reshape(shape).copy())

    for index, layer in enumerate(sections[1:]):
        x = outputs[-1] if outputs else images
        if layer["kind"] == "convolutional":
            filters, size = int(layer["filters"]), int(layer["size"])
            norm = layer.get("batch_normalize") == "1"
            vectors = [take(filters) for _ in range(4 if norm else 1)]
            kernel = take(filters, x.shape[1], size, size)
            padding = size // 2 if layer["pad"] == "1" else 0
            x = F.conv2d(x, kernel, stride=int(layer["stride"]), padding=padding)
            if norm:
                beta, gamma, mean, variance = (v[:, None, None] for v in vectors)
                x = (x - mean) / (variance + 1e-5).sqrt() * gamma + beta
            else:
                x = x + vectors[0][:, None, None]
            x = F.leaky_relu(x, 0.1) if layer["activation"] == "leaky" else x
        elif layer["kind"] == "shortcut":
            x = x + outputs[index + int(layer["from"])]
        elif layer["kind"] == "route":
            named = [int(part) for part in layer["layers"].split(",")]
            x = torch.cat([outputs[index + n if n < 0 else n] for n in named], 1)
        elif layer["kind"] == "upsample":
            x = x.repeat_interleave(int(layer["stride"]), 2)
            x = x.repeat_interleave(int(layer["stride"]), 3)
        else:
            assert layer["kind"] == "yolo"
            maps.append(x)
        outputs.append(x)
    assert place_in_file == len(numbers)
    assert len(outputs) == 107
    return maps


def test_darknets_rules_compute_the_same_from_cfg_and_weights(run, pictures, tmp_path):
    assert main(["export", str(run), str(tmp_path / "net.weights")]) == 0
    network = read_run(run).network()
    with torch.no_grad():
        wanted = network(pictures[:2])
    found = of_darknet(tmp_path / "net.cfg", tmp_path / "net.weights", pictures[:2])
    for one, other in zip(wanted, found, strict=True):
        n, _, h, w = other.shape
        assert torch.allclose(one, other.view(n, 3, 10, h, w).permute(0, 1, 3, 4, 2), atol=1e-4)
    text = (tmp_path / "net.cfg").read_text()
    assert re.findall(r"^(?:width|height)=(\d+)", text, re.M) == ["96", "96"]
    assert re.findall(r"^mask=(.*)", text, re.M) == ["6,7,8", "3,4,5", "0,1,2"]
    written = {
        tuple(map(float, line.split(","))) for line in re.findall(r"^anchors=(.*)", text, re.M)
    }
    assert written == {tuple(value for anchor in ANCHORS for value in anchor)}


def test_a_darknet_file_is_read_back_with_its_anchors_classes_and_side(run, pictures, tmp_path):
    assert main(["export", str(run), str(tmp_path / "net.weights")]) == 0
    reference = read_reference(str(tmp_path / "net.weights"))
    assert reference.classes == tuple(CLASSES)
    assert reference.preprocessing.size == 96
    same_detections(read_run(run).network(), reference, pictures)
    cfg = tmp_path / "net.cfg"
    cfg.write_text(cfg.read_text().replace("stride=2", "stride=1", 1))
    with pytest.raises(
        ValueError, match=r"net\.cfg: layer 1 \(\[convolutional\]\) is none of a YOLO"
    ):
        read_reference(str(tmp_path / "net.weights"))
    cfg.write_text("[net]\nwidth: 416\n")
    with pytest.raises(ValueError, match=r"net\.cfg line 2: 'width: 416' is no option"):
        read_reference(str(tmp_path / "net.weights"))
    cfg.unlink()
    (tmp_path / "net.names").write_text("car\n")
    with pytest.raises(ValueError, match=r"net\.names: 1 names, and the network has 5 classes"):
        read_reference(str(tmp_path / "net.weights"))


def same_detections(network, reference, pictures):
    """Expect the same boxes from both."""
    with torch.no_grad():
        wanted, found = (one.detect(pictures, 0.05, 0.6) for one in (network, reference))
    assert sum(len(one["boxes"]) for one in wanted)
    for one, other in zip(wanted, found, strict=True):
        assert all(one[key].equal(other[key]) for key in ("boxes", "scores", "labels"))


def test_a_folder_is_read_back_without_further_libraries(run, pictures, tmp_path):
    assert main(["export", str(run), str(tmp_path / "out/net")]) == 0
    assert {path.name for path in (tmp_path / "out/net").iterdir()} == {
        "config.json",
        "model.safetensors",
    }
    reference = read_reference(str(tmp_path / "out/net"))
    assert reference.classes == tuple(CLASSES)
    assert reference.preprocessing.size == 96
    same_detections(read_run(run).network(), reference, pictures)
    config = tmp_path / "out/net/config.json"
    said = json.loads(config.read_text())
    said["network"]["class_path"] = "antigravity.Net"
    config.write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"no network of ours"):
        read_reference(str(tmp_path / "out/net"))
    said["network"] |= {"class_path": "yolo_synth.YOLOv3", "init_args": {"width": 0.125}}
    config.write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"not weights of config.json's network: layers\.0\.conv"):
        read_reference(str(tmp_path / "out/net"))


def test_a_folder_with_other_files_is_not_written_into(run, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.json").write_text("{}")
    assert main(["export", str(run), str(tmp_path / "mine")]) == 2
    assert "mine: holds other files; name a new folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["config.json"]
    for _ in range(2):  # its own again is written again
        assert main(["export", str(run), str(tmp_path / "net")]) == 0


def test_the_hubs_mixin_reads_and_writes_the_folder(run, pictures, tmp_path):
    pytest.importorskip("huggingface_hub", reason="extra hub is not installed")
    assert main(["export", str(run), str(tmp_path / "net")]) == 0
    network = PretrainedDetector.from_pretrained(tmp_path / "net")
    assert (network.classes, network.image_size) == (tuple(CLASSES), 96)
    own = read_run(run).network()
    same_detections(own, network, pictures)
    network.save_pretrained(tmp_path / "again")
    assert "library_name: yolo-synth" in (tmp_path / "again/README.md").read_text()
    same_detections(own, PretrainedDetector.from_pretrained(tmp_path / "again"), pictures)
    same_detections(own, read_reference(str(tmp_path / "again")), pictures)
    assert callable(network.push_to_hub)


def test_the_hubs_mixin_refuses_weights_that_lack_some(run, tmp_path):
    pytest.importorskip("huggingface_hub", reason="extra hub is not installed")
    from safetensors.torch import load_file, save_file

    assert main(["export", str(run), str(tmp_path / "net")]) == 0
    state = load_file(tmp_path / "net/model.safetensors")
    state.pop("network.layers.0.conv.weight")
    save_file(state, tmp_path / "net/model.safetensors")
    with pytest.raises(RuntimeError, match=r"layers\.0\.conv\.weight"):
        PretrainedDetector.from_pretrained(tmp_path / "net")


def test_a_program_of_torch_export_computes_the_same_for_any_number_and_size(
    run, pictures, tmp_path
):
    assert main(["export", str(run), str(tmp_path / "net.pt2")]) == 0
    with zipfile.ZipFile(tmp_path / "net.pt2") as file:
        [name] = [name for name in file.namelist() if name.endswith("yolo_synth.json")]
        assert json.loads(file.read(name))["classes"] == CLASSES
    program = read_reference(str(tmp_path / "net.pt2"), trust=True).network
    network = read_run(run).network()
    for images in (pictures[:1], pictures, pictures[:3, :, 16:80]):
        with torch.no_grad():
            pairs = zip(network(images), program(images), strict=True)
            assert all(torch.allclose(one, other, atol=1e-4) for one, other in pairs)


def test_onnxruntime_computes_the_same_and_the_example_finds_the_same(
    run, pictures, tiny_root, tmp_path
):
    for extra in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(extra, reason="extra onnx is not installed")
    import onnxruntime

    file = tmp_path / "net.onnx"
    assert main(["export", str(run), str(file)]) == 0
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    network = read_run(run).network()
    for images in (pictures[:1], pictures, pictures[:3, :, 16:80]):
        found = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            wanted = network(images)
        assert max(abs(a.numpy() - b).max() for a, b in zip(wanted, found, strict=True)) < 1e-4
    example = runpy.run_path(str(DOCS / "detect_with_onnx.py"))
    for path in sorted(tiny_root.rglob("*.jpg"))[:2]:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        image, scale, left, top = example["letterbox"](picture, 96)
        [wanted] = network.detect(torch.from_numpy(image)[None], 0.25, 0.6)
        boxes = (wanted["boxes"] - torch.tensor([left, top, left, top])) / scale
        limits = torch.tensor([*picture.size, *picture.size])
        found = list(example["detect"](session, picture))
        rows = sorted(zip(wanted["labels"].tolist(), wanted["scores"].tolist(), strict=True))
        named = sorted((CLASSES.index(name), score) for name, score, _ in found)
        assert rows
        assert np.allclose(rows, named, atol=1e-4)
        for name, score, box in found:
            near = (wanted["scores"] - score).abs() < 1e-4
            same = near & (wanted["labels"] == CLASSES.index(name))
            expected = boxes[same].clamp(torch.zeros(4), limits)
            assert (expected - torch.from_numpy(box)).abs().amax(-1).min() < 0.05


def test_without_its_libraries_onnx_is_refused_in_one_line(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert main(["export", str(run), str(tmp_path / "net.onnx")]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "pip install yolo-synth[onnx]" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["net.safetensors", "net.onxx", "net.docx"])
def test_an_ending_that_is_no_form_is_refused(name, run, tmp_path, capsys):
    assert main(["export", str(run), str(tmp_path / name)]) == 2
    assert f"{name}: no .{name.split('.')[1]} is written; name FILE" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_may_have_a_name_with_an_ending(run, tmp_path):
    for name in ("net.v2/", "net.v2", "net-0.001"):  # the second is there already
        assert main(["export", str(run), f"{tmp_path}/{name}"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"net.v2", "net-0.001"}
