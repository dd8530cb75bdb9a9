"""SIGINT and SIGTERM: what is under way ends in order, and the exit code says which it was."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Final, NoReturn

_received: Final[list[signal.Signals]] = []


def listen() -> None:
    """Have SIGTERM end the program as Ctrl-C does; what comes while it ends is ignored."""
    _received.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as of nohup's
            signal.signal(number, _stop)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    _received.append(signal.Signals(number))
    for further in (signal.SIGINT, signal.SIGTERM):
        signal.signal(further, signal.SIG_IGN)
    raise KeyboardInterrupt


def received() -> signal.Signals | None:
    """Return the signal that ended the work, if one did."""
    return _received[0] if _received else None


def say(error: BaseException | None = None) -> int:
    """Say which signal ended the work, and how to go on.

    Args:
        error: What it ended with; its notes say more than a common line.

    Returns:
        The exit code: 130 for SIGINT, 143 for SIGTERM.
    """
    stopped = received() or signal.SIGINT
    notes = getattr(error, "__notes__", None) or ["yolo-synth: the same command goes on"]
    print(f"yolo-synth: stopped by {stopped.name}", *notes, sep="\n", file=sys.stderr)  # noqa: T201
    return 128 + stopped
