"""Compare: the similarity of any two networks, on any images."""

from __future__ import annotations

from typing import Literal


def compare_networks(
    a: str,
    b: str,
    data: str | tuple[str, ...] = (),
    images: int | None = None,
    size: int | None = None,
    split: str = "test",
    out: str | None = None,
    layers: str | tuple[str | int, ...] = (),
    pooled: bool = False,
    precision: Literal["float32", "bfloat16"] = "float32",
    memory: float | None = None,
    measures: str = "",
    *,
    trust: bool = False,
) -> None:
    """Write how similar all layers of two networks are, on any images, and how sure that is.

    Linear CKA of all pairs of layers, debiased and, as in the paper, biased; intervals over images and
    what permuted images reach; of runs that started from the same weights, the CKA with those regressed
    out; and, where asked for, other measures with interval and chance. With several sets of images
    every figure is of each set, and inside each network it is told how far the sets lie apart, beside
    the halves of one set. Written as a page, compare.html, figures, tables and the matrices. Gram matrices
    of two runs are kept in the run folders, and a computation that was cut off goes on.

    Args:
        a: A network, the rows of the matrices: a run folder, torchvision:NAME[:FILE], timm:NAME[:FILE], a
            folder of transformers, Ultralytics' FILE.pt, FILE.pt2, Darknet's FILE.weights or
            FILE.py:FUNCTION.
        b: Another one, the columns.
        data: Folder of pictures, which need no labels, or data file, as experiments/data/bdd100k.yaml;
            or several, as [real/, synthetic/]; by default the data of the run that A or B is.
        images: How many images of each set to show to both; by default 200, or all of a smaller set.
        size: Side of the network input, in pixels; by default 32 for two runs and 160 else. It is
            rounded to what a network takes; one that takes a single size gets that.
        split: train, valid or test.
        out: Folder to write to; by default A/similarity/B_images for two runs, and else ./compare.
        layers: What is compared: leaves, a module's name or a pattern, as backbone.*, or several, as
            [stem, backbone.*]; by default what a network names, or about 30 blocks found in it.
        pooled: Whether to keep each channel's means over 4 x 4 cells alone: one pass over any number of
            images.
        precision: float32, or, for two runs, bfloat16, which takes half the time where the processor
            has it; its error is measured and printed.
        memory: GiB that the layers' outputs take at most; by default 2, or on a CUDA device most of
            what is free. More images than fit go block by block, which takes longer.
        measures: Further measures of corresponding layers, separated by commas: angle (Procrustes),
            neighbours, procrustes, euclidean, rsa, rbf, cca, svcca, pwcca.
        trust: Whether what runs as a program on loading, and classes from elsewhere that run folders and
            DATA name, may run.
    """
    if size is not None and size < 1:
        raise ValueError(f"--size is a side in pixels, not {size}")
    if memory is not None and memory <= 0:
        raise ValueError(f"--memory is a number of GiB, not {memory}")
    from yolo_synth.commands.comparing import write_similarity  # brings PyTorch

    write_similarity(
        a, b, data, images, size, split, out, layers, pooled, precision, memory, measures, trust
    )
