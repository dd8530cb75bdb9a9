"""A network's classes follow from the data: how many there are, and what they are called."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_info

from yolo_synth.data.source import data_module
from yolo_synth.labels import CLASSES
from yolo_synth.runs import CONFIG, read_run

log = logging.getLogger(__name__)


def follow_the_data(config: Namespace, verb: str) -> None:
    """Give the network the classes of the data, where these are not the paper's five.

    What was said of the model is left: `predict` names boxes by `model.classes`, whatever the data have.

    Args:
        config: The configuration of a verb, which is changed.
        verb: The verb.

    Raises:
        ValueError: If `model.classes` or `model.num_classes` are given and are not the data's.
    """
    model = config.model
    if verb == "predict" and model.classes:
        return
    with silent():  # the data are read again, and say so then
        classes = data_module(config.data.as_dict(), trust=True).classes
    own = model.classes is not None
    _say_what_weights_meant(model.weights, classes)
    if own and tuple(model.classes) != classes:
        raise ValueError(
            f"model.classes are {', '.join(model.classes)}, those of the data {', '.join(classes)}: "
            + (
                "leave model.classes and model.num_classes out, and they are the data's"
                if verb == "fit"
                else "yolo-synth evaluate RUNS --data FILE matches them by name"
            )
        )
    if own or classes == CLASSES:
        return
    model.classes = list(classes)
    _count(model, "num_classes", classes, "model.num_classes")
    network = model.get("network")
    if network is not None and "num_classes" in network.get("init_args", {}):
        _count(network.init_args, "num_classes", classes, "model.network.init_args.num_classes")
    rank_zero_info(f"the network tells apart the data's classes: {', '.join(classes)}")


def _count(options: Namespace, key: str, classes: Sequence[str], name: str) -> None:
    """Set a number of classes that nobody has set to another than the default."""
    if options[key] not in (len(CLASSES), len(classes)):
        raise ValueError(
            f"{name} is {options[key]}, and the data have {len(classes)} classes "
            f"({', '.join(classes)}): leave it out"
        )
    options[key] = len(classes)


def _say_what_weights_meant(weights: str | None, classes: Sequence[str]) -> None:
    """Say that a run's weights were trained on other classes, where its folder tells."""
    if weights is None or not (Path(weights).parent / CONFIG).is_file():
        return
    before = read_run(Path(weights).parent).classes
    if before != tuple(classes):
        log.warning(
            "%s tells apart %s, and its outputs now mean %s",
            *(weights, ", ".join(before), ", ".join(classes)),
        )


@contextmanager
def silent() -> Iterator[None]:
    """Leave out what reading data says, but for mistakes."""
    log = logging.getLogger("yolo_synth.data")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
