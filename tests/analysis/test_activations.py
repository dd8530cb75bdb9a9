"""Layers' outputs and Gram matrices against plain hooks in float64."""

from __future__ import annotations

import copy
import weakref
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision.models import VisionTransformer
from torchvision.models.detection import (
    fasterrcnn_resnet50_fpn,
    retinanet_resnet50_fpn,
    ssdlite320_mobilenet_v3_large,
)

from yolo_synth.analysis.activations import plan as planning
from yolo_synth.analysis.activations import policy
from yolo_synth.analysis.activations.gram_files import load_grams
from yolo_synth.analysis.activations.layers import is_planned, read_layers
from yolo_synth.analysis.activations.run import each_layer, gram_matrices, layer_names
from yolo_synth.analysis.activations.structure import structure_of
from yolo_synth.networks.yolov3.network import YOLOv3


@pytest.fixture(scope="module")
def network() -> YOLOv3:
    """A narrow YOLOv3 with batch norms as training leaves them, in train mode."""
    torch.manual_seed(0)
    network = YOLOv3(width=0.125)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.3)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    with torch.no_grad():
        for _ in range(20):
            network(pictures(8, 64, 64) / 255)
    return network


def pictures(images: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(images)
    coarse = torch.rand(images, 3, 4, 4, generator=generator)
    fine = torch.rand(images, 3, height, width, generator=generator)
    coarse = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (204 * coarse + 51 * fine).byte()


def reference(
    network: nn.Module, images: Tensor, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """Each layer's output by a plain forward pass, flattened, as float64."""
    copy = YOLOv3(width=0.125).to(dtype)
    copy.load_state_dict(network.state_dict())
    kept: list[Tensor] = []
    for layer in copy.eval().layers:
        layer.register_forward_hook(
            lambda _, __, output: kept.append(output.flatten(1).double().clone())
        )
    with torch.no_grad():
        copy(images.to(dtype) / 255)
    return kept


def products(outputs: list[Tensor]) -> Tensor:
    return torch.stack([x @ x.T for x in outputs])


def cka(grams: Tensor) -> Tensor:
    n = grams.shape[-1]
    centring = torch.eye(n, dtype=grams.dtype) - 1 / n
    centred = (centring @ grams @ centring).flatten(1)
    centred = centred / centred.norm(dim=1, keepdim=True)
    return centred @ centred.T


def resize(monkeypatch: pytest.MonkeyPatch, **sizes: float) -> policy.Policy:
    """Have a processor's pieces of other sizes."""
    other = replace(policy.PROCESSOR, **sizes)
    monkeypatch.setattr(policy, "PROCESSOR", other)
    return other


def relative_error(grams: Tensor, expected: Tensor) -> float:
    return ((grams - expected).abs().amax((1, 2)) / expected.abs().amax((1, 2))).max().item()


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (96, 128)])
def test_gram_matrices_agree_with_float64(network, size):
    images = pictures(20, *size)
    expected = products(reference(network, images))
    grams = gram_matrices(network, images)
    assert grams.shape == (107, 20, 20)
    assert grams.dtype == torch.float64
    assert torch.equal(grams, grams.mT)
    assert relative_error(grams, expected) < 1e-5
    difference = (cka(grams) - cka(expected)).abs()
    plain = (cka(products(reference(network, images, torch.float32))) - cka(expected)).abs()
    # Some layers of this network hardly tell images apart: there float32 itself loses digits.
    assert difference.mean() < max(1e-6, 2 * plain.mean())
    assert difference.max() < max(1e-5, 2 * plain.max())


def test_bfloat16_errs_little(network):
    images = pictures(20, 96, 128)
    difference = cka(gram_matrices(network, images, precision="bfloat16"))
    difference -= cka(products(reference(network, images)))
    assert difference.abs().mean() < 0.01
    assert difference.abs().max() > 1e-6  # it was bfloat16 indeed


@pytest.mark.parametrize("stripe", [2**14, 2**17])
def test_striped_is_unstriped(network, monkeypatch, stripe):
    images = pictures(18, 96, 128)
    whole = gram_matrices(network, images)
    resize(monkeypatch, whole_bytes=2**16, stripe_bytes=stripe)
    pieces = [piece.layer for piece in each_layer(network, images)]
    assert pieces.count(0) > 2, "the first layer did not run on stripes"
    assert relative_error(gram_matrices(network, images), whole) < 1e-6


def test_each_layer_hands_out_every_number_once(network, monkeypatch):
    images = pictures(18, 64, 64)
    resize(monkeypatch, whole_bytes=2**16, stripe_bytes=2**15)
    handed_out: dict[int, list[Tensor]] = {}
    for layer, chunks in each_layer(network, images):
        rows = torch.cat([chunk.flatten(1) for chunk in chunks])
        handed_out.setdefault(layer, []).append(rows)
    for layer, expected in enumerate(reference(network, images)):
        numbers = torch.cat(handed_out[layer], dim=1).double()
        torch.testing.assert_close(
            numbers.sort(dim=1).values, expected.sort(dim=1).values, atol=1e-4, rtol=1e-4
        )


def test_groups_of_images_do_not_matter(network, monkeypatch):
    images = pictures(21, 32, 32)
    together = gram_matrices(network, images)
    resize(monkeypatch, group_bytes=1)
    assert relative_error(gram_matrices(network, images), together) < 1e-6
    alone = gram_matrices(network, images[5:6])
    assert relative_error(together[:, 5:6, 5:6], alone) < 1e-5


class Watcher(nn.Module):
    """A layer that notes how PyTorch is set to multiply while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        backends = torch.backends
        self.seen += [backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision]
        return x * 2


def test_float32_is_float32_whatever_training_is_set_to():
    layer = Watcher()
    network = nn.Module()
    network.layers, network.sources = nn.ModuleList([layer]), [(-1,)]
    torch.set_float32_matmul_precision("medium")
    try:
        gram_matrices(network, pictures(3, 8, 8))
        for _ in each_layer(network, pictures(3, 8, 8)):
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
        assert layer.seen
        assert set(layer.seen) == {"ieee"}
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cudnn.conv.fp32_precision == "tf32"  # PyTorch's default
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("n", [1, 2])
def test_few_images(network, n):
    images = pictures(n, 32, 32)
    expected = products(reference(network, images))
    assert relative_error(gram_matrices(network, images), expected) < 1e-5


def test_uint8_is_float_over_255(network):
    images = pictures(3, 32, 32)
    assert torch.equal(gram_matrices(network, images), gram_matrices(network, images / 255))


def test_network_is_left_as_it_was(network):
    network.train()
    network.layers[3].eval()
    modes = [module.training for module in network.modules()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    seed = torch.get_rng_state()
    gram_matrices(network, pictures(3, 32, 32))
    next(each_layer(network, pictures(3, 32, 32)))
    with pytest.raises(ValueError, match="memory"):
        gram_matrices(network, pictures(3, 32, 32), memory=1)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), seed)
    assert not any(module._forward_hooks for module in network.modules())
    network.train()


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, but for a network's own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        state = network.state_dict().values()
        self.known = {tensor.untyped_storage()._cdata for tensor in state}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.layout == torch.strided and tensor.is_cpu:
                self.count(tensor.untyped_storage())
        return result

    def count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self.forget, key, size)

    def forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


@pytest.mark.parametrize("tight", [False, True])
def test_memory_is_kept(network, tight, monkeypatch):
    images = pictures(40, 128, 128)
    small = resize(monkeypatch, slice_bytes=2**18)
    layers = read_layers(network.eval(), (3, 128, 128))
    memory = planning.make_plan(layers, 40, 4, 2**40, policies=[small]).peak
    if tight:
        memory = memory // 2
    with Live(network) as live:
        for _ in each_layer(network, images, memory=memory):
            pass
    assert live.peak < memory + 2**20


def test_more_images_than_fit_go_block_by_block(network, tmp_path, monkeypatch):
    images = pictures(24, 128, 128)
    small = resize(monkeypatch, slice_bytes=2**18)
    whole = gram_matrices(network, images)
    layers = read_layers(network.eval(), (3, 128, 128))
    choices = planning._choices(layers, 64, small)
    tightest = (planning.Plan(layers, 11, 4, *c, policy=small).peak for c in choices)
    memory = min(tightest)
    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        if share > 0.5:
            raise KeyboardInterrupt

    with (
        Live(network) as live,
        pytest.warns(UserWarning, match=r"24 images do not fit .* passes \d+ times"),
    ):
        in_blocks = gram_matrices(network, images, memory=memory)
    result = in_blocks.nbytes
    assert live.peak < memory + result + 2**20
    scale = whole.abs().amax((1, 2), keepdim=True)
    assert ((in_blocks - whole).abs() / scale).max() < 5e-6

    with pytest.warns(UserWarning, match="more memory"), pytest.raises(KeyboardInterrupt):
        gram_matrices(network, images, memory=memory, folder=tmp_path, progress=stop)
    assert 0 < len(list((tmp_path / "blocks").glob("*/*.npy"))) < 107 * 10
    shares.clear()
    with pytest.warns(UserWarning, match="more memory"):
        again = gram_matrices(
            network, images, memory=memory, folder=tmp_path, progress=shares.append
        )
    assert torch.equal(again, in_blocks)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert not (tmp_path / "blocks").exists()
    assert torch.equal(load_grams(tmp_path)[0], in_blocks)


class Sum(nn.Module):
    """Adds its inputs."""

    def forward(self, *sources: Tensor) -> Tensor:
        return torch.stack(sources).sum(0)


class Doubled(nn.Conv2d):
    """A convolution that is not what its class says."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Mirror(nn.Module):
    """A layer without weights that mixes rows."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(2) * x.mean((1, 2, 3), keepdim=True)


class Toy(nn.Module):
    """A network of convolutions of many kinds, given as (module, sources)."""

    def __init__(self, *rows: tuple[nn.Module, tuple[int, ...]]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(module for module, _ in rows)
        self.sources = [sources for _, sources in rows]

    def forward(self, images: Tensor) -> None:
        outputs = {-1: images}
        for index, layer in enumerate(self.layers):
            outputs[index] = layer(*(outputs[source] for source in self.sources[index]))


def test_stripes_of_many_kinds_of_layers(monkeypatch):
    torch.manual_seed(0)
    network = Toy(
        (nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.BatchNorm2d(8), nn.SiLU()), (-1,)),
        (nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4), (0,)),
        (Sum(), (1, 0, 0)),
        (nn.Conv2d(8, 6, 3, stride=2), (2,)),
        (nn.Sequential(nn.Conv2d(6, 6, (1, 3), padding=(0, 1)), nn.ReLU(inplace=True)), (3,)),
        (Sum(), (4, 3)),
        (nn.Conv2d(6, 4, 2, stride=2, padding=1), (5,)),
        (Doubled(4, 4, 3, padding=1), (6,)),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (7,)),
        (nn.Upsample(scale_factor=3), (7,)),
        (Mirror(), (6,)),
        (nn.Conv2d(8, 2, 3, padding=1, padding_mode="reflect"), (0,)),
        (nn.Flatten(), (10,)),
        (nn.Linear(4 * 9 * 10, 5), (12,)),
    )
    network.layers[0][1].running_var.uniform_(0.5, 2)
    images = pictures(17, 33, 37)
    names = [f"layers.{index}" for index in range(14)]
    expected = gram_matrices(network, images[:3], layers=names)
    assert relative_error(gram_matrices(network, images)[:, :3, :3], expected) < 1e-5
    for stripe in (2**10, 2**16):
        resize(monkeypatch, whole_bytes=2**10, stripe_bytes=stripe)
        pieces = [layer for layer, _ in each_layer(network, images[:3])]
        assert pieces.count(6) > 1
        assert pieces.count(7) == 1
        assert relative_error(gram_matrices(network, images[:3]), expected) < 1e-5


class Plan(nn.Module):
    """A network that says its plan."""

    def __init__(self, sources: list[tuple[int, ...]], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.sources = sources

    def direct(self, images: Tensor) -> Tensor:
        """Return the Gram matrices of a plain float64 pass."""
        outputs = {-1: images.double()}
        for index, (layer, sources) in enumerate(zip(self.layers, self.sources, strict=True)):
            outputs[index] = copy.deepcopy(layer).double()(*(outputs[s] for s in sources))
        flat = [outputs[index].flatten(1) for index in range(len(self.layers))]
        return torch.stack([rows @ rows.T for rows in flat])


class Joined(nn.Module):
    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, dim=1)


@pytest.mark.parametrize(
    "activation",
    [nn.ReLU(), nn.LeakyReLU(0.1), nn.ReLU6(), nn.ELU(), nn.Hardtanh(), nn.SiLU(), nn.Identity()],
    ids=lambda module: type(module).__name__,
)
def test_an_activation_as_its_own_layer(activation):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8)
    network = Plan([(-1,), (0,), (1,)], nn.Conv2d(3, 8, 3, bias=False), norm, activation).eval()
    nn.init.uniform_(norm.bias, -2, 2)
    images = torch.rand(6, 3, 16, 16)
    with torch.no_grad():
        assert relative_error(gram_matrices(network, images), network.direct(images)) < 1e-5


@pytest.mark.parametrize(
    ("sources", "layers"),
    [
        ([(-1,), (0,)], [nn.Upsample(scale_factor=2), nn.Conv2d(3, 4, 3)]),
        ([(-1,), (0,)], [nn.Identity(), nn.Conv2d(3, 4, 3)]),
        ([(-1,), (0, -1)], [nn.Conv2d(3, 4, 3, padding=1), Joined()]),
    ],
    ids=["upsample", "identity", "joined"],
)
def test_a_layer_without_weights_that_reads_the_images(sources, layers):
    network, images = Plan(sources, *layers), torch.rand(6, 3, 16, 16)
    with torch.no_grad():
        assert relative_error(gram_matrices(network, images), network.direct(images)) < 1e-5


def test_a_layer_that_takes_fewer_inputs_is_refused():
    network = Plan([(-1,), (0, 0)], nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(ValueError, match="layer 1 does not take outputs of"):
        gram_matrices(network, torch.rand(2, 3, 16, 16))


def test_images_stay_what_they_are_and_every_pass_sees_them():
    """A network that normalises its input in place, run several times for lack of memory."""

    class Normalising(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.sub_(0.5).div_(0.25))

    torch.manual_seed(0)
    network = Normalising(nn.Conv2d(3, 4, 3))
    images = torch.rand(6, 3, 16, 16).to(memory_format=torch.channels_last)
    before = images.clone()
    found = gram_matrices(network, images, memory=6 * 4 * 300)
    with torch.no_grad():
        features = network(before.clone()).flatten(1).double()
    assert torch.equal(images, before)
    assert relative_error(found, (features @ features.T)[None]) < 1e-5


def test_grams_of_a_network_of_other_modules_are_not_taken(tmp_path):
    torch.manual_seed(0)
    convolution, images = nn.Conv2d(3, 4, 3), torch.rand(4, 3, 16, 16)
    one, other = (nn.Sequential(convolution, nn.LeakyReLU(slope)) for slope in (0.1, 0.9))
    gram_matrices(one, images, folder=tmp_path)
    with pytest.raises(ValueError, match="holds Gram matrices of other network"):
        gram_matrices(other, images, folder=tmp_path)


def test_a_plan_that_changes_what_it_reads_is_refused():
    network = Toy((nn.Conv2d(3, 4, 1), (-1,)), (nn.ReLU(inplace=True), (0,)))
    images = pictures(3, 8, 8)
    with pytest.raises(ValueError, match="layer 1 changes what it reads"):
        gram_matrices(network, images)
    grams = gram_matrices(network, images, layers=["layers.*"])
    assert not torch.equal(grams[0], grams[1])


def hooked(network: nn.Module, name: str, images: Tensor) -> list[Tensor]:
    """All tensors that a module returns in one forward pass."""
    kept: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_hook(
        lambda _, __, output: kept.extend(t.clone() for t in tree_leaves(output) if t is not None)
    )
    with torch.no_grad():
        network.eval()(images)
    handle.remove()
    return kept


DETECTORS = {
    "fasterrcnn": (lambda: fasterrcnn_resnet50_fpn(**SMALL), "rpn.head.cls_logits", 5),
    "retinanet": (
        lambda: retinanet_resnet50_fpn(**SMALL),
        "head.classification_head.cls_logits",
        5,
    ),
    "ssdlite": (lambda: ssdlite320_mobilenet_v3_large(**UNTRAINED), "backbone.extra.0", 1),
}
UNTRAINED = {"weights": None, "weights_backbone": None, "num_classes": 5}
SMALL = {**UNTRAINED, "min_size": 64, "max_size": 64}


@pytest.mark.parametrize("name", DETECTORS)
def test_torchvision_detectors(name):
    build, layer, calls = DETECTORS[name]
    torch.manual_seed(0)
    network, images = build(), pictures(3, 64, 64) / 255
    expected = hooked(network, layer, images)
    names = layer_names(network, images, layers=[layer])
    assert names == ([f"{layer}:{i}" for i in range(calls)] if calls > 1 else [layer])
    grams = gram_matrices(network, images, layers=[layer])
    assert relative_error(grams, products([x.flatten(1).double() for x in expected])) < 1e-5


def test_a_vit_and_several_forward_passes():
    torch.manual_seed(0)
    network = VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    images = pictures(5, 32, 32) / 255
    names = layer_names(network, images, layers=[nn.LayerNorm, "encoder.layers.*.mlp"])
    assert names == [
        "encoder.layers.encoder_layer_0.ln_1",
        "encoder.layers.encoder_layer_0.ln_2",
        "encoder.layers.encoder_layer_0.mlp",
        "encoder.layers.encoder_layer_1.ln_1",
        "encoder.layers.encoder_layer_1.ln_2",
        "encoder.layers.encoder_layer_1.mlp",
        "encoder.ln",
    ]
    expected = [x.flatten(1).double() for name in names for x in hooked(network, name, images)]
    for memory in (2**20, 5 * 4 * 100):
        grams = gram_matrices(network, images, layers=names, memory=memory)
        assert relative_error(grams, products(expected)) < 1e-5


def test_our_own_network_is_read_as_its_107_layers_by_every_function():
    """Whichever Python runs: a module's `layers` is no attribute that `isinstance` is sure to find."""
    network, images = YOLOv3(width=0.02), pictures(8, 32, 32)
    numbered = [f"layers.{i}" for i in range(107)]
    assert is_planned(network)
    assert layer_names(network, images) == numbered
    assert gram_matrices(network, images).shape == (107, 8, 8)
    assert [piece.layer for piece in each_layer(network, images)] == list(range(107))
    structure = structure_of(network)
    assert (len(structure), structure.backbone_end) == (107, 75)
    assert Counter(structure.kinds) == {
        "convolutional": 75,
        "shortcut": 23,
        "route": 4,
        "upsample": 2,
        "yolo": 3,
    }


def test_sources_without_layers_are_not_passed_over():
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    network.sources = [(-1,)]
    with pytest.raises(ValueError, match="Sequential has `sources` but no `layers`"):
        layer_names(network, pictures(2, 32, 32))


def test_a_plan_and_hooks_agree(network):
    images = pictures(5, 32, 32)
    names = layer_names(network, images)
    assert names == [f"layers.{i}" for i in range(107)]
    with_hooks = gram_matrices(network, images, layers=names)
    assert relative_error(with_hooks, gram_matrices(network, images)) < 1e-5


class Awkward(nn.Module):
    """Overwrites an output, calls a module twice, returns dictionaries and unequal lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.act = nn.ReLU(inplace=True)
        self.idle = nn.Linear(1, 1)
        self.pick = nn.Identity()
        self.join = Join()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.act(self.conv(images))
        x = self.act(x - 0.1)
        self.pick(x.flatten()[x.flatten() > 0])
        return self.join(x)


class Join(nn.Module):
    """Returns several tensors."""

    def forward(self, x: Tensor) -> dict[str, object]:
        return {"first": x, "second": [x + 1, None]}


def test_in_place_repeated_and_several_outputs():
    torch.manual_seed(0)
    network, images = Awkward(), pictures(4, 8, 8) / 255
    names = layer_names(network, images, layers=["conv", nn.ReLU, "join"])
    assert names == ["conv", "act:0", "act:1", "join:0", "join:1"]
    grams = gram_matrices(network, images, layers=["conv", nn.ReLU, "join"])
    conv = network.conv(images).detach()
    outputs = [conv, conv.relu(), (conv.relu() - 0.1).relu()]
    outputs += [outputs[-1], outputs[-1] + 1]
    assert relative_error(grams, products([x.flatten(1).double() for x in outputs])) < 1e-5


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["cnv"], "'cnv'"),
        (["idle"], "'idle'"),
        ([nn.BatchNorm2d], "BatchNorm2d"),
        (["pick"], "'pick' .* has no row of numbers for each of 2 images"),
    ],
)
def test_layers_that_cannot_be_had_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        gram_matrices(Awkward(), pictures(4, 8, 8), layers=layers)


def test_what_is_not_finite_is_named(network):
    images = pictures(4, 32, 32) / 255
    images[2, 0, 5, 5] = torch.nan
    with pytest.raises(ValueError, match=r"layers\.0: activations of images \[2\] are not finite"):
        gram_matrices(network, images)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 32, 32), r"\[n, 3, H, W\]"),
        (torch.zeros(0, 3, 32, 32), "n >= 1"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.int64), "int64"),
        (torch.zeros(2, 3, 48, 48), "layer 86 does not take"),
    ],
)
def test_other_images_are_refused(network, images, message):
    with pytest.raises(ValueError, match=message):
        gram_matrices(network, images)


def test_progress_ends_at_one(network):
    shares: list[float] = []
    gram_matrices(network, pictures(2, 32, 32), progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
