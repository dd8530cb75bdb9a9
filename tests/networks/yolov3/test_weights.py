import hashlib
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from yolo_synth.networks.yolov3.architecture import BACKBONE
from yolo_synth.networks.yolov3.network import Convolution, YOLOv3
from yolo_synth.networks.yolov3.weights import (
    load_backbone,
    load_darknet_weights,
    save_darknet_weights,
)

ORACLE = Path(__file__).parents[2] / "oracle"
PREDICTIONS = (81, 93, 105)


def darknet_header():
    return struct.pack("<3iQ", 0, 2, 0, 32_013_312)


def random_darknet_weights(predictions):
    """Yield, convolution by convolution, the bytes of the weights that the C program was run on.

    The residual branches are damped, so that 23 shortcuts do not blow the values up; the convolutions
    that predict have constants that keep the logits in a useful range.
    """
    with torch.device("meta"):
        network = YOLOv3()
    rng = np.random.default_rng(20200214)
    for index, layer in enumerate(network.layers):
        if not isinstance(layer, Convolution):
            continue
        shape = tuple(layer.conv.weight.shape)
        spread = np.sqrt(2 / (1.01 * np.prod(shape[1:])))
        scale = None
        if layer.bn is None:
            scale, bias = predictions[index]
            vectors = [bias]
        else:
            spread = spread / np.sqrt(1.19) * (0.4 if network.kinds[index + 1] == "shortcut" else 1)
            beta = rng.standard_normal(shape[0]) * 0.1
            gamma = rng.random(shape[0]) + 0.5
            mean = rng.standard_normal(shape[0]) * 0.1
            variance = rng.random(shape[0]) + 0.5
            vectors = [beta, gamma, mean, variance]
        kernel = (rng.random(shape, dtype=np.float32) * 2 - 1) * np.float32(spread * np.sqrt(3))
        if scale is not None:
            kernel *= scale[:, None, None, None]
        yield b"".join(values.astype("<f4").tobytes() for values in (*vectors, kernel))


@pytest.fixture(scope="module")
def figures():
    with np.load(ORACLE / "darknet_layers.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def full_file(figures, tmp_path_factory):
    path = tmp_path_factory.mktemp("darknet") / "yolov3.weights"
    constants = zip(figures["gain"], figures["bias"], strict=True)
    predictions = dict(zip(PREDICTIONS, constants, strict=True))
    with path.open("wb") as file:
        file.write(darknet_header())
        file.writelines(random_darknet_weights(predictions))
    yield path
    path.unlink()


def sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_every_layer_agrees_with_darknet(full_file, figures, tmp_path):
    """Values of the C program; it divides by sqrt(variance) + 1e-6, whence the tolerance."""
    # the bytes that Darknet itself was given
    assert sha256(full_file) == "3f8706b0a1d2a4160ce6f5de77bb4a97531882f578677bddea7237a102181edd"
    network = YOLOv3().eval()
    assert load_darknet_weights(network, full_file) == 107

    outputs = []
    for layer in network.layers:
        layer.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output[0]))
    with torch.inference_mode():
        network(torch.from_numpy(figures["image"])[None].float() / 255)
    assert len(outputs) == 107
    for index, output in enumerate(outputs):
        if network.kinds[index] == "yolo":
            output = output.permute(0, 3, 1, 2)  # as Darknet orders them
        values = output.numpy().ravel()
        at = np.linspace(0, values.size - 1, 64).round().astype(int)
        deviation = figures["std"][index]
        np.testing.assert_allclose(
            values[at], figures["values"][index], rtol=0, atol=3e-3 * deviation, err_msg=str(index)
        )
        assert values.mean() == pytest.approx(figures["mean"][index], abs=1e-3 * deviation)
        assert values.std() == pytest.approx(deviation, rel=1e-3)

    # what Darknet writes up to layer 74
    save_darknet_weights(network, tmp_path / "darknet53.conv.74", last_layer=74)
    size = (tmp_path / "darknet53.conv.74").stat().st_size
    assert size == 162_482_580
    assert sha256(tmp_path / "darknet53.conv.74") == (
        "203f9aa7f1a817214db142d5fc501672f06f6521d7f659e5eb735570be5a5888"
    )


def small_network(seed):
    """Return a small network with random norms too, some of the norms' counters not 0."""
    torch.manual_seed(seed)
    network = YOLOv3(width=0.0625)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1)
            else:
                tensor.fill_(7)
    return network


def differing(network, other):
    """Return the layers in which two networks' floating-point weights differ."""
    return [
        index
        for index, (a, b) in enumerate(zip(network.layers, other.layers, strict=True))
        if any(
            not torch.equal(value, b.state_dict()[key])
            for key, value in a.state_dict().items()
            if value.is_floating_point()
        )
    ]


def convolutions(first, last):
    kinds = small_network(0).kinds
    return [i for i in range(first, last + 1) if kinds[i] == "convolutional"]


@pytest.mark.parametrize(
    ("last_layer", "loaded"),
    [(None, 107), (106, 107), (105, 107), (81, 84), (80, 81), (74, 75), (0, 1)],
)
def test_round_trip_is_byte_identical(tmp_path, last_layer, loaded):
    first, second, path = small_network(0), small_network(1), tmp_path / "a.weights"
    first.seen = 2**40 + 3
    save_darknet_weights(first, path, last_layer)
    assert load_darknet_weights(second, path) == loaded
    assert differing(first, second) == convolutions(loaded, 106)
    save_darknet_weights(second, tmp_path / "b.weights", last_layer)
    assert path.read_bytes() == (tmp_path / "b.weights").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.weights", "b.weights"]


def test_order_within_a_file(tmp_path):
    network, path = small_network(0), tmp_path / "a.weights"
    save_darknet_weights(network, path)
    values = np.frombuffer(path.read_bytes()[20:], "<f4")
    layer = network.layers[0]
    expected = [layer.bn.bias, layer.bn.weight, layer.bn.running_mean, layer.bn.running_var]
    expected = torch.cat([t.detach().flatten() for t in (*expected, layer.conv.weight)])
    np.testing.assert_array_equal(values[: len(expected)], expected)
    last = network.layers[105].conv
    expected = torch.cat([last.bias.detach(), last.weight.detach().flatten()])
    np.testing.assert_array_equal(values[-len(expected) :], expected)


@pytest.mark.parametrize("major_minor", [(0, 1), (1000, 2), (0, 1000)])
def test_old_header_has_a_short_count(tmp_path, major_minor):
    network, loaded, path = small_network(0), small_network(1), tmp_path / "old.weights"
    save_darknet_weights(network, path)
    path.write_bytes(struct.pack("<4i", *major_minor, 0, 640) + path.read_bytes()[20:])
    assert load_darknet_weights(loaded, path) == 107
    assert differing(network, loaded) == []
    assert loaded.seen == 640


def test_counters_of_batches_stay(tmp_path):
    network = small_network(0)
    save_darknet_weights(network, tmp_path / "a.weights")
    load_darknet_weights(network, tmp_path / "a.weights")
    assert network.layers[0].bn.num_batches_tracked == 7


@pytest.mark.parametrize("change", [-4, -1, 1, 4, 4000])
def test_a_file_of_the_wrong_length_is_refused(tmp_path, change):
    network, untouched, path = small_network(0), small_network(0), tmp_path / "a.weights"
    save_darknet_weights(small_network(1), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:change] if change < 0 else whole + bytes(change))
    with pytest.raises(
        ValueError, match=rf"a\.weights: {len(whole) + change} bytes.*{len(whole)}"
    ) as e:
        load_darknet_weights(network, path)
    assert "\n" not in str(e.value)
    assert differing(network, untouched) == []


def test_a_file_of_other_classes_is_refused_whole_but_gives_its_backbone(tmp_path):
    other, network, path = YOLOv3(80, width=0.0625), small_network(0), tmp_path / "coco.weights"
    save_darknet_weights(other, path)
    with pytest.raises(ValueError, match=r"5 classes and width 0\.0625.*load_backbone"):
        load_darknet_weights(network, path)
    assert load_backbone(network, path) == 75
    head = set(convolutions(75, 106))
    assert set(differing(network, small_network(0))).isdisjoint(head)
    assert set(differing(network, other)) <= head


def test_short_files_are_refused(tmp_path):
    path = tmp_path / "page.weights"
    path.write_bytes(b"<html>")
    for load in (load_darknet_weights, load_backbone):
        with pytest.raises(ValueError, match=r"page\.weights: 6 bytes are fewer"):
            load(small_network(0), path)
    path.write_bytes(darknet_header() + bytes(400))
    with pytest.raises(ValueError, match=r"page\.weights: 420 bytes are too few.*layers 0-74"):
        load_backbone(small_network(0), path)


def test_missing_file(tmp_path):
    for load in (load_darknet_weights, load_backbone):
        with pytest.raises(FileNotFoundError, match=r"none\.weights: no such weight file"):
            load(small_network(0), tmp_path / "none.weights")


def test_save_refuses_a_layer_that_is_not_there_and_leaves_nothing(tmp_path):
    for last_layer in (-1, 107):
        with pytest.raises(ValueError, match=f"{last_layer}, but the layers are 0 to 106"):
            save_darknet_weights(small_network(0), tmp_path / "a.weights", last_layer)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.weights"
    path.write_bytes(b"old")
    monkeypatch.setattr(torch.Tensor, "numpy", lambda _self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_darknet_weights(small_network(0), path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.weights"]
    assert path.read_bytes() == b"old"


STAGES = {1: 1, 5: 2, 12: 8, 37: 8, 62: 4}  # first layer of each stage: residual blocks


def timm_names():
    names = {0: "stem.conv1"}
    for stage, (start, blocks) in enumerate(STAGES.items()):
        names[start] = f"stages.{stage}.conv_down"
        for block in range(blocks):
            names[start + 3 * block + 1] = f"stages.{stage}.blocks.{block}.conv1"
            names[start + 3 * block + 2] = f"stages.{stage}.blocks.{block}.conv2"
    return names


def openmmlab_names():
    names = {0: "conv1"}
    for stage, (start, blocks) in enumerate(STAGES.items(), 1):
        names[start] = f"conv_res_block{stage}.conv"
        for block in range(blocks):
            names[start + 3 * block + 1] = f"conv_res_block{stage}.res{block}.conv1"
            names[start + 3 * block + 2] = f"conv_res_block{stage}.res{block}.conv2"
    return names


def as_state(network, names, prefix=""):
    """Return a backbone's weights under another project's names, in reverse order."""
    state = {
        f"{prefix}{name}.{key}": value.clone()
        for index, name in reversed(names.items())
        for key, value in network.layers[index].state_dict().items()
    }
    assert sum(key.endswith("conv.weight") for key in state) == 52
    return state


def check_backbone(network, source):
    assert set(differing(network, source)) == set(convolutions(75, 106))
    assert differing(network, small_network(0)) == convolutions(0, 74)
    assert all(network.layers[i].bn.num_batches_tracked == 7 for i in (0, 73))


def test_backbone_of_timm_warns_of_its_slope(tmp_path):
    source, network, path = small_network(1), small_network(0), tmp_path / "model.safetensors"
    state = {**as_state(source, timm_names()), "head.fc.weight": torch.zeros(10, 64)}
    safetensors.torch.save_file(
        {**state, "stem.conv1.bn.num_batches_tracked": torch.tensor(3)}, path
    )
    with pytest.warns(UserWarning, match=r"LeakyReLU 0\.01 .*mean and deviation"):
        assert load_backbone(network, path) == len(BACKBONE)
    check_backbone(network, source)


@pytest.mark.parametrize("form", ["plain", "nested", "detector", "old pickle"])
def test_backbone_of_openmmlab(tmp_path, form):
    source, network, path = small_network(1), small_network(0), tmp_path / "darknet53.pth"
    state = as_state(source, openmmlab_names(), "backbone." if form == "detector" else "")
    if form == "detector":
        state["neck.detect1.conv1.conv.weight"] = torch.zeros(3)
    saved = (
        state if form in ("plain", "old pickle") else {"meta": {"epoch": 3}, "state_dict": state}
    )
    torch.save(saved, path, _use_new_zipfile_serialization=form != "old pickle")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_backbone(network, path)
    check_backbone(network, source)


def test_backbone_of_darknet(tmp_path):
    source, network, path = small_network(1), small_network(0), tmp_path / "darknet53.conv.74"
    save_darknet_weights(source, path, last_layer=74)
    load_backbone(network, path)
    check_backbone(network, source)


class Harmful:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_backbone_files_that_are_refused(tmp_path, capsys):
    network, path = small_network(0), tmp_path / "backbone.pth"
    state = as_state(small_network(1), openmmlab_names())

    def refused(match):
        with pytest.raises(ValueError, match=rf"backbone\.pth: .*{match}") as error:
            load_backbone(network, path)
        assert "\n" not in str(error.value)

    torch.save({"state_dict": Harmful()}, path)
    refused("broken or unsafe")
    assert capsys.readouterr().out == ""
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-2000])
    refused("broken or unsafe")
    path.write_bytes(safetensors.torch.save(state)[:-4])
    refused("broken or unsafe")
    torch.save([1, 2], path)
    refused("no named tensors")
    torch.save({"features.0.weight": torch.zeros(1)}, path)
    refused("neither timm's nor OpenMMLab's")
    torch.save({k: v for k, v in state.items() if k != "conv_res_block5.res3.conv2.bn.bias"}, path)
    refused(r"has no conv_res_block5\.res3\.conv2\.bn\.bias")
    torch.save(as_state(YOLOv3(width=0.125), openmmlab_names()), path)
    refused(r"shape \[4\].*width 0\.0625 wants \[2\]")
    assert differing(network, small_network(0)) == []


@pytest.mark.parametrize("ending", [".conv.74", ".weights"])
@pytest.mark.parametrize(("written", "read"), [(0.125, 0.0625), (0.25, 0.125), (0.25, 0.0625)])
def test_a_backbone_of_another_width_is_recognised(tmp_path, ending, written, read):
    path = tmp_path / f"backbone{ending}"
    torch.manual_seed(1)
    save_darknet_weights(YOLOv3(5, written), path, 74 if ending == ".conv.74" else None)
    network = YOLOv3(5, read)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"running variances are below 0; give the file") as error:
        load_backbone(network, path)
    assert str(path) in str(error.value)
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())


def test_weights_that_are_not_finite_are_refused(tmp_path):
    network = YOLOv3(5, 0.0625)
    network.layers[3].conv.weight.data[0] = float("nan")
    save_darknet_weights(network, tmp_path / "nan.weights")
    with pytest.raises(ValueError, match="weights are not finite"):
        load_darknet_weights(YOLOv3(5, 0.0625), tmp_path / "nan.weights")


@pytest.mark.parametrize(
    ("length", "width", "message"),
    [
        (35_434_956, 0.125, "yolov3-tiny.weights, which is of another network"),
        (162_482_580, 0.125, "darknet53.conv.74, which is of a YOLOv3 of width 1"),
    ],
)
def test_published_files_are_known_by_their_length(tmp_path, length, width, message):
    path = tmp_path / "some.weights"
    with path.open("wb") as file:
        file.write(darknet_header())
        file.truncate(length)  # zeros, which could be weights
    with pytest.raises(ValueError, match=message):
        load_backbone(YOLOv3(5, width), path)


def test_the_lengths_that_are_known_are_those_of_the_networks():
    def floats(layers):
        state = [t for layer in layers for n, t in layer.state_dict().items() if "num" not in n]
        return sum(tensor.numel() for tensor in state)

    with torch.device("meta"):
        layers = YOLOv3(80, 1.0).layers
    assert 20 + 4 * floats(layers[:75]) == 162_482_580
    assert 20 + 4 * floats(layers) == 248_007_048
    pooled = 2048 * 512 + 4 * 512  # what spatial pooling adds
    assert 248_007_048 + 4 * pooled == 252_209_544
    tiny = [(3, 16, 3), (16, 32, 3), (32, 64, 3), (64, 128, 3), (128, 256, 3), (256, 512, 3)]
    tiny += [(512, 1024, 3), (1024, 256, 1), (256, 512, 3), (256, 128, 1), (384, 256, 3)]
    convolutions = sum(out * (size * size * into + 4) for into, out, size in tiny)
    predictions = 255 * (512 + 1) + 255 * (256 + 1)
    assert 20 + 4 * (convolutions + predictions) == 35_434_956
