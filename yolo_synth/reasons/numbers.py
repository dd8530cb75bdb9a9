"""The numbers of an answer, for `why.json`: what other programs and the report read of it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from yolo_synth.reasons.answer import Answer, low_of_best
from yolo_synth.reasons.checks import in_order
from yolo_synth.reasons.pictures import Estimate, Score
from yolo_synth.reasons.recalibration import Recalibration
from yolo_synth.reasons.spread import Spread
from yolo_synth.reasons.swaps import Place

FORMAT: Final = 1
"""Of these numbers: raise it whenever one is called or means another thing."""

Numbers = dict[str, Any]


def numbers(answer: Answer) -> Numbers:
    """Return all that the card's sentences rest on; None where a number is not known.

    Scores and differences are `{"value", "low", "high"}` of mAP@0.5 with their 95 % intervals over
    images. `network` and `oracle` are names, `weights` digests of their states, `domains` the real and
    the synthetic one. A `block` has the first and the last of its layers, and beside the ends of its own
    interval that of the best of several (`low_of_best`). Of several seeds `blocks` is the mean,
    `of_seeds` what each has, and `low_of_best` None where they are too far apart; all else is of the first.
    """
    gap, real_images = answer.gap, answer.images[0]
    return {
        "format": FORMAT,
        "network": answer.names[0],
        "oracle": answer.names[1] if len(answer.names) > 1 else None,
        "weights": list(answer.weights),
        "domains": list(gap.domains),
        "images": [real_images, answer.images[1]],
        "gap": {
            "real": _score(gap.own[0]),
            "synthetic": _score(gap.own[1]),
            "difference": _estimate(gap.between),
            "oracle_real": None if gap.oracle is None else _score(gap.oracle[0]),
            "to_oracle": None if gap.to_oracle is None else _estimate(gap.to_oracle),
        },
        "checks": [
            {
                "about": check.about,
                "check": check.what,
                "value": _known(check.value),
                "floor": _known(max(check.floor, check.least)),
                "excess": _known(check.excess),
                "mistake": check.mistake,
                "named": check.is_named,
            }
            for check in in_order(answer.checks)
        ],
        "recalibration": _recalibration(answer.recalibration),
        "blocks": None if answer.place is None else _blocks(answer.place),
        "misses": [
            {
                "part": part.name,
                "boxes": part.boxes,
                "missed": part.missed,
                "found_by_oracle": part.oracle,
                "more": _estimate(part.more),
            }
            for part in answer.missed
        ],
    }


def _recalibration(found: Recalibration) -> Numbers | None:
    """Return what is kept by --save: all pictures, and nothing of the old statistics."""
    if not found.trials:
        return None
    last = found.trials[-1]
    return {
        "pictures": last.pictures,
        "batch_norms": found.norms,
        "real": _score(last.real),
        "synthetic": _score(last.synthetic),
        "gain": _estimate(found.gain),
        "cost": _estimate(found.cost),
    }


def _blocks(place: Place) -> Numbers:
    gains = [
        {
            "layers": [swap.layers.start, swap.layers.stop - 1],
            "gain": _estimate(gain),
            "low_of_best": _known(
                low_of_best(gain) if Spread(place.singly(swap)).is_told else np.nan
            ),
            "of_seeds": place.singly(swap),
        }
        for swap, gain in place.gains()
    ]
    return {
        "images": list(place.images),
        "seeds": list(place.seeds),
        "best": gains[0],
        "alone": gains,
        "barrier": _estimate(place.barrier(0)[1]),
        "barrier_synthetic": _estimate(place.barrier(1)[1]),
    }


def _score(score: Score) -> Numbers:
    return _estimate(Estimate(score.value, *score.interval))


def _estimate(estimate: Estimate) -> Numbers:
    return {name: _known(value) for name, value in estimate._asdict().items()}


def _known(value: float) -> float | None:
    """Return a number that JSON has, too: it knows no NaN."""
    return float(value) if np.isfinite(value) else None
