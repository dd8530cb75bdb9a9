"""A reference names a detector of anybody's: a file, a folder, or a name and a file.

Each form has a file of its own here, `from_*.py`, with a `LOADER`; a package of one's own adds one as an
entry point of the group `yolo_synth.networks`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from yolo_synth.boxes import Detection, Resize

GROUP: Final = "yolo_synth.networks"
"""Entry points: each is a `Loader`."""

_OWN: Final = (
    *("torchvision", "timm", "folder", "transformers", "ultralytics", "export", "darknet"),
    "python",
)
"""Our own forms: `from_NAME.py` each."""

MOST_BOXES: Final = 300
"""Boxes of an image that are kept, the surest."""

Detect = Callable[[Tensor, float, float], list[Detection]]
"""Images float [B, 3, H, W] in 0..1, least score, overlap allowed → B detections, as `Network.detect`."""


class MissingLibraryError(ValueError):
    """A library that a reference needs is not installed."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network wants of its images besides RGB in 0..1.

    Attributes:
        size: Side of its input in pixels, as it was trained or made for; None if it does not say.
        fixed: Whether it takes no other side.
        multiple: What its sides are multiples of.
        resize: How pictures are brought to a square.
        mean: Is subtracted from each channel, by the network itself.
        deviation: Each channel is divided by it after that.
    """

    size: int | None = None
    fixed: bool = False
    multiple: int = 1
    resize: Resize = "letterbox"
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    deviation: Sequence[float] = (1.0, 1.0, 1.0)

    def __str__(self) -> str:
        """Say it in words, without the side, which is chosen."""
        parts = [f"RGB in 0..1, {self.resize}"]
        if any(self.mean) or any(value != 1 for value in self.deviation):
            mean, deviation = (
                " ".join(f"{value:.4g}" for value in values)
                for values in (self.mean, self.deviation)
            )
            parts.append(f"less {mean}, divided by {deviation}")
        if self.size is not None:
            parts.append(f"{'only' if self.fixed else 'made for'} {self.size}x{self.size}")
        return ", ".join(parts)

    def side(self, wanted: int) -> int:
        """Return the side that the network is shown where another one is wanted."""
        if self.fixed and self.size is not None:
            return self.size
        return max(self.multiple, round(wanted / self.multiple) * self.multiple)


@dataclass(frozen=True)
class Reference:
    """A network of anybody's, with what it takes to run it.

    Attributes:
        name: What it is called.
        network: Takes float [n, 3, H, W], RGB in 0..1; in eval mode.
        preprocessing: What becomes of the images before and in it.
        classes: Names of the classes that it tells apart; none if they are not known.
        detect: Finds objects; None if that is not known.
        random: Whether nobody trained it: no file of weights was named.
    """

    name: str
    network: nn.Module
    preprocessing: Preprocessing = Preprocessing()
    classes: tuple[str, ...] = ()
    detect: Detect | None = None
    random: bool = False


class Loader(NamedTuple):
    """A form of reference.

    Attributes:
        form: How it is written, as `torchvision:NAME[:FILE]`.
        takes: Tells whether a text is written so.
        load: Makes the reference.
        runs: What of it runs as a program on loading, as `a pickle`; "" if nothing does.
    """

    form: str
    takes: Callable[[str], bool]
    load: Callable[[str], Reference]
    runs: str = ""


@cache
def loaders() -> tuple[Loader, ...]:
    """Return all forms: our own, and those of packages that are installed."""
    own = [import_module(f"{__package__}.from_{name}").LOADER for name in _OWN]
    return (*own, *(point.load() for point in entry_points(group=GROUP)))


def read_reference(text: str, *, trust: bool = False) -> Reference:
    """Load the network that a text names; nothing is downloaded.

    Weights that no file gives are random, and the same ones for the same text.

    Args:
        text: As one of `loaders`.
        trust: Whether what would run as a program on loading may.

    Raises:
        FileNotFoundError: If it names no form, or a file that there is not.
        ValueError: If it cannot be loaded, or would run a program without `trust`.
    """
    loader = next((loader for loader in loaders() if loader.takes(text)), None)
    if loader is None:
        known = ", ".join(loader.form for loader in loaders())
        raise FileNotFoundError(
            f"{text}: not a run folder, and no other network: name a run folder, or one of {known}"
        )
    if loader.runs and not trust:
        file = Path(text if Path(text).suffix else text.rpartition(":")[0])
        if file.suffix in (".pt", ".pt2", ".py") and not file.exists():
            raise FileNotFoundError(f"{file}: no such file; check the path")
        raise ValueError(
            f"{text}: {loader.runs} runs as a program when it is loaded: if you trust where it is from, "
            "give --trust"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(text.encode()))
        found = loader.load(text)
    found.network.eval().requires_grad_(False)
    return found


def library(name: str, extra: str, text: str) -> Any:  # noqa: ANN401 - a module
    """Import a library that not everybody has.

    Args:
        name: Its name.
        extra: What installs it.
        text: The reference, for the message.

    Raises:
        MissingLibraryError: If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingLibraryError(
            f"{text}: needs {name.partition('.')[0]} ({error}): {extra}"
        ) from error


def existing(path: str) -> Path:
    """Return a path to a file.

    Raises:
        FileNotFoundError: If there is none.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path")
    return Path(path)


def named_file(text: str) -> tuple[str, Path | None]:
    """Part `FORM:NAME[:FILE]` into the name and the file, which has to be there."""
    _, name, *file = text.split(":", 2)
    return name, existing(file[0]) if file else None


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from .safetensors, or from a .pth or .pt that holds tensors alone.

    Raises:
        ValueError: If it is neither.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError):
        raise ValueError(f"{path}: no safetensors file, or a damaged one; name another") from None
    except Exception as error:  # pickle's and zip's errors have no common class
        raise ValueError(
            f"{path}: no checkpoint of tensors alone, or a damaged one; save the network's state_dict()"
        ) from error
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ValueError(f"{path}: holds no state dict; save the network's state_dict()")
    return dict(content)


def fill(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load a state dict as a whole.

    Args:
        network: What is filled.
        state: Its weights.
        what: What they should be, as `FILE: not weights of NAME`.

    Raises:
        ValueError: If a weight is missing, too much or of another shape; names the first.
    """
    own = network.state_dict()
    for name, reason in _misfits(own, state):
        raise ValueError(f"{what}: {name} {reason}; name the network that they are of")
    network.load_state_dict(dict(state))


def _misfits(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    for name, value in own.items():
        if name not in state:
            yield name, "is missing"
        elif state[name].shape != value.shape:
            yield name, f"is {list(state[name].shape)}, not {list(value.shape)}"
    for name in state:
        if name not in own:
            yield name, "is of no layer of it"


def normalise(network: nn.Module, preprocessing: Preprocessing) -> None:
    """Let a network subtract the mean and divide by the deviation before it runs."""
    mean, deviation = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in (preprocessing.mean, preprocessing.deviation)
    )
    if not mean.any() and (deviation == 1).all():
        return

    def prepare(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        images, *others = given
        return ((images - mean.to(images)) / deviation.to(images), *others)

    network.register_forward_pre_hook(prepare)


def is_named(form: str) -> Callable[[str], bool]:
    """Return what tells whether a text is `FORM:NAME` or `FORM:NAME:FILE`."""
    pattern = re.compile(rf"{form}:[\w.-]+(:.+)?")
    return lambda text: pattern.fullmatch(text) is not None
