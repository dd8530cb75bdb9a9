"""A folder that `export` wrote: `config.json` of ours and `model.safetensors`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from yolo_synth.networks.folder import is_ours, read_folder
from yolo_synth.networks.references import Loader, Preprocessing, Reference


def _load(text: str) -> Reference:
    network, said = read_folder(text)
    wants = Preprocessing(said.image_size, multiple=network.multiple, resize=said.resize)
    name = Path(text).resolve().name
    return Reference(name, network, wants, tuple(said.classes), network.detect)


LOADER: Final = Loader("a folder of export (config.json, model.safetensors)", is_ours, _load)
