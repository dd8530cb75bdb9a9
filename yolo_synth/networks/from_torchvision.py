"""`torchvision:NAME[:FILE]`: torchvision's own detectors, with random weights or a file's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torchvision.models import detection, get_model, get_model_weights, list_models

from yolo_synth.boxes import Detection
from yolo_synth.networks.references import (
    MOST_BOXES,
    Loader,
    Preprocessing,
    Reference,
    fill,
    is_named,
    named_file,
    read_state,
)
from yolo_synth.networks.torchvision import take_as_they_come

_COCO: Final = "fasterrcnn_resnet50_fpn"
"""A detector whose published weights say what COCO's categories are called."""


def coco_names() -> list[str]:
    """Return COCO's categories by number: 0 is `__background__`, and some numbers are `N/A`."""
    return list(get_model_weights(_COCO).DEFAULT.meta["categories"])


def _load(text: str) -> Reference:
    name, file = named_file(text)
    if name not in (known := list_models(detection)):
        raise ValueError(f"{text}: torchvision has no detector {name!r}; it has {', '.join(known)}")
    names = coco_names()
    if file is None:
        model = _build(name, len(names))
    else:
        state = read_state(file)
        count = _count(name, state, text)
        model = _build(name, count)
        fill(model, state, f"{text}: these are no weights of {name} with {count} classes")
        names = names if count == len(names) else [str(number) for number in range(count)]
    transform = model.transform
    preprocessing = Preprocessing(
        size=transform.fixed_size[0] if transform.fixed_size else transform.max_size,
        multiple=transform.size_divisible,
        resize="stretch" if transform.fixed_size else "letterbox",
        mean=transform.image_mean,
        deviation=transform.image_std,
    )
    take_as_they_come(model, transform.image_mean, transform.image_std)
    detect = partial(_detect, model)
    return Reference(name, model, preprocessing, tuple(names), detect, random=file is None)


def _build(name: str, classes: int) -> Any:  # noqa: ANN401 - torchvision has no types
    return get_model(name, weights=None, weights_backbone=None, num_classes=classes)


def _count(name: str, state: Mapping[str, Tensor], text: str) -> int:
    """Count the classes that weights are of, by the first weight whose length follows from them."""
    with torch.device("meta"):
        two, three = (_build(name, classes).state_dict() for classes in (2, 3))
    key = next(key for key in two if two[key].shape != three[key].shape)
    each = len(three[key]) - len(two[key])
    if key not in state or len(state[key]) % each:
        raise ValueError(f"{text}: these are no weights of {name}: {key} is missing or odd")
    return len(state[key]) // each


def _detect(
    model: Any,  # noqa: ANN401
    images: Tensor,
    confidence: float,
    iou: float,
) -> list[Detection]:
    judge = getattr(model, "roi_heads", model)
    judge.score_thresh, judge.nms_thresh, judge.detections_per_img = confidence, iou, MOST_BOXES
    return [
        {"boxes": one["boxes"].float(), "scores": one["scores"].float(), "labels": one["labels"]}
        for one in model(list(images))
    ]


LOADER: Final = Loader("torchvision:NAME[:FILE]", is_named("torchvision"), _load)
