"""Draw true boxes and detections in COCO's format."""

from __future__ import annotations

import numpy as np

CATEGORIES = [{"id": 3, "name": "car"}, {"id": 7, "name": "bus"}, {"id": 8, "name": "<tram>"}]


def draw_truth(images=40, seed=0, crowds=False, group=1, most=8):
    """Return a COCO file's content; boxes from 6 to 180 pixels, of three categories."""
    rng = np.random.default_rng(seed)
    annotations = []
    for image in range(images):
        for _ in range(rng.integers(0, most + 1)):
            width, height = np.exp(rng.uniform(1.8, 5.2, 2))
            x, y = rng.uniform(0, 640 - width), rng.uniform(0, 360 - height)
            box = {"bbox": [x, y, width, height], "area": width * height * rng.uniform(0.7, 1)}
            crowd = int(crowds and rng.random() < 0.2)
            kind = CATEGORIES[rng.integers(3)]["id"]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image * 10, "category_id": kind, **box}
                | {"iscrowd": crowd}
            )
    entries = [
        {"id": image * 10, "file_name": f"street/{image:03}.jpg", "width": 640, "height": 360}
        | {"timeofday": ("day", "night")[image // group % 2]}
        | ({"group": f"ride {image // group}"} if group > 1 else {})
        for image in range(images)
    ]
    return {"images": entries, "annotations": annotations, "categories": CATEGORIES}


def draw_results(truth, seed=0, found=0.7, false=3.0):
    """Return detections: some true boxes moved a little, some of another kind, twice or nowhere."""
    rng = np.random.default_rng(seed)
    rows = []

    def add(image, kind, x, y, width, height):
        bbox = [float(v) for v in (x, y, max(width, 1), max(height, 1))]
        rows.append({"image_id": image, "category_id": kind, "bbox": bbox, "score": rng.random()})

    for box in truth["annotations"]:
        x, y, width, height = box["bbox"]
        for _ in range(rng.integers(1, 3) if rng.random() < found else 0):
            dx, dy, dw, dh = rng.normal(0, 0.12, 4) * [width, height, width, height]
            kind = box["category_id"] if rng.random() < 0.8 else CATEGORIES[rng.integers(3)]["id"]
            add(box["image_id"], kind, x + dx, y + dy, width + dw, height + dh)
    for image in truth["images"]:
        for _ in range(rng.poisson(false)):
            kind = CATEGORIES[rng.integers(3)]["id"]
            add(image["id"], kind, *rng.uniform(0, 300, 2), *np.exp(rng.uniform(2, 5, 2)))
    return rows


def exact_results(truth, seed=0, without=()):
    """Return the true boxes themselves with scores above one half, but for those of some ids."""
    rng = np.random.default_rng(seed)
    return [
        {"image_id": box["image_id"], "category_id": box["category_id"], "bbox": box["bbox"]}
        | {"score": float(rng.uniform(0.5, 1))}
        for box in truth["annotations"]
        if box["id"] not in without
    ]
