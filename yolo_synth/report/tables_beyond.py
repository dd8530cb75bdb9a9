"""Tables that the paper has not: verdicts, other measures, the gap inside one network, freezing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from yolo_synth.analysis.activations.statistics import agreement
from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.similarity.chance import SIGNIFICANT
from yolo_synth.report.judging import WORDS, calibrated, verdicts
from yolo_synth.report.results import Contrast, DomainGap, Pair, Table, Values
from yolo_synth.report.tables import part_means


def verdict_table(pairs: Sequence[Pair], structure: Structure) -> list[Table]:
    """Return how many layers cannot be told from two seeds of one model, or from chance; or nothing."""
    rows = []
    for pair in pairs:
        if not pair.is_two_runs or pair.low is None or len(set(pair.models)) == 1:
            continue
        words = verdicts(pair)
        parts = part_means(calibrated(pair), structure)
        rows.append(
            {
                "probe images": pair.probe,
                "size": pair.size,
                "pair": pair.name,
                **{word: int((words == word).sum()) for word in WORDS},
                "calibrated, backbone": parts["backbone"],
                "calibrated, head": parts["head"],
            }
        )
    if not rows:
        return []
    caption = (
        "Number of layers. Not told from two seeds: the interval reaches up to that of two seeds of one "
        "model. Not told from chance: it reaches down to the 95 % point of permuted images, or there is "
        "none. Between: neither. Undecided: both, or there are not two seeds. Neither is a proof of "
        "sameness: fewer images tell less. Calibrated: the mean place of the debiased "
        "CKA between the mean of permuted images (0) and two seeds (1). The paper has no such table."
    )
    frame = pd.DataFrame(rows).set_index(["probe images", "size", "pair"])
    return [Table("verdicts", "What the intervals allow to say", caption, frame)]


def opinion_table(pairs: Sequence[Pair], structure: Structure) -> list[Table]:
    """Return what angular Procrustes and nearest neighbours say beside CKA; or nothing."""
    rows = []
    for pair in pairs:
        if pair.angle is None or pair.neighbours is None:
            continue
        angle, shared = part_means(pair.angle, structure), part_means(pair.neighbours, structure)
        rows.append(
            {
                "probe images": pair.probe,
                "size": pair.size,
                "pair": pair.name,
                **{f"angle, {part}": angle[part] for part in ("backbone", "head")},
                **{f"neighbours, {part}": shared[part] for part in ("backbone", "head")},
                **opinions(pair),
            }
        )
    if not rows:
        return []
    caption = (
        "Angle: angular Procrustes distance in radians, 0 for layers that agree up to rotation and "
        "scale, at most 1.57. Neighbours: share of an image's 10 nearest neighbours that both networks "
        "agree on. The last three columns: Spearman's correlation over the layers, the angle's sign "
        "turned; near 1 where two families of measures rank the layers alike. None is right "
        "everywhere (Klabunde et al. 2025). The paper has no such table."
    )
    frame = pd.DataFrame(rows).set_index(["probe images", "size", "pair"])
    return [Table("second_opinion", "A second opinion: other families of measures", caption, frame)]


def opinions(pair: Pair) -> dict[str, float]:
    """Return how alike CKA, angle and neighbours rank a pair's layers: Spearman's correlations."""
    values = {"CKA": np.diag(pair.debiased), "angle": pair.angle, "neighbours": pair.neighbours}
    ranks = agreement(pd.DataFrame(values), distances=["angle"]).to_numpy()
    return {
        f"{first} and {second}": float(ranks[i, j])
        for (i, first), (j, second) in combinations(enumerate(values), 2)
    }


def gap_tables(gaps: Sequence[DomainGap], structure: Structure) -> list[Table]:
    """Return where the domains' images part inside each network, in parts and layer by layer."""
    if not gaps:
        return []
    rows, layers = [], {}
    for gap in gaps:
        first, second = gap.domains
        parts = part_means(gap.gap, structure)
        sizes = [part_means(values, structure) for values in gap.dimensions]
        rows.append(
            {
                "domains": f"{first} and {second}",
                "size": gap.size,
                "run": gap.run,
                "gap, backbone": parts["backbone"],
                "gap, head": parts["head"],
                "largest in layer": int(np.nanargmax(gap.gap)),
                "layers beyond chance": int((gap.p <= SIGNIFICANT).sum()),
                **{
                    f"dimensions of {domain}, {part}": means[part]
                    for domain, means in zip(gap.domains, sizes, strict=True)
                    for part in ("backbone", "head")
                },
            }
        )
        dimensions = {
            f"dimensions of {domain}": values
            for domain, values in zip(gap.domains, gap.dimensions, strict=True)
        }
        layers[f"{first} and {second}", gap.run] = _by_layer(
            {"gap": gap.gap, "p": gap.p, **dimensions}, structure
        )
    caption = (
        "Inside one network: the unbiased squared distance between the mean outputs for the images of "
        "two domains (MMD\u00b2, Gretton et al. 2012) over the variance within a domain; 1 is a gap as "
        "large as the spread within, 0 is chance. Dimensions: participation ratio of the images' outputs, "
        "how many directions they fill. P-values by permuting the domains of whole sequences and rides, "
        "corrected over the layers. The paper has no such table."
    )
    return [
        Table(
            "gap",
            "Where the domains part inside each network",
            caption,
            pd.DataFrame(rows).set_index(["domains", "size", "run"]),
        ),
        Table(
            "gap_layers",
            "Where the domains part, layer by layer",
            "As the table before, a row a layer.",
            pd.concat(layers, axis=1, names=["domains", "run", "value"]),
        ),
    ]


def contrast_tables(contrasts: Sequence[Contrast], structure: Structure) -> list[Table]:
    """Return what freezing does to the similarity with a third network, in parts and by layer."""
    if not contrasts:
        return []
    rows, layers = [], {}
    for contrast in contrasts:
        parts = part_means(contrast.value, structure)
        rows.append(
            {
                "probe images": contrast.probe,
                "size": contrast.size,
                "with": contrast.third,
                "first": contrast.first,
                "second": contrast.second,
                "difference, backbone": parts["backbone"],
                "difference, head": parts["head"],
                "layers, first more alike": contrast.nearer,
                "layers, second more alike": contrast.farther,
            }
        )
        key = (contrast.probe, f"{contrast.first} - {contrast.second}, with {contrast.third}")
        names = ("value", "low", "high", "p")
        layers[key] = _by_layer({name: getattr(contrast, name) for name in names}, structure)
    caption = (
        "Debiased CKA of the first network with a third, minus that of the second network with it, on the "
        "same images; means over layers, and the number of layers in which it differs from zero (jackknife "
        "over images, Holm's correction over the layers, p at most 0.05). Where all began with the same "
        "weights, a frozen backbone is that beginning: the difference tells how near to it the third has "
        "stayed. The paper has no such table."
    )
    index = ["probe images", "size", "with", "first", "second"]
    return [
        Table(
            "freezing",
            "Whether the frozen or the free network is more alike to another",
            caption,
            pd.DataFrame(rows).set_index(index),
        ),
        Table(
            "freezing_layers",
            "The same, layer by layer",
            "Differences with their 95 % intervals and corrected p-values, a row a layer.",
            pd.concat(layers, axis=1, names=["probe images", "difference", "value"]),
        ),
    ]


def _by_layer(columns: Mapping[str, Values], structure: Structure) -> pd.DataFrame:
    """Return a row a layer, named by its number and kind."""
    layers = pd.MultiIndex.from_tuples(enumerate(structure.kinds), names=["layer", "kind"])
    return pd.DataFrame(columns, index=layers)
