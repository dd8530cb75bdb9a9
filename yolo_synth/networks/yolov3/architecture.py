"""YOLOv3's table of 107 layers in Darknet's numbering, its anchors and its strides.

Redmon and Farhadi, "YOLOv3: An Incremental Improvement", 2018.
"""

from __future__ import annotations

from typing import Final, NamedTuple

Anchors = tuple[tuple[float, float], ...]
"""Nine widths and heights in pixels of the network input, the smallest area first."""

ANCHORS: Final[Anchors] = (
    (10.0, 13.0),
    (16.0, 30.0),
    (33.0, 23.0),
    (30.0, 61.0),
    (62.0, 45.0),
    (59.0, 119.0),
    (116.0, 90.0),
    (156.0, 198.0),
    (373.0, 326.0),
)
"""Anchor widths and heights in pixels, clustered on COCO at an input of 416x416."""

MASKS: Final = ((6, 7, 8), (3, 4, 5), (0, 1, 2))
"""Which anchors each detection layer (82, 94, 106) predicts with."""

STRIDES: Final = (32, 16, 8)
"""Pixels of the network input per cell of each detection layer's map."""

BACKBONE: Final = range(75)
"""Layers 0-74, Darknet-53 without its classifier."""

HEAD: Final = range(75, 107)
"""Layers 75-106."""

IMAGE: Final = -1
"""The source index that stands for the network's input."""


class Row(NamedTuple):
    """One layer of the network's table.

    Attributes:
        kind: `convolutional`, `shortcut`, `route`, `upsample` or `yolo`, as Darknet calls them.
        sources: Layers whose outputs it reads; `IMAGE` is the input.
        channels: Output channels at width 1 (0: as its sources have, or set by the class count).
        kernel: Kernel side of a convolution.
        stride: Stride of a convolution.
    """

    kind: str
    sources: tuple[int, ...]
    channels: int = 0
    kernel: int = 0
    stride: int = 1


def architecture() -> list[Row]:
    """Return YOLOv3's 107 rows; a convolution with 0 channels predicts and has neither norm nor slope."""
    rows: list[Row] = []

    def convolution(channels: int, kernel: int, stride: int = 1) -> None:
        rows.append(Row("convolutional", (len(rows) - 1,), channels, kernel, stride))

    def residual_stage(channels: int, blocks: int) -> None:
        convolution(channels, 3, stride=2)
        for _ in range(blocks):
            convolution(channels // 2, 1)
            convolution(channels, 3)
            rows.append(Row("shortcut", (len(rows) - 1, len(rows) - 3)))

    def detection_stage(channels: int) -> None:
        for _ in range(3):
            convolution(channels, 1)
            convolution(2 * channels, 3)
        convolution(0, 1)
        rows.append(Row("yolo", (len(rows) - 1,)))

    def finer_stage(channels: int, backbone_layer: int) -> None:
        rows.append(Row("route", (len(rows) - 4,)))
        convolution(channels, 1)
        rows.append(Row("upsample", (len(rows) - 1,)))
        rows.append(Row("route", (len(rows) - 1, backbone_layer)))
        detection_stage(channels)

    convolution(32, 3)
    for channels, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        residual_stage(channels, blocks)
    detection_stage(512)
    finer_stage(256, backbone_layer=61)
    finer_stage(128, backbone_layer=36)
    return rows
