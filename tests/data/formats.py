"""Boxes → files of each format, in the layout that its own tools write: what the readers are held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image


class Drawn(NamedTuple):
    """One image: its name without ending, sequence, split, and boxes with whole numbers as edges."""

    stem: str
    sequence: str
    split: str
    boxes: list[tuple[str, int, int, int, int]]


def drawn(seed: int = 0, sequences: int = 5, frames: int = 3) -> list[Drawn]:
    """Draw what every format is given: some boxes of the five classes, and an image without any."""
    rng = np.random.default_rng(seed)
    images = []
    for sequence in range(sequences):
        split = "train" if sequence < sequences - 2 else "val"
        for frame in range(frames):
            boxes = []
            for _ in range(0 if (sequence, frame) == (0, 1) else int(rng.integers(1, 4))):
                left, top = rng.integers(0, 40, 2).tolist()
                width, height = rng.integers(3, 20, 2).tolist()
                kind = ["person", "car", "truck"][int(rng.integers(3))]
                boxes.append((kind, left, top, min(64, left + width), min(48, top + height)))
            images.append(Drawn(f"{sequence:02d}{frame:03d}", f"{sequence:02d}", split, boxes))
    return images


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, path.as_posix()))
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_kitti(root: Path, images: list[Drawn]) -> None:
    """As the object benchmark unpacks, with an unlabelled testing part and a region nobody labelled."""
    for image in images:
        write_image(root / f"training/image_2/{image.stem}.png")
        lines = [
            f"{kind} 0.00 0 -1.58 {x1:.2f} {y1:.2f} {x2:.2f} {y2:.2f} 1.6 1.6 3.9 -8.4 1.7 9.5 -1.6"
            for kind, x1, y1, x2, y2 in image.boxes
        ]
        lines.append("DontCare -1 -1 -10 5.0 6.0 7.0 8.0 -1 -1 -1 -1000 -1000 -1000 -10")
        write_text(root / f"training/label_2/{image.stem}.txt", "\n".join(lines) + "\n")
    write_image(root / "testing/image_2/000000.png")


def write_tao(root: Path, images: list[Drawn]) -> None:
    """As NVIDIA's TAO wants it, with folders for the parts and 16 columns."""
    for image in images:
        write_image(root / image.split / f"images/{image.stem}.jpg")
        lines = [
            f"{kind} 0 0 0 {x1} {y1} {x2} {y2} 0 0 0 0 0 0 0 0.9"
            for kind, x1, y1, x2, y2 in image.boxes
        ]
        write_text(root / image.split / f"labels/{image.stem}.txt", "\n".join(lines))


def write_voc(root: Path, images: list[Drawn]) -> None:
    """As a folder of VOCdevkit: 1-based boxes whose last pixel belongs to them, and lists."""
    for image in images:
        write_image(root / f"JPEGImages/{image.stem}.jpg")
        things = "".join(
            f"<object><name>{kind}</name><pose>Left</pose><difficult>0</difficult><bndbox>"
            f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"
            "</object>"
            for kind, x1, y1, x2, y2 in image.boxes
        )
        about = "<filename>elsewhere.jpg</filename><size><width>0</width></size>"
        text = f"<annotation>{about}{things}</annotation>"
        write_text(root / f"Annotations/{image.stem}.xml", text)
    for part in ("train", "val"):
        names = [image.stem for image in images if image.split == part]
        write_text(root / f"ImageSets/Main/{part}.txt", "\n".join(names) + "\n")
    write_text(root / "ImageSets/Main/car_train.txt", f"{images[0].stem}  1\n")


def write_solo(root: Path, images: list[Drawn]) -> None:
    """As Unity's Perception writes it, with a labeller that is none of boxes."""
    for step, image in enumerate(images):
        folder = root / f"sequence.{int(image.sequence)}"
        write_image(folder / f"step{step}.camera.png")
        values = [
            {
                "instanceId": number,
                "labelId": 1,
                "labelName": kind,
                "origin": [float(x1), float(y1)],
                "dimension": [float(x2 - x1), float(y2 - y1)],
            }
            for number, (kind, x1, y1, x2, y2) in enumerate(image.boxes)
        ]
        capture = {
            "@type": "type.unity.com/unity.solo.RGBCamera",
            "id": "camera",
            "filename": f"step{step}.camera.png",
            "imageFormat": "Png",
            "dimension": [64.0, 48.0],
            "annotations": [
                {
                    "@type": "type.unity.com/unity.solo.KeypointAnnotation",
                    "values": [{"points": []}],
                },
                {"@type": "type.unity.com/unity.solo.BoundingBox2DAnnotation", "values": values},
            ],
        }
        frame = {
            "frame": step,
            "sequence": int(image.sequence),
            "step": step,
            "captures": [capture],
        }
        write_text(folder / f"step{step}.frame_data.json", json.dumps(frame))
    write_text(root / "metadata.json", "{}")


def write_scalabel(root: Path, images: list[Drawn]) -> None:
    """As SHIFT's download script leaves one view, with lanes and attributes that are numbers."""
    for part in ("train", "val"):
        folder = root / f"discrete/images/{part}/front"
        frames = []
        for image in images:
            if image.split != part:
                continue
            name = f"{image.stem}_img_front.jpg"
            write_image(folder / f"img/{image.sequence}/{name}")
            labels = [
                {"id": str(i), "category": kind, "box2d": {"x1": x1, "y1": y1, "x2": x2, "y2": y2}}
                for i, (kind, x1, y1, x2, y2) in enumerate(image.boxes)
            ]
            labels.append({"id": "l", "category": "lane", "poly2d": []})
            about = {"weather_coarse": "rainy", "timeofday_coarse": "night", "sun_altitude": 3.5}
            frame = {"name": name, "videoName": image.sequence, "attributes": about}
            frames.append({**frame, "frameIndex": 0, "labels": labels})
        size = {"imageSize": {"width": 64, "height": 48}}
        write_text(folder / "det_2d.json", json.dumps({"frames": frames, "config": size}))


def write_vkitti2(root: Path, images: list[Drawn]) -> None:
    """As both archives unpack into one folder: whole drives, boxes that include their last pixel."""
    head = "frame cameraID trackID left right top bottom number_pixels truncation_ratio"
    head += " occupancy_ratio isMoving"
    for scene in sorted({image.sequence for image in images}):
        folder = root / f"Scene{scene}/fog"
        rows, tracks = [head], ["trackID label model color"]
        for frame, image in enumerate(i for i in images if i.sequence == scene):
            write_image(folder / f"frames/rgb/Camera_0/rgb_{frame:05d}.jpg")
            for kind, x1, y1, x2, y2 in image.boxes:
                track = len(tracks) - 1
                rows.append(f"{frame} 0 {track} {x1} {x2 - 1} {y1} {y2 - 1} 99 0.0 1.0 True")
                tracks.append(f"{track} {kind} Golf Black")
        write_text(folder / "bbox.txt", "\n".join(rows) + "\n")
        write_text(folder / "info.txt", "\n".join(tracks) + "\n")
