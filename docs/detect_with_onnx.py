"""Find objects with a network that `yolo-synth export RUN FILE.onnx` wrote: numpy, Pillow and onnxruntime.

    python detect_with_onnx.py FILE.onnx PICTURE...

prints a line a box: picture, class, score and x1, y1, x2, y2 in the picture's own pixels.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

CONFIDENCE, OVERLAP, GREY = 0.25, 0.6, 114


def letterbox(picture, side):
    """Resize to a square with grey around it: float32 [3, side, side] in 0..1, scale, left and top."""
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    left, top = (side - width) // 2, (side - height) // 2
    square = Image.new("RGB", (side, side), (GREY,) * 3)
    square.paste(picture.resize((width, height), Image.Resampling.BILINEAR), (left, top))
    return np.asarray(square, np.float32).transpose(2, 0, 1) / 255, scale, left, top


def sigmoid(x):
    """Return the logistic function."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def decode(raw, level):
    """Turn one output [3, h, w, 5 + C] into boxes x1, y1, x2, y2 [n, 4] and scores [n, C]."""
    rows, columns = np.indices(raw.shape[1:3])
    x = (columns + sigmoid(raw[..., 0])) * level["stride"]
    y = (rows + sigmoid(raw[..., 1])) * level["stride"]
    width, height = (
        np.exp(np.minimum(raw[..., 2 + axis], np.log(1000)))
        * np.array(level["anchors"])[:, axis, None, None]
        for axis in (0, 1)
    )
    boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1)
    scores = sigmoid(raw[..., 4:5]) * sigmoid(raw[..., 5:])
    return boxes.reshape(-1, 4), scores.reshape(-1, scores.shape[-1])


def suppress(boxes, scores):
    """Return which boxes of one class stay, the surest first: none that overlaps a surer one."""
    left, stay = list(np.argsort(-scores, kind="stable")), []
    while left:
        best, *left = left
        stay.append(best)
        low = np.maximum(boxes[best, :2], boxes[left, :2])
        high = np.minimum(boxes[best, 2:], boxes[left, 2:])
        both = np.clip(high - low, 0, None).prod(-1)
        areas = [(b[..., 2:] - b[..., :2]).prod(-1) for b in (boxes[best], boxes[left])]
        left = [
            box
            for box, part in zip(left, both / (sum(areas) - both), strict=True)
            if part <= OVERLAP
        ]
    return stay


def detect(session, picture):
    """Yield class, score and box of each object in a Pillow picture, in its own pixels."""
    said = json.loads(session.get_modelmeta().custom_metadata_map["yolo_synth.json"])
    image, scale, left, top = letterbox(picture, said["image_size"])
    maps = session.run([level["output"] for level in said["levels"]], {"images": image[None]})
    decoded = [decode(raw[0], level) for raw, level in zip(maps, said["levels"], strict=True)]
    boxes, scores = (np.concatenate(parts) for parts in zip(*decoded, strict=True))
    for number, name in enumerate(said["classes"]):
        sure = scores[:, number] > CONFIDENCE
        of_class, score = boxes[sure], scores[sure, number]
        for box in suppress(of_class, score):
            native = (of_class[box] - [left, top, left, top]) / scale
            yield name, float(score[box]), np.clip(native, 0, [*picture.size, *picture.size])


if __name__ == "__main__":
    file, *pictures = sys.argv[1:]
    program = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for path in pictures:
        shown = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        for found in detect(program, shown):
            print(path, found[0], f"{found[1]:.3f}", *(f"{edge:.1f}" for edge in found[2]))
