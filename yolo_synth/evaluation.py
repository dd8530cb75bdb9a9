"""Evaluation: every run on every domain's test images (Table 2 of the paper)."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from tqdm import tqdm

from yolo_synth.analysis.figures.training import training_curves
from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import Config, data_module, read_data
from yolo_synth.diagnosis import Diagnosis
from yolo_synth.escaping import csv_text, say
from yolo_synth.files import Kept, digest, keeping, write_whole
from yolo_synth.labels import CLASSES
from yolo_synth.networks.references import Reference
from yolo_synth.runs import BEST, METRICS, Run, read_run, run_folders, test_domains
from yolo_synth.scoring import Scores, reference_scores

log = logging.getLogger(__name__)

FORMAT: Final = 2
"""Of kept scores; to be raised whenever a score comes to mean something else."""

_LARGEST: Final = 1e12
"""No step, loss or score is as large."""

_OF_TRAINING: Final = ("lr", "schedule", "compiled", "backbone", "weights")
"""Options of the model that a measurement does not depend on, once there are weights."""


def evaluate(
    folder: str, batch_size: int = 16, data: str | tuple[str, ...] = (), *, trust: bool = False
) -> None:
    """Measure every finished run on every domain's test images and print the paper's Table 2.

    The domains are those that the runs were trained on; a mixture has those of its parts. A result is
    kept in the run folder, under test/, and not computed again. The table and the training curves are
    written beside the runs.

    Args:
        folder: Folder of run folders.
        batch_size: Images per batch.
        data: File that names further test images, as experiments/data/bdd100k_night.yaml, or several,
            as [FILE, FILE].
        trust: Whether classes from elsewhere that run folders and files name are imported and run.
    """
    finished = _finished(folder, trust)
    if not finished:
        raise ValueError(
            f"{folder}: no finished run; yolo-synth fit again goes on with one cut off"
        )
    table = table_2(evaluation_table(finished, batch_size, data, trust))
    say(table.to_string(float_format="{:.3f}".format))
    write_whole(Path(folder) / "table_2.csv", csv_text(table))
    read = {run.name: read_metrics(run.folder / METRICS) for run in finished}
    metrics = {name: rows for name, rows in read.items() if rows is not None}
    if metrics:
        curves = training_curves(metrics)
        picture = Path(folder) / "training.png"
        write_whole(picture, lambda file: curves.savefig(file, format="png", dpi=150))


def _finished(folder: str, trust: bool) -> list[Run]:
    """Return the finished runs, by name; say which are left out, and why."""
    found = []
    folders = run_folders(folder) or [Path(folder)]  # the folder itself says that it is none
    for place in folders:
        try:
            run = read_run(place, trust)
            _ = run.test_domains, run.image_size
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            if isinstance(error, ValueError) or len(folders) > 1:
                say(f"{place}: left out: {error}")
                continue
            raise ValueError(f"{place}: its config.yaml lacks or garbles {error}") from error
        if run.finished:
            found.append(run)
        else:
            say(f"{place}: not finished, left out")
    return sorted(found, key=lambda run: (run.name, run.folder))


def read_metrics(path: Path) -> pd.DataFrame | None:
    """Return the columns of a run's metrics that curves show; None, which is said, if it is damaged."""
    columns = ["step", "train/loss", "val/map50"]
    try:
        rows = pd.read_csv(path, usecols=lambda name: name in columns, dtype="float64")
        values = rows.to_numpy()
        if "step" not in rows or (np.abs(values[~np.isnan(values)]) > _LARGEST).any():
            raise ValueError("no steps, or numbers that no training has")
    except Exception as error:  # pandas' own have no common class
        log.warning("%s: damaged (%s); its run is left out of the curves", path, _first(error))
        return None
    return rows


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def evaluation_table(
    finished: Sequence[Run],
    batch_size: int = 16,
    data: str | Sequence[str] = (),
    trust: bool = False,
) -> pd.DataFrame:
    """Return a row per run and domain: model, seed, domain, map50, map and map50 of each class.

    `without` is what map50 is, as an area, without one block of images or whole sequences after the
    other: the same blocks for all runs. It is empty where nobody knows.
    """
    domains = domain_data(finished, data)
    pairs = [(run, domain) for run in finished for domain in domains]
    of_runs = {domain for run in finished for domain in run.test_domains}
    images = _TestImages(batch_size, trust)
    rows = []
    for run, domain in tqdm(pairs, desc="evaluate", unit="test", leave=False):
        if domain in of_runs and not images.suit(run, domains[domain]):
            log.warning("%s has no class of the %s test images: left out", run.name, domain)
            continue
        found = _scores(run, domain, domains[domain], images)
        row = {"model": run.model, "seed": run.seed, "domain": domain, **found.scores}
        rows.append({**row, "without": found.without, "diagnosis": found.diagnosis})
    return pd.DataFrame(rows)


def scores_on(runs: Sequence[Run], domain: str, data: Config, trust: bool = False) -> list[Scores]:
    """Return the scores of finished runs on the test images of one domain, kept in their folders.

    Args:
        runs: The runs.
        domain: What the domain is called.
        data: Its data configuration.
        trust: Whether classes from elsewhere that it names are imported and run.
    """
    images = _TestImages(trust=trust)
    bar = tqdm(runs, desc="evaluate", unit="test", leave=False)
    return [_scores(run, domain, data, images) for run in bar]


def domain_data(finished: Sequence[Run], files: str | Sequence[str] = ()) -> dict[str, Config]:
    """Return the data configuration of each domain that runs were trained on, and of further ones.

    Runs from several machines name several folders: it is the first one that is here, or else the
    first.

    Args:
        finished: The runs.
        files: File that names a further data set, or several.

    Raises:
        ValueError: If a file's domain is called like another one.
    """
    found: dict[str, Config] = {}
    for run in finished:
        for domain, data in run.test_domains.items():
            if domain not in found or (not _is_here(found[domain]) and _is_here(data)):
                found[domain] = data
    for file in (files,) if isinstance(files, str) else files:
        for domain, data in test_domains(read_data(file)).items():
            if domain in found:
                raise ValueError(
                    f"{file}: there are {domain} test images already; give these another name, by "
                    "domain: in init_args"
                )
            found[domain] = data
    return found


def _is_here(data: Config) -> bool:
    return Path(str(data.get("init_args", {}).get("root", ""))).is_dir()


def table_2(table: pd.DataFrame) -> pd.DataFrame:
    """Return mAP@0.5 with a row a model and a column a domain and seed."""
    return table.pivot_table(index="model", columns=["domain", "seed"], values="map50")


class _TestImages:
    """The test images of data configurations at the sizes that runs want, opened and digested once."""

    def __init__(self, batch_size: int = 16, trust: bool = False) -> None:
        self._batch_size = batch_size
        self._trust = trust
        self._modules: dict[str, DetectionData] = {}
        self._digests: dict[str, str] = {}

    def module(self, data: Config, size: int) -> DetectionData:
        """Return the data module, set up."""
        key = _key(data, size)
        if key not in self._modules:
            module = data_module(
                data, trust=self._trust, image_size=size, batch_size=self._batch_size
            )
            module.prepare_data()
            module.setup("test")
            self._modules[key] = module
        return self._modules[key]

    def suit(self, run: Run, data: Config) -> bool:
        """Tell whether the images have a class that a run knows, as far as they are here."""
        if not _is_here(data):
            return True
        return bool(set(run.classes) & set(self.module(data, run.image_size).classes))

    def digest(self, data: Config, size: int) -> str:
        """Digest the pictures' files, boxes, labels and groups, and what these are called."""
        key = _key(data, size)
        if key not in self._digests:
            module = self.module(data, size)
            groups = module.groups(module.names("test"))
            images = digest(module.dataset("test").digest(), *groups)
            five = module.classes == CLASSES
            self._digests[key] = images if five else digest(images, *module.classes)
        return self._digests[key]


def _key(data: Config, size: int) -> str:
    return json.dumps([data, size], sort_keys=True, default=str)


def _scores(run: Run, domain: str, data: Config, images: _TestImages) -> Scores:
    """Return the scores kept in the run folder, if they are of the same weights, pictures and labels.

    Else they are measured. Where the images are not on this machine, what was kept counts, and that is
    said.
    """
    measured_with = {k: v for k, v in run.config["model"].items() if k not in _OF_TRAINING}
    weights = (run.folder / BEST).read_bytes()
    key = digest(weights, json.dumps(measured_with, sort_keys=True), str(run.image_size))
    place = Kept(run.folder / "test" / f"{domain}.json", key, FORMAT)
    kept = place.read(_of_scores) or {}
    if kept and not _is_here(data):
        log.warning(
            "%s: the %s test images are not here, so its kept scores are taken as they are",
            *(run.folder, domain),
        )
    elif kept.get("images") != (there := images.digest(data, run.image_size)) or (
        not {"without", "diagnosis"} <= kept.keys()
    ):
        found = test_scores(run, images.module(data, run.image_size))
        kept = {"images": there, "data": data, **found._asdict()}
        with keeping(run.folder):
            place.write(kept)
    return Scores(dict(kept["scores"]), list(kept.get("without", ())), kept.get("diagnosis", {}))


def _of_scores(kept: dict[str, Any]) -> dict[str, Any]:
    """Return kept scores as they are, if they are scores."""
    numbers = [kept["scores"]["map50"], *kept["scores"].values(), *kept.get("without", ())]
    if not all(isinstance(number, float | int) for number in numbers):
        raise ValueError("no numbers")
    if kept.get("diagnosis"):
        Diagnosis(**kept["diagnosis"])
    return kept


def test_scores(run: Run, module: DetectionData) -> Scores:
    """Measure mAP of a run's best weights on the test images of a data module that is set up.

    Classes are matched by name; those that only one side has do not count, and that is said.

    Raises:
        ValueError: If they have none in common.
    """
    network, model = run.network(), run.config["model"]
    reference = Reference(run.name, network, classes=run.classes, detect=network.detect)
    return reference_scores(reference, module, model["confidence"], model["iou"])
