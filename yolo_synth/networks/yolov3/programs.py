"""The raw network as a program: torch.export's `.pt2` and ONNX, for any number and size of images.

Decoding and non-maximum suppression are left to the program that runs it: what it takes is in the
file's metadata, and `docs/detect_with_onnx.py` does it in plain numpy.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from torch import Tensor

from yolo_synth.files import write_whole
from yolo_synth.networks.yolov3.architecture import MASKS, STRIDES
from yolo_synth.networks.yolov3.network import YOLOv3

INPUT: Final = "images"
OUTPUTS: Final = tuple(f"stride{stride}" for stride in STRIDES)

DESCRIPTION: Final = "yolo_synth.json"
"""Name of the metadata, in both forms of file."""

_OPSET: Final = 18


def description(network: YOLOv3, classes: Sequence[str], side: int) -> dict[str, Any]:
    """Return what decoding takes: classes, side, and anchors and stride of each output."""
    levels = [
        {"output": name, "stride": stride, "anchors": [network.anchors[index] for index in mask]}
        for name, stride, mask in zip(OUTPUTS, STRIDES, MASKS, strict=True)
    ]
    return {"classes": list(classes), "image_size": side, "levels": levels}


def exported(network: YOLOv3, side: int) -> torch.export.ExportedProgram:
    """Trace the network for any number of images whose sides are multiples of 32, from 64 on."""
    count = torch.export.Dim("n", min=1)
    rows, columns = (torch.export.Dim(name, min=2) for name in ("rows", "columns"))
    multiple = network.multiple
    shape = {0: count, 2: multiple * rows, 3: multiple * columns}
    example = torch.zeros(2, 3, side, side + multiple)
    with _quiet():
        return torch.export.export(network.eval(), (example,), dynamic_shapes=(shape,))


def save_program(network: YOLOv3, said: dict[str, Any], path: str | Path) -> None:
    """Write the raw network as a program of torch.export.

    Args:
        network: The network, in eval mode.
        said: Its `description`.
        path: The file to write or replace.
    """
    program = exported(network, said["image_size"])
    files = {DESCRIPTION: json.dumps(said)}

    def write(file: BinaryIO) -> None:
        torch.export.save(program, file, extra_files=files)

    write_whole(path, write)


def save_onnx(network: YOLOv3, said: dict[str, Any], path: str | Path) -> float:
    """Write the raw network as ONNX, and run it once beside PyTorch.

    Args:
        network: The network, in eval mode.
        said: Its `description`.
        path: The file to write or replace.

    Returns:
        The largest difference between onnxruntime's outputs and PyTorch's, for two random images.

    Raises:
        ValueError: If onnx, onnxscript or onnxruntime is not installed.
    """
    _need("onnx", "onnxscript", "onnxruntime")
    program = exported(network, said["image_size"])
    with _quiet():
        done: Any = torch.onnx.export(
            program,
            (),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    model = done.model_proto
    model.metadata_props.add(key=DESCRIPTION, value=json.dumps(said))
    content: bytes = model.SerializeToString()
    images = torch.rand(2, 3, *[said["image_size"]] * 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = largest_difference(network(images), run_onnx(content, images))
    write_whole(path, content)
    return difference


def run_onnx(model: str | bytes, images: Tensor) -> list[Tensor]:
    """Run an ONNX file, or its bytes, by onnxruntime on the processor."""
    session = import_module("onnxruntime").InferenceSession(
        model, providers=["CPUExecutionProvider"]
    )
    return [torch.from_numpy(value) for value in session.run(None, {INPUT: images.numpy()})]


def largest_difference(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Return the largest difference of two lists of maps of the same shapes."""
    return max(float((a - b).detach().abs().max()) for a, b in zip(one, other, strict=True))


def _need(*names: str) -> None:
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            raise ValueError(
                f"ONNX needs {name} ({error}): pip install yolo-synth[onnx]"
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporters say of themselves; their errors are raised all the same.

    PyTorch's own trace takes five times as long as the export where a program logs all it can.
    """
    logs = [logging.getLogger(name) for name in ("torch.onnx", "torch.__trace")]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)
