"""Which layers of a network are compared: about 30 blocks found by itself, or what is asked for.

Blocks are modules, named by their paths. The network runs once, on two images, with a hook on every
module; then the module that holds most is split into its children until there are enough. What returns
no row of numbers for each image (anchors, position tables, what looks at single boxes) is left out and
listed with its reason; only what was asked for by its name is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from yolo_synth.analysis.activations.breadth_first import Batch
from yolo_synth.analysis.activations.hooks import Output
from yolo_synth.analysis.activations.inputs import check_images, evaluating, example_of
from yolo_synth.analysis.activations.recording import Recorded, record

LayerChoice = str | type[nn.Module]
"""A module's name, a pattern with `*`, `?` or `[...]` for several, or a class of modules."""

LEAVES: Final = "leaves"
"""Stands for all modules that have none inside."""

WANTED: Final = 30
"""Layers of a network that is split into blocks, about."""

FEWEST: Final = 10
"""Layers below which blocks are split even if that makes far too many."""

SAID_AT_ONCE: Final = 6
"""Left-out modules that a line names; `choose_layers` returns all."""

_log = logging.getLogger(__name__)
_said: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


class LeftOut(NamedTuple):
    """A module that is not compared.

    Attributes:
        name: Its path.
        shape: Of the first tensor it returned for the images that were tried, if any.
        reason: Why.
    """

    name: str
    shape: tuple[int, ...] | None
    reason: str


class Choice(NamedTuple):
    """What is compared of a network, in the order in which it runs, and what is not.

    Attributes:
        outputs: The layers.
        left_out: Modules without a row of numbers for each image; one that holds only such stands for
            all of them.
    """

    outputs: list[Output]
    left_out: list[LeftOut]


def choose_layers(
    network: nn.Module, images: Tensor, layers: str | Sequence[LayerChoice] | None = None
) -> Choice:
    """Return what `gram_matrices` compares of a network without a plan, and what it leaves out.

    The arguments and errors are as in `each_layer`; two of the images are used.
    """
    check_images(images)
    weight = example_of(network)
    batch = Batch(images[:2].to(weight.device), weight.dtype)
    with evaluating(network):
        return choose(network, batch.rows(), named_blocks(network) if layers is None else layers)


def named_blocks(network: nn.Module) -> list[str] | None:
    """Return the names of a network's blocks, if it says any."""
    blocks = getattr(network, "blocks", None)
    said = isinstance(blocks, list) and all(isinstance(name, str) for name in blocks)
    return blocks if said else None


def choose(
    network: nn.Module, images: Tensor, layers: str | Sequence[LayerChoice] | None
) -> Choice:
    """Run a network once and choose what is compared.

    Args:
        network: In eval mode.
        images: Its input; two images show which tensors have no image axis.
        layers: As in `each_layer`; None for blocks.

    Raises:
        ValueError: If a name stands for what is no layer, a pattern or a class for nothing, with all
            of them; or if nothing is left.
    """
    modules = record(network, images)
    count = len(images)
    if layers is None:
        names, left_out = _blocks(modules, count)
    elif layers == LEAVES:
        leaves = [name for name, module in modules.items() if not module.children]
        names, left_out = _sorted_out(modules, leaves, count)
    else:
        names, left_out = _asked_for(
            modules, [layers] if isinstance(layers, str) else layers, count
        )
    outputs = [
        Output(
            f"{name}:{i}" if len(tensors) > 1 else name,
            name,
            i,
            tuple(tensor.shape[1:]),
            len(tensors),
            modules[name].sets[i],
        )
        for name in sorted(names, key=lambda name: modules[name].order)
        if (tensors := modules[name].tensors)
        for i, (tensor, why) in enumerate(zip(tensors, modules[name].problems(count), strict=True))
        if why is None
    ]
    if not outputs:
        raise ValueError(
            f"{type(network).__name__} has no module that returns a row of numbers an image"
        )
    return Choice(outputs, left_out)


def say_left_out(network: nn.Module, chosen: Choice) -> None:
    """Log what is left out of a network, and what is compared by its queries' means, once."""
    if sets := [output.name for output in chosen.outputs if output.is_set]:
        line = (
            f"{type(network).__name__}: queries whose order follows from their scores are compared by "
            f"their means: {', '.join(sets[:SAID_AT_ONCE])}"
            + (f" and {len(sets) - SAID_AT_ONCE} more" if len(sets) > SAID_AT_ONCE else "")
        )
        _say(network, line)
    if not chosen.left_out:
        return
    some = [
        f"{name}{f' {list(shape)}' if shape is not None else ''} {reason}"
        for name, shape, reason in chosen.left_out[:SAID_AT_ONCE]
    ]
    more = len(chosen.left_out) - len(some)
    said = "; ".join(some) + (f"; and {more} more, which choose_layers lists" if more else "")
    _say(network, f"{type(network).__name__}: not compared: {said}")


def _say(network: nn.Module, line: str) -> None:
    if line not in _said.setdefault(network, set()):
        _said[network].add(line)
        _log.warning(line)


def _sorted_out(
    modules: dict[str, Recorded], names: Sequence[str], images: int
) -> tuple[list[str], list[LeftOut]]:
    """Part modules into those that return a layer and those that do not; some do both."""
    kept, left_out = [], []
    for name in names:
        module = modules[name]
        if module.calls and None in module.problems(images) and not module.is_ambiguous:
            kept.append(name)
        if reason := module.reason(images):
            left_out.append(LeftOut(name, module.shape(images), reason))
    return kept, left_out


def _asked_for(
    modules: dict[str, Recorded], choices: Sequence[LayerChoice], images: int
) -> tuple[list[str], list[LeftOut]]:
    """Return the modules that names, patterns and classes stand for, and what patterns leave out."""
    names: dict[str, None] = {}
    left_out: dict[LeftOut, None] = {}
    refused: list[str] = []
    for choice in choices:
        if isinstance(choice, str) and choice in modules:
            module = modules[choice]
            problems = [why for why in module.problems(images) if why]
            if not module.tensors or problems:
                shape = f" {list(module.shape(images) or ())}" if module.tensors else ""
                refused.append(
                    f"{choice!r}{shape} {problems[0] if problems else module.reason(images)}"
                )
            names[choice] = None
            continue
        matching = [name for name, module in modules.items() if _matches(choice, name, module)]
        ran = [name for name in matching if modules[name].tensors]
        kept, odd = _sorted_out(modules, ran, images)
        if not kept:
            shown = repr(choice) if isinstance(choice, str) else choice.__name__
            why = f": {odd[0].name} {odd[0].reason}" if odd else ""
            refused.append(
                f"{shown} stands for {'none that does' if odd else 'no module that runs'}{why}"
            )
        names |= dict.fromkeys(kept)
        left_out |= dict.fromkeys(odd)
    if refused:
        raise ValueError(
            f"layers must return a row of numbers for each image: {'; '.join(refused)}: choose others"
        )
    return list(names), list(left_out)


def _matches(choice: LayerChoice, name: str, module: Recorded) -> bool:
    if isinstance(choice, str):
        return bool(name) and fnmatchcase(name, choice)
    return isinstance(module.module, choice)


def _blocks(modules: dict[str, Recorded], images: int) -> tuple[list[str], list[LeftOut]]:
    """Split the module with most leaves, with all of its kind, as long as that comes closer to 30."""
    left_out: dict[str, LeftOut] = {}

    def opened(names: Sequence[str]) -> list[str]:
        """Return blocks among modules: those that are none are split, or left out."""
        found = []
        for name in names:
            module = modules[name]
            reason = module.reason(images)
            inside = any(modules[child].leaves for child in module.children)
            if inside and module.is_all:
                found += opened(module.children)
            elif not reason:
                found.append(name)
            elif inside:
                found += opened(module.children)
            else:
                kept, odd = _sorted_out(modules, [name], images)
                found += kept
                left_out.update((left.name, left) for left in odd)
        return found

    def layers(names: Sequence[str]) -> int:
        return sum(len(modules[name].tensors or ()) for name in names)

    blocks = opened([""])
    while (count := layers(blocks)) < WANTED:
        whole = [name for name in blocks if any(modules[c].leaves for c in modules[name].children)]
        if not whole:
            break
        largest = _kind(modules, max(whole, key=lambda name: modules[name].leaves))
        alike = [name for name in whole if _kind(modules, name) == largest]
        before = dict(left_out)
        split = [name for name in blocks if name not in alike]
        split += opened([child for name in alike for child in modules[name].children])
        if count >= FEWEST and abs(layers(split) - WANTED) >= WANTED - count:
            left_out = before
            break
        blocks = split
    return blocks, list(left_out.values())


def _kind(modules: dict[str, Recorded], name: str) -> tuple[type, type]:
    """Return a module's class and that of the module it is in: those of one kind are split together."""
    parent = modules[name.rpartition(".")[0]]
    return type(modules[name].module), type(parent.module)
