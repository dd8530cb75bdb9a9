"""Weights in and out of the network: Darknet's files, and ImageNet backbones of other projects.

A Darknet file is three int32 (major, minor, revision), then how many images the network has seen,
then float32, all little-endian: for each convolution in order the norm's beta, gamma, running mean
and running variance (or the bias, where there is no norm), then the kernel [out, in, k, k]. Nothing
in a file says which layers it holds: its length does, and a file may end after any convolution
(`darknet53.conv.74` ends with the backbone). That it is of another network shows in its variances.
"""

from __future__ import annotations

import pickle
import struct
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from yolo_synth.files import write_whole
from yolo_synth.networks.yolov3.architecture import BACKBONE

if TYPE_CHECKING:
    from yolo_synth.networks.yolov3.network import YOLOv3

_FLOAT: Final = 4  # bytes of a float32
_NORM: Final = ("bn.bias", "bn.weight", "bn.running_mean", "bn.running_var")
_IN_DARKNETS_ORDER: Final = (*_NORM, "conv.bias", "conv.weight")
_KNOWN: Final[dict[int, tuple[str, float | None]]] = {
    162_482_580: ("darknet53.conv.74", 1.0),
    248_007_048: ("yolov3.weights", 1.0),
    252_209_544: ("yolov3-spp.weights", 1.0),
    35_434_956: ("yolov3-tiny.weights", None),
    257_717_640: ("yolov4.weights", None),
    24_251_276: ("yolov4-tiny.weights", None),
}
"""Published files by their length in bytes, and the width of the YOLOv3 whose backbone they hold."""
_BLOCKS: Final = (1, 2, 8, 8, 4)  # residual blocks in each stage of the backbone


def load_darknet_weights(network: YOLOv3, path: str | Path) -> int:
    """Load a Darknet weight file, a whole one or one that ends after some convolution.

    A file that does not fit leaves the network as it was. `num_batches_tracked`, which Darknet does
    not count, is never touched.

    Args:
        network: The network to load into, of any width and class count.
        path: A file like `yolov3.weights` or `darknet53.conv.74`, with either form of header.

    Returns:
        How many layers, from layer 0 on, are now the file's: 107 for a whole file, 75 (layers 0-74)
        for `darknet53.conv.74`. Layers without weights count with the convolution before them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file ends within a layer or goes on after the last one, or what it holds are
            no weights of this network.
    """
    path = _existing(path)
    header, seen = _read_header(path)
    lengths = _lengths(network)
    length = path.stat().st_size - header
    if length not in lengths:
        nearest = min(lengths, key=lambda candidate: abs(candidate - length))
        raise ValueError(
            f"{path}: {length + header} bytes are not a whole number of layers; a network of "
            f"{network.num_classes} classes and width {network.width:g} wants "
            f"{max(lengths) + header}, or {nearest + header} for a file that ends before layer "
            f"{lengths[nearest]}: download it again, or build the network for the file's classes "
            "(load_backbone reads layers 0-74 of a file of any class count)"
        )
    _fill(network, network.layers[: lengths[length]], path, header)
    network.seen = seen
    return lengths[length]


def save_darknet_weights(network: YOLOv3, path: str | Path, last_layer: int | None = None) -> None:
    """Write the network as a Darknet weight file, with the header of version 0.2.

    What `load_darknet_weights` read from such a file comes out byte for byte. The file appears
    under its name only when it is complete.

    Args:
        network: The network to save, on any device.
        path: The file to write or replace; its folder is made.
        last_layer: The last layer to write (74 gives a `darknet53.conv.74`); None for all.

    Raises:
        ValueError: If the network has no such layer.
    """
    if last_layer is None:
        last_layer = len(network.layers) - 1
    if not 0 <= last_layer < len(network.layers):
        raise ValueError(
            f"last_layer is {last_layer}, but the layers are 0 to {len(network.layers) - 1}"
        )

    def write(file: BinaryIO) -> None:
        file.write(struct.pack("<3iQ", 0, 2, 0, network.seen))
        for tensor in _tensors(network.layers[: last_layer + 1]):
            file.write(tensor.float().cpu().numpy().astype("<f4").tobytes())

    write_whole(path, write)


def load_backbone(network: YOLOv3, path: str | Path) -> int:
    """Load layers 0-74, the backbone, from a file of pre-trained weights; the rest stays as it is.

    What the file is, is read from its first bytes and its keys:

    - a Darknet file that holds at least the backbone (`darknet53.conv.74`, `yolov3.weights` of any
      class count, `darknet53.weights`); what follows layer 74 is not read;
    - timm's `darknet53` (safetensors). Its LeakyReLU slope is 0.01, not 0.1, and it was trained on
      images normalised by ImageNet's mean and deviation: the weights fit, but they are another
      function here, so a warning is given;
    - OpenMMLab's `darknet53` or a whole detector on it (`.pth`), itself converted from Darknet.

    Args:
        network: The network to load into; its width must be the file's.
        path: The file.

    Returns:
        How many layers, from layer 0 on, are now the file's: 75.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is none of these, is broken, or has other shapes.
    """
    path = _existing(path)
    state = _read_state(path)
    if state is None:
        _load_darknet_backbone(network, path)
    elif "stem.conv1.conv.weight" in state:
        names = _names("stem.conv1", "stages.", 0, "conv_down", "blocks.")
        _load_state(network, path, state, names)
        warnings.warn(
            f"{path} is timm's darknet53: it was trained with LeakyReLU 0.01 (here 0.1) on images "
            "normalised by ImageNet's mean and deviation (here 0..1), so the backbone computes "
            "another function than timm's; darknet53.conv.74 is the same one",
            stacklevel=2,
        )
    elif "conv1.conv.weight" in state:
        _load_state(network, path, state, _names("conv1", "conv_res_block", 1, "conv", "res"))
    else:
        raise ValueError(
            f"{path}: its keys ({', '.join(sorted(state)[:3])}, ...) are neither timm's nor "
            "OpenMMLab's darknet53; give one of these, or a Darknet file such as darknet53.conv.74"
        )
    return len(BACKBONE)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weight file; check the path or download it first")
    return path


def _tensors(layers: Iterable[nn.Module]) -> Iterator[Tensor]:
    """Yield all weights of some layers in Darknet's order, sharing the layers' memory."""
    for layer in layers:
        state = layer.state_dict()
        yield from (state[key] for key in _IN_DARKNETS_ORDER if key in state)


def _lengths(network: YOLOv3) -> dict[int, int]:
    """Map each length in bytes that a file's weights may have to how many layers it completes."""
    lengths: dict[int, int] = {}
    length = 0
    for index, layer in enumerate(network.layers):
        length += _FLOAT * sum(tensor.numel() for tensor in _tensors([layer]))
        lengths[length] = index + 1  # a layer without weights replaces the one before it
    return lengths


def _read_header(path: Path) -> tuple[int, int]:
    """Return the bytes of a Darknet file's header and the number of images seen."""
    with path.open("rb") as file:
        start = file.read(20)
    if len(start) < 20:
        raise ValueError(
            f"{path}: {len(start)} bytes are fewer than a Darknet header's 20; download it again"
        )
    major, minor, _, seen = struct.unpack("<3iQ", start)
    if major * 10 + minor >= 2 and major < 1000 and minor < 1000:
        return 20, seen
    return 16, struct.unpack_from("<i", start, 12)[0]


def _fill(network: YOLOv3, layers: Iterable[nn.Module], path: Path, header: int) -> None:
    """Copy a file's weights into some layers; the file is known to be long enough."""
    _refuse_known(path, network.width)
    layers = list(layers)
    tensors = list(_tensors(layers))
    sizes = [tensor.numel() for tensor in tensors]
    start = header // _FLOAT
    flat = torch.from_file(str(path), size=start + sum(sizes), dtype=torch.float32)
    parts = torch.split(flat[start:], sizes)
    _see_that_they_are_weights(path, parts, list(_names_in_order(layers)))
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def _names_in_order(layers: Iterable[nn.Module]) -> Iterator[str]:
    for layer in layers:
        state = layer.state_dict()
        yield from (key for key in _IN_DARKNETS_ORDER if key in state)


def _see_that_they_are_weights(path: Path, parts: Sequence[Tensor], names: Sequence[str]) -> None:
    """Refuse what cannot be weights of these layers, though a file has enough of them.

    Read with other widths than it was written with, a file's kernels come to lie where variances are
    expected, and a part of them is below zero.
    """
    variances = [p for p, name in zip(parts, names, strict=True) if name.endswith("running_var")]
    negative = sum(int((part < 0).sum()) for part in variances)
    infinite = sum(int((~part.isfinite()).sum()) for part in parts)
    if negative or infinite:
        what = (
            f"{negative} of {sum(map(len, variances))} running variances are below 0"
            if negative
            else f"{infinite} weights are not finite"
        )
        raise ValueError(
            f"{path}: holds no weights of this network: {what}; give the file of a YOLOv3 of this "
            "width, or build the network for the file (model.width, model.num_classes)"
        )


def _refuse_known(path: Path, width: float) -> None:
    """Refuse a published file by its length, if it is of another network."""
    name, its_width = _KNOWN.get(path.stat().st_size, ("", width))
    if its_width != width:
        of = "another network" if its_width is None else f"a YOLOv3 of width {its_width:g}"
        raise ValueError(
            f"{path}: has the length of {name}, which is of {of}, and this one is a YOLOv3 of width "
            f"{width:g}; give weights of such a network, or set model.width to the file's"
        )


def _load_darknet_backbone(network: YOLOv3, path: Path) -> None:
    header, _ = _read_header(path)
    backbone = network.layers[BACKBONE.start : BACKBONE.stop]
    wanted = header + _FLOAT * sum(tensor.numel() for tensor in _tensors(backbone))
    size = path.stat().st_size
    if size < wanted:
        raise ValueError(
            f"{path}: {size} bytes are too few for a Darknet file with layers 0-74 of a network of "
            f"width {network.width:g}, which wants {wanted}: download it again (a safetensors or "
            ".pth file is told by its first bytes)"
        )
    _fill(network, backbone, path, header)


def _read_state(path: Path) -> dict[str, Tensor] | None:
    """Return a safetensors or torch file's tensors, or None if the file is neither."""
    with path.open("rb") as file:
        start = file.read(9)
    try:
        if start[8:] == b"{":  # safetensors: the length of a JSON header, then that header
            return load_file(path)
        if not start.startswith((b"PK\x03\x04", b"\x80")):  # a zip archive or a bare pickle
            return None
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path}: broken or unsafe ({reason}); download it again") from error
    if isinstance(loaded, dict):
        loaded = loaded.get("state_dict", loaded)
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise ValueError(f"{path}: holds no named tensors; give a state dict of a darknet53")
    return {key.removeprefix("backbone."): value for key, value in loaded.items()}


def _names(stem: str, stage: str, first: int, down: str, block: str) -> list[str]:
    """Return what another project calls the backbone's 52 convolutions, in order."""
    names = [stem]
    for number, blocks in enumerate(_BLOCKS, first):
        names.append(f"{stage}{number}.{down}")
        names += [f"{stage}{number}.{block}{b}.conv{i}" for b in range(blocks) for i in (1, 2)]
    return names


def _load_state(network: YOLOv3, path: Path, state: dict[str, Tensor], names: list[str]) -> None:
    tensors = list(_tensors(network.layers[BACKBONE.start : BACKBONE.stop]))
    keys = [f"{name}.{key}" for name in names for key in (*_NORM, "conv.weight")]
    for tensor, key in zip(tensors, keys, strict=True):
        if key not in state:
            raise ValueError(
                f"{path}: has no {key}, so it is no whole darknet53; download it again"
            )
        if state[key].shape != tensor.shape:
            raise ValueError(
                f"{path}: {key} has shape {list(state[key].shape)}, but a network of width "
                f"{network.width:g} wants {list(tensor.shape)}; set the width to the file's"
            )
    _see_that_they_are_weights(path, [state[key] for key in keys], keys)
    for tensor, key in zip(tensors, keys, strict=True):
        tensor.copy_(state[key])
