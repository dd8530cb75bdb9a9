"""Pixels: do two sets' pictures differ in colour, sharpness or size, in channel order, or by a border?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from yolo_synth.reasons.checks import Check, Floats, Rows, apart, half_floor, whole_floor
from yolo_synth.reasons.pictures import Pictures

BANDS: Final = 6
"""Parts from top to bottom in which colours are looked at."""

BORDER: Final = 0.015
"""Share of a picture's width or height that is a border at least."""

FLAT: Final = 8
"""Levels of a channel within which a border stays."""

GREY: Final = 8
"""Levels that the channels of a grey differ by at most."""


def differences(real: Pictures, synthetic: Pictures) -> Iterator[Check]:
    """Yield how far the pixels of both sets differ, each beside two halves of the real ones."""
    for what, first in _measures(real).items():
        second = _measures(synthetic)[what]

        def between(one: Rows, other: Rows, first: Floats = first) -> float:
            return apart(first[one], first[other])

        yield Check("pixels", what, apart(first, second), half_floor(between, real.groups))


def _measures(pictures: Pictures) -> dict[str, Floats]:
    """Return a number a picture of each kind [n]."""
    inner = _inner(pictures)
    grey = [image.mean(-1) for image in inner]
    spread = [image.max(-1) - image.min(-1) for image in inner]
    return {
        "brightness": np.array([image.mean() for image in grey]),
        "contrast": np.array([image.std() for image in grey]),
        "saturation": np.array([image.mean() for image in spread]),
        "sharpness": np.array([np.log(_edges(image) + 1e-9) for image in grey]),
        "resolution": pictures.sizes.prod(1).astype(float),
        "shape of pictures": np.array([width / height for width, height in pictures.sizes]),
    }


def _edges(grey: Floats) -> float:
    """Return the mean squared second difference over the variance, across and down."""
    second = np.diff(grey, 2, 0)[:, 1:-1], np.diff(grey, 2, 1)[1:-1]
    return float(sum((part**2).mean() for part in second) / (grey.var() + 1e-6))


def _inner(pictures: Pictures) -> list[Floats]:
    """Return each picture without the bars of a letterbox [h, w, 3], 0..255."""
    return [
        image[:, at.top : at.top + at.height, at.left : at.left + at.width]
        .transpose(1, 2, 0)
        .astype(np.float64)
        for image, at in zip(pictures.images.numpy(), pictures.places, strict=True)
    ]


def mistakes(real: Pictures, synthetic: Pictures) -> Iterator[Check]:
    """Yield what would be wrong with the pixels of one set alone."""
    yield _channel_order(real, synthetic)
    yield _border(real, synthetic)


def _channel_order(real: Pictures, synthetic: Pictures) -> Check:
    """Look whether one set's red is the other's blue.

    Out of doors what is uppermost is bluer than the rest of a picture, and what stands out in colour
    (lamps, signs, brick) redder; a picture's own tint is taken out first.
    """
    signs = [_sky_and_lamps(pictures) for pictures in (real, synthetic)]
    scores = [(one / (one.std(0) + 1e-12)).clip(-3, 3) @ np.array([1.0, -1.0]) for one in signs]
    means = [float(score.mean()) for score in scores]
    floors = [
        _mean_floor(score, pictures)
        for score, pictures in zip(scores, (real, synthetic), strict=True)
    ]
    weaker = int(np.argmin([abs(m) / max(f, 1e-12) for m, f in zip(means, floors, strict=True)]))
    wrong = real if means[0] < means[1] else synthetic
    return Check(
        *("pixels", "order of channels"),
        abs(means[weaker]) if means[0] * means[1] < 0 else 0.0,
        floors[weaker],
        0.1,
        f"the channels of {wrong.domain} are in another order: its red is blue (BGR for RGB)",
    )


def _mean_floor(values: Floats, pictures: Pictures) -> float:
    def between(one: Rows, other: Rows) -> float:
        return float(abs(values[one].mean() - values[other].mean()))

    return whole_floor(between, pictures.groups)


def _sky_and_lamps(pictures: Pictures) -> Floats:
    """Return how much bluer the uppermost part is, and what stands out in blue less that in red [n, 2]."""
    rows = []
    for image in _inner(pictures):
        logs = np.log(image + 5)
        red, blue = logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1]
        red, blue = red - red.mean(), blue - blue.mean()
        top = slice(0, max(1, len(blue) // BANDS))
        rows.append(((blue - red)[top].mean(), (blue**3).mean() - (red**3).mean()))
    return np.array(rows)


def _border(real: Pictures, synthetic: Pictures) -> Check:
    """Look whether the pictures of one set have a border of one grey."""
    bordered = [
        np.array([_has_border(image) for image in _inner(pictures)], float)
        for pictures in (real, synthetic)
    ]
    more = real if bordered[0].mean() > bordered[1].mean() else synthetic
    return Check(
        *("pixels", "grey borders", float(abs(bordered[0].mean() - bordered[1].mean()))),
        _mean_floor(bordered[0], real),
        0.3,
        f"pictures of {more.domain} have a border of one grey",
    )


def _has_border(image: Floats) -> bool:
    """Tell whether a picture has lines of one and the same grey at two opposite edges."""
    return _is_framed(image) or _is_framed(image.swapaxes(0, 1))


def _is_framed(lines: Floats) -> bool:
    depth = max(1, round(BORDER * len(lines)))
    both = np.concatenate([lines[:depth], lines[-depth:]]).reshape(-1, 3)
    low, high = np.percentile(both, (3, 97), axis=0)
    return bool((high - low).max() <= FLAT and np.ptp((low + high) / 2) <= GREY)
