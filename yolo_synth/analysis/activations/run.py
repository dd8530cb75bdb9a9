"""Runs a network over images and hands out each layer's output for all of them, or its Gram matrix.

A network that says its `layers` and each one's `sources` is run breadth-first: each layer over all
images, its output handed out and freed after its last reader. One forward pass, nothing computed
twice, and never more in memory than a few layers' outputs; the first layers, whose outputs are the
large ones, run on horizontal stripes. Any other network is run with hooks.

It all happens on the network's device, in pieces that `policy` chooses.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Final, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from yolo_synth.analysis.activations.blocks import LayerChoice, named_blocks
from yolo_synth.analysis.activations.breadth_first import Piece, run_breadth_first
from yolo_synth.analysis.activations.collecting import Layers, collect
from yolo_synth.analysis.activations.gram_files import GramFolder, fingerprint
from yolo_synth.analysis.activations.grams import gram_bytes, share
from yolo_synth.analysis.activations.hooked import prepare_hooks
from yolo_synth.analysis.activations.inputs import batches_of, check_images, evaluating, example_of
from yolo_synth.analysis.activations.layers import Planned, is_planned, read_layers
from yolo_synth.analysis.activations.plan import DoesNotFitError, make_plan, most_images
from yolo_synth.analysis.activations.policy import Policy, memory_of
from yolo_synth.analysis.activations.precision import full_float32
from yolo_synth.analysis.activations.tuning import ways_to_run

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Precision = Literal["float32", "bfloat16"]


@full_float32()
@torch.inference_mode()
def gram_matrices(
    network: nn.Module,
    images: Tensor,
    *,
    layers: str | Sequence[LayerChoice] | None = None,
    memory: int | None = None,
    precision: Precision = "float32",
    folder: Path | None = None,
    progress: Callable[[float], object] | None = None,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Compute the Gram matrix X X^T of every layer, exactly, over all features.

    Args:
        network: As in `each_layer`.
        images: As in `each_layer`.
        layers: As in `each_layer`.
        memory: As in `each_layer`. Of a network with a plan, more images than fit are run in blocks,
            two blocks at a time until each has been with each, so that every image passes several
            times; a warning says how often. The result is not counted.
        precision: Of the layers' outputs and of the products, whatever PyTorch is set to do with
            float32; their sums are float64.
        folder: Keeps each matrix as soon as it is done. What is there already, of the same network
            and images, is not computed again.
        progress: Called with the share of the features done, up to 1.
        group: Processes that share the work, such as `torch.distributed.group.WORLD`: all of them
            call this with the same arguments, each runs its share of the images, all get the whole
            result, the first one writes the folder.

    Returns:
        float64 [layers, n, n], not centred, on the processor; `layer_names` has the layers' names.

    Raises:
        ValueError: As `each_layer`; if an activation is not finite, with its layer and images; if
            `folder` holds matrices of another network or of other images.
    """
    memory = memory_of(example_of(network).device) if memory is None else memory
    most = -(-len(images) // group.size()) if group else len(images)
    if group and len(images) <= most * (group.size() - 1):
        raise ValueError(f"{len(images)} images are too few for each of {group.size()} processes")
    mine = images[share(len(images), group)]
    prepare = partial(
        _prepare, network, mine, layers, memory, precision, most, gram_bytes(len(images))
    )
    try:
        run = prepare()
    except DoesNotFitError:
        blocks = _blocks(network, images, memory, precision, group.size() if group else 1)
        if not blocks:
            raise
        return _block_by_block(network, images, blocks, memory, precision, folder, progress, group)
    store = (
        GramFolder(folder, fingerprint(network, images, precision, run.names)) if folder else None
    )
    result = torch.empty(len(run.names), len(images), len(images), dtype=torch.float64)
    done = store.load_into(result) if store else set()

    def save(layer: int) -> None:
        if store and (group is None or group.rank() == 0):
            store.save(layer, result[layer])

    if not collect(run, result, done, save, progress or (lambda _: None), group):
        collect(prepare(at_once=False), result, done, save, progress or (lambda _: None), group)
    return result


def _blocks(
    network: nn.Module, images: Tensor, memory: int, precision: str, processes: int
) -> list[Tensor]:
    """Cut the images' numbers into blocks of which two fit into the memory; none if nothing fits."""
    count, itemsize = len(images), DTYPES[precision].itemsize
    with evaluating(network):
        layers = read_layers(cast(Planned, network), images.shape[1:])
    ways = ways_to_run(example_of(network).device, count, DTYPES[precision], memory)
    at_once = most_images(layers, count, itemsize, memory, processes, ways)
    if at_once < 2:
        return []
    blocks = list(torch.arange(count).tensor_split(-(-count // (at_once // 2))))
    warnings.warn(
        f"{count} images do not fit into {memory / 2**20:.0f} MiB at once, {at_once} do: they are run in "
        f"{len(blocks)} blocks, each with each other, so every image passes {len(blocks) - 1} times; "
        "allow more memory to save time",
        stacklevel=3,
    )
    return blocks


def _block_by_block(
    network: nn.Module,
    images: Tensor,
    blocks: Sequence[Tensor],
    memory: int,
    precision: Precision,
    folder: Path | None,
    progress: Callable[[float], object] | None,
    group: dist.ProcessGroup | None,
) -> Tensor:
    """Compute Gram matrices block of images with block of images; arguments as in `gram_matrices`.

    What is done is kept beside the folder until all is done.
    """
    names = layer_names(network, images[:1])
    writes = folder is not None and (group is None or group.rank() == 0)
    origin = fingerprint(network, images, precision, names)
    store = GramFolder(folder, origin) if folder else None
    result = torch.empty(len(names), len(images), len(images), dtype=torch.float64)
    if store and len(store.load_into(result)) == len(names):
        return result
    pairs = list(combinations(range(len(blocks)), 2))
    for number, (i, j) in enumerate(pairs):
        both = torch.cat([blocks[i], blocks[j]])
        result[:, both[:, None], both] = gram_matrices(
            network,
            images[both],
            memory=memory,
            precision=precision,
            folder=folder / "blocks" / f"{i}_{j}" if folder else None,
            progress=_part_of(progress, number, len(pairs)),
            group=group,
        )
    if store and writes:
        for layer, matrix in enumerate(result):
            store.save(layer, matrix)
        shutil.rmtree(store.folder / "blocks")
    return result


def _part_of(
    progress: Callable[[float], object] | None, number: int, parts: int
) -> Callable[[float], object] | None:
    return progress and (lambda share: progress((number + share) / parts))


def each_layer(
    network: nn.Module,
    images: Tensor,
    *,
    layers: str | Sequence[LayerChoice] | None = None,
    memory: int | None = None,
    precision: Precision = "float32",
) -> Iterator[Piece]:
    """Run a network and hand out each layer's output for all images.

    A network with a plan, `layers` (its modules in order) and `sources` (for each the indices of
    those whose outputs it is called with; -1 is the images), is run breadth-first, once. Any other,
    or one of which particular `layers` are asked for, is run with hooks, once for as many features
    as fit into the memory.

    Args:
        network: It is used in eval mode and left as it was.
        images: [n, 3, H, W], float in 0..1, or uint8, which is divided by 255.
        layers: Names of modules, patterns of names such as `backbone.*`, or classes; a pattern
            alone; `leaves` for all modules that have none inside. None for the whole plan, without
            one for the `blocks` that the network names, or else for about 30 found in it.
        memory: Bytes that the layers' outputs, and what is needed to compute them, may take, beside
            the network and the images; without a plan, the bytes of the outputs that are kept. By
            default 2 GiB on a processor, and most of what is free on a CUDA device.
        precision: Of the layers' outputs.

    Yields:
        Pieces, which together hold every number of every layer's output once. A layer comes in one
        piece, or in several with some features each, between which others may come. To go over the
        outputs twice, call twice.

    Raises:
        ValueError: If the images are not such a tensor, if `memory` is not enough, or if `layers`
            names modules that do not return floating numbers for each image, with all of them, or
            has a pattern or class that stands for none that does. What else does not is left out,
            and logged once; `choose_layers` returns it.
    """
    memory = memory_of(example_of(network).device) if memory is None else memory
    with full_float32():
        yield from _prepare(network, images, layers, memory, precision, len(images)).pieces


def layer_names(
    network: nn.Module, images: Tensor, *, layers: str | Sequence[LayerChoice] | None = None
) -> list[str]:
    """Return the names of the layers that `gram_matrices` and `each_layer` number from 0.

    The module's name; `name:0`, `name:1` and so on where it returns several tensors in a forward
    pass or is called several times. The arguments are as in `each_layer`.
    """
    memory = memory_of(example_of(network).device)
    return _prepare(network, images, layers, memory, "float32", len(images)).names


def _prepare(
    network: nn.Module,
    images: Tensor,
    layers: str | Sequence[LayerChoice] | None,
    memory: int,
    precision: str,
    most: int,
    sums: int = 0,
    *,
    at_once: bool = True,
) -> Layers:
    """Check the input and make ready to run; the memory holds the outputs of `most` images.

    And, of a network with a plan, `sums` bytes for each layer that runs. `at_once` allows policies that
    look at the end alone whether all is finite.
    """
    check_images(images)
    if precision not in DTYPES:
        raise ValueError(f"precision must be one of {', '.join(DTYPES)}, not {precision!r}")
    if layers is None and is_planned(network):
        dtype, device = DTYPES[precision], example_of(network).device
        ways = ways_to_run(device, len(images), dtype, memory)
        ways = tuple(way for way in ways if at_once or not way.at_the_end)
        return _prepare_plan(network, images, memory, dtype, most, sums, ways)
    chosen = named_blocks(network) if layers is None else layers
    return prepare_hooks(network, images, chosen, memory, DTYPES[precision], most)


def _prepare_plan(
    network: nn.Module,
    images: Tensor,
    memory: int,
    dtype: torch.dtype,
    most: int,
    sums: int,
    ways: Sequence[Policy],
) -> Layers:
    with evaluating(network), torch.inference_mode():
        layers = read_layers(cast(Planned, network), images.shape[1:])
        plan = make_plan(layers, most, dtype.itemsize, memory, sums, ways)
        gram_sources = [(layer.gram_factor, layer.sources) for layer in layers]

    @torch.inference_mode()
    def pieces() -> Iterator[Piece]:
        with evaluating(network):
            batches = batches_of(images, example_of(network).device, dtype, plan.policy)
            yield from run_breadth_first(plan, batches)

    names = [f"layers.{layer.index}" for layer in layers]
    features = [layer.features for layer in layers]
    return Layers(names, features, gram_sources, pieces(), plan.policy)
