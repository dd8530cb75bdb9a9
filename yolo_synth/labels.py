"""Which classes a data set has, and which of its categories is which (Table 1 of the paper).

A class index is a class's position among its data set's classes, counted from 0. They are the paper's
five unless the data set has others. Each label map names every category that its data set is known to
contain: a category of none of the classes maps to `None` and is left out, and one that is not in the map
at all is an error, so a typing mistake cannot pass as "no object".
"""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from yolo_synth.palette import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW

CLASSES: Final = ("person", "cycle", "car", "bus", "truck")

CLASS_COLOURS: Final = (ORANGE, SKY, GREEN, YELLOW, PURPLE)
"""One for each of the five, told apart by the colour-blind too (Okabe and Ito)."""

_FURTHER_COLOURS: Final = (BLUE, VERMILION)
"""Okabe and Ito's others; their black would be taken for an outline."""

_GOLDEN: Final = 0.618034
"""Step around the colour circle that keeps any number of hues apart."""

OTHERS: Final = "*"
"""Stands for all categories that a user's label map does not name."""


def class_colours(number: int) -> list[str]:
    """Return so many colours: those of the five first, then Okabe and Ito's others, then new ones."""
    known = [*CLASS_COLOURS, *_FURTHER_COLOURS]
    new = [
        colorsys.hls_to_rgb(step * _GOLDEN % 1, (0.42, 0.62, 0.78)[step % 3], 0.6)
        for step in range(number - len(known))
    ]
    return [*known, *("#" + bytes(round(255 * x) for x in rgb).hex().upper() for rgb in new)][
        :number
    ]


def classes_of(
    declared: Sequence[str],
    labels: Mapping[str, str | None] | None = None,
    classes: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Return the classes of a data set that is not known beforehand.

    They are the ones given; of a set with a label map the paper's five, and of one whose categories are
    all called like some of the five. Any other set's own categories are its classes, in its own order.

    Args:
        declared: Names of the data set's categories.
        labels: The label map, if there is one.
        classes: The classes, if they are given.
    """
    if classes:
        return tuple(classes)
    return CLASSES if labels or set(declared) <= set(CLASSES) else tuple(declared)


MOST_CLASSES: Final = 100_000
"""Classes that a network can be said to tell apart: more are a slip, or an attempt on the memory."""


def names_of(number: int, classes: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the names of a network's classes: the given ones, or the five and from then on digits.

    Raises:
        ValueError: If other than so many are given, or more than `MOST_CLASSES`.
    """
    if number > MOST_CLASSES:
        raise ValueError(f"model.num_classes is above {MOST_CLASSES:,}, the most that are possible")
    if classes is None:
        return (*CLASSES[:number], *map(str, range(len(CLASSES), number)))
    if len(classes) != number:
        raise ValueError(
            f"model.classes has {len(classes)} names ({', '.join(classes)}), and model.num_classes is "
            f"{number}: leave both out, and they are the data's"
        )
    return tuple(classes)


def told(classes: Sequence[str]) -> str:
    """Return what a reader's log says of classes that are not the five; nothing of the five."""
    return "" if tuple(classes) == CLASSES else f"; its classes are {', '.join(classes)}"


def label_map(
    given: Mapping[str, str | None],
    declared: Collection[str],
    used: Collection[str],
    where: str,
    classes: Sequence[str] = CLASSES,
) -> dict[str, int | None]:
    """Make the label map of a data set that is not known beforehand.

    Args:
        given: Category → name in `classes`, or None to leave it out. A category that is called like a
            class need not be in it; `"*"` stands for all others that are not.
        declared: Names of the data set's categories.
        used: Those that a box has; they must all be known.
        where: What declares the categories, for the message.
        classes: The data set's classes.

    Returns:
        Category → class index or None, of all that are declared.

    Raises:
        ValueError: If a category that is used is in neither, if the map names none of the classes, or if,
            with `"*"`, it names a category that is not declared and so may be a typing mistake.
    """
    names = {name: name for name in classes} | dict(given)
    for category, name in given.items():
        if name is not None and name not in classes:
            raise ValueError(
                f"data.labels: {category!r} cannot be {name!r}; the classes are {', '.join(classes)} "
                "(data.classes names others), and null leaves a category out"
            )
    listed = ", ".join(map(repr, declared))
    stray = [category for category in given if category not in {*declared, OTHERS}]
    if OTHERS in given and stray:
        raise ValueError(f"data.labels: {stray[0]!r} is no category of {where}, which has {listed}")
    if OTHERS in given:
        lower = {name.strip().lower(): name for name in classes}
        for category in declared:
            alike = lower.get(category.strip().lower())
            if category not in names and alike is not None:
                raise ValueError(
                    f"{where} has a category {category!r}, which is no name of a class (they are written "
                    f'{", ".join(classes)}), and "*" would leave it out: say in data.labels '
                    f"{category}: {alike}, or {category}: null"
                )
    unknown = [category for category in used if category not in names]
    if OTHERS not in given and unknown:
        raise ValueError(
            f"{where} has boxes of {', '.join(map(repr, unknown))}, of which data.labels says nothing: "
            f"name for each one of {', '.join(classes)}, or null to leave it out "
            f'("*": null leaves out all that are not named); its categories are {listed}'
        )
    targets = {category: names.get(category, given.get(OTHERS)) for category in declared}
    index = {name: number for number, name in enumerate(classes)}
    return {category: None if name is None else index[name] for category, name in targets.items()}
