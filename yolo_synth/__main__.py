"""`python -m yolo_synth` is `yolo-synth`."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line and leave with its exit code; a signal while it starts ends it in a line."""
    from yolo_synth.commands import stopping

    stopping.listen(starting=True)
    from yolo_synth.cli import main

    code = main()
    if stopping.received() is not None:
        stopping.leave(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
