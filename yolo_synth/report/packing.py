"""Arrays as text in a page: rounded to whole steps, as differences, deflated, in base64."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolo_synth.analysis.similarity.series import Values
from yolo_synth.comparison import Comparison, Matrix

TRACK_PRECISION: Final = 0.001
"""Step that the values per layer are rounded to."""

_UNDEFINED: Final = -(2**15)

Packed = NDArray[np.int16]


def packed_rows(rows: Sequence[ArrayLike], layers: int) -> str:
    """Pack values per layer, one series below the other [rows, layers]."""
    steps = _steps(np.reshape(np.array(rows, dtype=np.float64), (-1, layers)), TRACK_PRECISION)
    return _pack(np.diff(steps, axis=1, prepend=np.int16(0)))


def packed_matrices(pairs: Sequence[Comparison], layers: int, precision: float) -> str:
    """Pack two matrices a pair, the debiased one and what the biased one has more.

    Cells become differences along both axes: what is left is small, and its sums are exact in the
    integers modulo 2**16. Of a network with itself the half above the diagonal is left out.
    """
    matrices = np.zeros((len(pairs), 2, layers, layers), dtype=np.int16)
    for pair, place in zip(pairs, matrices, strict=True):
        place[0] = _steps(pair.debiased, precision)
        place[1] = _steps(pair.biased, precision) - place[0]
        if pair.is_self:
            place[...] = np.tril(place)
    down = np.diff(matrices, axis=-2, prepend=np.int16(0))
    return _pack(np.diff(down, axis=-1, prepend=np.int16(0)))


def _steps(values: Matrix | Values, precision: float) -> Packed:
    """Return values as whole steps, the lowest integer where they are not defined."""
    defined = np.isfinite(values)
    steps = np.rint(np.where(defined, values, 0) / precision)
    return np.where(defined, np.clip(steps, -32_000, 32_000), _UNDEFINED).astype(np.int16)


def _pack(differences: Packed) -> str:
    """Return integers as text: low bytes, then high bytes, of their zigzag code."""
    zigzag = ((differences << 1) ^ (differences >> 15)).ravel().view(np.uint16)
    planes = np.stack([zigzag & 255, zigzag >> 8]).astype(np.uint8)
    deflate = zlib.compressobj(level=9, wbits=-15)
    return base64.b64encode(deflate.compress(planes.tobytes()) + deflate.flush()).decode()
