"""Names that others chose, made harmless where they are shown: terminal, CSV and Markdown.

The page escapes by its template; LaTeX by `report.tables`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""

_MARKDOWN: Final = str.maketrans(
    {"<": "&lt;", ">": "&gt;", **{sign: f"\\{sign}" for sign in "|`[]\\"}}
)


def shown(text: object) -> str:
    r"""Return a text as a terminal may have it: control characters other than ends of lines written out.

    So a name can neither move the cursor nor turn the direction of what follows it: ESC is `\x1b`.
    """
    return re.sub(r"[^\n\t -~]", _written_out, str(text))


def _written_out(found: re.Match[str]) -> str:
    character = found[0]
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
        return character.encode("unicode_escape").decode("ascii")
    return character


def say(*texts: object) -> None:
    """Print texts, a line each, as `shown`."""
    print("\n".join(map(shown, texts)), flush=True)  # noqa: T201


def csv_text(frame: pd.DataFrame, **options: Any) -> str:  # noqa: ANN401 - those of to_csv
    """Return a frame as CSV in which no name is taken for a formula: such a one begins with `'`."""
    safe = frame.copy()
    for number, kind in enumerate(frame.dtypes):
        if kind.kind not in "biufcmM":  # numbers stay, also negative ones
            safe.isetitem(number, [_no_formula(value) for value in frame.iloc[:, number]])
    safe = safe.rename(index=_no_formula, columns=_no_formula)
    safe = safe.rename_axis(index=_no_formula, columns=_no_formula)
    return str(safe.to_csv(lineterminator="\n", **options))


def _no_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def markdown_text(text: object) -> str:
    """Return a text of one line as Markdown that shows it, without a link, a tag or a cell of its own."""
    return shown(text).translate(_MARKDOWN).replace("\n", " ")
