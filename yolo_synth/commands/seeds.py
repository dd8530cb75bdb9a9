"""Several seeds of a model, which a verb is given by the folder of their run folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yolo_synth.commands.networks import read_network, told_apart
from yolo_synth.escaping import say
from yolo_synth.networks.references import Reference
from yolo_synth.runs import CONFIG, Run, read_run, run_folders


def seeds_of(text: str, trust: bool = False) -> Sequence[Run | Reference]:
    """Return the finished runs of a model, by their seeds, or the one run or other network that is named.

    Raises:
        FileNotFoundError: As `read_network`.
        ValueError: If the folder has runs of several models, or several of one seed, or none is finished.
    """
    folders = run_folders(text) if Path(text).is_dir() else []
    if not folders or (Path(text) / CONFIG).is_file():
        return [read_network(text, trust)]
    runs = [read_run(folder, trust) for folder in folders]
    models = sorted({run.model for run in runs})
    if len(models) > 1:
        raise ValueError(
            f"{text}: it has runs of {len(models)} models ({', '.join(models[:5])}): name the folder of "
            f"one, as {runs[0].folder.parent}"
        )
    seeds: dict[int, Run] = {}
    for run in runs:
        if not run.finished:
            say(f"{run.folder}: it is left out, since its training has not come to its end")
        elif run.seed in seeds:
            raise ValueError(f"{run.folder} and {seeds[run.seed].folder} have one seed: name one")
        else:
            seeds[run.seed] = run
    if not seeds:
        raise ValueError(f"{text}: none of its {len(runs)} runs is finished: yolo-synth fit again")
    return [seeds[seed] for seed in sorted(seeds)]


def pairs_of(network: str, oracle: str, trust: bool = False) -> list[list[Run | Reference]]:
    """Return a network, or every seed of a model, each with the oracle of its seed if there is one.

    A single oracle goes with a single network, whatever their seeds; one that is no run goes with all.

    Raises:
        FileNotFoundError: As `seeds_of`.
        ValueError: As `seeds_of`, or if both have no seed in common.
    """
    own = seeds_of(network, trust)
    if not oracle:
        return [[one] for one in own]
    others = seeds_of(oracle, trust)
    if len(own) == len(others) == 1 or not isinstance(others[0], Run):
        if len(own) == 1:
            return [told_apart([own[0], others[0]], [network, oracle])]
        return [[one, others[0]] for one in own]
    by_seed = {one.seed: one for one in others if isinstance(one, Run)}
    pairs: list[list[Run | Reference]] = []
    for one in own:
        if isinstance(one, Run) and one.seed in by_seed:
            pairs.append([one, by_seed.pop(one.seed)])
        else:
            say(f"{one.name}: it is left out, since {oracle} has none of its seed")
    if not pairs:
        raise ValueError(
            f"{network} and {oracle} have no seed in common: name one run of each, as {others[0].folder}"
        )
    for left in by_seed.values():
        say(f"{left.name}: it is left out, since {network} has none of its seed")
    return pairs
