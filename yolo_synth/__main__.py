"""`python -m yolo_synth` is `yolo-synth`."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line and leave with its exit code."""
    from yolo_synth.cli import main  # the help of a wrong Python comes before slow imports

    sys.exit(main())


if __name__ == "__main__":
    run()
