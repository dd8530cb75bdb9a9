"""`timm:NAME[:FILE]`: a classifier of timm, with random weights or a file's; it finds no boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from yolo_synth.networks.references import (
    Loader,
    Preprocessing,
    Reference,
    fill,
    is_named,
    library,
    named_file,
    normalise,
    read_state,
)


def _load(text: str) -> Reference:
    name, file = named_file(text)
    timm = library("timm", "pip install yolo-synth[timm]", text)
    state = None if file is None else read_state(file)
    classes = {} if state is None else {"num_classes": _count(state)}
    try:
        network = timm.create_model(name, pretrained=False, **classes)
    except RuntimeError as error:
        raise ValueError(f"{text}: timm cannot build it: {error}") from error
    if state is not None:
        fill(network, state, f"{text}: these are no weights of {name}")
    wants = network.pretrained_cfg
    preprocessing = Preprocessing(
        size=wants["input_size"][-1],
        fixed=bool(wants.get("fixed_input_size")),
        multiple=32,
        resize="stretch",
        mean=wants["mean"],
        deviation=wants["std"],
    )
    normalise(network, preprocessing)
    return Reference(name, network, preprocessing, random=file is None)


def _count(state: Mapping[str, Tensor]) -> int:
    """Count the classes by the last bias, which is the classifier's."""
    biases = [value for name, value in state.items() if name.endswith("bias")]
    return len(biases[-1]) if biases else 0


LOADER: Final = Loader("timm:NAME[:FILE]", is_named("timm"), _load)
