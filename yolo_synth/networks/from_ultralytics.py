"""`FILE.pt` of Ultralytics, through the library where the user has it; nothing of it is in here."""

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
    library("ultralytics", "pip install ultralytics, whose licence is the AGPL", text)
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # pickle's, zip's and import's errors have no common class
        said = (str(error).splitlines() or [""])[0][:200]
        raise ValueError(f"{text}: no checkpoint that Ultralytics can read ({said})") from error
    network = content.get("ema") or content.get("model") if isinstance(content, dict) else content
    if not isinstance(network, torch.nn.Module) or not hasattr(network, "names"):
        raise ValueError(
            f"{text}: holds no network of Ultralytics but {type(network).__name__}; weights alone are "
            "read as torchvision:NAME:FILE or timm:NAME:FILE"
        )
    network = network.float()
    names: Any = network.names
    listed = [names[key] for key in sorted(names)] if isinstance(names, dict) else list(names)
    classes = tuple(map(str, listed))
    given = content.get("train_args") or {} if isinstance(content, dict) else {}
    preprocessing = Preprocessing(size=given.get("imgsz"), multiple=32)
    finds = partial(_detect, network, len(classes))
    return Reference(path.stem, network, preprocessing, classes, finds)


@torch.inference_mode()
def _detect(
    network: Any,  # noqa: ANN401 - the library is not installed everywhere
    classes: int,
    images: Tensor,
    confidence: float,
    iou: float,
) -> list[Detection]:
    """Read what the head returns: boxes already chosen [n, k, 6], or all of them [n, 4 + classes, k].

    RT-DETR's are [n, k, 4 + classes], in 0..1; each object is found once.
    """
    found = network(images)
    rows = (found[0] if isinstance(found, tuple | list) else found).float()
    height, width = images.shape[2:]
    if rows.shape[-1] == 6 and classes != 2:
        return [_sorted(row[:, :4], row[:, 4], row[:, 5].long(), confidence) for row in rows]
    once = rows.shape[-1] == 4 + classes and "RTDETR" in type(network).__name__
    rows = rows if once else rows.mT
    side = rows.new_tensor([width, height] * 2) if once else 1.0
    results = []
    for row in rows:
        boxes = box_convert(row[:, :4] * side, "cxcywh", "xyxy")
        query, label = (row[:, 4:] > confidence).nonzero(as_tuple=True)
        scores = row[query, 4 + label]
        if not once:
            kept = batched_nms(boxes[query], scores, label, iou)
            query, label, scores = query[kept], label[kept], scores[kept]
        results.append(_sorted(boxes[query], scores, label, confidence))
    return results


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
