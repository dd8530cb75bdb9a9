"""Pages that load nothing and need no script: a template in web/ that extends still.html."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_WEB: Final = Path(__file__).with_name("web")


def still_page(name: str, **values: object) -> str:
    """Return a page.

    Args:
        name: Of its template, in web/.
        values: What the template names; `title` is one.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FileSystemLoader(_WEB),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = (_WEB / "page.css").read_text(encoding="utf-8")
    return environment.get_template(name).render(css=css, **values)
