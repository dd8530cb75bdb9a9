"""A diagnosis as tables, for files and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from yolo_synth.diagnosis import CONFIDENCES

_SHOWN: Final = {
    "confidence": "confidence",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "error": "calibration error",
}


def summary(found: Mapping[str, Any]) -> dict[str, float | None]:
    """Return a row: each value and the ends of its interval."""
    return {
        f"{shown}{end and f', {end}'}": found["values"][f"{name}_{end}" if end else name]
        for name, shown in _SHOWN.items()
        for end in ("", "low", "high")
    }


def to_frames(found: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Return `recall`, `confusion` and `confidence_curves`, each with the names of its rows as index."""
    classes = found["classes"]
    confusion = pd.DataFrame(
        found["confusion"],
        index=pd.Index([*classes, "background"], name="true class"),
        columns=[*classes, "missed"],
    )
    curves = pd.DataFrame(found["curves"], index=pd.Index(CONFIDENCES.round(2), name="confidence"))
    return {
        "recall": pd.DataFrame(found["recalls"]).set_index(["part", "of"]),
        "confusion": confusion,
        "confidence_curves": curves.astype(float),
    }
