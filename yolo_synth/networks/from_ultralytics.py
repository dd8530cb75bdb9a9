"""`FILE.pt` of Ultralytics, or of YOLOv5's program, where the user has it; nothing of either is in here."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_convert

from yolo_synth.boxes import Detection
from yolo_synth.networks.references import (
    MOST_BOXES,
    Loader,
    Preprocessing,
    Reference,
    existing,
    library,
)


def _load(text: str) -> Reference:
    path = existing(text)
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing == "ultralytics":
            library(missing, "pip install ultralytics, whose licence is the AGPL", text)
        raise ValueError(
            f"{text}: needs the program that wrote it ({error}): put its folder, as a clone of "
            "ultralytics/yolov5, on PYTHONPATH"
        ) from error
    except Exception as error:  # pickle's, zip's and import's errors have no common class
        said = (str(error).splitlines() or [""])[0][:200]
        raise ValueError(f"{text}: no checkpoint that Ultralytics can read ({said})") from error
    network = content.get("ema") or content.get("model") if isinstance(content, dict) else content
    if not isinstance(network, torch.nn.Module) or not hasattr(network, "names"):
        raise ValueError(
            f"{text}: holds no network of Ultralytics but {type(network).__name__}; weights alone are "
            "read as torchvision:NAME:FILE or timm:NAME:FILE, or by a FILE.py:FUNCTION of yours"
        )
    network = network.float()
    names: Any = network.names
    listed = [names[key] for key in sorted(names)] if isinstance(names, dict) else list(names)
    classes = tuple(map(str, listed))
    given = content if isinstance(content, dict) else {}
    side = (given.get("train_args") or given.get("opt") or {}).get("imgsz")
    preprocessing = Preprocessing(
        size=side if isinstance(side, int) else None,
        multiple=32,
        resize="stretch" if _is_transformer(network) else "letterbox",
    )
    if type(network).__name__.startswith(("Classification", "OBB")):  # no boxes, and turned ones
        return Reference(path.stem, network, preprocessing, classes)
    finds = partial(_detect, network, len(classes))
    return Reference(path.stem, network, preprocessing, classes, finds)


def _is_transformer(network: torch.nn.Module) -> bool:
    return "RTDETR" in type(network).__name__


@torch.inference_mode()
def _detect(
    network: Any,  # noqa: ANN401 - the library is not installed everywhere
    classes: int,
    images: Tensor,
    confidence: float,
    iou: float,
) -> list[Detection]:
    """Read what the head returns, the first tensor of it.

    Chosen boxes are [n, k, 6 + …], where the sixth is the class; all of them are [n, 4 + classes + …, k],
    of YOLOv5's own program [n, k, 5 + classes + …] with the score of an object before those of classes,
    and of RT-DETR, which finds each object once, [n, k, 4 + classes]. RT-DETR's are centres and sizes in
    0..1. What follows in a row are coefficients of masks, or key points.
    """
    rows = network(images)
    while not isinstance(rows, Tensor):
        rows = rows[0]
    rows = rows.float()
    once = _is_transformer(network)
    height, width = images.shape[2:]
    scale = rows.new_tensor([width, height] * 2) if once else rows.new_ones(4)
    with_object = any(hasattr(module, "anchor_grid") for module in network.modules())
    chosen = rows.shape[-1] > 5 and bool((rows[..., 5] == rows[..., 5].round()).all())
    if chosen and not with_object:
        return [
            _sorted(_corners(row[:, :4], once) * scale, row[:, 4], row[:, 5].long(), confidence)
            for row in rows
        ]
    results = []
    for row in rows if once or with_object else rows.mT:
        boxes, given = _corners(row[:, :4], True) * scale, row[:, 4:]
        likely = given[:, :1] * given[:, 1 : 1 + classes] if with_object else given[:, :classes]
        query, label = (likely > confidence).nonzero(as_tuple=True)
        scores = likely[query, label]
        if not once:
            kept = batched_nms(boxes[query], scores, label, iou)
            query, label, scores = query[kept], label[kept], scores[kept]
        results.append(_sorted(boxes[query], scores, label, confidence))
    return results


def _corners(boxes: Tensor, centres: bool) -> Tensor:
    return box_convert(boxes, "cxcywh", "xyxy") if centres else boxes


def _sorted(boxes: Tensor, scores: Tensor, labels: Tensor, confidence: float) -> Detection:
    order = scores.argsort(descending=True)[:MOST_BOXES]
    order = order[scores[order] > confidence]
    return {"boxes": boxes[order], "scores": scores[order], "labels": labels[order]}


LOADER: Final = Loader(
    "Ultralytics' FILE.pt",
    lambda text: text.lower().endswith((".pt", ".pth")),
    _load,
    runs="a pickled .pt",
)
