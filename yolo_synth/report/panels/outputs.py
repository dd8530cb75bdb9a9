"""What the layers put out: statistics of every layer for the domains' images (Tables 3 and 4)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd
from tqdm import tqdm

from yolo_synth.analysis.activations.run import each_layer
from yolo_synth.analysis.activations.statistics import Accumulator, average_layers, layer_table
from yolo_synth.devices import fastest
from yolo_synth.files import Kept, digest, keeping
from yolo_synth.probe import Label, Probe, Subject
from yolo_synth.report import paper
from yolo_synth.report.panel import Panel, Table
from yolo_synth.report.study import Study

FORMAT: Final = 1
"""Of what the kept statistics mean: raise it whenever a number becomes another one."""

MEANS: Final = (
    "Mean, median, standard deviation, minimum and maximum of a layer's output over all images"
)


class Outputs(NamedTuple):
    """One of the two tables' numbers.

    Attributes:
        number: Of the paper's table.
        size: Side of the probe images in pixels.
        layers: Domain of the images and network → a row a layer.
    """

    number: int
    size: int
    layers: dict[tuple[str, Label], pd.DataFrame]


def compute(study: Study) -> list[Outputs]:
    """Return the numbers at the size of training and at 32 x 32."""
    sizes = {3: study.subjects[0].run.image_size, 4: paper.PROBE_SIZE}
    return [
        Outputs(
            number,
            size,
            {
                (probe.domain, subject.label): layer_outputs(subject, probe)
                for probe in study.probes(size)
                for subject in study.subjects
            },
        )
        for number, size in sizes.items()
    ]


def layer_outputs(subject: Subject, probe: Probe) -> pd.DataFrame:
    """Return mean, median, std, min and max of every layer's output, exact, a row a layer.

    They are kept in the run folder, under statistics/, and not computed again.
    """
    key = digest(subject.weights, probe.images_digest)
    kept = Kept(Path(f"{subject.kept('statistics', probe)}.json"), key, FORMAT)
    if (table := kept.read(partial(_table, layers=len(subject.structure)))) is not None:
        return table
    columns = {str(k): v for k, v in _computed(subject, probe).to_dict("list").items()}
    with keeping(subject.run.folder):
        kept.write(columns)
    return pd.DataFrame(columns)


def _table(columns: dict[str, Any], layers: int) -> pd.DataFrame:
    table = pd.DataFrame(columns)
    average_layers(table)  # of all that it needs
    if len(table) != layers or list(table["layer"]) != list(range(layers)):
        raise ValueError("of other layers")
    return table


def _computed(subject: Subject, probe: Probe) -> pd.DataFrame:
    network = subject.network.to(fastest())
    kinds = subject.structure.called
    values = [Accumulator() for _ in kinds]
    label = f"{subject.label}, {probe.label}"
    with tqdm(total=2 * len(values), desc=label, leave=False) as bar:
        for take in (Accumulator.update, Accumulator.refine):
            latest = 0
            for layer, chunks in each_layer(network, probe.images):
                for chunk in chunks:
                    take(values[layer], chunk)
                bar.update(max(0, layer - latest))
                latest = max(layer, latest)
    return layer_table([value.summary() for value in values], kinds)


def tables(results: list[Outputs]) -> Iterator[Table]:
    """Yield Tables 3 and 4, averaged over layers, and the values of each layer."""
    for number, size, layers in results:
        title = f"Table {number}: what the layers put out at {size} x {size}"
        rows = {
            (domain, label.model, label.seed): table for (domain, label), table in layers.items()
        }
        yield Table(
            f"table_{number}",
            f"{title}, averaged over layers",
            f"{MEANS}, places and channels; exact, then averaged over all layers, detection layers as "
            "raw logits.",
            pd.DataFrame(
                [average_layers(table) for table in rows.values()],
                index=pd.MultiIndex.from_tuples(rows, names=["probe images", "model", "seed"]),
            ),
        )
        for domain in dict.fromkeys(domain for domain, _ in layers):
            columns = {
                label.name: table.set_index(["layer", "kind"])
                for (probe, label), table in layers.items()
                if probe == domain
            }
            yield Table(
                f"table_{number}_layers_{domain.lower()}",
                f"{title}, layer by layer, {domain} probe images",
                f"{MEANS}, places and channels; a row a layer.",
                pd.concat(columns, axis=1, names=["run", "statistic"]),
            )


PANEL = Panel("outputs", "What the layers put out", compute, tables)
