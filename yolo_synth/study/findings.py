"""Findings: what a report's numbers say, in sentences that name the numbers.

A sentence claims no more than intervals, null and spread over seeds allow; where they do not allow
anything it says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from yolo_synth.analysis.structure import Structure
from yolo_synth.analysis.uncertainty import SIGNIFICANT
from yolo_synth.study import paper
from yolo_synth.study.judging import calibrated, verdicts
from yolo_synth.study.results import Contrast, DomainGap, Pair, split_name
from yolo_synth.study.tables import part_means
from yolo_synth.study.tables_beyond import opinions

_NAMES: Final = {"yolo": "detection", "convolutional": "convolution"}


def findings(
    scores: pd.DataFrame,
    pairs: Sequence[Pair],
    structure: Structure,
    gaps: Sequence[DomainGap] = (),
    contrasts: Sequence[Contrast] = (),
) -> list[str]:
    """Return the sentences, the most important ones first.

    Args:
        scores: A row per run and domain, of `evaluation.evaluation_table`.
        pairs: All pairs of the report.
        structure: The layers.
        gaps: What each network makes of the images of two domains.
        contrasts: What freezing does to the similarity with a third network.
    """
    compared = [pair for pair in pairs if pair.is_two_runs]
    main = _main_pairs(compared)
    sentences = [_own_domain(scores)]
    # First what training added: most of the plain figure can come from the common start.
    sentences += [_training_added(pair, structure) for pair in main if pair.partial is not None]
    sentences += [
        f"{_where(pair, structure)} {_against_references(pair, structure)}" for pair in main
    ]
    if compared:
        sentences.append(_backbone_and_head(compared, structure))
    sentences += _freezing(scores)
    sentences += _freezing_similarity(compared, structure, contrasts)
    sentences += _distance_from_start(pairs, structure)
    sentences += [_second_opinion(pair) for pair in main if pair.angle is not None]
    sentences += [_where_domains_part(gap, structure) for gap in _main_gaps(gaps, main)]
    if main:
        sentences.append(_bias(main, structure))
    return sentences


def _main_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """Return, for each probe and seed, the pair of real and synthetic training at the paper's size."""
    chosen = []
    for probe in dict.fromkeys(pair.probe for pair in pairs):
        seen = [p for p in pairs if p.probe == probe and p.seeds[0] == p.seeds[1]]
        sizes = {pair.size for pair in seen}
        size = paper.PROBE_SIZE if paper.PROBE_SIZE in sizes else min(sizes, default=0)
        at_size = [pair for pair in seen if pair.size == size]
        models = [pair.models for pair in at_size]
        wanted = ("U-Real", "U-Synthetic")
        if models and wanted not in models:
            wanted = models[0]
        chosen += [pair for pair in at_size if pair.models == wanted]
    return chosen


def number(value: float, digits: int = 2) -> str:
    """Write a number with a true minus sign; `undefined` if there is none."""
    if not np.isfinite(value):
        return "undefined"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "\N{MINUS SIGN}")


def _span(layers: range) -> str:
    last = layers.stop - 1
    return f"layer {last}" if len(layers) == 1 else f"layers {layers.start}\N{EN DASH}{last}"


def _probed(pair: Pair) -> str:
    return f"Probed with {pair.images} {pair.probe} test images at {pair.size}x{pair.size}"


def _own_domain(scores: pd.DataFrame) -> str:
    means = scores.groupby(["model", "domain"], sort=False)["map50"].mean().unstack(sort=False)
    texts = [
        f"{model} "
        + " and ".join(f"{number(value, 3)} on {domain}" for domain, value in row.items())
        for model, row in means.iterrows()
    ]
    seeds = scores["seed"].nunique()
    over = f", mean of {seeds} seeds" if seeds > 1 else ""
    return f"mAP@0.5 on the test images of each domain{over}: {'; '.join(texts)}."


def _where(pair: Pair, structure: Structure) -> str:
    diagonal = np.diag(pair.debiased)
    parts = part_means(diagonal, structure)
    regions = [
        (float(np.nanmean(diagonal[region])), region)
        for region in structure.regions
        if np.isfinite(diagonal[region]).any()
    ]
    low, lowest = min(regions, key=lambda found: found[0])
    high, highest = max(regions, key=lambda found: found[0])
    layer = int(np.nanargmin(diagonal))
    kind = structure.kinds[layer]
    return (
        f"{_probed(pair)}, {pair.first} and {pair.second} have a mean debiased CKA of "
        f"{number(parts['backbone'])} over the backbone and {number(parts['head'])} over the head. By "
        f"scale region it is lowest in {_span(lowest)} ({number(low)}) and highest in {_span(highest)} "
        f"({number(high)}); the lowest single layer is {layer} ({_NAMES.get(kind, kind)}, "
        f"{number(float(diagonal[layer]))}{_interval(pair, layer)})."
    )


def _interval(pair: Pair, layer: int) -> str:
    """Return a layer's interval or why there is none, to stand after its value."""
    if pair.low is None or pair.high is None or pair.null is None:
        return ""
    if not np.isfinite(pair.low[layer]):
        return ", not distinguishable from permuted images"
    return f", 95 % interval {number(pair.low[layer])} to {number(pair.high[layer])}"


def _against_references(pair: Pair, structure: Structure) -> str:
    """Count the layers above chance, and those that reach two seeds of one model."""
    words = verdicts(pair)
    valued = int((words != "constant").sum())
    above = int(_above_chance(pair).sum())
    text = (
        f"The interval lies above the 95 % point of permuted images in {above} of {valued} layers"
    )
    if pair.ceiling is None:
        return (
            f"{text}; how far two trainings of one model are apart is unknown, since there is one "
            "seed."
        )
    reached = int((words == "as two seeds").sum())
    place = part_means(calibrated(pair), structure)
    return (
        f"{text}; of these, it reaches the interval of two seeds of one model in {reached}. Between "
        f"permuted images (0) and two seeds (1), the debiased CKA has its mean place at "
        f"{number(place['backbone'])} over the backbone and {number(place['head'])} over the head."
    )


def _above_chance(pair: Pair) -> NDArray[np.bool_]:
    if pair.low is None or pair.null is None:
        return np.zeros(len(pair.debiased), dtype=bool)
    return pair.low > pair.null


def _backbone_and_head(pairs: Sequence[Pair], structure: Structure) -> str:
    means = [part_means(np.diag(pair.debiased), structure) for pair in pairs]
    higher = sum(mean["backbone"] > mean["head"] for mean in means)
    gaps = [mean["backbone"] - mean["head"] for mean in means]
    return (
        f"The mean debiased CKA is higher over the backbone than over the head in {higher} of "
        f"{len(means)} comparisons of two runs (all pairs, probes and sizes; backbone minus head "
        f"{number(min(gaps))} to {number(max(gaps))})."
    )


def _freezing(scores: pd.DataFrame) -> list[str]:
    """Compare mAP with and without a frozen backbone, against the spread over seeds."""
    sentences = []
    by_run = scores.set_index(["model", "domain", "seed"])["map50"].sort_index()
    models = set(scores["model"])
    for trained in scores["domain"].unique():
        free, frozen = f"U-{trained}", f"F-{trained}"
        if not {free, frozen} <= models:
            continue
        texts = [
            f"on {domain} from {_change(by_run[free, domain], by_run[frozen, domain])}"
            for domain in scores["domain"].unique()
        ]
        one_seed = min(len(by_run[model, trained]) for model in (free, frozen)) < 2
        sentences.append(
            f"Freezing the backbone while training on {trained} changed mAP@0.5 {', and '.join(texts)}"
            f"{_ONE_SEED if one_seed else ''}."
        )
    return sentences


_ONE_SEED: Final = "; whether that is more than another seed would change is unknown with one seed"


def _change(free: pd.Series, frozen: pd.Series) -> str:
    """Write two means over seeds, and hold their difference against the spread over seeds."""
    change = float(frozen.mean() - free.mean())
    sign = "+" if change > 0 else ""
    text = f"{number(free.mean(), 3)} to {number(frozen.mean(), 3)} ({sign}{number(change, 3)}"
    if min(len(free), len(frozen)) < 2:
        return f"{text})"
    spread = max(float(group.max() - group.min()) for group in (free, frozen))
    beyond = "more than" if abs(change) > spread else "within"
    return f"{text}, {beyond} the {number(spread, 3)} between seeds of one model)"


def _freezing_similarity(
    pairs: Sequence[Pair], structure: Structure, contrasts: Sequence[Contrast]
) -> list[str]:
    """Compare how near U-Synthetic and F-Synthetic are to U-Real, per probe at the paper's size."""
    sentences = []
    for probe in dict.fromkeys(pair.probe for pair in pairs):
        values: dict[str, pd.Series] = {}
        sizes = {pair.size for pair in pairs if pair.probe == probe}
        size = paper.PROBE_SIZE if paper.PROBE_SIZE in sizes else min(sizes)
        for model in ("U-Synthetic", "F-Synthetic"):
            means = [
                part_means(np.diag(pair.debiased), structure)["all"]
                for pair in pairs
                if (pair.probe, pair.size) == (probe, size)
                and pair.models == ("U-Real", model)
                and pair.seeds[0] == pair.seeds[1]
            ]
            values[model] = pd.Series(means, dtype=float)
        free, frozen = values.values()
        if len(free) and len(frozen):
            one_seed = min(len(free), len(frozen)) < 2
            sentences.append(
                f"Freezing the backbone on Synthetic changed the mean debiased CKA with U-Real, seen "
                f"with {probe} images at {size}x{size}, from {_change(free, frozen)}"
                f"{_ONE_SEED if one_seed else ''}."
                f"{_by_layer([c for c in contrasts if c.probe == probe], pairs)}"
            )
    return sentences


def _by_layer(contrasts: Sequence[Contrast], pairs: Sequence[Pair]) -> str:
    """Say in how many layers the frozen network is nearer to U-Real, beyond the chance of the images."""
    texts = [
        f"nearer in {contrast.nearer} and farther in {contrast.farther} of {len(contrast.value)} layers "
        f"({contrast.first})"
        for contrast in contrasts
        if split_name(contrast.third)[0] == "U-Real"
        and split_name(contrast.first)[0] == "F-Synthetic"
    ]
    if not texts:
        return ""
    text = (
        f" On the same images the frozen network is {'; '.join(texts)}, corrected over the layers."
    )
    started = {(pair.first, pair.second) for pair in pairs if pair.partial is not None}
    if started.isdisjoint((contrast.third, contrast.first) for contrast in contrasts):
        return text
    return (
        f"{text} Its backbone is what all started from, so that this tells how near U-Real stayed to "
        "its start."
    )


def _training_added(pair: Pair, structure: Structure) -> str:
    """Say what is left of the similarity without the initial state, where both changed."""
    assert pair.partial is not None
    added = part_means(pair.partial, structure)
    changed = np.where(np.isnan(pair.partial), np.nan, np.diag(pair.debiased))
    before = part_means(changed, structure)
    texts = [
        f"from {number(before[part])} to {number(added[part])} over the {part}"
        if np.isfinite(added[part])
        else f"to nothing defined over the {part}, which did not change in both"
        for part in ("backbone", "head")
    ]
    clear = int((pair.partial_p <= SIGNIFICANT).sum()) if pair.partial_p is not None else 0
    count = int(np.isnan(pair.partial).sum())
    rest = f" ({count} layers that did not change in both are left out)" if count else ""
    return (
        f"What training added, {pair.name} ({pair.probe} images): with the common initial state "
        f"regressed out, the mean debiased CKA goes {' and '.join(texts)}{rest}. It is beyond permuted "
        f"images in {clear} of {len(pair.partial) - count} layers."
    )


def _second_opinion(pair: Pair) -> str:
    """Say whether other families of measures rank the layers alike, and which layers match."""
    ranks = opinions(pair)
    text = (
        f"A second opinion, {pair.name} ({pair.images} {pair.probe} images at {pair.size}x{pair.size}): "
        f"Spearman's correlation over the layers is {number(ranks['CKA and angle'])} between debiased "
        f"CKA and angular Procrustes and {number(ranks['CKA and neighbours'])} between CKA and shared "
        "nearest neighbours, where 1 is the same ranking."
    )
    if pair.match is None or pair.match_p is None:
        return text
    same = int((pair.match == np.arange(len(pair.match))).sum())
    clear = int((pair.match_p <= SIGNIFICANT).sum())
    return (
        f"{text} In {same} of {len(pair.match)} layers the layer of the same number matches best, and "
        f"in {clear} the best match is beyond chance."
    )


def _main_gaps(gaps: Sequence[DomainGap], main: Sequence[Pair]) -> list[DomainGap]:
    """Return the gaps of the runs of the first main pair, or of the first two runs."""
    runs = [main[0].first, main[0].second] if main else [gap.run for gap in gaps[:2]]
    return [gap for gap in gaps if gap.run in runs]


def _where_domains_part(gap: DomainGap, structure: Structure) -> str:
    """Say in which layers a network tells the domains apart."""
    first, second = gap.domains
    apart = np.flatnonzero(gap.p <= SIGNIFICANT)
    text = (
        f"Inside {gap.run}, {gap.images[0]} {first} and {gap.images[1]} {second} images at "
        f"{gap.size}x{gap.size}"
    )
    if not len(apart):
        return f"{text} are in no layer farther apart than chance."
    layer = int(np.nanargmax(gap.gap))
    kind = structure.kinds[layer]
    return (
        f"{text} are farthest apart in layer {layer} ({_NAMES.get(kind, kind)}; MMD\N{SUPERSCRIPT TWO} "
        f"{number(float(gap.gap[layer]))} times the variance within a domain), and beyond chance in "
        f"{len(apart)} of {len(gap.gap)} layers, of which layer {apart[0]} is the first."
    )


def _distance_from_start(pairs: Sequence[Pair], structure: Structure) -> list[str]:
    """Say how near each run still is to its initial state, per probe at the paper's size."""
    sentences = []
    initial = [pair for pair in pairs if pair.is_initial]
    for probe in dict.fromkeys(pair.probe for pair in initial):
        sizes = {pair.size for pair in initial if pair.probe == probe}
        size = paper.PROBE_SIZE if paper.PROBE_SIZE in sizes else min(sizes)
        texts = []
        for pair in initial:
            if (pair.probe, pair.size) == (probe, size):
                parts = part_means(np.diag(pair.debiased), structure)
                texts.append(
                    f"{pair.first} {number(parts['backbone'])} and {number(parts['head'])}"
                )
        sentences.append(
            "Mean debiased CKA with the own initial state over backbone and head, "
            f"{probe} images at {size}x{size}: {'; '.join(texts)}."
        )
    return sentences


def _bias(pairs: Sequence[Pair], structure: Structure) -> str:
    texts = []
    for pair in pairs:
        biased, debiased = (
            part_means(np.diag(cells), structure)["all"] for cells in (pair.biased, pair.debiased)
        )
        texts.append(
            f"{number(biased)} and {number(debiased)} for {pair.name} ({pair.images} {pair.probe} images)"
        )
    return (
        f"Mean CKA over all layers as in the paper and debiased: {'; '.join(texts)}. What the first is "
        "higher by comes from few images and many features, not from the networks."
    )
