"""Inside one network: how far apart it puts the images of two domains, layer by layer.

Both domains' images go through the network together; one Gram matrix a layer holds all that is
asked. The Fréchet distance is not offered: at 200 images its bias is most of its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.figures.similarity import similarity_curves
from yolo_synth.analysis.similarity.gaps import MEASURE, gap_test, participation_ratio
from yolo_synth.analysis.similarity.judging import DRAWS
from yolo_synth.analysis.similarity.series import LayerSeries, Values, part_means
from yolo_synth.comparison import FEWEST_IMAGES
from yolo_synth.files import file_name
from yolo_synth.probe import Grams, Label, Subject, joined
from yolo_synth.report import paper
from yolo_synth.report.figures import Drawing
from yolo_synth.report.panel import Curves, Panel, Section, Table
from yolo_synth.report.study import Study
from yolo_synth.report.tables import by_layer
from yolo_synth.report.words import kind, number


@dataclass(frozen=True)
class DomainGap:
    """What one network makes of the images of two domains.

    Attributes:
        run: The network.
        domains: Both domains, as `Real` and `Synthetic`.
        images: Number of images of each.
        size: Their side in pixels.
        structure: The network's layers.
        series: Unbiased MMD² between the domains over the variance within; 1 is a gap as large as the
            spread within a domain, chance is that of the images' domains permuted.
        dimensions: Participation ratio of each domain's images [L]: how many dimensions they fill.
        is_main: Whether the findings speak of it.
    """

    run: Label
    domains: tuple[str, str]
    images: tuple[int, int]
    size: int
    structure: Structure
    series: LayerSeries
    dimensions: tuple[Values, Values]
    is_main: bool = True

    @property
    def label(self) -> str:
        """The images in words."""
        (first, second), (a, b) = self.domains, self.images
        return f"{a} {first} and {b} {second} images at {self.size}x{self.size}"


def compute(study: Study) -> list[DomainGap]:
    """Measure how far each network separates every two domains, at the paper's size."""
    gaps = []
    for first, second in combinations(study.probes(paper.PROBE_SIZE), 2):
        both = joined([first, second])
        grams, is_first = Grams(both), torch.arange(len(both.images)) < len(first.images)
        for subject in study.subjects:
            name = f"gap_{subject.label}_{both.domain}_{both.size}".lower()
            rows = study.kept(name, both, [subject], str(len(first.images))).once(
                partial(_rows, layers=len(study.structure)),
                partial(_measured, grams, subject, is_first),
            )
            gaps.append(
                DomainGap(
                    subject.label,
                    (first.domain, second.domain),
                    (len(first.images), len(second.images)),
                    both.size,
                    study.structure,
                    LayerSeries(rows["gap"], null=rows["null"], p=rows["p"]),
                    (rows["first"], rows["second"]),
                    subject.label in study.main,
                )
            )
    return gaps


def _rows(rows: dict[str, Any], layers: int) -> dict[str, Any]:
    if any(rows[name].shape != (layers,) for name in ("gap", "null", "p", "first", "second")):
        raise ValueError("of other layers")
    return rows


def _measured(grams: Grams, subject: Subject, is_first: torch.Tensor) -> dict[str, Values]:
    matrices, clusters = grams(subject), grams.probe.groups
    test = gap_test(matrices, is_first, DRAWS, clusters=clusters)
    first, second = (
        _dimensions(matrices[:, side][:, :, side], np.array(clusters)[side.numpy()].tolist())
        for side in (is_first, ~is_first)
    )
    return {
        "gap": test.value.numpy(),
        "null": test.null_quantile().numpy(),
        "p": test.p_corrected.numpy(),
        "first": first,
        "second": second,
    }


def _dimensions(grams: torch.Tensor, clusters: Sequence[str]) -> Values:
    """Return how many dimensions images fill; NaN with fewer sequences than that can be said of."""
    if len(set(clusters)) < FEWEST_IMAGES:
        return np.full(len(grams), np.nan)
    return participation_ratio(grams, clusters).numpy()


def tables(gaps: Sequence[DomainGap]) -> Iterator[Table]:
    """Yield where the domains' images part inside each network, in parts and layer by layer."""
    if not gaps:
        return
    rows, layers = [], {}
    for gap in gaps:
        parts, domains = gap.structure.parts, " and ".join(gap.domains)
        means = gap.series.means(parts)
        filled = dict(zip(gap.domains, gap.dimensions, strict=True))
        rows.append(
            {
                "domains": domains,
                "size": gap.size,
                "run": gap.run.name,
                **{f"gap, {part}": means[part] for part in parts},
                "largest in layer": _largest(gap.series.value),
                "layers beyond chance": int(gap.series.significant.sum()),
                **{
                    f"dimensions of {domain}, {part}": part_means(values, parts)[part]
                    for domain, values in filled.items()
                    for part in parts
                },
            }
        )
        columns = {
            name: values for name, values in gap.series.columns("gap").items() if name != "null"
        }
        columns |= {f"dimensions of {domain}": values for domain, values in filled.items()}
        layers[domains, gap.run.name] = by_layer(columns, gap.structure)
    yield Table(
        "gap",
        "Where the domains part inside each network",
        "Inside one network: the unbiased squared distance between the mean outputs for the images of "
        "two domains, pairs of frames of one sequence left out (MMD\N{SUPERSCRIPT TWO}, Gretton et al. "
        "2012), over the variance within a domain; 1 "
        "is a gap as large as the spread within, 0 is chance. Dimensions: participation ratio of the "
        "outputs' covariance, free of the bias of few images. P-values by permuting the domains of whole "
        "sequences and rides (each draw over its own standard error), corrected over the layers.",
        pd.DataFrame(rows).set_index(["domains", "size", "run"]),
    )
    yield Table(
        "gap_layers",
        "Where the domains part, layer by layer",
        "As the table before, a row a layer.",
        pd.concat(layers, axis=1, names=["domains", "run", "value"]),
    )


def _largest(values: Values) -> int:
    """Return the layer of the largest value; -1 if none has one."""
    return int(np.nanargmax(values)) if np.isfinite(values).any() else -1


def sentences(gaps: Sequence[DomainGap]) -> Iterator[str]:
    """Say in which layers the networks of the main pair tell the domains apart."""
    for gap in gaps:
        if gap.is_main:
            yield _where_domains_part(gap)


def _where_domains_part(gap: DomainGap) -> str:
    apart = np.flatnonzero(gap.series.significant)
    text = f"Inside {gap.run}, {gap.label}"
    if not len(apart):
        return f"{text} are in no layer farther apart than chance."
    value = gap.series.value
    layer = _largest(value)
    return (
        f"{text} are farthest apart in layer {layer} ({kind(gap.structure.called[layer])}; "
        f"MMD\N{SUPERSCRIPT TWO} {number(float(value[layer]))} times the variance within a domain), and "
        f"beyond chance in {len(apart)} of {len(value)} layers, of which layer {apart[0]} is the first."
    )


def figures(gaps: Sequence[DomainGap]) -> Iterator[Drawing]:
    """Yield where the domains part inside the networks, a figure per two domains and seed."""
    for domains, seed in dict.fromkeys((gap.domains, gap.run.seed) for gap in gaps):
        chosen = [gap for gap in gaps if (gap.domains, gap.run.seed) == (domains, seed)]
        name = file_name(f"gap_seed_{seed}_{'_'.join(domains)}_{chosen[0].size}".lower())
        inputs = [x for gap in chosen for x in (gap.run, gap.label, gap.structure, gap.series)]
        yield Drawing(name, partial(_draw, chosen), inputs)


def _draw(gaps: Sequence[DomainGap]) -> Figure:
    first, second = gaps[0].domains
    return similarity_curves(
        {gap.run.name: gap.series for gap in gaps},
        gaps[0].structure,
        title=f"How far apart each network puts {first} and {second} images\n{gaps[0].label}",
        image_size=gaps[0].size,
        measure=MEASURE,
        highest=max(float(np.nanmax(gap.series.value)) for gap in gaps),
    )


def section(gaps: Sequence[DomainGap]) -> Section:
    """Return a picture of curves for every two domains."""
    pictures: dict[str, list[DomainGap]] = {}
    for gap in gaps:
        pictures.setdefault(gap.label, []).append(gap)
    return Section(
        "gap",
        "Where the domains part",
        "Inside each network: the squared distance between the mean outputs for the images of two domains "
        "over the variance within a domain, MMD\N{SUPERSCRIPT TWO} without bias. 1 is a gap as large as "
        "the spread within; below the grey line, 95 % of random divisions of the same images are as far "
        "apart.",
        [
            Curves(
                label,
                chosen[0].size,
                {gap.run.name: gap.series for gap in chosen},
                {gap.run.name: gap.run.model for gap in chosen},
            )
            for label, chosen in pictures.items()
        ],
    )


PANEL = Panel("gap", "Where the domains part", compute, tables, sentences, figures, section)
