"""The five common classes, and what each data set calls them (Table 1 of the paper).

A class index is its position in `CLASSES`, counted from 0. Each label map names every category that
its data set is known to contain: a category of none of the five classes maps to `None` and is left
out, and one that is not in the map at all is an error, so a typing mistake cannot pass as "no object".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

CLASSES: Final = ("person", "cycle", "car", "bus", "truck")

CLASS_COLOURS: Final = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7")
"""One per class, told apart by the colour-blind too (Okabe and Ito)."""


OTHERS: Final = "*"
"""Stands for all categories that a user's label map does not name."""


def label_map(
    given: Mapping[str, str | None], declared: Collection[str], used: Collection[str], where: str
) -> dict[str, int | None]:
    """Make the label map of a data set that is not known beforehand.

    Args:
        given: Category → name in `CLASSES`, or None to leave it out. A category that is called like a
            common class need not be in it; `"*"` stands for all others that are not.
        declared: Names of the data set's categories.
        used: Those that a box has; they must all be known.
        where: What declares the categories, for the message.

    Returns:
        Category → class index or None, of all that are declared.

    Raises:
        ValueError: If a category that is used is in neither, if the map names no common class, or if,
            with `"*"`, it names a category that is not declared and so may be a typing mistake.
    """
    names = {name: name for name in CLASSES} | dict(given)
    for category, name in given.items():
        if name is not None and name not in CLASSES:
            raise ValueError(
                f"data.labels: {category!r} cannot be {name!r}; the classes are {', '.join(CLASSES)}, "
                "and null leaves a category out"
            )
    listed = ", ".join(map(repr, declared))
    stray = [category for category in given if category not in {*declared, OTHERS}]
    if OTHERS in given and stray:
        raise ValueError(f"data.labels: {stray[0]!r} is no category of {where}, which has {listed}")
    if OTHERS in given:
        for category in declared:
            alike = category.strip().lower()
            if category not in names and alike in CLASSES:
                raise ValueError(
                    f"{where} has a category {category!r}, which is no name of a class (they are written "
                    f'{", ".join(CLASSES)}), and "*" would leave it out: say in data.labels '
                    f"{category}: {alike}, or {category}: null"
                )
    unknown = [category for category in used if category not in names]
    if OTHERS not in given and unknown:
        raise ValueError(
            f"{where} has boxes of {', '.join(map(repr, unknown))}, of which data.labels says nothing: "
            f"name for each one of {', '.join(CLASSES)}, or null to leave it out "
            f'("*": null leaves out all that are not named); its categories are {listed}'
        )
    targets = {category: names.get(category, given.get(OTHERS)) for category in declared}
    return {
        category: None if name is None else CLASSES.index(name)
        for category, name in targets.items()
    }
