"""Going on with a run that was cut off: whether a command is that run's, and where it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from lightning.pytorch.utilities import rank_zero_info

from yolo_synth import runs

_NOT_OF_THE_RESULT: Final = re.compile(
    r"(ckpt_path|runs|name|variant|(similarity|pictures)(\..+)?|checkpoint\.(dirpath|verbose)"
    r"|early_stopping\.verbose|trainer\.(default_root_dir|logger|profiler|enable_\w+)(\..+)?"
    r"|data\.(.+\.)?(root|cache|num_workers))"
)
"""Options that may change when a run goes on: where things lie, what is shown, what comes after."""

_PLACES: Final = re.compile(r"data\.(.+\.)?(splits|label_root)")
"""Options that name a place, but whose being there at all matters."""


def changed_options(before: runs.Config, now: runs.Config, prefix: str = "") -> list[str]:
    """Name the options that differ between two configurations and matter to the trained weights."""
    changed = []
    for key in sorted({*before, *now}):
        name, old, new = f"{prefix}{key}", before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed += changed_options(old, new, f"{name}.")
        elif _PLACES.fullmatch(name):
            changed += [name] if (old is None) != (new is None) else []
        elif old != new and not _NOT_OF_THE_RESULT.fullmatch(name):
            changed.append(name)
    return changed


def of_the_result(config: runs.Config, prefix: str = "") -> dict[str, object]:
    """Return the options of a configuration that matter to the trained weights, by their whole names."""
    found: dict[str, object] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            found |= of_the_result(value, f"{name}.")
        elif _PLACES.fullmatch(name):
            found[name] = value is not None
        elif not _NOT_OF_THE_RESULT.fullmatch(name):
            found[name] = value
    return found


def run_of_before(folder: Path, now: runs.Config) -> runs.Run | None:
    """Return the run in a folder that a command goes on with; None if nothing is there to protect.

    A run that never came to a checkpoint is none: the training begins anew.

    Args:
        folder: The run folder.
        now: The whole configuration of the command.

    Raises:
        ValueError: If the folder holds a run of another configuration.
    """
    if not ((folder / runs.LAST).is_file() or (folder / runs.SUMMARY).is_file()):
        if (folder / runs.CONFIG).is_file():
            rank_zero_info(f"{folder}: its run ended before a first checkpoint; it begins anew")
        return None
    run = runs.read_run(folder)
    changed = changed_options(run.config, now)
    if changed:
        state = "a finished" if run.finished else "an unfinished"
        goes_on = "" if run.finished else ", or give the options of before to go on with it"
        raise ValueError(
            f"{folder}: holds {state} run with another {changed[0]}; choose another --name or --runs, "
            f"or remove {folder}{goes_on}"
        )
    return run
