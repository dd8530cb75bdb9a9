"""The index: a box table on disk, so that label files are read once and not at every start.

It is a Parquet file, and after it a digest of it, in the folder `.yolo_synth` of the data set or, if
that cannot be written, in the user's cache folder. It holds what it was made from: names, lengths and
times of change of all files, options, and the reader's code. If any of that differs, the files are read
again; only a file that is replaced by another of the same name, length and time passes unnoticed. It
can be deleted at any time.

A file comes into its place whole, by renaming, so any number of processes may read and write at once.
One that came with a data set is believed no more than the labels: its paths lead nowhere else.
"""

from __future__ import annotations

import inspect
import io
import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
import platformdirs
import pyarrow as pa
from pyarrow import parquet

from yolo_synth import labels
from yolo_synth.data.listing import Listing, refuse_outside
from yolo_synth.data.table import COLUMNS, EDGES, REASONS
from yolo_synth.data.unused import log_unused
from yolo_synth.files import digest, write_whole

log = logging.getLogger(__name__)

FOLDER: Final = ".yolo_synth"
_KEY: Final = b"yolo_synth"
_SEAL: Final = 32
_REPEATING: Final = [name for name in COLUMNS if name not in ("instance", *EDGES)]


class Content(NamedTuple):
    """What a reader makes of its files.

    Attributes:
        table: The box table.
        summary: A line for the log on what it saw.
        classes: Names of the data set's classes, which the table's labels count.
    """

    table: pd.DataFrame
    summary: str
    classes: tuple[str, ...] = labels.CLASSES


def indexed(
    root: Path,
    name: str,
    listings: Sequence[Listing],
    options: Mapping[str, object],
    read: partial[Content],
    columns: Mapping[str, str] = COLUMNS,
) -> Content:
    """Return a data set's box table from its index, or read it and write the index.

    Args:
        root: Folder of the data set.
        name: What the data set is called, in messages and in the index's file name.
        listings: All files that are read. They are listed before they are read, so a change in
            between is noticed next time.
        options: Whatever else the table depends on.
        read: Reads the files.
        columns: Columns of the table, and their types.

    Returns:
        The box table and the classes. The summary is logged in either case.
    """
    made_from = {
        "files": digest(*(listing.digest(root) for listing in listings)),
        "options": repr(sorted(options.items())),
        "code": digest(*_code(), inspect.getsource(sys.modules[read.func.__module__])),
    }
    file_name = f"{name}-{digest(made_from['options'])[:8]}.parquet"
    places = (root / FOLDER / file_name, _cache(root) / file_name)
    for place in places:
        content = _load(place, root, made_from, columns)
        if content is not None:
            break
    else:
        content = read()
        _save(places, content, made_from)
    log.info("%s", content.summary)
    log_unused(root, listings)
    return content


@cache
def _code() -> tuple[str, ...]:
    """Return the source of all that a table may be made by."""
    files = [Path(labels.__file__), *sorted(Path(__file__).parent.glob("*.py"))]
    return tuple(file.read_text(encoding="utf-8") for file in files)


def _cache(root: Path) -> Path:
    """Return the folder for the index of a data set that cannot be written to."""
    return platformdirs.user_cache_path("yolo_synth") / "index" / digest(os.path.realpath(root))


def _load(
    place: Path, root: Path, made_from: Mapping[str, str], columns: Mapping[str, str]
) -> Content | None:
    """Read an index; None if there is none that is whole and made from these files."""
    if not place.is_file():
        return None
    try:
        content = place.read_bytes()
        written, seal = content[:-_SEAL], content[-_SEAL:]
        if _seal(written) != seal:
            raise ValueError("its digest is not that of what it holds")
        file = parquet.ParquetFile(pa.BufferReader(written))
        record = json.loads(file.schema_arrow.metadata[_KEY])
        if record["made_from"] != made_from:
            return None
        table = file.read().to_pandas()
        if table["category"].isna().all():  # Parquet keeps no type of what is missing throughout
            table["category"] = table["category"].astype("category")
        classes = tuple(map(str, record["classes"]))
        _check(table, root, len(classes), columns)
        return Content(table, str(record["summary"]), classes)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("the index %s is damaged and made anew (%s)", place, error)
        return None


def _seal(content: bytes) -> bytes:
    return bytes.fromhex(digest(content))


def _check(table: pd.DataFrame, root: Path, classes: int, columns: Mapping[str, str]) -> None:
    """Refuse a table that no reader would make: it may be a stranger's, with a digest of his own.

    Raises:
        ValueError: If its columns or values are not a box table's, or a path leads out of the data set.
    """
    if any(name not in table or str(table[name].dtype) != kind for name, kind in columns.items()):
        raise ValueError("its columns are not those of a box table")
    of_words = [name for name, kind in columns.items() if kind == "category"]
    if not all(isinstance(word, str) for name in of_words for word in table[name].cat.categories):
        raise ValueError("its categories are no words")
    known = table["dropped"].isin(REASONS) & table["label"].between(-1, classes - 1)
    known &= (table["width"] >= 0) & (table["height"] >= 0)
    used = table.loc[table["dropped"] == ""]
    if not (known.all() and (used["label"] >= 0).all() and np.isfinite(used[EDGES]).all(axis=None)):
        raise ValueError("its values are not those of a box table")
    paths = [PurePosixPath(path) for path in table["path"].unique()]
    folders = {path.parent for path in paths}
    if any(folder.is_absolute() or ".." in folder.parts for folder in folders):
        raise ValueError("its paths lead out of the data set")
    plain = {folder for folder in folders if _is_plain(root / folder)}
    for folder in folders:
        refuse_outside(root / folder, root)
    for path in paths:
        if path.name == ".." or "\0" in path.name:
            raise ValueError("its paths lead out of the data set")
        if path.parent not in plain:
            refuse_outside(root / path, root)


def _is_plain(folder: Path) -> bool:
    """Tell whether no file in a folder is a link."""
    try:
        with os.scandir(folder) as entries:
            return not any(entry.is_symlink() for entry in entries)
    except (OSError, ValueError):
        return False


def _save(places: Iterable[Path], content: Content, made_from: Mapping[str, str]) -> None:
    """Write an index to the first of the places that can be written to."""
    table = pa.Table.from_pandas(content.table, preserve_index=False)
    record = json.dumps(
        {"made_from": made_from, "summary": content.summary, "classes": content.classes}
    )
    table = table.replace_schema_metadata({**table.schema.metadata, _KEY: record.encode()})
    stream = io.BytesIO()
    parquet.write_table(
        table, stream, use_dictionary=_REPEATING, compression="lz4", write_statistics=False
    )
    written = stream.getvalue()
    for place in places:
        try:
            write_whole(place, written + _seal(written))
        except OSError as error:
            log.debug("no index in %s: %s", place, error)
        else:
            return
    log.warning("no index could be written, to %s: the next start reads all files again", place)
