"""The experiment files to start from, which come with the package."""

from __future__ import annotations

from pathlib import Path

from yolo_synth.claims import new_folder


def init(folder: str = ".") -> None:
    """Write the experiment files to start from, as experiments/ in a folder.

    They are all that `fit`, `sweep` and the `data` verbs are given in the README; change them as you
    like. Nothing that is there already is overwritten.

    Args:
        folder: Folder to write experiments/ into; it is made.
    """
    target = Path(folder) / "experiments"
    if target.exists():
        raise ValueError(f"{target}: is there already and is left as it is; name another folder")
    source = packaged()
    with new_folder(target, "writes") as draft:
        for file in sorted(source.rglob("*.yaml")):
            copy = draft / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    print(f"{target}: the experiment files to start from")  # noqa: T201


def packaged() -> Path:
    """Return where the experiment files are: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "experiments"
    return inside if inside.is_dir() else package.parent / "experiments"
