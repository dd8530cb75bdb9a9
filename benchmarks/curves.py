"""Whether the intervals of learning curves keep their promise: how often they hold what was planted.

    python benchmarks/curves.py
    python benchmarks/curves.py --draws 500 --seeds 5

Errors of trainings at some numbers of real pictures are drawn around planted curves D n^-beta + C, with
normal noise of four kinds (standard deviation 0.02): the same at each number; half of its variance common
to a seed; three times as much at the smallest number as at the largest; and both at once. `worth` is the
number of real pictures that another training, with noise of its own, is as good as. Prints a Markdown
table: how often the 95 % intervals over seeds hold the planted values, and the middle width of those of
beta and worth (of worth as a factor). Some seconds a row.
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import Final

import numpy as np

from yolo_synth.curves.equivalents import worth
from yolo_synth.curves.fit import Array, Interval, fit_curve

NUMBERS: Final = ((10, 40, 160), (10, 40, 160, 640), (10, 20, 40, 80, 160, 320))
CURVES: Final = ((1.2, 0.4, 0.25), (1.6, 0.7, 0.4))
KINDS: Final = ("alike", "seeds", "falling", "both")
SPREAD: Final = 0.02
EQUAL: Final = 60
"""Real pictures that the other training is as good as."""


def noise(generator: np.random.Generator, kind: str, seeds: int, numbers: int) -> Array:
    """Return noise [seeds, numbers + 1]; the last column is of the other training."""
    own = generator.standard_normal((seeds, numbers + 1))
    if kind in ("seeds", "both"):
        own = np.sqrt(0.5) * own + np.sqrt(0.5) * generator.standard_normal((seeds, 1))
    if kind in ("falling", "both"):
        own *= [*np.geomspace(1.5, 0.5, numbers), 1]
    return SPREAD * own


def holds(interval: Interval | None, value: float) -> bool:
    """Tell whether an interval holds a value."""
    assert interval is not None
    low, high = interval
    return (low is None or low <= value) and (high is None or value <= high)


def row(
    numbers: tuple[int, ...], planted: tuple[float, float, float], kind: str, seeds: int, draws: int
) -> dict[str, float]:
    """Return the shares that hold what was planted, and the middle widths."""
    n, (factor, exponent, floor) = np.array(numbers, float), planted
    truth = np.append(factor * n**-exponent, factor * EQUAL**-exponent) + floor
    generator = np.random.default_rng([len(n), round(10 * exponent), KINDS.index(kind)])
    held, widths = [], []
    for _ in range(draws):
        errors = truth + noise(generator, kind, seeds, len(n))
        curve = fit_curve(n, errors[:, :-1])
        equal = worth(curve, errors[:, -1])
        assert equal.interval is not None
        held.append(
            [
                holds(curve.intervals["factor"], factor),
                holds(curve.intervals["exponent"], exponent),
                holds(curve.intervals["floor"], floor),
                holds(equal.interval, EQUAL),
            ]
        )
        beta = curve.intervals["exponent"]
        widths.append(
            [
                (beta.high or np.inf) - (beta.low or 0),
                (equal.interval.high or np.inf) / (equal.interval.low or 1e-9),
            ]
        )
    shares = dict(zip(("D", "beta", "C", "worth"), np.mean(held, 0), strict=True))
    return shares | dict(zip(("width", "factor"), np.median(widths, 0), strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    print(
        "| numbers | D, beta, C | noise | D | beta | C | worth | width of beta | of worth, factor |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    total: list[dict[str, float]] = []
    for numbers, planted, kind in product(NUMBERS, CURVES, KINDS):
        found = row(numbers, planted, kind, options.seeds, options.draws)
        total.append(found)
        shares = " | ".join(f"{found[name]:.1%}" for name in ("D", "beta", "C", "worth"))
        what = f"{', '.join(map(str, numbers))} | {', '.join(map(str, planted))} | {kind}"
        print(f"| {what} | {shares} | {found['width']:.2f} | {found['factor']:.1f} |", flush=True)
    means = {name: np.mean([one[name] for one in total]) for name in ("D", "beta", "C", "worth")}
    print(f"| all | | | {' | '.join(f'{mean:.1%}' for mean in means.values())} | | |")


if __name__ == "__main__":
    main()
