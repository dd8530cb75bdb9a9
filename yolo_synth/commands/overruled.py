"""Options of the command line that a file named after them sets otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml


def overruled(arguments: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """Say which options are lost because `--config FILE` or `--data FILE` comes after them.

    Args:
        arguments: The command line.
        config: The configuration that came of it.

    Returns:
        A sentence for each.
    """
    given = list(_options(arguments))
    said = []
    for number, (name, value) in enumerate(given):
        after = given[number + 1 :]
        files = [(option, file) for option, file in after if _is_file_over(option, file, name)]
        now = _value(config, name)
        if files and name not in dict(after) and not _same(value, now):
            option, file = files[-1]
            said.append(
                f"--{name} {value} is overruled by --{option} {file}, which comes after it and makes it "
                f"{now}: give the option after the file"
            )
    return said


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield options and their values, as `--name=value` or in two words."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--"):
            yield name, value if equals else following


def _is_file_over(option: str, file: str, name: str) -> bool:
    over = (option == "config" != name) or name.startswith(f"{option}.")
    return over and Path(file).is_file()


def _value(config: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - of any option
    value: Any = config
    for key in name.split("."):
        if isinstance(value, Mapping) and key not in value and "init_args" in value:
            value = value["init_args"]
        value = value.get(key) if isinstance(value, Mapping) else None
    return value.get("class_path") if isinstance(value, Mapping) else value


def _same(text: str, value: object) -> bool:
    try:
        return text == str(value) or yaml.safe_load(text) == value or float(text) == value
    except (yaml.YAMLError, ValueError):
        return False
