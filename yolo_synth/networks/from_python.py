"""`FILE.py:FUNCTION`: a function without arguments that returns an nn.Module.

The module takes float [n, 3, H, W], RGB in 0..1. What it may have besides: `classes`, names; `size`, the
side of its input; `detect(images, confidence, iou)`, as `Network.detect`.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Final

from torch import Tensor, nn

from yolo_synth.boxes import Detection
from yolo_synth.files import digest
from yolo_synth.networks.references import Detect, Loader, Preprocessing, Reference, existing


def _load(text: str) -> Reference:
    file, _, function = text.rpartition(":")
    path = existing(file)
    module = _run(str(path.resolve()), text)
    build = getattr(module, function, None)
    if not callable(build):
        known = [name for name, value in vars(module).items() if _is_own(value, module)]
        raise ValueError(f"{text}: {path.name} has no function {function!r}; it has {known}")
    try:
        network = build()
    except Exception as error:  # whatever a stranger's function raises
        raise ValueError(f"{text}: {function}() raised {_said(error)}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"{text}: {function}() returned {type(network).__name__}, not a torch.nn.Module"
        )
    multiple = getattr(network, "multiple", 1)
    preprocessing = Preprocessing(
        size=getattr(network, "size", None), multiple=multiple if isinstance(multiple, int) else 1
    )
    classes = getattr(network, "classes", ())
    names = tuple(classes) if isinstance(classes, list | tuple) else ()
    detect = getattr(network, "detect", None)
    finds = partial(_found, text, detect, len(names)) if names and callable(detect) else None
    return Reference(function, network, preprocessing, names, finds)


def _found(
    text: str,
    detect: Detect,
    classes: int,
    images: Tensor,
    confidence: float,
    iou: float,
) -> list[Detection]:
    """Return what a stranger's `detect` finds, if that is what it should return."""
    try:
        found = detect(images, confidence, iou)
    except Exception as error:  # whatever a stranger's function raises
        raise ValueError(f"{text}: its detect raised {_said(error)}") from error
    if wrong := _what_is_wrong(found, len(images), classes):
        raise ValueError(
            f"{text}: its detect returned {wrong}, not a dict for each image of boxes [k, 4], scores [k] "
            f"and labels [k], whole numbers below {classes}"
        )
    return found


def _what_is_wrong(found: object, images: int, classes: int) -> str:
    """Say what is no list of a detection for each image; "" if nothing is wrong."""
    if not isinstance(found, list | tuple) or len(found) != images:
        return f"{type(found).__name__} for {images} images"
    for one in found:
        if not isinstance(one, dict) or not {"boxes", "scores", "labels"} <= one.keys():
            return f"{list(one) if isinstance(one, dict) else type(one).__name__} for an image"
        parts = [one["boxes"], one["scores"], one["labels"]]
        if not all(isinstance(part, Tensor) for part in parts):
            return "no tensors"
        count = len(parts[1]) if parts[1].dim() else 1
        shapes = [list(part.shape) for part in parts]
        if shapes != [[count, 4], [count], [count]]:
            return f"tensors {shapes}"
        labels = parts[2]
        if count and (
            labels.is_floating_point() or not 0 <= labels.min() <= labels.max() < classes
        ):
            return f"labels {labels.dtype} from {labels.min()} to {labels.max()}"
    return ""


def _run(path: str, text: str) -> ModuleType:
    """Run a file as a module of its own name, with its folder first among those of imports."""
    folder, name = path.rpartition("/")[0], f"yolo_synth_reference_{digest(path)[:12]}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a stranger's file raises
        raise ValueError(f"{text}: running it raised {_said(error)}") from error
    finally:
        sys.path.remove(folder)
    return module


def _is_own(value: object, module: ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__


def _said(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:200]}"


LOADER: Final = Loader(
    "FILE.py:FUNCTION",
    lambda text: re.fullmatch(r".+\.py:\w+", text) is not None,
    _load,
    runs="a Python file",
)
