"""Objects instead of pixels: how the two networks of the main pair see true boxes and the background."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from yolo_synth.objects.likeness import FOREGROUND
from yolo_synth.objects.rows import take_rows
from yolo_synth.objects.study import Objects, study_objects
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.study import Study
from yolo_synth.report.words import number

BOXES = 400
"""True boxes of a domain, about."""

_ROWS = (
    "Rows are true boxes of the test images and as many boxes of the background of their sizes: of each "
    "the mean of the map that answers for it (before layer 82, 94 or 106 of YOLOv3, by the anchors). Boxes "
    "of one picture, or sequence, count as one group. Late maps see far beyond a box, so the background "
    "there knows of objects nearby. Sizes are COCO's, in pixels of the network's input."
)


def compute(study: Study) -> Objects | None:
    """Look at the boxes of every domain with the networks of the main pair; None unless asked for."""
    if not study.objects:
        return None
    networks = {str(one.label): one.network for one in study.subjects if one.label in study.main}
    sets = [take_rows(domain.data, name, most=BOXES) for name, domain in study.domains.items()]
    return study_objects(networks, sets)


def tables(found: Objects | None) -> Iterator[Table]:
    """Yield the likenesses of the networks and the gaps between domains, part by part."""
    if found is None:
        return
    if len(found.cka):
        yield Table(
            "objects_cka",
            "How alike two networks see objects",
            "Debiased CKA with its 95 % interval over groups; floor is the 95 % point of permuted "
            f"groups. {_ROWS}",
            found.cka.set_index(["network", "against", "on", "part", "of"]),
        )
    if len(found.gap):
        yield Table(
            "objects_gap",
            "How far apart a network puts the objects of two domains",
            "MMD\N{SUPERSCRIPT TWO} over the variance within a domain; floor is the 95 % point of two "
            f"halves of one domain, p that of groups that change domains. {_ROWS}",
            found.gap.drop(columns=["against", "low", "high"]).set_index(
                ["network", "on", "part", "of"]
            ),
        )


def sentences(found: Objects | None) -> Iterator[str]:
    """Say of each network whether domains part by their objects, their background or both."""
    if found is None or not len(found.gap):
        return
    whole = found.gap[found.gap["part"] == "all"]
    for (network, domains), rows in whole.groupby(["network", "on"], sort=False):
        of = {str(row["of"]): row for _, row in rows.iterrows()}
        if len(of) == 2:
            yield f"Inside {network}, {domains}: {_parting(of[FOREGROUND], of['background'])}."


def _parting(front: pd.Series, back: pd.Series) -> str:
    apart = [row["value"] > row["floor"] and row["p"] <= 0.05 for row in (front, back)]
    values = [
        f"MMD\N{SUPERSCRIPT TWO} {number(row['value'])}, two halves of one domain {number(row['floor'])}"
        for row in (front, back)
    ]
    if all(apart):
        return f"objects lie apart ({values[0]}), and so does the background ({values[1]})"
    if apart[0]:
        return f"objects lie apart ({values[0]}), the background is not shown to ({values[1]})"
    if apart[1]:
        return f"the background lies apart ({values[1]}), objects are not shown to ({values[0]})"
    return f"neither objects ({values[0]}) nor the background ({values[1]}) are shown to lie apart"


PANEL = Panel("objects", "Objects instead of pixels", compute, tables, sentences)
