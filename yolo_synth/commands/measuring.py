"""What `evaluate` does: mAP of runs, and of networks of any other kind."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import pandas as pd

from yolo_synth import evaluation
from yolo_synth.boxes import Detection
from yolo_synth.commands.classes import silent
from yolo_synth.commands.diagnoses import write_diagnoses
from yolo_synth.commands.networks import data_for, read_networks
from yolo_synth.commands.predictions import write_results
from yolo_synth.data.module import DetectionData
from yolo_synth.data.source import Config
from yolo_synth.detecting import as_reference, thresholds
from yolo_synth.escaping import csv_text, say
from yolo_synth.files import file_name, write_whole
from yolo_synth.networks.references import Reference
from yolo_synth.runs import CONFIG, Run, run_folders
from yolo_synth.scoring import matched, reference_scores

TABLE: Final = "evaluation.csv"


def measure(
    networks: Sequence[str],
    batch_size: int,
    data: str | tuple[str, ...],
    size: int | None,
    names: dict[str, str] | None,
    out: str | None,
    trust: bool,
) -> None:
    """Measure runs, or networks of any kind, on test images and print a table."""
    if len(networks) == 1 and _holds_runs(networks[0]):
        evaluation.evaluate(networks[0], batch_size, data, trust=trust)
        return
    if size is not None and size < 1:
        raise ValueError(f"--size is a side in pixels, not {size}")
    read = read_networks(networks, trust)
    domains = evaluation.domain_data([one for one in read if isinstance(one, Run)], data)
    if not domains:
        raise ValueError("evaluate needs --data: a data file that names test images")
    rows = []
    diagnosed: dict[tuple[str, str], dict[str, Any]] = {}
    for number, network in enumerate(read):
        for domain, config in domains.items():
            with silent() if number else nullcontext():  # what the data hold was said
                module = _test_images(network, config, batch_size, size, trust)
            reference, (confidence, iou) = as_reference(network), thresholds(network)
            kept: list[Detection] = []
            found = reference_scores(reference, module, confidence, iou, names, kept)
            rows.append({"network": network.name, "domain": domain, **found.scores})
            if out is not None:
                place = Path(out) / file_name(f"{network.name}_{domain}.json")
                write_results(kept, module, matched(reference, module.classes, names)[1], place)
                if found.diagnosis:
                    diagnosed[network.name, domain] = found.diagnosis
    table = pd.DataFrame(rows).set_index(["network", "domain"])
    say(table.to_string(float_format="{:.3f}".format, na_rep="-"))
    if out is not None:
        write_whole(Path(out) / TABLE, csv_text(table))
        write_diagnoses(diagnosed, Path(out))


def _holds_runs(text: str) -> bool:
    """Tell whether a folder is one of run folders, or is to be told that it is none."""
    folder = Path(text)
    return (folder / CONFIG).is_file() or bool(
        folder.is_dir() and (run_folders(folder) or not (folder / "config.json").is_file())
    )


def _test_images(
    network: Run | Reference, data: Config, batch_size: int, size: int | None, trust: bool
) -> DetectionData:
    """Return the data module at the side and in the form that a network was made for, set up."""
    module = data_for(network, data, trust, size, batch_size=batch_size)
    module.prepare_data()
    module.setup("test")
    return module
