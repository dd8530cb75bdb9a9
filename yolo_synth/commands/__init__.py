"""The command line's own verbs, one a file."""

from __future__ import annotations

from typing import Final

PROGRAM: Final = "yolo-synth"
"""What the command line is called."""
