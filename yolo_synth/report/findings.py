"""Findings: what a report's numbers say, in sentences that name the numbers.

A sentence claims no more than intervals, null and spread over seeds allow; where they do not allow
anything it says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from yolo_synth.analysis.activations.structure import Structure
from yolo_synth.analysis.similarity.chance import SIGNIFICANT
from yolo_synth.report import paper
from yolo_synth.report.judging import calibrated, verdicts
from yolo_synth.report.results import Contrast, DomainGap, Pair, Values, split_name
from yolo_synth.report.tables import part_means
from yolo_synth.report.tables_beyond import opinions

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
    started = _by_seeds(pair for pair in main if pair.partial is not None)
    sentences += [_training_added(group, structure) for group in started]
    sentences += [
        f"{_where(group, structure)} {_against_references(group, structure)}"
        for group in _by_seeds(main)
    ]
    if compared:
        sentences.append(_backbone_and_head(compared, structure))
    sentences += _freezing(scores)
    sentences += _freezing_similarity(compared, structure, contrasts)
    sentences += _distance_from_start(pairs, structure)
    sentences += map(_second_opinion, _by_seeds(pair for pair in main if pair.angle is not None))
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


def _by_seeds(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Put those together that differ in their seed alone."""
    groups: dict[tuple[object, ...], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair.models, pair.probe, pair.size), []).append(pair)
    return list(groups.values())


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


def _listed(texts: Iterable[str]) -> str:
    """Join texts as `a`, `a and b`, `a, b and c`."""
    *others, last = texts
    return f"{', '.join(others)} and {last}" if others else last


def _numbers(values: Iterable[float]) -> str:
    return _listed(number(value) for value in values)


def _named(group: Sequence[Pair]) -> str:
    """Name a pair, or the same two models with several seeds."""
    first = group[0]
    if len(group) == 1:
        return first.name
    return f"{' vs '.join(first.models)}, seeds {_listed(str(pair.seeds[0]) for pair in group)},"


def _means(rows: Iterable[Values], structure: Structure, part: str) -> str:
    return _numbers(part_means(row, structure)[part] for row in rows)


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


def _where(group: Sequence[Pair], structure: Structure) -> str:
    """Say how alike two models are over backbone and head, and in which layers most and least."""
    diagonals = [np.diag(pair.debiased) for pair in group]
    lowest: list[str] = []
    highest: list[str] = []
    layers = []
    for pair, diagonal in zip(group, diagonals, strict=True):
        regions = [
            (float(np.nanmean(diagonal[region])), region)
            for region in structure.regions
            if np.isfinite(diagonal[region]).any()
        ]
        for found, choose in ((lowest, min), (highest, max)):
            value, region = choose(regions, key=lambda one: one[0])
            found.append(f"{_span(region)} ({number(value)})")
        layer = int(np.nanargmin(diagonal))
        kind = structure.kinds[layer]
        value = float(diagonal[layer])
        layers.append(
            f"{layer} ({_NAMES.get(kind, kind)}, {number(value)}{_interval(pair, layer)})"
        )
    pair = group[0]
    return (
        f"Probed with {pair.images} {pair.probe} test images at {pair.size}x{pair.size}, "
        f"{_named(group).replace(' vs ', ' and ')} have a mean debiased CKA of "
        f"{_means(diagonals, structure, 'backbone')} over the backbone and "
        f"{_means(diagonals, structure, 'head')} over the head. By scale region it is lowest in "
        f"{_listed(lowest)} and highest in {_listed(highest)}; the lowest single layer is "
        f"{_listed(layers)}."
    )


def _interval(pair: Pair, layer: int) -> str:
    """Return a layer's interval or why there is none, to stand after its value."""
    if pair.low is None or pair.high is None or pair.null is None:
        return ""
    if not np.isfinite(pair.low[layer]):
        return ", not distinguishable from permuted images"
    return f", 95 % interval {number(pair.low[layer])} to {number(pair.high[layer])}"


def _against_references(group: Sequence[Pair], structure: Structure) -> str:
    """Count the layers above chance, and those that reach two seeds of one model."""
    words = [verdicts(pair) for pair in group]
    valued = max(int((each != "constant").sum()) for each in words)
    above = _listed(str(int(_above_chance(pair).sum())) for pair in group)
    text = (
        f"The interval lies above the 95 % point of permuted images in {above} of {valued} layers"
    )
    if any(pair.ceiling is None for pair in group):
        return (
            f"{text}; how far two trainings of one model are apart is unknown, since there is one "
            "seed."
        )
    reached = _listed(str(int((each == "not told from two seeds").sum())) for each in words)
    places = [calibrated(pair) for pair in group]
    return (
        f"{text}; of these, it reaches the interval of two seeds of one model in {reached}. Between "
        f"permuted images (0) and two seeds (1), the debiased CKA has its mean place at "
        f"{_means(places, structure, 'backbone')} over the backbone and "
        f"{_means(places, structure, 'head')} over the head."
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


def _training_added(group: Sequence[Pair], structure: Structure) -> str:
    """Say what is left of the similarity without the initial state, where both changed."""
    partials = [pair.partial for pair in group if pair.partial is not None]
    changed = [
        np.where(np.isnan(partial), np.nan, np.diag(pair.debiased))
        for pair, partial in zip(group, partials, strict=True)
    ]
    texts = [
        f"from {_means(changed, structure, part)} to {_means(partials, structure, part)} over the {part}"
        if np.isfinite([part_means(row, structure)[part] for row in partials]).any()
        else f"to nothing defined over the {part}, which did not change in both"
        for part in ("backbone", "head")
    ]
    clear = _listed(
        str(0 if pair.partial_p is None else int((pair.partial_p <= SIGNIFICANT).sum()))
        for pair in group
    )
    count = min(int(np.isnan(row).sum()) for row in partials)
    rest = (
        f" ({count} layers that did not change beyond rounding in both are left out)"
        if count
        else ""
    )
    pair = group[0]
    return (
        f"What training added, {_named(group).rstrip(',')} ({pair.probe} images): with the common initial "
        f"state regressed out, the mean debiased CKA goes {' and '.join(texts)}{rest}. It is beyond "
        f"chance in {clear} of {len(partials[0]) - count} layers."
    )


def _second_opinion(group: Sequence[Pair]) -> str:
    """Say whether other families of measures rank the layers alike, and which layers match."""
    ranks = [opinions(pair) for pair in group]
    pair = group[0]
    text = (
        f"A second opinion, {_named(group).rstrip(',')} ({pair.images} {pair.probe} images at "
        f"{pair.size}x{pair.size}): Spearman's correlation over the layers is "
        f"{_numbers(each['CKA and angle'] for each in ranks)} between debiased CKA and angular "
        f"Procrustes and {_numbers(each['CKA and neighbours'] for each in ranks)} between CKA and "
        "shared nearest neighbours, where 1 is the same ranking."
    )
    matches = [pair.match for pair in group if pair.match is not None]
    chances = [pair.match_p for pair in group if pair.match_p is not None]
    if len(matches) < len(group) or len(chances) < len(group):
        return text
    same = _listed(str(int((match == np.arange(len(match))).sum())) for match in matches)
    clear = _listed(str(int((p <= SIGNIFICANT).sum())) for p in chances)
    return (
        f"{text} In {same} of {len(matches[0])} layers the layer of the same number matches best, and "
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
