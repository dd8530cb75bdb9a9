"""What several networks are good and bad at, as files of `evaluate --out`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from yolo_synth.analysis.figures.diagnosis import diagnosis_sheet
from yolo_synth.diagnosis import CONFIDENCES
from yolo_synth.diagnosis_tables import summary, to_frames
from yolo_synth.escaping import csv_text
from yolo_synth.files import file_name, write_whole


def write_diagnoses(found: Mapping[tuple[str, str], dict[str, Any]], folder: Path) -> None:
    """Write diagnosis.csv and, for each domain, a sheet; for each network and domain its tables.

    Args:
        found: Network and domain → the fields of a `Diagnosis`.
        folder: The folder.
    """
    if not found:
        return
    keys = pd.MultiIndex.from_tuples(found, names=["network", "domain"])
    rows = pd.DataFrame([summary(one) for one in found.values()], index=keys)
    write_whole(folder / "diagnosis.csv", csv_text(rows))
    for (network, domain), one in found.items():
        for name, frame in to_frames(one).items():
            place = folder / file_name(f"{network}_{domain}_{name}.csv")
            write_whole(place, csv_text(frame))
    for domain in dict.fromkeys(domain for _, domain in found):
        shown = {network: one for (network, where), one in found.items() if where == domain}
        sheet = diagnosis_sheet(shown, CONFIDENCES.tolist(), f"{domain} test images")
        place = folder / file_name(f"{domain}_diagnosis.png")
        write_whole(place, partial(sheet.savefig, format="png", dpi=120))
