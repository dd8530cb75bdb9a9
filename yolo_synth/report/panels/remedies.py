"""What to try next: what `why` and `advise` found of these runs, or which of them to ask."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd

from yolo_synth.advice.numbers import FILE as ADVICE
from yolo_synth.advice.numbers import FORMAT as ADVICE_FORMAT
from yolo_synth.advice.trials import AS_IT_IS, STATISTICS
from yolo_synth.probe import Subject
from yolo_synth.reasons.numbers import FORMAT as REASONS_FORMAT
from yolo_synth.report import paper
from yolo_synth.report.pairs import away_from_home
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.reasons import FOLDER, PAGE, SAID
from yolo_synth.report.study import Study
from yolo_synth.report.words import bracketed, number

Numbers = Mapping[str, Any]

_DO: Final = {
    AS_IT_IS: "leave {} as it is",
    STATISTICS: "estimate the batch-norm statistics of {} anew",
}
"""What is no training."""

_MOST: Final = 2
"""Things to do, or to know, that the card's sentence names."""


_, _SYNTHETIC = paper.SPLITS


class Remedies(NamedTuple):
    """What the panel speaks of.

    Attributes:
        answers: What `why` found of a run, by the run's folder.
        advices: And `advise`.
        command: What to ask next, ready to be typed; "" if there is nothing to ask.
        left_out: What lies there and does not count, and why.
    """

    answers: Mapping[Path, Numbers]
    advices: Mapping[Path, Numbers]
    command: str = ""
    left_out: Sequence[str] = ()


def compute(study: Study) -> Remedies:
    """Read what lies in the run folders, as far as it is of the weights that are there now."""
    answers: dict[Path, Numbers] = {}
    advices: dict[Path, Numbers] = {}
    left_out = []
    for subject in study.subjects:
        folder = subject.run.folder
        for kept, place, form in (
            (answers, Path(FOLDER, SAID), REASONS_FORMAT),
            (advices, Path(ADVICE), ADVICE_FORMAT),
        ):
            if (folder / place).is_file():
                try:
                    found = {folder: _read(subject, folder / place, form)}
                    _try(Remedies(found, {}) if kept is answers else Remedies({}, found))
                    kept |= found
                except ValueError as error:
                    left_out.append(f"Left out: {folder / place} {error}; ask again.")
    return Remedies(answers, advices, _command(study, answers, advices), left_out)


def _read(subject: Subject, path: Path, form: int) -> Numbers:
    """Return the numbers in a file.

    Raises:
        ValueError: If they are of another version of the program or of other weights.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        its_form, weights = found.get("format"), found.get("weights", [])
    except (ValueError, AttributeError) as error:
        raise ValueError("is damaged") from error
    if its_form != form:
        raise ValueError("is of another version of this program")
    if subject.weights not in weights[:1]:
        raise ValueError(f"is of other weights than {subject.run.name} has now")
    return dict(found)


def _try(result: Remedies) -> None:
    """Say all that is said of one file.

    Raises:
        ValueError: If something that it takes is not in the file, or is of another kind.
    """
    try:
        _ = list(tables(result)), list(sentences(result)), short(result)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ValueError("is damaged") from error


def _command(study: Study, answers: Mapping[Path, Numbers], advices: Mapping[Path, Numbers]) -> str:
    """Return how to ask `why`, or if that is known, `advise`, with these runs' folders."""
    if answers:
        first = _quoted(next(iter(answers)))
        return "" if advices else f"yolo-synth advise {first} --real FEW.yaml"
    away = away_from_home(study.labels, study.domains)
    if away is None or away.other == _SYNTHETIC:
        return ""  # why asks what is bad on real images
    own, oracles = (
        {one.label.seed: one.run.folder for one in study.subjects if one.label.model == model}
        for model in (away.model, away.oracle)
    )
    if not oracles:
        file = shlex.quote(study.files[0]) if study.files else "FILE.yaml"
        return f"yolo-synth why {_quoted(next(iter(own.values())))} --real {file}"
    seeds = [seed for seed in own if seed in oracles]
    pair = [next(iter(some.values())) for some in (own, oracles)]
    if seeds:
        pair = [some[seeds[0]] for some in (own, oracles)]
    inside = [
        {one.label.model for one in study.subjects if folder.parent in one.run.folder.parents}
        for folder in pair
    ]
    if len(seeds) > 1 and all(len(models) == 1 for models in inside):
        pair = [folder.parent for folder in pair]  # which stands for all seeds
    return f"yolo-synth why {_quoted(pair[0])} --oracle {_quoted(pair[1])}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def tables(result: Remedies) -> Iterator[Table]:
    """Yield what each remedy changes."""
    rows: list[tuple[str, str, str, Numbers]] = []
    for found in result.answers.values():
        real, synthetic = found["domains"]
        if new := found["recalibration"]:
            what = f"batch norms of {new['pictures']} {real} images"
            rows.append((found["network"], what, real, new["gain"]))
            rows.append((found["network"], what, synthetic, new["cost"]))
        for block in found["blocks"]["alone"] if found["blocks"] else ():
            what = f"layers {_span(block)} of {found['oracle']}"
            rows.append((found["network"], what, real, block["gain"]))
    for found in result.advices.values():
        what = f"{found['pictures']} labelled images, {{}} instead of {found['yardstick']}"
        rows += [
            (found["network"], what.format(one["trained"]), found["domain"], one["gain"])
            for one in found["candidates"]
            if one["trained"] != found["yardstick"]
        ]
    if rows:
        yield Table(
            "remedies",
            "What was tried on these runs",
            "Differences of mAP@0.5 with their 95 % intervals over images. By why: batch-norm statistics "
            "of images without labels, and blocks of a network that was trained on real images in the "
            "place of the run's own. By advise: what is trained on a few labelled images, on images that "
            "it was not taught; its intervals are as wide as all candidates together ask for.",
            pd.DataFrame(
                [(*row[:3], *(row[3][end] for end in ("value", "low", "high"))) for row in rows],
                columns=[
                    "run",
                    "remedy",
                    "on",
                    "difference",
                    "difference, low",
                    "difference, high",
                ],
            )
            .astype(dict.fromkeys(["difference", "difference, low", "difference, high"], float))
            .set_index(["run", "remedy", "on"]),
        )


def sentences(result: Remedies) -> Iterator[str]:
    """Yield the whole card of `why`, and the verdict of `advise`, of each run that they were asked of."""
    for folder, found in result.answers.items():
        oracle = f" with {found['oracle']} as the oracle" if found["oracle"] else ""
        said = " ".join(found["sentences"])
        yield f"Why, asked of {found['network']}{oracle} ({folder / FOLDER / PAGE}): {said}"
    for found in result.advices.values():
        advised = _advised(found) if found["better"] else _undecided(found)
        settings = "; ".join(found["settings"])
        yield f"Advice for {found['network']}: {advised}. {settings}".rstrip()
    yield from result.left_out
    if result.command:
        yield f"To ask next: {result.command}"


def short(result: Remedies) -> str:
    """Say what helps most of what is shown to, or what to ask."""
    answers, advices = list(result.answers.values()), list(result.advices.values())
    for found in answers:
        if named := [check for check in found["checks"] if check["named"]]:
            first = named[0]
            return (
                f"Next, look into the data of {found['network']} first: {first['mistake']} "
                f"({number(first['excess'], 1)} times its floor)."
            )
    helpful = [_advised(found) for found in advices if found["better"]] or [
        _recalibration(found, answers) for found in answers if _helps(found["recalibration"])
    ]
    undecided = [] if any(one["better"] for one in advices) else [_undecided(f) for f in advices]
    placed = [_block(found) for found in answers if _is_placed(found["blocks"])]
    texts = [*helpful[:1], *undecided[:1], *placed[:1]][:_MOST]
    texts = texts or [_untold(found) for found in answers[:1]]
    if result.command and not (answers and helpful):
        texts.append(f"ask {'for advice' if answers else 'why'}: {result.command}")
        return f"Next, {'; '.join(texts)}"  # no full stop: the command is copied
    return f"Next, {'; '.join(texts)}." if texts else ""


def _helps(found: Numbers | None) -> bool:
    return found is not None and (found["gain"]["low"] or 0) > 0


def _is_placed(found: Numbers | None) -> bool:
    return found is not None and (found["best"]["low_of_best"] or 0) > 0


def _recalibration(found: Numbers, answers: Sequence[Numbers]) -> str:
    new, (real, synthetic) = found["recalibration"], found["domains"]
    shown = sum(_helps(one["recalibration"]) for one in answers)
    so = f" (so in {shown} of {len(answers)} runs)" if len(answers) > 1 else ""
    return (
        f"give {found['network']} the batch-norm statistics of {new['pictures']} unlabelled {real} "
        f"images (why --save FILE): mAP@0.5 {_signed(new['gain'])} on {real}, {_signed(new['cost'])} on "
        f"{synthetic}{so}"
    )


def _block(found: Numbers) -> str:
    best, seeds = found["blocks"]["best"], found["blocks"]["seeds"]
    mean = f" (mean of {len(seeds)} seeds)" if len(seeds) > 1 else ""
    return (
        f"of all blocks of {found['oracle']} swapped in, layers {_span(best)} gain most, "
        f"{_signed(best['gain'])} on {found['domains'][0]}{mean}"
    )


def _untold(found: Numbers) -> str:
    """Say that nothing was shown to help, and what was tried."""
    text, new = (
        "label a few images, since without labels nothing is shown to help",
        found["recalibration"],
    )
    if new is None:
        return text
    real = found["domains"][0]
    return f"{text} (batch norms of {new['pictures']} {real} images: {_signed(new['gain'])})"


def _advised(found: Numbers) -> str:
    """Say what to do by `advise`, which is shown to be better."""
    do = _DO.get(found["best"], f"train {found['best']} of {{}} alone").format(found["network"])
    return f"{do}: on {_labelled(found)} mAP@0.5 {_against(found)}"


def _undecided(found: Numbers) -> str:
    return (
        f"what of {found['network']} to train on {_labelled(found)} is undecided, {_against(found)}"
    )


def _labelled(found: Numbers) -> str:
    return f"{found['pictures']} labelled {found['domain']} images"


def _against(found: Numbers) -> str:
    other = "leaving it as it is" if found["yardstick"] == AS_IT_IS else "training everything"
    return f"{_signed(found['gain'])} against {other}"


def _span(block: Numbers) -> str:
    first, last = block["layers"]
    return str(first) if first == last else f"{first}\N{EN DASH}{last}"


def _signed(found: Numbers) -> str:
    ends = [float("nan") if found[end] is None else found[end] for end in ("value", "low", "high")]
    return bracketed(ends[0], ends[1], ends[2], sign=True)


PANEL = Panel("remedies", "What to try next", compute, tables, sentences, short=short)
