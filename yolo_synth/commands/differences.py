"""What `diff` does: what sets two detectors apart, from what they found in the same images."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from yolo_synth.claims import claimed
from yolo_synth.difference.compare import Difference, check_confidence, compare_detections
from yolo_synth.difference.gallery import galleries, with_pictures
from yolo_synth.difference.page import page
from yolo_synth.difference.truth import Truth, read_truth
from yolo_synth.escaping import csv_text, say
from yolo_synth.files import file_name, write_whole

TABLE, SCORES, PAGE = "boxes.parquet", "scores.csv", "diff.html"


def write_difference(
    a: str,
    b: str,
    truth: str,
    out: str,
    no_pictures: bool,
    pictures: str | None,
    confidence: float | None,
    size: int | None,
    names: dict[str, str] | None,
    batch_size: int,
    trust: bool,
) -> None:
    """Compare what two detectors found and write the page and the tables into a folder."""
    check_confidence(confidence)
    for text in (a, b):
        if is_result_file(text) and not Path(text).is_file():
            raise FileNotFoundError(f"{text}: no such file; name a COCO result file, or a network")
    there = read_truth(truth, pictures)
    folder = Path(out)
    with claimed(folder, "writes a difference"):
        files = []
        for side, text in (("A", a), ("B", b)):
            if is_result_file(text):
                files.append(text)
                continue
            rows, name = _found(text, there, size, names, batch_size, trust)
            files.append(str(folder / file_name(f"{side}_{name}.json")))
            write_whole(files[-1], json.dumps(rows))
        found = compare_detections(files[0], files[1], there, confidence=confidence)
        shown = None if no_pictures else with_pictures(galleries(found), found)
        write_whole(folder / SCORES, csv_text(found.scores, index=False))
        write_whole(folder / TABLE, lambda file: found.boxes.to_parquet(file, index=False))
        write_whole(folder / PAGE, page(found, (a, b), shown))
    say(summary(found), f"see {folder / PAGE}")


def is_result_file(text: str) -> bool:
    """Tell whether a text names a result file rather than a network."""
    if text.lower().endswith(".json"):
        return True
    from yolo_synth.networks.references import loaders  # brings PyTorch, which files do not need

    return Path(text).is_file() and not any(loader.takes(text) for loader in loaders())


def _found(
    text: str,
    truth: Truth,
    size: int | None,
    names: dict[str, str] | None,
    batch: int,
    trust: bool,
) -> tuple[list[dict[str, object]], str]:
    """Return what a network finds in the pictures of a truth, and the network's name."""
    from yolo_synth.commands.networks import read_network
    from yolo_synth.detecting import detector_of
    from yolo_synth.found import found_in_truth

    detector = detector_of(read_network(text, trust), size=size, batch=batch)
    say(f"{detector.name}: shown {len(truth.images):,} pictures, {detector.side} pixels a side")
    rows = found_in_truth(detector, truth, names)
    if not rows:
        raise ValueError(f"{text}: finds nothing in any picture; there is nothing to judge")
    return rows, detector.name


def summary(found: Difference) -> str:
    """Return the tables and the verdict as text."""
    scores = found.scores.copy()
    scores["of"] = (scores["part"] + " " + scores["of"]).str.strip()
    digits = {
        "A": "{:.3f}",
        "B": "{:.3f}",
        "difference": "{:+.3f}",
        "low": "{:+.3f}",
        "high": "{:+.3f}",
    }
    formats = {name: form.format for name, form in digits.items()}
    parts = [
        scores.drop(columns="part").to_string(index=False, formatters=formats, na_rep="-"),
        _boxes(found.found.iloc[0]),
        found.kinds.T.to_string(),
        found.verdict(),
    ]
    return "\n\n".join(parts)


def _boxes(row: pd.Series) -> str:
    return (
        f"of {row['boxes']:,} true boxes both find {row['both']:,}, only A {row['A']:,}, only B "
        f"{row['B']:,}, neither {row['neither']:,}"
    )
