"""Which pieces a processor multiplies fastest, measured once and kept: not all have caches of one size."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

import platformdirs
import torch

from yolo_synth.analysis.activations.grams import Gram
from yolo_synth.analysis.activations.policy import PROCESSOR, Policy, policies
from yolo_synth.files import write_whole

ENOUGH: Final = 64
"""Images below which the choice is not worth its measurement."""

SLICES: Final = tuple(2**20 * size for size in (5, 1, 2, 10, 20))
BLOCKS: Final = (48, 24, 96, 200)

GAIN: Final = 0.85
"""Share of the default's time that another choice may take at most: noise alone changes nothing."""

_IMAGES, _FEATURES, _ROUNDS = 200, 20_000, 2

Timer = Callable[[Policy], float]


def ways_to_run(
    device: torch.device, images: int, dtype: torch.dtype, memory: int
) -> tuple[Policy, ...]:
    """Return how a network can be run, as `policies` does, a processor's products as it is fast in them.

    What was measured is kept in the user's cache folder, for this processor and this PyTorch. The numbers
    differ by rounding at most. Of few images nothing is measured.
    """
    ways = policies(device, images, dtype, memory)
    if device.type == "cuda" or images < ENOUGH:
        return ways
    slice_bytes, block_images = _pieces()
    return tuple(replace(way, slice_bytes=slice_bytes, block_images=block_images) for way in ways)


@cache
def _pieces() -> tuple[int, int]:
    """Return bytes of features to multiply at once, and columns, as kept or else measured now."""
    place = platformdirs.user_cache_path("yolo_synth") / "processor.json"
    about = f"{processor_name()}, PyTorch {torch.__version__}"
    kept = _read(place)
    match kept.get(about):
        case [int(slice_bytes), int(block_images)]:
            if slice_bytes in SLICES and block_images in BLOCKS:
                return slice_bytes, block_images
    best = fastest(seconds)
    found = best.slice_bytes, best.block_images
    with suppress(OSError):  # it is measured again then
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, json.dumps(kept | {about: found}, indent=1))
    return found


def fastest(timer: Timer) -> Policy:
    """Return the best size of slices, then of blocks; the default unless another is clearly faster.

    Args:
        timer: Seconds that a policy takes.
    """
    best = _best(timer, (replace(PROCESSOR, slice_bytes=size) for size in SLICES))
    return _best(timer, (replace(best, block_images=size) for size in BLOCKS))


def _best(timer: Timer, choices: Iterable[Policy]) -> Policy:
    """Return the fastest of some policies; the first, unless that is slower in every one of five rounds."""
    first, *others = choices
    times = [[timer(choice) for choice in (first, *others)] for _ in range(_ROUNDS)]
    fast = min(others, key=lambda choice: min(row[1 + others.index(choice)] for row in times))
    again = ((timer(fast), timer(first)) for _ in range(5))
    return fast if all(this < GAIN * that for this, that in again) else first


def seconds(policy: Policy) -> float:
    """Return how long one thread takes for the products of a layer's features, of 200 images."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would wait for each other where the machine is busy
    try:
        rows = torch.ones(_IMAGES, _FEATURES)
        start = time.thread_time()
        Gram(_IMAGES, "the processor's measurement", policy=policy).add([rows])
        return time.thread_time() - start
    finally:
        torch.set_num_threads(threads)


def processor_name() -> str:
    """Return the processor's name, as far as it has one."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def _read(place: Path) -> dict[str, object]:
    """Return what was kept; nothing if there is none, or it is damaged."""
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
