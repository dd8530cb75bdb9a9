"""SIGINT and SIGTERM: what is under way ends in order, and the exit code says which it was."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Final, NoReturn

_received: Final[list[signal.Signals]] = []


def listen(*, starting: bool = False) -> None:
    """Have SIGTERM end the program as Ctrl-C does; what comes while it ends is ignored.

    Args:
        starting: Until `started`, end it at once: nothing is under way yet, and an exception would be lost
            in some of the imports.
    """
    _received.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as of nohup's
            signal.signal(number, _leave if starting else _stop)


def started() -> None:
    """From now on end what is under way in order, where it was listened; a verb's first imports at once."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is _leave:
            signal.signal(number, _stop)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    _received.append(signal.Signals(number))
    leave(say())


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    if _imports_its_work(frame):
        _leave(number, frame)
    _received.append(signal.Signals(number))
    for further in (signal.SIGINT, signal.SIGTERM):
        signal.signal(further, signal.SIG_IGN)
    raise KeyboardInterrupt


def _imports_its_work(frame: FrameType | None) -> bool:
    """Tell whether a verb, which the command line has called, still imports what it works with."""
    importer = None
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            importer = frame.f_back
        frame = frame.f_back
    caller = importer and importer.f_back
    return caller is not None and caller.f_globals["__name__"] == "yolo_synth.cli"


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


def leave(code: int) -> NoReturn:
    """Leave with an exit code after a signal.

    Python -m itself ends by SIGINT where the interrupt came in code that was compiled from text, as that
    of data classes, though it was answered.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    atexit._run_exitfuncs()
    os._exit(code)
