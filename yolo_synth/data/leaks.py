"""What validation and test share with training: groups with images on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Shared(NamedTuple):
    """What two parts of a split share.

    Attributes:
        part: `valid` or `test`.
        images: How many images of it are of a group that is trained on too.
        of: How many images it has.
        groups: How many groups those images are of.
    """

    part: str
    images: int
    of: int
    groups: int


def shared_groups(groups: Mapping[str, str], names: Mapping[str, list[str]]) -> list[Shared]:
    """Count what validation and test share with training: groups with images on both sides.

    Args:
        groups: Image name → its group.
        names: The names of each part of `SPLITS`.

    Returns:
        One entry for `valid` and one for `test`, of those that share something.
    """
    trained = {groups[name] for name in names["train"]}
    found = []
    for part in ("valid", "test"):
        both = [groups[name] for name in names[part] if groups[name] in trained]
        found.append(Shared(part, len(both), len(names[part]), len(set(both))))
    return [shared for shared in found if shared.images]
