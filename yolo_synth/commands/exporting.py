"""What `export` does: a run's best weights in the forms that other programs read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from yolo_synth.claims import claimed
from yolo_synth.escaping import say
from yolo_synth.files import write_whole
from yolo_synth.networks.contract import Network
from yolo_synth.networks.folder import Description, is_ours, write_folder
from yolo_synth.networks.yolov3 import YOLOv3, save_darknet_weights
from yolo_synth.runs import Run, read_run

_FILES: Final = {".weights": "Darknet's", ".onnx": "ONNX", ".pt2": "torch.export's"}


def write_weights(run: str, file: str, last_layer: int | None) -> None:
    """Write a run's best weights in the form that a file's ending says."""
    read, path = read_run(run), Path(file)
    network = read.network()
    if last_layer is not None:
        _save_darknet(read, _yolov3(network, run, "Darknet's"), path, last_layer)
    elif path.suffix in _FILES:
        yolov3 = _yolov3(network, run, _FILES[path.suffix])
        {".weights": _save_darknet, ".onnx": _save_onnx, ".pt2": _save_program}[path.suffix](
            read, yolov3, path
        )
    elif (
        re.fullmatch(r"\.[A-Za-z]\w*", path.suffix) and not file.endswith("/") and not path.is_dir()
    ):
        raise ValueError(
            f"{file}: no {path.suffix} is written; name FILE{', FILE'.join(_FILES)}, or a folder for "
            "safetensors with their configuration (FOLDER/ if its name ends so)"
        )
    else:
        if path.is_dir() and any(path.iterdir()) and not is_ours(path):
            raise ValueError(f"{file}: holds other files; name a new folder")
        with claimed(path, "exports"):
            write_folder(network, _description(read, network), path)
        say(f"{path}: model.safetensors and config.json of {network.description}")


def _yolov3(network: Network, run: str, form: str) -> YOLOv3:
    if not isinstance(network, YOLOv3):
        raise ValueError(
            f"{run}: {form} format is for YOLOv3, and this is {network.description}: name a folder, which "
            "gets its safetensors and configuration"
        )
    return network


def _save_darknet(run: Run, network: YOLOv3, path: Path, last_layer: int | None = None) -> None:
    """Write weights and, of a whole network, what says of which one they are."""
    save_darknet_weights(network, path, last_layer)
    if last_layer is None:
        from yolo_synth.networks.yolov3.cfg import darknet_cfg

        write_whole(path.with_suffix(".cfg"), darknet_cfg(network, run.image_size))
        write_whole(path.with_suffix(".names"), "".join(f"{name}\n" for name in run.classes))
        say(f"{path}: {network.description}; {path.stem}.cfg and {path.stem}.names say so")


def _save_program(run: Run, network: YOLOv3, path: Path) -> None:
    from yolo_synth.networks.yolov3 import programs

    programs.save_program(network, programs.description(network, run.classes, run.image_size), path)
    say(f"{path}: the raw maps of {network.description}, a program of torch.export")


def _save_onnx(run: Run, network: YOLOv3, path: Path) -> None:
    from yolo_synth.networks.yolov3 import programs

    said = programs.description(network, run.classes, run.image_size)
    difference = programs.save_onnx(network, said, path)
    say(
        f"{path}: the raw maps of {network.description}; onnxruntime's differ from PyTorch's by at most "
        f"{difference:.1g} on two images of noise"
    )


def _description(run: Run, network: Network) -> Description:
    resize = (run.config["data"].get("init_args") or {}).get("resize", "letterbox")
    return Description(_named(run, network), list(run.classes), run.image_size, resize)


def _named(run: Run, network: Network) -> dict[str, Any]:
    """Return class path and arguments that build the network."""
    if isinstance(network, YOLOv3):
        anchors = [list(pair) for pair in network.anchors]
        given = {
            "num_classes": network.num_classes,
            "width": network.width,
            "anchors": anchors,
        }
        return {"class_path": "yolo_synth.YOLOv3", "init_args": given}
    named: dict[str, Any] = run.config["model"]["network"]
    given = {"num_classes": network.num_classes, **(named.get("init_args") or {})}
    return {"class_path": named["class_path"], "init_args": given}
