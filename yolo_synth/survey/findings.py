"""What `data check` finds: open everything, list what is broken, and say what the splits share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from yolo_synth.data.mistakes import Mistakes
from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import open_data
from yolo_synth.data.splits import SPLITS
from yolo_synth.data.unused import PICTURES, by_ending
from yolo_synth.escaping import csv_text, say
from yolo_synth.files import write_whole
from yolo_synth.survey.faults import (
    KINDS,
    Fault,
    box_faults,
    empty_splits,
    label_faults,
    listed_images,
    name_faults,
    senseless_boxes,
    totals,
    unread_images,
)
from yolo_synth.survey.leakage import clusters, groups_by_splits, near_duplicates
from yolo_synth.survey.membership import UNUSED, split_of_images
from yolo_synth.survey.opening import Opened, open_images

_SHOWN: Final = 10


class Findings(NamedTuple):
    """What a check found.

    Attributes:
        summary: What there is, in a sentence or two.
        faults: What is broken.
        leaks: Sentences on what the splits share, and on what could not be checked.
        duplicates: Images of two splits that look alike: image, split, like, like_split, likeness.
        groups: Image and group: what it belongs to, near-duplicates in one; None if not asked for.
    """

    summary: str
    faults: list[Fault]
    leaks: list[str]
    duplicates: pd.DataFrame
    groups: pd.DataFrame | None = None


def tell_findings(data: str, out: str | None, ignore: str, workers: int | None, trust: bool) -> int:
    """Check a data set, print and write what is found; 1 if anything is broken, else 0."""
    ignored = {kind.strip() for kind in ignore.split(",") if kind.strip()}
    unknown = sorted(ignored - KINDS.keys())
    if unknown:
        raise ValueError(f"--ignore: there is no kind {unknown[0]}; there are {', '.join(KINDS)}")
    module = open_data(data, trust=trust)
    findings = examine(module, workers, join=out is not None)
    say(_text(findings, ignored))
    if out is not None:
        _write(findings, Path(out))
        written = [
            "faults.csv",
            "near_duplicates.csv",
            *["groups.csv"] * (findings.groups is not None),
        ]
        say(f"{out}: {', '.join(written)}")
    return int(any(fault.kind not in ignored for fault in findings.faults))


def examine(module: DetectionData, workers: int | None = None, join: bool = False) -> Findings:
    """Check a data set; where its labels are refused, its images alone.

    Args:
        module: The data set.
        workers: Threads that open images.
        join: Whether to join groups of near-duplicates.
    """
    try:
        table = module.table
    except ValueError as error:
        return _examine_files(module, _refused(module.root, error), workers)
    faults, notes = box_faults(table) + senseless_boxes(table), []
    try:
        splits = split_of_images(module)
    except ValueError as error:
        faults += _refused(module.splits, error)
        splits = None
        notes.append("Splits are not checked, since their lists are refused.")
    faults += label_faults(table, module.labelled(), module.unlisted())
    unused = module.unused()
    faults += unread_images(unused)
    images = table.drop_duplicates("image")
    sizes = list(zip(images["width"].tolist(), images["height"].tolist(), strict=True))
    opened = open_images(module.root, images["path"].tolist(), sizes, workers)
    duplicates = pd.DataFrame()
    if splits is not None:
        own = splits[images["image"]].to_numpy(dtype=np.str_)
        duplicates = _duplicates(images["path"], own, opened)
        faults += empty_splits(table, splits)
        notes += _leaks(images["group"], own, duplicates)
    notes += _left_out(table, unused)
    boxes = int((table["dropped"] != "no box").sum())
    summary = f"{len(images):,} images opened ({_sizes(opened)}), {boxes:,} boxes."
    groups = None
    if join:
        joined = clusters(opened.thumbnails, images["group"].astype(str).tolist())
        groups = pd.DataFrame({"image": images["image"].to_numpy(), "group": joined})
        notes.append(_joined(images["group"].nunique(), groups["group"].nunique(), len(groups)))
    return Findings(summary, [*faults, *opened.faults], notes, duplicates, groups)


def _joined(before: int, after: int, images: int) -> str:
    if before == after:
        return f"No near-duplicates join the {before:,} groups of {images:,} images."
    return f"Near-duplicates join {before:,} groups of {images:,} images to {after:,}."


def _examine_files(module: DetectionData, refused: list[Fault], workers: int | None) -> Findings:
    """Check the image files alone, of a data set that is refused as a whole."""
    paths = [path for folder in module.folders for path in listed_images(folder)]
    opened = open_images(Path(), paths, workers=workers)
    return Findings(
        f"{len(paths):,} images opened ({_sizes(opened)}).",
        [*refused, *name_faults(paths), *opened.faults],
        ["Boxes, labels and splits are not checked, since the data set is refused."],
        pd.DataFrame(),
    )


def _refused(where: Path | None, error: ValueError) -> list[Fault]:
    lines = error.lines if isinstance(error, Mistakes) else [str(error)]
    return [Fault("refused", str(where), " ".join(line.split())) for line in lines]


def _left_out(table: pd.DataFrame, unused: Sequence[Path]) -> list[str]:
    """Say which kinds of objects are left out, and which files nothing reads."""
    others = table.loc[table["dropped"] == "label", "category"].astype("str").value_counts()
    rest = [file for file in unused if file.suffix.lower() not in PICTURES]
    notes = []
    if len(others):
        shown = [f"{number:,} {name}" for name, number in others.head(_SHOWN).items()]
        more = [f"and {len(others) - _SHOWN} other kinds"] if len(others) > _SHOWN else []
        notes.append(f"Boxes of other kinds, which are left out: {', '.join(shown + more)}.")
    if rest:
        notes.append(f"{len(rest):,} files are not used: {by_ending(rest)}, as {rest[0]}.")
    return notes


def _sizes(opened: Opened) -> str:
    counts = pd.Series([f"{w}x{h}" for w, h in opened.sizes if w]).value_counts()
    shown = [f"{size}: {number:,}" for size, number in counts.head(3).items()]
    return (
        ", ".join(shown + [f"{len(counts) - 3} other sizes"] * (len(counts) > 3)) or "none readable"
    )


def _duplicates(paths: pd.Series[str], splits: NDArray[np.str_], opened: Opened) -> pd.DataFrame:
    found = near_duplicates(opened.thumbnails, splits, list(SPLITS))
    places = {name: found[name].to_numpy(np.int64) for name in ("image", "like")}
    return found.assign(**{name: paths.to_numpy()[place] for name, place in places.items()})


def _leaks(groups: pd.Series[str], splits: NDArray[np.str_], duplicates: pd.DataFrame) -> list[str]:
    """Say which sequences and which near-duplicates two splits share."""
    used = splits != UNUSED
    shared = groups_by_splits(groups[used], splits[used], list(SPLITS))
    several = shared[[", " in name for name in shared.index]]
    if shared.empty:
        notes = ["Each image is a group (sequence, ride) of its own."]
    elif several.empty:
        notes = [f"None of {shared.sum():,} sequences or rides of several images is in two splits."]
    else:
        where = "; ".join(f"{number:,} in {name}" for name, number in several.items())
        notes = [
            f"LEAK: {several.sum():,} of {shared.sum():,} sequences or rides of several images are "
            f"in more than one split ({where})."
        ]
    for (split, like), part in duplicates.groupby(["split", "like_split"], sort=False):
        images = np.count_nonzero(splits == split)
        notes.append(
            f"LEAK: {len(part):,} of {images:,} images of {split} ({len(part) / images:.1%}) have a "
            f"near-duplicate in {like}, as {part['image'].iloc[0]} and {part['like'].iloc[0]}."
        )
    if duplicates.empty:
        notes.append("No image has a near-duplicate in another split.")
    unused = np.count_nonzero(~used)
    return [*notes, f"{unused:,} images are in no split."] if unused else notes


def _text(findings: Findings, ignored: set[str]) -> str:
    lines = [findings.summary]
    for kind, number in totals(findings.faults).items():
        aside = ", ignored" if kind in ignored else ""
        lines += ["", f"{kind}: {KINDS[kind]} ({number:,}{aside})"]
        those = [fault for fault in findings.faults if fault.kind == kind]
        lines += [f"  {fault.where}: {fault.what}" for fault in those[:_SHOWN]]
        if number > _SHOWN:
            lines.append(f"  and {number - _SHOWN:,} more; --out FOLDER writes all of them")
    counted = sum(fault.kind not in ignored for fault in findings.faults)
    verdict = f"{counted:,} things are broken." if counted != 1 else "1 thing is broken."
    if not counted:
        leaks = any(note.startswith("LEAK") for note in findings.leaks)
        verdict = "No file is broken, but see LEAK above." if leaks else "Nothing is broken."
    return "\n".join([*lines, "", *findings.leaks, verdict])


def _write(findings: Findings, folder: Path) -> None:
    faults = pd.DataFrame(findings.faults, columns=Fault._fields)
    write_whole(folder / "faults.csv", csv_text(faults, index=False))
    columns = ["image", "split", "like", "like_split", "likeness"]
    table = findings.duplicates.reindex(columns=columns)
    write_whole(folder / "near_duplicates.csv", csv_text(table, index=False, float_format="%.3f"))
    if findings.groups is not None:
        write_whole(folder / "groups.csv", csv_text(findings.groups, index=False))
