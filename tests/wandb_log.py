"""Read back what a W&B run really logged, from its offline log file.

The file is a LevelDB-style log: a header of 7 bytes, then blocks of 32 KiB that hold records, each with
a checksum (4 bytes), a length (2) and a type (1: whole, 2: first, 3: middle, 4: last part).
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768


def records(path: Path) -> Iterator[Record]:
    data, position, parts = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = BLOCK - position % BLOCK
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def items(pairs: Iterable[Any]) -> dict[str, Any]:
    """Return key-value records as a dictionary, nested where the keys are."""
    result: dict[str, Any] = {}
    for pair in pairs:
        *outer, last = pair.nested_key or [pair.key]
        inner = result
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = json.loads(pair.value_json)
    return result


def _whole(path: Path, patience: float = 30) -> list[Record]:
    """Return a log's records once its end is there: W&B writes it in a process of its own."""
    deadline = time.monotonic() + patience
    while True:
        found = list(records(path))
        ended = any(record.WhichOneof("record_type") == "exit" for record in found)
        if ended or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def read(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any], Any]:
    """Return a run's history rows, its configuration and its run record."""
    [path] = folder.glob("wandb/offline-run-*/run-*.wandb")
    history, config, run = [], {}, None
    for record in _whole(path):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            history.append(items(record.history.item))
        elif kind == "config":
            config |= items(record.config.update)
        elif kind == "run":
            run = record.run
            config |= items(record.run.config.update)
    assert run is not None
    return history, config, run
