"""Diff: what sets two detectors apart, from what they found in the same images."""

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


def diff(
    a: str,
    b: str,
    truth: str = "",
    out: str = "diff",
    no_pictures: bool = False,
    pictures: str | None = None,
    confidence: float | None = None,
    size: int | None = None,
    names: dict[str, str] | None = None,
    batch_size: int = 8,
    *,
    trust: bool = False,
) -> None:
    """Say whether detector B is better than A, how sure that is, and on which pictures.

    mAP of both, as COCO's, and the difference with a 95 % interval over the same images (whole
    sequences where the truth names some), by class, size and condition; the true boxes that both, one
    or neither finds; the kinds of error. Written into the folder OUT: diff.html, a page that loads
    nothing; scores.csv; boxes.parquet, a row a true box; and what networks found, as A_NETWORK.json and
    B_NETWORK.json, which diff takes again.

    Args:
        a: COCO result file of detector A (.json), or the detector: a run folder,
            torchvision:NAME:FILE, a folder of transformers, or any other that evaluate takes.
        b: The same of detector B.
        truth: What is really there: a COCO file, or a data file whose test images are taken.
        out: Folder to write to.
        no_pictures: Whether to leave pictures out of the page, for data that may not be shared.
        pictures: Folder of a COCO file's pictures; by default they are looked for beside the file.
        confidence: Least score of a detection that counts as shown, where boxes found and kinds of
            error are told; by default that of each detector's best F1. mAP takes all.
        size: Side of the networks' input, in pixels; by default what each was made for, or 416.
        names: What the truth calls classes of the networks, as {bicycle: cycle, motorcycle: cycle}.
        batch_size: Pictures that a network is shown at a time.
        trust: Whether networks that run as a program on loading may.
    """
    if not truth:
        raise ValueError("diff needs --truth: the COCO file or data file that says what is there")
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
