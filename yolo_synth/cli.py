"""The command line `yolo-synth`: Lightning's verbs beside our own.

A verb is imported when it is called, so help and mistakes are answered at once.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from inspect import signature
from typing import Any, Final, NamedTuple

from jsonargparse import ArgumentError, ArgumentParser

from yolo_synth.commands import PROGRAM, stopping
from yolo_synth.escaping import shown

TRAINER_VERBS: Final = {
    "fit": "train a detector from an experiment file, into a run folder",
    "validate": "measure a checkpoint on the validation images",
    "test": "measure a checkpoint on the test images",
    "predict": "detect objects in the test images",
}


INSTEAD: Final = {
    "fit": "an experiment file is named by --config FILE",
    **dict.fromkeys(
        ("validate", "test"),
        "a run is named by --config RUN/config.yaml; networks of any kind are measured by "
        "yolo-synth evaluate NETWORK --data FILE",
    ),
    "predict": "a run is named by --config RUN/config.yaml; what networks of any kind find is drawn and "
    "written by yolo-synth detect NETWORK PICTURES",
    "report": "it is of one folder of run folders; two networks of any kind are compared by "
    "yolo-synth compare A B --data DATA",
}
"""What helps who gave a verb a file or network that it does not take by its place."""


class Verb(NamedTuple):
    """A function that is a verb.

    Attributes:
        place: Its module in this package, and its name there.
        summary: The first paragraph of its docstring, for the list of verbs.
        optional: The parameter that is given by its place and may be left out, if there is one.
        several: The parameter that is given by its place, once or more often, if there is one.
    """

    place: str
    summary: str
    optional: str = ""
    several: str = ""

    def load(self) -> Callable[..., int | None]:
        """Import the function; what it returns is the exit code of what it found, None is 0."""
        module, _, name = self.place.partition(":")
        function: Callable[..., int | None] = getattr(import_module(f"yolo_synth.{module}"), name)
        return function


VERBS: Final[Mapping[str, Verb | Mapping[str, Verb]]] = {
    "demo": Verb("commands.demo:demo", "run the whole study in miniature, in ./demo"),
    "init": Verb(
        "commands.init:init",
        "write the experiment files to start from, as experiments/ in a folder",
        optional="folder",
    ),
    "sweep": Verb("commands.sweep:sweep", "train all runs of a W&B sweep file on this machine"),
    "evaluate": Verb(
        "commands.evaluate:evaluate",
        "measure every finished run, or networks of any kind, on test images and print a table of "
        "mAP",
        several="networks",
    ),
    "report": Verb(
        "commands.report:report",
        "write the paper's tables and figures for a folder of runs, and what the paper lacks",
    ),
    "compare": Verb(
        "commands.compare:compare_networks",
        "write how similar all layers of two networks are, on any images, and how sure that is",
    ),
    "detect": Verb(
        "commands.detect:detect",
        "find objects in a picture, a folder of pictures, a video or a data file's test images",
    ),
    "diff": Verb(
        "commands.diff:diff",
        "say whether detector B is better than A, how sure that is, and on which pictures",
    ),
    "why": Verb(
        "commands.why:why",
        "say why a network that was trained on synthetic images is bad on real ones, and what helps",
    ),
    "advise": Verb(
        "commands.advise:advise",
        "say what of a network to train on a few labelled real pictures, and what to freeze",
    ),
    "curve": Verb(
        "commands.curve:curve",
        "say how mAP on real images grows with labelled real pictures, and what synthetic ones are worth",
    ),
    "objects": Verb(
        "commands.objects:objects",
        "say how alike networks see objects, and how far apart each puts those of two domains",
        several="networks",
    ),
    "export": Verb(
        "commands.export:export",
        "write a run's best weights for other programs, in the form that FILE's ending says",
    ),
    "data": {
        "tiny": Verb(
            "scenes.formats:write_tiny",
            "write two small data sets of drawn street scenes, and the lists that split them",
        ),
        "describe": Verb(
            "survey.describe:describe",
            "print and draw what a data set holds: images, boxes, sizes, what was left out, and "
            "why",
        ),
        "preview": Verb(
            "survey.preview:preview",
            "draw a contact sheet of images with their boxes, a colour a class",
        ),
        "check": Verb(
            "survey.check:check",
            "open every image and label of a data set and list what is broken; exit code 1 if "
            "anything is",
        ),
        "anchors": Verb(
            "survey.anchors:anchors",
            "fit anchors to a data set's training boxes and print them beside YOLOv3's, as YAML",
        ),
        "convert": Verb(
            "survey.convert:convert",
            "write a data set as COCO JSON or YOLO text files, as it is trained on",
        ),
    },
}


def own_parser(arguments: Sequence[str] = ()) -> ArgumentParser:
    """Return the parser of all verbs, with the options of the one that the arguments name.

    Lightning's verbs parse their own.
    """
    parser = ArgumentParser(
        prog=PROGRAM,
        description="Train YOLOv3 and other detectors on real and synthetic street images and show "
        "layer by layer where the networks differ.",
        exit_on_error=False,
    )
    named = [*arguments, "", ""][:2]
    subcommands = parser.add_subcommands(metavar="VERB", title="verbs")
    for verb, summary in TRAINER_VERBS.items():
        subcommands.add_subcommand(verb, ArgumentParser(), help=summary)
    for verb, meaning in VERBS.items():
        if isinstance(meaning, Verb):
            _add_verb(subcommands, verb, meaning, named[0])
        else:
            group = ArgumentParser(description=f"{verb}: {', '.join(meaning)}", exit_on_error=False)
            subcommands.add_subcommand(verb, group, help=", ".join(meaning))
            inner = group.add_subcommands(metavar="VERB", title="verbs", dest="verb")
            for name, function in meaning.items():
                _add_verb(inner, name, function, named[1] if named[0] == verb else "")
    return parser


def _add_verb(subcommands: Any, name: str, verb: Verb, named: str) -> None:  # noqa: ANN401
    parser = ArgumentParser(exit_on_error=False)
    if name == named:
        function = verb.load()
        parser.description = " ".join((function.__doc__ or "").split("Args:")[0].split())
        parser.add_function_arguments(
            function, as_positional=True, skip={verb.optional, verb.several}
        )
        if verb.optional:
            default = signature(function).parameters[verb.optional].default
            parser.add_argument(
                verb.optional, nargs="?", default=default, help=f"{default} if left out"
            )
        if verb.several:
            parser.add_argument(verb.several, nargs="+", type=str, help="one or more")
        for action in parser._actions:
            if action.default is False:  # `--dropped` alone is `--dropped true`
                action.nargs, action.const = "?", True
    subcommands.add_subcommand(name, parser, help=verb.summary)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0; 1 if a check found something broken; 2 after one line on what the user can mend; 130 or 143
        if SIGINT or SIGTERM ended it.
    """
    try:
        return _answered(argv)
    except BaseException as error:
        if stopping.received() is None:
            raise
        return stopping.say(error)


def _answered(argv: Sequence[str] | None) -> int:
    """Run a command line, and tell in one line what the user can mend."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _show_progress_notes()
    try:
        return _run(arguments)
    except Exception as error:
        if os.environ.get("YOLO_SYNTH_TRACEBACK") or not _can_be_mended(error):
            raise
        with suppress(OSError):  # stderr may be a file on the disk that is full
            text = one_line(error) + _instead(arguments[:1], str(error))
            print(f"{PROGRAM}: error: {shown(text)}", file=sys.stderr)  # noqa: T201
        return 2


def _instead(verb: Sequence[str], said: str) -> str:
    """Return what to give instead of what was not recognized, where it is no option."""
    helps = [INSTEAD[name] for name in verb if name in INSTEAD]
    stray = re.search(r"unrecognized arguments: [^-]", said, re.IGNORECASE)
    return f": {helps[0]}" if helps and stray else ""


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in TRAINER_VERBS:
        train: Callable[[list[str]], None] = import_module("yolo_synth.commands.fit").train
        stopping.started()
        train(arguments)
        return 0
    options = own_parser(arguments).parse_args(arguments)
    verb = options.subcommand
    meaning, values = VERBS[verb], options[verb]
    if not isinstance(meaning, Verb):
        meaning, values = meaning[values.verb], values[values.verb]
    command = meaning.load()
    stopping.started()
    return command(**values.as_dict()) or 0


class _Shown(logging.Formatter):
    """A record as a terminal may have it, whatever names are in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text."""
        return shown(super().format(record))


class _ToStderr(logging.StreamHandler[Any]):
    """Writes to what sys.stderr is when a line comes: notebooks and tests change it."""

    @property
    def stream(self) -> Any:  # noqa: ANN401 - whatever stands in for sys.stderr
        return sys.stderr

    @stream.setter
    def stream(self, _: object) -> None:
        """Keep to sys.stderr."""


def _show_progress_notes() -> None:
    """Print what the package logs, such as how many boxes were read and which were left out."""
    log = logging.getLogger("yolo_synth")
    if not log.handlers:
        handler = _ToStderr()
        handler.setFormatter(_Shown("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


def _can_be_mended(error: Exception) -> bool:
    """Tell whether an error is one that the user can mend."""
    return (
        isinstance(error, (ValueError, OSError, ArgumentError))
        or type(error).__name__ == "MisconfigurationException"  # Lightning's, perhaps not loaded
        or _is_out_of_memory(error)
    )


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # the processor's
        return True
    return type(error).__name__ == "OutOfMemoryError"  # PyTorch's, perhaps not loaded


def _of_the_disk(error: OSError) -> str:
    """Say which path a disk refused, and what helps."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    place = error.filename2 if full and error.filename2 else error.filename  # a copy's second
    helps = "make room there and give the same command again" if full else "mend this one"
    return f"{place}: {str(error.strerror).lower()}; name another path, or {helps}"


def one_line(error: Exception) -> str:
    """Return an error's message in one line; of a data worker's, which holds a traceback, the end."""
    text = str(error).strip()
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = _of_the_disk(error)
    if "Original Traceback" in text:
        text = re.split(r"\n\w*(?:Error|Exception): ", text)[-1]
    if _is_out_of_memory(error):
        others = re.findall(r"Process (\d+) has ([\d.]+ \w+) memory in use", text)
        held = "".join(f", process {number} holds {size}" for number, size in others)
        text = (
            f"{'. '.join(text.split('. ')[:2])}{held}: batches of fewer images (--data.batch_size, of "
            "evaluate --batch_size; of compare less --memory) need less, and with "
            "CUDA_VISIBLE_DEVICES= it runs on the processor"
        )
    # The parser tries a data module's options, then null, and reports both, with all that was given.
    tried = re.search(r"Errors:\s+- (.*?)\s+- Expected a <class 'NoneType'>", text, re.DOTALL)
    text = _of_an_option(text) or (tried[1] if tried else text)
    return " ".join(text.split())


_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list, as '[1, 2]'",
    "list": "a list, as '[1, 2]'",
}


def _of_an_option(text: str) -> str | None:
    """Return what the parser says of a value of another type, in words."""
    found = re.search(
        r"""Parser key "([\w.]+)":((?!Parser key).)*?Expected an? <class '(\w+)'>.*? value: (.*)""",
        text,
        re.DOTALL,
    )
    if not found or found[3] not in _KINDS:
        return None
    return f"{found[1]}: {_KINDS[found[3]]} is expected, not {found[4].splitlines()[0]}"
