"""The sheet of the images that a similarity rests on."""

from __future__ import annotations

import numpy as np
import torch

from yolo_synth.analysis.figures.influence import influence_sheet


def sheet(count):
    return influence_sheet(
        torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, 3, 8, 12),
        np.linspace(-0.01, 0.03, count),
        [f"{number:08}-and-a-long-name.jpg" for number in range(count)],
        title="What the figure shows\nand on which images",
    )


def test_the_images_of_greatest_and_least_influence_are_shown():
    figure = sheet(9)
    under = [text.get_text() for text in figure.texts if "jpg" in text.get_text()]
    assert under[0] == "+0.0300\n\N{HORIZONTAL ELLIPSIS}8-and-a-long-name.jpg"
    assert [text.split("\n")[0].lstrip("+\N{MINUS SIGN}") for text in under] == [
        *("0.0300", "0.0250", "0.0200", "0.0150"),
        *("0.0100", "0.0050", "0.0000", "0.0050"),
    ]
    assert [text[0] for text in under[4:]] == ["\N{MINUS SIGN}", "\N{MINUS SIGN}", "+", "+"]
    drawn = [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes]
    assert drawn == [8, 7, 6, 5, 0, 1, 2, 3]


def test_nothing_is_cut_off_or_covers_another():
    figure = sheet(40)
    figure.canvas.draw()
    page = figure.bbox
    boxes = [text.get_window_extent() for text in figure.texts]
    boxes += [axes.get_window_extent() for axes in figure.axes]
    assert len(figure.axes) == 12
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 for b in boxes)
    assert not [(a, b) for a in boxes for b in boxes if a is not b and a.overlaps(b)]
