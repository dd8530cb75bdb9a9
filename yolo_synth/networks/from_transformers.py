"""A folder of transformers: `config.json` and `model.safetensors`; detectors find boxes, others do not."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torchvision.ops import box_convert

from yolo_synth.boxes import Detection
from yolo_synth.networks.references import (
    MOST_BOXES,
    Loader,
    Preprocessing,
    Reference,
    library,
    normalise,
)

_CONFIG: Final = "config.json"
_PROCESSOR: Final = "preprocessor_config.json"


def _load(text: str) -> Reference:
    folder = Path(text)
    transformers = library("transformers", "pip install yolo-synth[transformers]", text)
    if not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(f"{text}: no *.safetensors; save it with save_pretrained")
    transformers.utils.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        detects = type(config) in transformers.MODEL_FOR_OBJECT_DETECTION_MAPPING
        family = transformers.AutoModelForObjectDetection if detects else transformers.AutoModel
        if getattr(config, "use_pretrained_backbone", False):
            config.use_pretrained_backbone = False  # its weights are in the folder
        network, loading = family.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except Exception as error:  # those of config, weights and code have no common class
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{text}: transformers cannot load it ({said[:200]})") from error
    if absent := sorted(loading["missing_keys"]):
        raise ValueError(
            f"{text}: {absent[0]} and {len(absent) - 1} other weights are not in the file, so they would "
            "be random: save the whole model with save_pretrained"
        )
    preprocessing = replace(_preprocessing(folder), multiple=_multiple(config))
    normalise(network, preprocessing)
    names = tuple(str(name) for _, name in sorted((config.id2label or {}).items()))
    name = folder.resolve().name
    if not detects:
        return Reference(name, network, preprocessing)
    return Reference(name, network, preprocessing, names, partial(_detect, network, len(names)))


def _preprocessing(folder: Path) -> Preprocessing:
    """Read what becomes of images; without a file of it they stay in 0..1."""
    path = folder / _PROCESSOR
    if not path.is_file():
        return Preprocessing()
    try:
        wants: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        size = wants.get("size") or {}
        if not isinstance(size, dict):
            size = {"longest_edge": size}
        side = size.get("height") or size.get("longest_edge") or size.get("max_width")
        scaled = wants.get("do_normalize", True)
        return Preprocessing(
            size=side,
            resize="stretch" if "height" in size else "letterbox",
            mean=wants["image_mean"] if scaled else (0.0, 0.0, 0.0),
            deviation=wants["image_std"] if scaled else (1.0, 1.0, 1.0),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: no {error} that can be read; save the processor again"
        ) from error


def _multiple(config: Any) -> int:  # noqa: ANN401 - transformers is not installed everywhere
    """Return what the sides of a network's input are multiples of: RF-DETR's, of its windows."""
    vision = getattr(config, "backbone_config", None)
    return getattr(vision, "num_windows", 0) * getattr(vision, "patch_size", 0) or 32


@torch.inference_mode()
def _detect(
    network: Any,  # noqa: ANN401 - transformers is not installed everywhere
    classes: int,
    images: Tensor,
    confidence: float,
    iou: float,
) -> list[Detection]:
    """Take the surest of all queries and classes; DETR's last class is `no object`.

    The overlap is not used: these networks find each object once.
    """
    found = network(images)
    logits, boxes = found.logits.float(), found.pred_boxes.float()
    none = logits.shape[-1] == classes + 1
    scores = logits.softmax(-1)[..., :-1] if none else logits.sigmoid()
    flat = scores.flatten(1)
    best, places = flat.topk(min(MOST_BOXES, flat.shape[1]))
    height, width = images.shape[2:]
    corners = box_convert(boxes, "cxcywh", "xyxy") * boxes.new_tensor([width, height] * 2)
    results: list[Detection] = []
    for one, score, place in zip(corners, best, places, strict=True):
        sure = score > confidence
        chosen = place[sure]
        query, label = chosen // scores.shape[-1], chosen % scores.shape[-1]
        results.append({"boxes": one[query], "scores": score[sure], "labels": label})
    return results


LOADER: Final = Loader(
    "a folder of transformers (config.json, model.safetensors)",
    lambda text: (Path(text) / _CONFIG).is_file(),
    _load,
)
