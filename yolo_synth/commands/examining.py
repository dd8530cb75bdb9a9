"""What `why` does: what makes a network bad on real images, and what helps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Final, NamedTuple

from tqdm import tqdm

from yolo_synth.adapting import batch_norms
from yolo_synth.analysis.activations.gram_files import digest_of
from yolo_synth.boxes import Detection
from yolo_synth.claims import claimed
from yolo_synth.commands.classes import silent
from yolo_synth.commands.networks import data_for
from yolo_synth.commands.seeds import pairs_of
from yolo_synth.comparison import are_alike, compare
from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import Config, read_data
from yolo_synth.detecting import as_reference, thresholds
from yolo_synth.detector import save_network
from yolo_synth.escaping import say
from yolo_synth.networks.references import Reference
from yolo_synth.probe import Grams, Subject, both_starts, joined, take_probe
from yolo_synth.reasons.answer import Answer, Further, Gap
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
from yolo_synth.reasons.spread import mean_place
from yolo_synth.reasons.swaps import blocks_of, exchange, number_of_trials
from yolo_synth.report.reasons import FOLDER, PAGE, write_answer
from yolo_synth.report.two import Two
from yolo_synth.runs import Run, domain_name

LAYER_IMAGES: Final = 60
"""Images of each domain on which network and oracle are compared layer by layer."""

RUN_SIDE: Final = 32
"""And their side in pixels."""


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
    pairs = pairs_of(network, oracle, trust)
    data = _data(pairs[0], real, synthetic)
    folder = Path(out) if out else _default_folder(pairs[0][0])
    looking = Looking(data, images, pictures, names, size, trust)
    examined = [[looking.at(one) for one in read] for read in pairs]
    first = examined[0][0].patient.reference.network
    if save is not None and not batch_norms(first):
        raise ValueError(
            f"--save {save}: this network has no batch norms to recalibrate: leave it out"
        )
    with claimed(folder, "writes an answer"):
        answer, layers = _answer(pairs, examined, looking)
        write_answer(answer, folder, layers)
        if save is not None:
            if not answer.recalibration.trials:
                raise ValueError(
                    f"--save {save}: there are no further real images to recalibrate with"
                )
            with holding(first, answer.recalibration.statistics):
                save_network(first, Path(save))
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


class Looking:
    """Takes the pictures of both domains for one network after the other."""

    def __init__(
        self,
        data: Mapping[str, Config],
        images: int,
        unlabelled: int,
        names: dict[str, str] | None,
        size: int | None,
        trust: bool,
    ) -> None:
        """Take the data of both domains, and what `why` was told of them."""
        self._data = data
        self._counts = images, unlabelled
        self._names = names
        self._size = size
        self._trust = trust
        self._sets: dict[tuple[object, ...], list[Pictures]] = {}

    def modules(self, read: Run | Reference) -> list[tuple[str, DetectionData]]:
        """Return both data modules as a network takes them, by the names of their domains."""
        return [
            (domain, data_for(read, config, self._trust, self._size))
            for domain, config in self._data.items()
        ]

    def at(self, read: Run | Reference) -> Examined:
        """Return a network and its pictures; runs of one size and the same classes share them."""
        reference = as_reference(read)
        if reference.detect is None:
            raise ValueError(
                f"{reference.name}: how it finds objects is not known: compare takes it"
            )
        key = (read.classes, read.image_size) if isinstance(read, Run) else (reference.name,)
        if key not in self._sets:
            with silent() if self._sets else nullcontext():  # what the data hold was said
                self._sets[key] = [
                    self._taken(module, domain, reference) for domain, module in self.modules(read)
                ]
        return Examined(Patient(reference, *thresholds(read)), *self._sets[key])

    def _taken(self, module: DetectionData, domain: str, reference: Reference) -> Pictures:
        module.prepare_data()
        module.setup("test")
        return take_pictures(module, domain, reference, *self._counts, self._names)


def _answer(
    pairs: list[list[Run | Reference]], examined: list[list[Examined]], looking: Looking
) -> tuple[Answer, list[Two]]:
    """Look for all reasons, one after the other; for mistakes and misses in the first pair alone."""
    patient, real, synthetic = examined[0][0]
    fitting = [_pair(read) for read in pairs]
    alike = [pair for pair, _ in fitting if pair]
    blocks = blocks_of(alike[0][0].network, real) if alike else []
    of_pair = number_of_trials(len(blocks)) + 1
    trials = (TRIALS + 1) * len(pairs) + len(alike) * of_pair
    with tqdm(total=trials, desc="why", unit="trial", leave=False) as bar:
        found = [one.found() for one in examined[0]]
        gap = _gap(examined[0], found)
        best = [max(range(len(found)), key=lambda n: gap.of(n)[side].value) for side in (0, 1)]
        (seen, real_boxes), (drawn, synthetic_boxes) = found[best[0]][0], found[best[1]][1]
        checks = look(seen, drawn, (real_boxes, synthetic_boxes))
        bar.update()
        recalibration = recalibrate(patient, real, synthetic, gap.own, bar.update)
        further = [_further(some, bar.update) for some in examined[1:]]
        places, layers, seeds = [], [], []
        for read, some, (pair, _) in zip(pairs, examined, fitting, strict=True):
            if pair:
                bar.set_description(f"why: {read[0].name}")
                oracle = some[1].patient.reference.network
                sets = some[0].real, some[0].synthetic
                places.append(exchange(some[0].patient, oracle, sets, blocks, bar.update))
                layers.append(_layers(pair, looking.modules(read[0])))
                seeds.append(pair[0].run.seed)
                bar.update()
    others = found[1][0][1] if len(found) > 1 and _same(examined[0]) else None
    called = [tuple(one.patient.reference.name for one in some) for some in examined]
    answer = Answer(
        called[0],
        (len(real), len(synthetic)),
        gap,
        recalibration,
        checks,
        mean_place(places, seeds) if places else None,
        misses(real, found[0][0][1], others),
        _notes(called, [said for _, said in fitting]),
        [digest_of(one.patient.reference.network) for one in examined[0]],
        further,
    )
    return answer, layers


def _further(examined: list[Examined], progress: Callable[[], object]) -> Further:
    """Look for what is told of every seed."""
    gap = _gap(examined, [one.found() for one in examined])
    progress()
    recalibration = recalibrate(*examined[0], gap.own, progress)
    return Further([one.patient.reference.name for one in examined], gap, recalibration)


def _gap(examined: list[Examined], found: list[list[tuple[Pictures, list[Detection]]]]) -> Gap:
    real, synthetic = examined[0].real.domain, examined[0].synthetic.domain
    scores = [tuple(score_of(boxes, some) for some, boxes in each) for each in found]
    return Gap((real, synthetic), *((each[0], each[1]) for each in scores))


def _notes(called: list[tuple[str, ...]], why_not: list[str]) -> list[str]:
    """Say what was not done."""
    if len(called) == 1:
        return [said for said in why_not if said]
    notes = [f"{names[0]}: {said}" for names, said in zip(called, why_not, strict=True) if said]
    return [*notes, f"Checks and misses are of {called[0][0]} alone."]


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
    starts = both_starts(*pair)
    if starts is None or starts[0].weights != starts[1].weights:
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
    starts = both_starts(*pair)
    for subject in (*pair, *(starts or ())):
        whole(subject)
    part = whole.part(probes[0], slice(0, len(probes[0].images)))
    return Two(pair, [compare(*pair, part, starts)], probes, whole)
