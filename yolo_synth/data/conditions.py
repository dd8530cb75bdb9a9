"""Conditions that choose among a split's images: weather, time of day, place."""

from __future__ import annotations

from typing import Final

import pandas as pd

from yolo_synth.data.splits import SPLITS

ATTRIBUTES: Final = ("weather", "scene", "timeofday", "group")
"""Columns of the box table that a condition can be about."""

Values = str | list[str]
Where = dict[str, Values | dict[str, Values]]
"""Attribute → the values that an image may have; or split → such conditions of that split alone."""


def check_where(where: Where) -> None:
    """Refuse conditions about something that is no attribute.

    Raises:
        ValueError: If a key is neither an attribute nor a split; lists those there are.
    """
    for key, value in where.items():
        inner = list(value) if isinstance(value, dict) else []
        known = SPLITS if isinstance(value, dict) else ATTRIBUTES
        for name, among in [(key, known), *((name, ATTRIBUTES) for name in inner)]:
            if name not in among:
                raise ValueError(
                    f"data.where: {name!r} is no attribute of an image; there are "
                    f"{', '.join(ATTRIBUTES)}, and {', '.join(SPLITS)} for conditions of one split"
                )


def asked(where: Where, split: str) -> dict[str, list[str]]:
    """Return what the images of a split must meet: attribute → the values that an image may have."""
    own = where.get(split, {})
    both = {key: value for key, value in where.items() if not isinstance(value, dict)}
    both |= own if isinstance(own, dict) else {}
    return {key: [value] if isinstance(value, str) else value for key, value in both.items()}


def select(images: pd.DataFrame, names: list[str], where: Where, split: str) -> list[str]:
    """Return those of a split's images that meet the conditions, in the same order.

    An image meets them if each attribute has one of the values that are asked for.

    Args:
        images: One row an image, columns image and `ATTRIBUTES`: all images of the data set.
        names: The split's images.
        where: Conditions, checked by `check_where`.
        split: Name of the split.

    Raises:
        ValueError: If a value is one that no image of the data set has, or if no image is left.
    """
    wanted = asked(where, split)
    if not wanted:
        return names
    meets = pd.Series(True, images.index)
    for attribute, values in wanted.items():
        meets &= images[attribute].isin(_known(images[attribute], values))
    chosen = set(images.loc[meets, "image"])
    found = [name for name in names if name in chosen]
    if not found:
        raise ValueError(
            f"data.where: none of the {len(names)} {split} images has "
            + " and ".join(f"{name} {' or '.join(values)}" for name, values in wanted.items())
        )
    return found


def _known(column: pd.Series[str], values: list[str]) -> list[str]:
    there = sorted(str(known) for known in column.unique())
    for wanted in values:
        if wanted not in there:
            shown = ", ".join(repr(known) for known in there[:30])
            more = f" and {len(there) - 30} more" if len(there) > 30 else ""
            raise ValueError(
                f"data.where: no image has {column.name} {wanted!r}; there are {shown}{more}"
            )
    return values
