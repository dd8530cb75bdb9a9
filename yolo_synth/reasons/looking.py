"""All checks of two sets of pictures, for mistakes and for differences."""

from __future__ import annotations

from collections.abc import Sequence

from yolo_synth.boxes import Detection
from yolo_synth.reasons import labels, pixels
from yolo_synth.reasons.checks import Check
from yolo_synth.reasons.pictures import Pictures

Both = tuple[Sequence[Detection], Sequence[Detection]]
"""What is found in the real and in the synthetic pictures."""


def look(real: Pictures, synthetic: Pictures, found: Both) -> list[Check]:
    """Return all that was looked at; takes what `mistakes` does."""
    return [
        *mistakes(real, synthetic, found),
        *labels.differences(real, synthetic),
        *pixels.differences(real, synthetic),
    ]


def mistakes(real: Pictures, synthetic: Pictures, found: Both) -> list[Check]:
    """Return what would be a mistake.

    Args:
        real: The real pictures.
        synthetic: The synthetic ones.
        found: What a network finds in the real and in the synthetic ones: in each set the one that is best
            there, since labels are judged by what it finds.
    """
    return [
        *pixels.mistakes(real, synthetic),
        *labels.mistakes(real, found[0]),
        *labels.mistakes(synthetic, found[1]),
    ]
