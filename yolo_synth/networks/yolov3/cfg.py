"""Darknet's `.cfg`: the text beside a `.weights` file that says of which network it is.

Sections in square brackets, each a layer with its options, after `[net]` for the input; `#` and `;`
begin a comment. Sources are counted back from a layer, or named by their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Final

from torch import nn

from yolo_synth.networks.yolov3.architecture import MASKS
from yolo_synth.networks.yolov3.network import Convolution, YOLOv3

Section = tuple[str, dict[str, str]]
"""What stands in the brackets, and its options."""

_OF_THE_LAYER: Final = frozenset(
    {"batch_normalize", "filters", "size", "stride", "activation", "from", "layers", "mask"}
)
"""Options that say what a layer computes; anchors and classes are the network's."""

_MOST_CHANNELS: Final = 1024
"""Of a layer at width 1."""

_NEAR: Final = 4
"""Sources up to so many layers back are counted back, as in the published file; others are named."""


def darknet_cfg(network: YOLOv3, side: int) -> str:
    """Return the configuration of a network in Darknet's own form.

    Args:
        network: The network.
        side: Side of its input in pixels.
    """
    net = {"batch": 1, "subdivisions": 1, "width": side, "height": side, "channels": 3}
    sections = [("net", {name: str(value) for name, value in net.items()})]
    sections += _layers(network)
    return "\n".join(
        f"[{name}]\n" + "".join(f"{option}={value}\n" for option, value in options.items())
        for name, options in sections
    )


def _layers(network: YOLOv3) -> Iterator[Section]:
    masks = iter(MASKS)
    for index, (kind, layer) in enumerate(zip(network.kinds, network.layers, strict=True)):
        sources = network.sources[index]
        if isinstance(layer, Convolution):
            yield kind, _convolution(layer.conv, predicts=layer.bn is None)
        elif kind == "shortcut":
            yield kind, {"from": str(sources[1] - index), "activation": "linear"}
        elif kind == "route":
            named = [s - index if index - s <= _NEAR else s for s in sources]
            yield kind, {"layers": ", ".join(map(str, named))}
        elif kind == "upsample":
            yield kind, {"stride": "2"}
        else:
            yield (
                kind,
                {
                    "mask": ",".join(map(str, next(masks))),
                    "anchors": ",  ".join(f"{w:.9g},{h:.9g}" for w, h in network.anchors),
                    "classes": str(network.num_classes),
                    "num": str(len(network.anchors)),
                },
            )


def _convolution(conv: nn.Conv2d, *, predicts: bool) -> dict[str, str]:
    """Return a convolution's options; `pad=1` is Darknet's word for half of the kernel."""
    norm = {} if predicts else {"batch_normalize": "1"}
    size, stride = conv.kernel_size[0], conv.stride[0]
    options = {"filters": conv.out_channels, "size": size, "stride": stride, "pad": 1}
    activation = {"activation": "linear" if predicts else "leaky"}
    return norm | {name: str(value) for name, value in options.items()} | activation


def read_cfg(path: Path) -> list[Section]:
    """Read the sections of a configuration of Darknet's.

    Raises:
        ValueError: If a line is none of it; names the first.
    """
    sections: list[Section] = []
    for number, line in enumerate(
        path.read_text(encoding="utf-8", errors="replace").splitlines(), 1
    ):
        text = "" if line.lstrip().startswith(("#", ";")) else line.strip()
        name, equals, value = (part.strip() for part in text.partition("="))
        if text.startswith("[") and text.endswith("]"):
            sections.append((text[1:-1], {}))
        elif sections and equals:
            sections[-1][1][name] = value
        elif text:
            raise ValueError(
                f"{path} line {number}: {text[:80]!r} is no option of Darknet's; mend it"
            )
    return sections


def read_yolov3(path: Path) -> tuple[YOLOv3, int]:
    """Build the network that a configuration is of, with random weights; return it and its side.

    Raises:
        ValueError: If it is of no YOLOv3; names the first layer that is another.
    """
    sections = read_cfg(path)
    layers = sections[1:]
    try:
        side = int(sections[0][1]["width"])
        filters = [int(options["filters"]) for _, options in layers if "batch_normalize" in options]
        yolo = next(options for name, options in layers if name == "yolo")
        numbers = [float(part) for part in yolo["anchors"].split(",")]
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        network = YOLOv3(int(yolo["classes"]), max(filters) / _MOST_CHANNELS, pairs)
    except (ValueError, KeyError, IndexError, StopIteration) as error:
        raise ValueError(f"{path}: no configuration of a YOLOv3 ({error}); mend it") from error
    given, own = ([_computed(section) for section in part] for part in (layers, _layers(network)))
    if given != own:
        pairs_of_layers = enumerate(zip_longest(given, own))
        index = next(number for number, (one, other) in pairs_of_layers if one != other)
        what = f"[{layers[index][0]}]" if index < len(layers) else "missing"
        raise ValueError(
            f"{path}: layer {index} ({what}) is none of a YOLOv3's: networks of other layers are not read"
        )
    return network, side


def _computed(section: Section) -> Section:
    """Leave of a layer what says what it computes."""
    name, options = section
    kept = {key: "".join(value.split()) for key, value in options.items() if key in _OF_THE_LAYER}
    return name, kept
