"""Evaluation: every run on every domain's test images (Table 2 of the paper)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from yolo_synth.analysis.figures.training import training_curves
from yolo_synth.average_precision import AveragePrecision
from yolo_synth.data.source import Config, data_module, read_data
from yolo_synth.devices import fastest
from yolo_synth.runs import METRICS, Run, find_runs, test_domains


def evaluate(folder: str, batch_size: int = 16, data: str | tuple[str, ...] = ()) -> None:
    """Measure every finished run on every domain's test images and print the paper's Table 2.

    The domains are those that the runs were trained on; a mixture has those of its parts. A result is
    kept in the run folder, under test/, and not computed again. The table and the training curves are
    written beside the runs.

    Args:
        folder: Folder of run folders.
        batch_size: Images per batch.
        data: File that names further test images, as experiments/data/bdd100k_night.yaml, or several,
            as [FILE, FILE].
    """
    finished = [run for run in find_runs(folder) if run.finished]
    if not finished:
        raise ValueError(
            f"{folder}: no finished run; yolo-synth fit again goes on with one cut off"
        )
    for run in find_runs(folder):
        if not run.finished:
            print(f"{run.folder}: not finished, left out")  # noqa: T201
    table = table_2(evaluation_table(finished, batch_size, data))
    print(table.to_string(float_format="{:.3f}".format))  # noqa: T201
    table.to_csv(Path(folder) / "table_2.csv")
    metrics = {run.name: pd.read_csv(run.folder / METRICS) for run in finished}
    training_curves(metrics).savefig(Path(folder) / "training.png", dpi=150)


def evaluation_table(
    finished: Sequence[Run], batch_size: int = 16, data: str | Sequence[str] = ()
) -> pd.DataFrame:
    """Return a row per run and domain: model, seed, domain, map50, map and map50 of each class."""
    domains = domain_data(finished, data)
    pairs = [(run, domain) for run in finished for domain in domains]
    rows = []
    for run, domain in tqdm(pairs, desc="evaluate", unit="test", leave=False):
        scores = _scores(run, domain, domains[domain], batch_size)
        rows.append({"model": run.model, "seed": run.seed, "domain": domain, **scores})
    return pd.DataFrame(rows)


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


def _scores(run: Run, domain: str, data: Config, batch_size: int) -> dict[str, float]:
    """Return the scores kept in the run folder, if they are of the same images, or compute them."""
    path = run.folder / "test" / f"{domain}.json"
    if path.is_file():
        kept = json.loads(path.read_text())
        if kept.get("data") == data:
            scores: dict[str, float] = kept["scores"]
            return scores
    scores = test_scores(run, data, batch_size)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"data": data, "scores": scores}, indent=2) + "\n")
    return scores


@torch.inference_mode()
def test_scores(run: Run, data: Config, batch_size: int) -> dict[str, float]:
    """Return mAP of a run's best weights on the test images of a data module's configuration."""
    module = data_module(data, image_size=run.image_size, batch_size=batch_size)
    module.prepare_data()
    module.setup("test")
    device = fastest()
    network = run.network().to(memory_format=torch.channels_last).to(device)
    model = run.config["model"]
    metric = AveragePrecision(network.num_classes)
    for images, targets in module.test_dataloader():
        found = network.detect(images.to(device).float() / 255, model["confidence"], model["iou"])
        metric.update(found, targets)
    return metric.compute()
