"""Write the API pages from the docstrings: `make docs`, or `python docs/build.py FOLDER`.

The first page has the public names; the others are the package's files, for those who change them.
"""

from __future__ import annotations

import pkgutil
import sys
import warnings
from pathlib import Path

import pdoc
import pdoc.render

import yolo_synth


def modules() -> list[str]:
    """Return the names of all modules but the one that runs when it is imported."""
    found = pkgutil.walk_packages(yolo_synth.__path__, "yolo_synth.")
    return [module.name for module in found if not module.name.endswith("__main__")]


def build(folder: Path) -> None:
    """Write a page a module, and index.html."""
    # The public names are imported when they are first used; pdoc only sees those that have been
    vars(yolo_synth).update({name: getattr(yolo_synth, name) for name in yolo_synth.__all__})
    pdoc.render.configure(docformat="google", show_source=False, search=False)
    # Annotations that only a type checker can resolve are shown as they are written
    warnings.filterwarnings("ignore", "Error parsing type annotation", UserWarning)
    # Each is named, since pdoc passes over those below a package that has an __all__
    warnings.filterwarnings("ignore", "The module specification", UserWarning)
    pdoc.pdoc("yolo_synth", *modules(), output_directory=folder)


if __name__ == "__main__":
    build(Path(sys.argv[1] if sys.argv[1:] else "docs/api"))
