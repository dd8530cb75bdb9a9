"""The numbers of an advice, for `advise.json`: what other programs and the report read of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from yolo_synth.advice.verdict import Verdict

FILE: Final = "advise/advise.json"
"""Where a run's advice lies in its folder."""

FORMAT: Final = 1
"""Of these numbers: raise it whenever one is called or means another thing."""


def numbers(verdict: Verdict, pictures: int, how: Sequence[str]) -> dict[str, Any]:
    """Return all that the advice rests on; None where a number is not known.

    `gain` is what choosing the best by the other folds gains over the yardstick, in mAP@0.5 on pictures
    that were not taught, with its interval; `better` says whether that is shown. Then a row a candidate,
    the best first.

    Args:
        verdict: What cross-validation allows to say.
        pictures: How many labelled ones there are.
        how: How each candidate is best trained, in the table's order.
    """
    return {
        "format": FORMAT,
        "pictures": pictures,
        "folds": verdict.folds,
        "best": verdict.best,
        "yardstick": verdict.yardstick,
        "better": verdict.is_better,
        "won": verdict.won,
        "chosen": verdict.chosen,
        "gain": _estimate(verdict.gain, verdict.low, verdict.high),
        "candidates": [
            {
                "trained": name,
                "how": said,
                "map50": _known(row["map50"]),
                "won": row["won"],
                "gain": _estimate(row["gain"], row["low"], row["high"]),
            }
            for said, (name, row) in zip(how, verdict.table.to_dict("index").items(), strict=True)
        ],
    }


def _estimate(value: float, low: float, high: float) -> dict[str, float | None]:
    return {"value": _known(value), "low": _known(low), "high": _known(high)}


def _known(value: float) -> float | None:
    """Return a number that JSON has, too: it knows no NaN."""
    return float(value) if np.isfinite(value) else None
