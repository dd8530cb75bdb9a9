"""What `why` does: what makes a network bad on real images, and what helps."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Final, NamedTuple

from tqdm import tqdm

from yolo_synth.adapting import batch_norms
from yolo_synth.analysis.activations.gram_files import digest_of
from yolo_synth.boxes import Detection
from yolo_synth.claims import claimed
from yolo_synth.commands.classes import silent
from yolo_synth.commands.networks import data_for, read_network
from yolo_synth.comparison import are_alike, compare
from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import Config, read_data
from yolo_synth.detecting import as_reference, thresholds
from yolo_synth.detector import save_network
from yolo_synth.escaping import say
from yolo_synth.networks.references import Reference
from yolo_synth.probe import Grams, Subject, joined, start_of, take_probe
from yolo_synth.reasons.answer import Answer, Gap
from yolo_synth.reasons.looking import look
from yolo_synth.reasons.misses import misses
from yolo_synth.reasons.pictures import (
    FEWEST,
    Patient,
    Pictures,
    found_in,
    score_of,
    take_pictures,
)
from yolo_synth.reasons.recalibration import TRIALS, holding, recalibrate
from yolo_synth.reasons.swaps import blocks_of, exchange, number_of_trials
from yolo_synth.report.reasons import PAGE, write_answer
from yolo_synth.report.two import Two
from yolo_synth.runs import Run, domain_name

LAYER_IMAGES: Final = 60
"""Images of each domain on which network and oracle are compared layer by layer."""

RUN_SIDE: Final = 32
"""And their side in pixels."""

FOLDER: Final = "why"
"""Where a run's answer lies in its folder."""


def examine(
    network: str,
    real: str,
    synthetic: str,
    oracle: str,
    images: int,
    pictures: int,
    size: int | None,
    names: dict[str, str] | None,
    out: str | None,
    save: str | None,
    trust: bool,
) -> None:
    """Look for all reasons, print and write what is found; all is as in `why`."""
    if images < FEWEST:
        raise ValueError(f"--images is at least {FEWEST}, not {images}")
    read = [read_network(text, trust) for text in (network, oracle) if text]
    data = _data(read, real, synthetic)
    folder = Path(out) if out else _default_folder(read[0])
    examined = []
    for number, one in enumerate(read):
        with silent() if number else nullcontext():  # what the data hold was said
            modules = [
                (domain, data_for(one, config, trust, size)) for domain, config in data.items()
            ]
            examined.append(_examined(one, modules, images, pictures, names))
    if save is not None and not batch_norms(examined[0].patient.reference.network):
        raise ValueError(
            f"--save {save}: this network has no batch norms to recalibrate: leave it out"
        )
    with claimed(folder, "writes an answer"):
        answer, layers = _answer(read, examined, modules)
        write_answer(answer, folder, layers)
        if save is not None:
            if not answer.recalibration.trials:
                raise ValueError(
                    f"--save {save}: there are no further real images to recalibrate with"
                )
            kept = examined[0].patient.reference.network
            with holding(kept, answer.recalibration.statistics):
                save_network(kept, Path(save))
            say(f"{save}: the recalibrated network")
    say(*answer.sentences(), *answer.notes, f"see {folder / PAGE}")


def _data(read: list[Run | Reference], real: str, synthetic: str) -> dict[str, Config]:
    """Return the data configurations of both domains, the real one first, by their names."""
    given = []
    for what, file, run in (("real", real, read[-1]), ("synthetic", synthetic, read[0])):
        if file:
            given.append(read_data(file))
        elif isinstance(run, Run) and (what == "synthetic" or len(read) > 1):
            given.append(run.config["data"])
        else:
            raise ValueError(
                f"why needs --{what}: a data file, as experiments/data/bdd100k.yaml, that names {what} "
                "images and their labels"
            )
    found = {domain_name(config, "test"): config for config in given}
    if len(found) < len(given):
        raise ValueError(
            f"--real and --synthetic are both called {next(iter(found))}: name other data, or give one a "
            "domain: in init_args"
        )
    return found


def _default_folder(read: Run | Reference) -> Path:
    return read.folder / FOLDER if isinstance(read, Run) else Path(FOLDER)


class Examined(NamedTuple):
    """A network, and the pictures of both domains as it takes them.

    Attributes:
        patient: The network.
        real: The real pictures.
        synthetic: The synthetic ones.
    """

    patient: Patient
    real: Pictures
    synthetic: Pictures

    def found(self) -> list[tuple[Pictures, list[Detection]]]:
        """Return the real and the synthetic pictures, with what the network finds in each."""
        return [(some, found_in(self.patient, some)) for some in (self.real, self.synthetic)]


def _examined(
    read: Run | Reference,
    modules: list[tuple[str, DetectionData]],
    images: int,
    unlabelled: int,
    names: dict[str, str] | None,
) -> Examined:
    reference = as_reference(read)
    if reference.detect is None:
        raise ValueError(f"{reference.name}: how it finds objects is not known: compare takes it")
    sets = []
    for domain, module in modules:
        module.prepare_data()
        module.setup("test")
        sets.append(take_pictures(module, domain, reference, images, unlabelled, names))
    return Examined(Patient(reference, *thresholds(read)), *sets)


def _answer(
    read: list[Run | Reference], examined: list[Examined], modules: list[tuple[str, DetectionData]]
) -> tuple[Answer, Two | None]:
    """Look for all reasons, one after the other."""
    patient, real, synthetic = examined[0]
    pair, why_not = _pair(read)
    blocks = blocks_of(pair[0].network, real) if pair else []
    trials = 1 + TRIALS + (number_of_trials(len(blocks)) + 1 if pair else 0)
    with tqdm(total=trials, desc="why", unit="trial", leave=False) as bar:
        found = [one.found() for one in examined]
        scores = [tuple(score_of(boxes, some) for some, boxes in each) for each in found]
        gap = Gap((real.domain, synthetic.domain), *((each[0], each[1]) for each in scores))
        best = [max(range(len(found)), key=lambda n: scores[n][side].value) for side in (0, 1)]
        (seen, real_boxes), (drawn, synthetic_boxes) = found[best[0]][0], found[best[1]][1]
        checks = look(seen, drawn, (real_boxes, synthetic_boxes))
        bar.update()
        recalibration = recalibrate(patient, real, synthetic, gap.own, bar.update)
        place = layers = None
        if pair:
            oracle = examined[1].patient.reference.network
            place = exchange(patient, oracle, (real, synthetic), blocks, bar.update)
            layers = _layers(pair, modules)
            bar.update()
    others = found[1][0][1] if len(found) > 1 and _same(examined) else None
    missed = misses(real, found[0][0][1], others)
    called = tuple(one.patient.reference.name for one in examined)
    images = len(real), len(synthetic)
    notes = [why_not] if why_not else []
    weights = [digest_of(one.patient.reference.network) for one in examined]
    answer = Answer(called, images, gap, recalibration, checks, place, missed, notes, weights)
    return answer, layers


def _same(examined: list[Examined]) -> bool:
    """Tell whether network and oracle see pictures of one size and know the same classes."""
    first, second = (one.real for one in examined)
    return first.classes == second.classes and first.images.shape == second.images.shape


def _pair(read: list[Run | Reference]) -> tuple[tuple[Subject, Subject] | None, str]:
    """Return network and oracle if blocks of one fit into the other, or why they do not."""
    if len(read) == 1:
        return None, ""
    first, second = read
    if not isinstance(first, Run) or not isinstance(second, Run):
        return (
            None,
            "Blocks were not exchanged: whether both come from one start is known of runs alone.",
        )
    pair = Subject(first), Subject(second)
    if not are_alike(*pair) or first.image_size != second.image_size:
        return (
            None,
            "Blocks were not exchanged: network and oracle are not of one architecture and size.",
        )
    starts = [start_of(run) for run in (first, second)]
    if None in starts or starts[0].weights != starts[1].weights:  # type: ignore[union-attr]
        return (
            None,
            "Blocks were not exchanged: network and oracle did not start from the same weights.",
        )
    return pair, ""


def _layers(pair: tuple[Subject, Subject], modules: list[tuple[str, DetectionData]]) -> Two:
    """Compare both networks layer by layer on real images, and the domains inside each."""
    with silent():
        probes = [
            take_probe(
                module, domain, min(LAYER_IMAGES, len(module.names("test"))), RUN_SIDE, "test"
            )
            for domain, module in modules
        ]
    whole = Grams(joined(probes))
    starts = start_of(pair[0].run), start_of(pair[1].run)
    both = None if starts[0] is None or starts[1] is None else (starts[0], starts[1])
    for subject in (*pair, *(both or ())):
        whole(subject)
    part = whole.part(probes[0], slice(0, len(probes[0].images)))
    return Two(pair, [compare(*pair, part, both)], probes, whole)
