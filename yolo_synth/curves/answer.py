"""What a learning curve says: points, fitted curves, equivalents, and one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from yolo_synth.curves.equivalents import Worth, worth
from yolo_synth.curves.fit import FEWEST, Array, Curve, fit_curve
from yolo_synth.curves.recipes import TITLES, Budget, Recipe

FITTED: Final[tuple[Recipe, ...]] = ("real", "tuned", "both")

NAMES: Final = {"factor": "D", "exponent": "beta", "floor": "C"}
"""What the page calls a curve's parameters."""


class Point(NamedTuple):
    """What one training reached on the real test images."""

    recipe: Recipe
    images: int
    seed: int
    map50: float
    map: float


@dataclass(frozen=True)
class Answer:
    """All that a learning curve says.

    Attributes:
        points: What each training reached.
        numbers: Of real pictures, increasing.
        seeds: How many.
        budget: How long each training was.
        rate: Learning rate of the second half of synthetic, then real.
        pictures: Training pictures that there are, real and synthetic.
        domains: What these are called.
        tests: Real test images.
    """

    points: Sequence[Point]
    numbers: Sequence[int]
    seeds: int
    budget: Budget
    rate: float
    pictures: tuple[int, int]
    domains: tuple[str, str]
    tests: int

    @property
    def above_0(self) -> list[int]:
        """The numbers that curves are fitted over."""
        return [n for n in self.numbers if n]

    def scores(self, recipe: Recipe, images: int) -> Array:
        """Return mAP@0.5 of each seed [S]."""
        found = {p.seed: p.map50 for p in self.points if (p.recipe, p.images) == (recipe, images)}
        return np.array([found[seed] for seed in sorted(found)])

    @cached_property
    def curves(self) -> dict[Recipe, Curve]:
        """The fitted curve of each recipe; none where there are fewer than three numbers above 0."""
        if len(self.above_0) < FEWEST:
            return {}
        numbers = np.array(self.above_0, float)
        return {
            recipe: fit_curve(
                numbers, 1 - np.stack([self.scores(recipe, n) for n in self.above_0], 1)
            )
            for recipe in FITTED
        }

    @cached_property
    def worths(self) -> dict[tuple[Recipe, int], Worth]:
        """What each recipe with synthetic pictures is worth in real ones, by its number of real ones."""
        if not self.curves:
            return {}
        cases: list[tuple[Recipe, int]] = [("synthetic", 0)]
        cases += [(recipe, n) for recipe in FITTED if recipe != "real" for n in self.above_0]
        return {case: worth(self.curves["real"], 1 - self.scores(*case)) for case in cases}

    @property
    def middle(self) -> int:
        """The number that the sentence is about: the middle one, or the lower of two."""
        return self.above_0[(len(self.above_0) - 1) // 2]

    def sentence(self) -> str:
        """Return what synthetic pictures are worth, in one sentence."""
        _, synthetic = self.pictures
        n = self.middle
        start = f"{synthetic:,} synthetic-trained plus {n:,} real pictures"
        if not self.worths:
            return (
                f"What {start} are worth is not said: it takes a curve of real pictures alone, and "
                f"that at least {FEWEST} numbers above 0 (--real)."
            )
        found = self.worths["tuned", n]
        why = "" if found.interval else " (one seed gives no interval)"
        end = f"the {'largest' if found.is_more else 'smallest'} number tried"
        beyond = "" if found.value is not None else f", {end}"
        return f"{start} are worth {found.words()} real ones{beyond}{why}{_beside(found, n)}."

    def cost(self) -> str:
        """Return what the recipes cost, in a sentence or two."""
        length, half = self.budget, self.budget.steps // 2
        return (
            f"Each recipe takes {length.steps:,} steps of {length.batch} pictures in all. Real only and "
            "both together (as many real as synthetic pictures shown) take them in one training; "
            f"synthetic, then real takes {half:,} on synthetic pictures, in a training that all its "
            f"numbers share and that is drawn at 0, and {half:,} on real ones with learning rate "
            f"{self.rate:.3g}. "
            "Few pictures are shown again and again. No training is chosen by validation images."
        )

    def notes(self) -> list[str]:
        """Return what the numbers rest on."""
        real, _ = self.domains
        said = [
            self.cost(),
            f"mAP@0.5 on {self.tests:,} {real} test images, the same for all: intervals are over seeds "
            "(which pictures are drawn, weights and order), not over test images. Pictures are drawn one "
            "by one, not by whole sequences; a seed's smaller draw lies within its greater one.",
            "Curves are 1 \N{MINUS SIGN} mAP = D n^\N{MINUS SIGN}beta + C, by least squares, with D and C "
            "not below 0 (Cortes et al., 1993; Hestness et al., 2017). That mAP grows in this form is "
            "taken for granted; n = 0 is drawn and not fitted. An interval is "
            "all that Student's t over seeds does not refuse; noise may differ between numbers.",
        ]
        if self.seeds == 1:
            said.append("One seed: there are no intervals.")
        elif self.seeds == 2:
            said.append(
                "Two seeds: one degree of freedom, so intervals are 3 times as wide as with three."
            )
        if len(self.above_0) < FEWEST:
            said.append(f"No curve is fitted: it takes {FEWEST} numbers above 0.")
        return said

    def lines(self) -> Iterator[str]:
        """Return what the terminal is told: a table, the sentence and what it rests on."""
        yield self.score_table().to_string()
        yield self.sentence()
        yield self.cost()

    def score_table(self) -> pd.DataFrame:
        """Return mean mAP@0.5 over seeds and its standard deviation as text, a row a number."""
        rows = sorted({0, *self.numbers})
        columns = {
            TITLES[recipe]: [_mean_and_deviation(self.scores(recipe, n)) for n in rows]
            for recipe in (*FITTED, "synthetic")
        }
        return pd.DataFrame(columns, pd.Index(rows, name="real pictures"))

    def fit_table(self) -> pd.DataFrame:
        """Return the curves' parameters with their intervals, as text."""
        rows = {}
        for recipe, curve in self.curves.items():
            row = {}
            for name, short in NAMES.items():
                row[short] = f"{getattr(curve, name):.3g}"
                if curve.intervals:
                    low, high = curve.intervals[name]
                    ends = ("0" if low is None else f"{low:.3g}", _open(high, name))
                    row[f"{short}, 95 %"] = f"{ends[0]} to {ends[1]}"
            rows[TITLES[recipe]] = row
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("recipe")

    def worth_table(self) -> pd.DataFrame:
        """Return what each recipe is worth, a row a number of real pictures, as text."""
        rows = sorted({n for _, n in self.worths})
        columns = {
            TITLES[recipe]: [
                self.worths[recipe, n].words() if (recipe, n) in self.worths else "" for n in rows
            ]
            for recipe in ("tuned", "both", "synthetic")
        }
        return pd.DataFrame(columns, pd.Index(rows, name="real pictures"))

    def rows(self) -> pd.DataFrame:
        """Return a row a training."""
        _, synthetic = self.pictures
        half = self.budget.steps // 2
        return pd.DataFrame(
            [
                {
                    "recipe": TITLES[point.recipe],
                    "real": point.images,
                    "synthetic": 0 if point.recipe == "real" else synthetic,
                    "seed": point.seed,
                    "steps": half if point.recipe == "synthetic" else self.budget.steps,
                    "map50": point.map50,
                    "map": point.map,
                }
                for point in self.points
            ]
        )

    def said(self) -> dict[str, Any]:
        """Return all numbers, as JSON takes them."""
        return {
            "sentence": self.sentence(),
            "numbers": list(self.numbers),
            "seeds": self.seeds,
            "steps": self.budget.steps,
            "batch": self.budget.batch,
            "rate": self.rate,
            "pictures": dict(zip(("real", "synthetic"), self.pictures, strict=True)),
            "domains": dict(zip(("real", "synthetic"), self.domains, strict=True)),
            "tests": self.tests,
            "points": [point._asdict() for point in self.points],
            "curves": {
                recipe: {
                    **{name: getattr(curve, name) for name in NAMES},
                    "intervals": {name: list(ends) for name, ends in curve.intervals.items()},
                }
                for recipe, curve in self.curves.items()
            },
            "worth": [
                {
                    "recipe": recipe,
                    "real": n,
                    "value": found.value,
                    "more": found.is_more,
                    "interval": None if found.interval is None else list(found.interval),
                    "words": found.words(),
                }
                for (recipe, n), found in self.worths.items()
            ],
        }


def _beside(found: Worth, n: int) -> str:
    """Say whether something is worth more than the real pictures that are part of it."""
    if found.interval is None:
        return ""
    low, high = found.interval
    if low is not None and low > n:
        return f": more than the {n:,} themselves"
    if high is not None and high < n:
        return f": fewer than the {n:,} themselves"
    return f"; whether that is more than the {n:,} themselves is not sure"


def _mean_and_deviation(scores: Array) -> str:
    if not len(scores):
        return "\N{EN DASH}"
    spread = f" \N{PLUS-MINUS SIGN} {scores.std(ddof=1):.3f}" if len(scores) > 1 else ""
    return f"{scores.mean():.3f}{spread}"


def _open(high: float | None, name: str) -> str:
    """Write an interval's upper end; an open one of the floor is 1, of others it is not known."""
    if high is not None:
        return f"{high:.3g}"
    return "1" if name == "floor" else "any"
