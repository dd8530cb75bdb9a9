"""Words and numbers of the findings: how a report's sentences are put together.

A sentence claims no more than intervals, null and spread over seeds allow; where they do not allow
anything it says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import pandas as pd

from yolo_synth.analysis.figures.ribbon import KIND_NAMES
from yolo_synth.analysis.similarity.seeds import difference_of_means
from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.comparison import Comparison

BRACKETS: Final = (
    "In brackets: 95 % intervals. Those of mAP are over images and seeds, or over images alone where there "
    "is one seed and for what why and advise found; those of CKA are over images, for these trainings."
)
"""What stands under the card."""

ONE_SEED: Final = "; whether that is more than another seed would change is unknown with one seed"


def number(value: float, digits: int = 2) -> str:
    """Write a number with a true minus sign; `undefined` if there is none."""
    if not np.isfinite(value):
        return "undefined"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "\N{MINUS SIGN}")


def numbers(values: Iterable[float]) -> str:
    """Write numbers as `0.10, 0.20 and 0.30`."""
    return listed(number(value) for value in values)


def percent(fraction: float) -> str:
    """Write a fraction as `10 %`."""
    return f"{100 * fraction:.3g} %"


def interval(value: float, low: float, high: float) -> str:
    """Write an estimate with its interval over images, as far as there is one."""
    if not np.isfinite([low, high]).all():
        return number(value)
    return f"{number(value)} (95 % interval over images {number(low)} to {number(high)})"


def bracketed(value: float, low: float, high: float, digits: int = 3, sign: bool = False) -> str:
    """Write an estimate with its interval as the card does, `0.57 [0.47, 0.67]`, as far as there is one.

    Args:
        value: Itself.
        low: Lower end of its 95 % interval.
        high: Upper end.
        digits: After the point.
        sign: Whether what is above nought has a plus.
    """
    texts = [
        f"{'+' if sign and one > 0 else ''}{number(one, digits)}" for one in (value, low, high)
    ]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]" if np.isfinite([low, high]).all() else texts[0]


def listed(texts: Iterable[object]) -> str:
    """Join texts as `a`, `a and b`, `a, b and c`."""
    *others, last = map(str, texts)
    return f"{', '.join(others)} and {last}" if others else last


def span(layers: range) -> str:
    """Write a range of layers as `layer 0` or `layers 1-4`."""
    last = layers.stop - 1
    return f"layer {last}" if len(layers) == 1 else f"layers {layers.start}\N{EN DASH}{last}"


def kind(name: str) -> str:
    """Return the reader's name of a layer's kind."""
    return KIND_NAMES.get(name, name)


def named(group: Sequence[Comparison]) -> str:
    """Name a pair, or the same two models with several seeds, to stand before more words."""
    first = group[0]
    if len(group) == 1:
        return first.name
    seeds = listed(pair.seeds[0] for pair in group)
    return f"{' vs '.join(first.models)}, seeds {seeds},"


def part_means(rows: Iterable[LayerSeries], pair: Comparison, part: str) -> str:
    """Write the means of several series over a part of a pair's network."""
    return numbers(row.means(pair.structure.parts)[part] for row in rows)


def change(
    free: pd.Series,
    frozen: pd.Series,
    images: tuple[float, float] = (np.nan, np.nan),
    both: tuple[float, float] = (np.nan, np.nan),
) -> str:
    """Write two means over seeds and their difference, with its intervals over seeds, images and both."""
    difference, low, high = difference_of_means(free.tolist(), frozen.tolist())
    sign = "+" if difference > 0 else ""
    text = f"{number(free.mean(), 3)} to {number(frozen.mean(), 3)} ({sign}{number(difference, 3)}"
    if min(len(free), len(frozen)) >= 2:
        untold = f"; {len(free)} and {len(frozen)} seeds cannot tell" if low <= 0 <= high else ""
        text += f", 95 % interval over seeds {number(low, 3)} to {number(high, 3)}{untold}"
    if np.isfinite(images).all():
        low, high = images
        untold = "; the images cannot tell" if low <= 0 <= high else ""
        text += f", over images {number(low, 3)} to {number(high, 3)}{untold}"
    if min(len(free), len(frozen)) >= 2 and np.isfinite(both).all():
        low, high = both
        untold = "; both together cannot tell" if low <= 0 <= high else ""
        text += f", over both together {number(low, 3)} to {number(high, 3)}{untold}"
    return f"{text})"
