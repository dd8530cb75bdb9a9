"""What the layers put out: statistics of every layer for a probe's images (Tables 3 and 4)."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from yolo_synth.analysis.activations.run import each_layer
from yolo_synth.analysis.activations.statistics import Accumulator, layer_table
from yolo_synth.analysis.activations.structure import structure_of
from yolo_synth.comparison import Probe
from yolo_synth.devices import fastest
from yolo_synth.networks.contract import Network
from yolo_synth.report.similarities import Subject


def layer_outputs(subject: Subject, probe: Probe) -> pd.DataFrame:
    """Return mean, median, std, min and max of every layer's output, exact, a row a layer.

    They are kept in the run folder, under statistics/, and not computed again.
    """
    path = Path(f"{subject.kept('statistics', probe)}.json")
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        draft = path.with_suffix(".draft")
        table = _computed(subject.network().to(fastest()), probe, subject.name)
        draft.write_text(json.dumps(table.to_dict("list"), indent=1))
        draft.replace(path)
    return pd.DataFrame(json.loads(path.read_text()))


def _computed(network: Network, probe: Probe, name: str) -> pd.DataFrame:
    structure = structure_of(network)
    values = [Accumulator() for _ in structure.kinds]
    with tqdm(total=2 * len(values), desc=f"{name}, {probe.label}", leave=False) as bar:
        for take in (Accumulator.update, Accumulator.refine):
            latest = 0
            for layer, chunks in each_layer(network, probe.images):
                for chunk in chunks:
                    take(values[layer], chunk)
                bar.update(max(0, layer - latest))
                latest = max(layer, latest)
    return layer_table([value.summary() for value in values], structure.kinds)
