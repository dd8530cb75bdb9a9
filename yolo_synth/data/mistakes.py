"""All mistakes of label files told together."""

from __future__ import annotations

from collections.abc import Sequence


class Mistakes(ValueError):  # noqa: N818 - several
    """Several mistakes, so that mending them takes one round.

    The message is the first one, and how many more there are.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        """Take a line for each mistake, with its place."""
        self.lines = tuple(lines)
        more = len(self.lines) - 1
        rest = f" (and {more} more; yolo-synth data check lists them all)" if more else ""
        super().__init__(f"{self.lines[0]}{rest}")

    def __reduce__(self) -> tuple[type[Mistakes], tuple[tuple[str, ...]]]:
        return type(self), (self.lines,)


def refuse(lines: Sequence[str]) -> None:
    """Raise all mistakes, if there are any."""
    if lines:
        raise Mistakes(lines)
