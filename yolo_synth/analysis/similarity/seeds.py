"""What seeds allow to say: are two models as alike as two trainings of one, and do their scores differ?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Final

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from yolo_synth.analysis.similarity import MARGIN
from yolo_synth.analysis.similarity.chance import holm
from yolo_synth.analysis.similarity.trainings import Alike, Spread, Values, together

ENOUGH_RUNS: Final = 4
"""Runs of either model with which `label_test` can reject at 0.05."""

MOST_DIVISIONS: Final = 10_000
"""Divisions of runs into two models that are gone through; of more, so many are drawn."""


@dataclass(frozen=True)
class SeedTest:
    """How alike two models are, relative to two seeds of either, layer by layer [l].

    Attributes:
        ratio: c_ab / √(c_aa c_bb); NaN where one of them is not positive, or all are the same.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p_below: One-sided p-value of a ratio of at least 1, Holm-corrected over the layers.
        p_alike: P-value of a ratio that differs from 1 by the margin or more, Holm-corrected.
    """

    ratio: Values
    low: Values
    high: Values
    p_below: Values
    p_alike: Values


def as_two_seeds(
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    margin: float = MARGIN,
    groups: Sequence[Hashable] | None = None,
) -> SeedTest:
    """Test whether two models are less alike than two trainings of one model, or as alike.

    Two noisy repeats of two models reach √(c_aa c_bb) at most, c_aa the similarity of two seeds of one.
    Of the debiased CKA of layer i with layer i, θ = log c_ab - ½ (log c_aa + log c_bb), each c the mean
    over all pairs of seeds, is jackknifed over images, or groups of images, which are the same for
    all: what the pairs have in common cancels. Below: θ < 0. As alike: θ within ±log(1 - margin) by
    two one-sided tests. Neither is evidence for the other. A c_ab that is not positive has no
    logarithm: c_ab - √(c_aa c_bb) < 0 is tested instead. The images vary in this, the trainings do
    not: it is said of these seeds.

    Sources: Spearman, The proof and measurement of association between two things, 1904; Schuirmann,
    A comparison of the two one-sided tests procedure, 1987.

    Args:
        first: Gram matrices of the seeds of one model, each [l, n, n], on the same images.
        second: Those of the other model. A model with one seed has no c of its own: that of the other
            is the ceiling then.
        margin: In 0..1.
        groups: What each image belongs to [n]; None if all images are independent.

    Raises:
        ValueError: If neither model has two seeds, the margin is no such fraction, or as
            `jackknife.jackknife`.
    """
    check_margin(margin)
    if max(len(first), len(second)) < 2:
        raise ValueError("two seeds of one model are needed to say what two seeds reach")
    models = ["first"] * len(first) + ["second"] * len(second)
    return seed_test(together([*first, *second], models, {}, groups)["first", "second"], margin)


def check_margin(margin: float, name: str = "the margin") -> None:
    """Refuse a margin that is no fraction.

    Raises:
        ValueError: If it is not.
    """
    if not 0 < margin < 1:
        raise ValueError(f"{name} is a fraction between 0 and 1, not {margin}")


def seed_test(alike: Alike, margin: float, parts: int = 0) -> SeedTest:
    """Judge the layers of two models by two seeds of either, see `as_two_seeds`.

    Args:
        alike: What is known of them, with a ratio.
        margin: In 0..1.
        parts: How many parts of the network stand behind the layers.
    """
    assert alike.ratio is not None
    assert alike.below is not None
    layers = slice(len(alike.below) - parts)
    ratio = Spread(*(values[layers] for values in alike.ratio))
    low, high = ratio.ends()
    limit = -np.log1p(-margin)
    opposite = ratio._replace(value=-ratio.value)
    apart = np.maximum(ratio.above(-limit), opposite.above(-limit))
    return SeedTest(
        *(np.exp(values) for values in (ratio.value, low, high)),
        *(holm(torch.as_tensor(p)).numpy() for p in (alike.below[layers], apart)),
    )


def label_test(similarity: Values, is_first: Sequence[bool], seed: int = 0) -> tuple[float, int]:
    """Test whether it matters which runs are of which model, by giving the runs' names to others.

    How much more alike the runs of one model are than those of two: the mean over pairs within either
    model, both models weighing the same, minus that across, against what it is when other runs are
    called the first model's. All divisions are gone through, or `MOST_DIVISIONS` drawn ones. Unlike
    tests over images this one speaks of training: it is exact if runs are draws that differ in nothing
    but their seed. With three runs each the smallest p-value is 0.1, with four 0.03.

    Source: Fisher, The design of experiments, 1935.

    Args:
        similarity: Of every run with every run [k, k], symmetric; the diagonal means nothing.
        is_first: Which runs are of the first model [k]; at least two of either.
        seed: Seed of the drawn divisions.

    Returns:
        One-sided p-value and the number of divisions.

    Raises:
        ValueError: If a model has fewer than two runs.

    Example:
        Four runs that share nothing with four others:

        >>> blocks = np.kron(np.eye(2), np.ones((4, 4)))
        >>> p, divisions = label_test(blocks, [True] * 4 + [False] * 4)
        >>> round(p, 3), divisions
        (0.029, 70)
    """
    first = np.asarray(is_first, dtype=bool)
    size, k = int(first.sum()), len(first)
    if not 2 <= size <= k - 2:
        raise ValueError(f"two models of {size} and {k - size} runs: each needs two")
    if comb(k, size) <= MOST_DIVISIONS:
        chosen = np.array(list(combinations(range(k), size)))
        divisions = (chosen[:, :, None] == np.arange(k)).any(1)
    else:
        draws = np.random.default_rng(seed).random((MOST_DIVISIONS - 1, k)).argsort(1) < size
        divisions = np.vstack([first, draws])
    whole = np.where(np.eye(k), 0.0, similarity)
    one, other = divisions.astype(float), (~divisions).astype(float)
    within = [((x @ whole) * x).sum(1) / (x.sum(1) * (x.sum(1) - 1)) for x in (one, other)]
    across = ((one @ whole) * other).sum(1) / (size * (k - size))
    apart = sum(within) / 2 - across
    observed = apart[(divisions == first).all(1)][0]
    return float((apart >= observed - 1e-12).mean()), len(divisions)


def difference_of_means(
    first: Sequence[float], second: Sequence[float]
) -> tuple[float, float, float]:
    """Return how much higher the mean of the second sample is than that of the first, and the interval.

    Student's, of samples of one variance: d ± t √(1/k₁ + 1/k₂) s with k₁ + k₂ - 2 degrees of freedom.
    The interval is of 95 %; with two seeds a model t is 4.30: two seeds can tell little.

    Source: Student, The probable error of a mean, 1908.

    Args:
        first: A score a seed.
        second: A score a seed of the other model.

    Returns:
        Difference, lower and upper end; ends NaN unless there are three scores in all, two of one
        model.

    Example:
        >>> [round(x, 3) for x in difference_of_means([0.70, 0.72], [0.34, 0.36])]
        [-0.36, -0.421, -0.299]
    """
    apart, variance, freedom = _over_seeds(first, second)
    if freedom < 1:
        return apart, float("nan"), float("nan")
    reach = float(student.ppf(0.975, freedom)) * variance**0.5
    return apart, apart - reach, apart + reach


def difference_over_both(
    first: Sequence[float], second: Sequence[float], without: Values, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the same for other trainings and other images at once.

    The variance over seeds and the jackknife's over images are added, as if both were drawn anew, and
    Student's freedom is that of the sum. What a seed does with certain images is in both of them, so the
    interval is rather too long than too short.

    Source: Satterthwaite, An approximate distribution of estimates of variance components, 1946.

    Args:
        first: A score a seed.
        second: A score a seed of the other model, on the same images.
        without: The difference of the means without one block of images after the other [blocks].
        level: Confidence level.

    Returns:
        Difference, lower and upper end; ends NaN where either variance is unknown.

    Example:
        >>> left = np.array([-0.35, -0.37, -0.36, -0.34, -0.38])
        >>> [round(x, 3) for x in difference_over_both([0.70, 0.72], [0.34, 0.36], left)]
        [-0.36, -0.439, -0.281]
    """
    apart, seeds, freedom = _over_seeds(first, second)
    blocks = len(without)
    if freedom < 1 or blocks < 2:
        return apart, float("nan"), float("nan")
    images = (blocks - 1) * float(np.var(without))
    reach = reach_of_sum([(seeds, freedom), (images, blocks - 1)], level)
    return apart, apart - reach, apart + reach


def reach_of_sum(variances: Sequence[tuple[float, int]], level: float = 0.95) -> float:
    """Return half an interval's width, of an estimate whose variance is a sum.

    Source: Satterthwaite, as above.

    Args:
        variances: Of independent parts, each with its degrees of freedom.
        level: Confidence level.
    """
    total = sum(variance for variance, _ in variances)
    if total == 0:
        return 0.0
    joint = total**2 / sum(variance**2 / freedom for variance, freedom in variances)
    return float(student.ppf((1 + level) / 2, joint)) * float(total**0.5)


def _over_seeds(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, int]:
    """Return the difference of two means, its variance and the freedom of that; 0 of two scores."""
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    apart = float(other.mean() - one.mean())
    freedom = len(one) + len(other) - 2
    if freedom < 1:
        return apart, float("nan"), 0
    squares = sum(float(((x - x.mean()) ** 2).sum()) for x in (one, other))
    return apart, squares / freedom * (1 / len(one) + 1 / len(other)), freedom
