"""`python -m yolo_synth` is `yolo-synth`."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line and leave with its exit code; a signal while it starts ends it in a line."""
    from yolo_synth.commands import stopping

    try:
        stopping.listen()
        from yolo_synth.cli import main  # slow imports, of which nobody wants a traceback

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(stopping.say())


if __name__ == "__main__":
    run()
