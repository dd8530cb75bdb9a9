"""How images are divided into training, validation and test: by lists, at random, by group or part.

Frames of one video or ride (`group` in the box table) look alike: if some of them are trained on and
others tested on, the test tells less than it seems to. `group_split` and `part_split` keep groups
whole; `leaks.shared_groups` counts what another split does. The paper's split, images at random, is
`random_split`.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

import pandas as pd

from yolo_synth.data.listing import check_name, check_path
from yolo_synth.data.mistakes import refuse

log = logging.getLogger(__name__)

SPLITS: Final = ("train", "valid", "test")
"""Names of the three parts; a list file is called `train.txt`, `valid.txt` or `test.txt`."""
PARTS: Final[Mapping[str, str]] = {
    "train": "train",
    "val": "valid",
    "valid": "valid",
    "test": "test",
}
"""What data sets call their own parts, and the split that each one is."""


_SHARES: Final = {"train": 0.6, "valid": 0.2, "test": 0.2}
_HELD_OUT: Final = {"train": 0.8, "valid": 0.2}
_TRIES: Final = 1000
_NEAR: Final = 0.001
_MOST_COUNTS: Final = 10_000


def read_split(folder: str | Path, images: Collection[str] | None = None) -> dict[str, list[str]]:
    """Read the lists `train.txt`, `valid.txt` and `test.txt`, one image name a line.

    Blank lines are skipped; the last line needs no newline.

    Args:
        folder: Where the three files are.
        images: Names of all images there are; None leaves unchecked whether a name exists.

    Returns:
        The names of each part of `SPLITS`, in the file's order.

    Raises:
        FileNotFoundError: If a list is missing.
        ValueError: If a name is not a plain file name, occurs twice, in one list or two, or is not
            among `images`, or if a list is empty.
    """
    folder = Path(folder)
    missing = [name for name in SPLITS if not (folder / f"{name}.txt").is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no {missing[0]}.txt: a split is three lists of image names, train.txt, "
            "valid.txt and test.txt"
        )
    known = None if images is None else frozenset(images)
    seen: dict[str, str] = {}
    mistakes: list[str] = []
    lists = {name: _read_list(folder / f"{name}.txt", known, seen, mistakes) for name in SPLITS}
    refuse(mistakes)
    return lists


def _read_list(
    path: Path, known: frozenset[str] | None, seen: dict[str, str], mistakes: list[str]
) -> list[str]:
    """Read one list; `seen` has where each name of the lists before it stands, and gets its own.

    What is wrong with it is added to `mistakes`.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file with one image name a line") from None
    names = [
        (number, line.strip().removeprefix("./"))
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not names:
        mistakes.append(f"{path} names no image")
    unknown = []
    are_paths = known is not None and any("/" in name for name in known)
    for number, name in names:
        try:
            if known is None or name not in known:
                (check_path if are_paths else check_name)(name, f"{path} line {number}")
                unknown += [] if known is None else [(number, name)]
        except ValueError as error:
            mistakes.append(str(error))
        if name in seen:
            mistakes.append(f"{path} line {number}: {name} stands in {seen[name]} already")
        seen[name] = f"{path} line {number}"
    if unknown:
        number, name = unknown[0]
        mistakes.append(
            f"{path} line {number}: there is no image {name} ({len(unknown)} of the list's "
            f"{len(names)} names have no image); is this the split of another data set, or is a "
            "part of the images missing?"
        )
    return [name for _, name in names]


def random_split(images: Iterable[str], seed: int = 0) -> dict[str, list[str]]:
    """Split images at random into 60 % train, 20 % valid and 20 % test, as the paper did.

    An image's place is its rank by the SHA-256 of "seed/name", so the split depends on the seed and
    on which images there are, never on their order, the machine or a library's version. Train and
    valid have `round(0.6 n)` and `round(0.2 n)` images. Frames of one video may come into
    different parts, as in the paper.

    Args:
        images: Names of the images.
        seed: Another seed gives another split.

    Returns:
        The names of each part of `SPLITS`, shuffled.

    Raises:
        ValueError: If there are fewer than 4 images, so that a part would be empty.

    Example:
        >>> random_split(["a", "b", "c", "d", "e"])
        {'train': ['c', 'b', 'e'], 'valid': ['d'], 'test': ['a']}
    """
    names = sorted(set(images), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    if len(names) < 4:
        raise ValueError(
            f"{len(names)} images cannot be split into train, valid and test: it takes 4"
        )
    train, valid = round(0.6 * len(names)), round(0.2 * len(names))
    return {
        "train": names[:train],
        "valid": names[train : train + valid],
        "test": names[train + valid :],
    }


def group_split(groups: Mapping[str, str], seed: int = 0) -> dict[str, list[str]]:
    """Split images into 60 % train, 20 % valid and 20 % test so that every group is in one part.

    Groups are dealt out in an order drawn from the seed, each to the part that is furthest from its
    share, so none stays empty. Up to 1000 orders are tried, until every part is within 0.1 % of all
    images of its share; else the nearest way there is, in which the part that is furthest off misses
    its share by the fewest images, is searched for, exactly where groups are few. The result depends
    on seed, groups and names, not on their order.

    Args:
        groups: Image name → the group that it belongs to.
        seed: Another seed gives another split.

    Returns:
        The names of each part of `SPLITS`, shuffled.

    Raises:
        ValueError: If there are fewer than 3 groups.

    Example:
        >>> frames = {f"{video}{frame}": video for video in "abcde" for frame in (1, 2)}
        >>> {part: sorted(names) for part, names in group_split(frames).items()}
        {'train': ['a1', 'a2', 'b1', 'b2', 'e1', 'e2'], 'valid': ['d1', 'd2'], 'test': ['c1', 'c2']}
    """
    return _deal(groups, _SHARES, seed)


def part_split(images: pd.DataFrame, seed: int = 0) -> dict[str, list[str]]:
    """Split images as their data set itself does.

    A data set with the parts train, val and test is taken as it is. Where there are only two, train
    and val as BDD100K and GTAV are published with labels, all of the second is the test set, and 20 %
    of train is held out for validation, in whole groups. Training images whose group is in the test
    set are then left out of all three, so nothing leaks.

    Args:
        images: One row an image: columns image, group and part, one of `SPLITS` or "".
        seed: Seed of what is held out for validation.

    Returns:
        The names of each part of `SPLITS`, shuffled.

    Raises:
        ValueError: If there is no train, or neither val nor test.
    """
    there = {split: images[images["part"] == split] for split in SPLITS}
    given = [split for split, rows in there.items() if len(rows)]
    if len(given) == len(SPLITS):
        return {split: _shuffled(rows["image"], seed) for split, rows in there.items()}
    if len(given) < 2 or "train" not in given:
        raise ValueError(
            "split_by part takes a data set with train and val (or test) parts of its own, and the "
            f"images here are in {' and '.join(given) or 'none of them'}; use split_by image or group"
        )
    test = there[given[1]]
    log.info(
        "the data set has parts for train and %s alone: all of %s is the test set, and 20 %% of train is "
        "held out for validation",
        *(given[1], given[1]),
    )
    rest = there["train"][~there["train"]["group"].isin(test["group"])]
    held_out = _deal(dict(zip(rest["image"], rest["group"], strict=True)), _HELD_OUT, seed)
    return {**held_out, "test": _shuffled(test["image"], seed)}


def part_of(path: str) -> str:
    """Return the split that an image's folders say it is of: `…/train/…`, `…/val/…`; or "".

    Example:
        >>> part_of("images/100k/val/b1c66a42.jpg"), part_of("val.jpg")
        ('valid', '')
    """
    folders = PurePosixPath(path).parts[:-1]
    return next((PARTS[folder] for folder in reversed(folders) if folder in PARTS), "")


def regroup(table: pd.DataFrame, pattern: str) -> pd.DataFrame:
    """Return the table with groups named by the images' paths.

    Args:
        table: A box table.
        pattern: Regular expression; what its first parenthesis finds in a path is the group.

    Raises:
        ValueError: If it is no regular expression with a parenthesis, or finds nothing in a path.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"data.group: {pattern!r} is no regular expression ({error})") from None
    if groups < 1:
        raise ValueError(
            f"data.group: {pattern!r} has no parenthesis around what names the group, as (\\d+)/ has"
        )
    found = table["path"].str.extract(pattern).iloc[:, 0]
    if found.isna().any():
        path = table.loc[found.isna(), "path"].iloc[0]
        raise ValueError(f"data.group: {pattern!r} finds nothing in {path}")
    return table.assign(group=found.astype("str"))


def _deal(
    groups: Mapping[str, str], shares: Mapping[str, float], seed: int
) -> dict[str, list[str]]:
    """Deal out whole groups so that each part's number of images is near its share."""
    sizes = Counter(groups.values())
    if len(sizes) < len(shares):
        raise ValueError(
            f"{len(groups)} images of {len(sizes)} groups cannot be split into {', '.join(shares)} "
            "with every group in one part; use split_by image"
        )
    wanted = {part: share * len(groups) for part, share in shares.items()}
    best: dict[str, str] = {}
    least = float("inf")
    for number in range(_TRIES):
        dealt = _deal_once(sizes, wanted, f"{seed}/{number}")
        found = dict.fromkeys(shares, 0)
        for group, part in dealt.items():
            found[part] += sizes[group]
        off = max(abs(found[part] - wanted[part]) for part in shares)
        if off < least:
            best, least = dealt, off
        if least <= _NEAR * len(groups):
            break
    else:
        best = _nearer(sizes, wanted, least, f"{seed}") or best
    names: dict[str, list[str]] = {part: [] for part in shares}
    for name in _shuffled(groups, seed):
        names[best[groups[name]]].append(name)
    return names


def _deal_once(sizes: Mapping[str, int], wanted: Mapping[str, float], key: str) -> dict[str, str]:
    """Return the part of each group, dealt out in the order that the key draws."""
    lacking = dict(wanted)
    dealt = {}
    for group in sorted(sizes, key=lambda group: _rank(key, group)):
        part = max(lacking, key=lambda part: lacking[part] / wanted[part])
        dealt[group] = part
        lacking[part] -= sizes[group]
    return dealt


def _nearer(
    sizes: Mapping[str, int], wanted: Mapping[str, float], least: float, key: str
) -> dict[str, str]:
    """Return the nearest dealing that misses the shares by less than `least`; empty if there is none.

    Group by group, all numbers of images that the parts can have are kept, each with one way to get
    there, if they can still be near enough at the end; of very many, the first.
    """
    parts = list(wanted)
    lacking = sum(sizes.values())
    reached: dict[tuple[int, ...], tuple[str, ...]] = {(0,) * len(parts): ()}
    order = sorted(sizes, key=lambda group: (-sizes[group], _rank(key, group)))
    for group in order:
        lacking -= sizes[group]
        following: dict[tuple[int, ...], tuple[str, ...]] = {}
        for counts, dealt in reached.items():
            for number, part in enumerate(parts):
                more = counts[number] + sizes[group]
                after = (*counts[:number], more, *counts[number + 1 :])
                if more < wanted[part] + least and all(
                    count + lacking > max(0, wanted[name] - least)
                    for count, name in zip(after, parts, strict=True)
                ):
                    following.setdefault(after, (*dealt, part))
        reached = dict(islice(following.items(), _MOST_COUNTS))
    if not reached:
        return {}

    def off(counts: tuple[int, ...]) -> float:
        return max(abs(count - wanted[part]) for count, part in zip(counts, parts, strict=True))

    return dict(zip(order, reached[min(reached, key=off)], strict=True))


def _shuffled(names: Mapping[str, str] | pd.Series[str], seed: int) -> list[str]:
    return sorted(names, key=lambda name: _rank(str(seed), name))


def _rank(key: str, name: str) -> bytes:
    return hashlib.sha256(f"{key}/{name}".encode()).digest()
