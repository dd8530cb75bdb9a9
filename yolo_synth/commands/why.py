"""Why: what makes a network bad on real images, and what helps."""

from __future__ import annotations

from typing import Final

IMAGES: Final = 200
"""Labelled images of each domain, where nothing is said."""


def why(
    network: str,
    real: str = "",
    synthetic: str = "",
    oracle: str = "",
    images: int = IMAGES,
    pictures: int = 96,
    size: int | None = None,
    names: dict[str, str] | None = None,
    out: str | None = None,
    save: str | None = None,
    *,
    trust: bool = False,
) -> None:
    """Say why a network that was trained on synthetic images is bad on real ones, and what helps.

    A card in the terminal and a page, why.html: how large the gap is, with intervals over images; whether
    labels or pixels are wrong (boxes beside their objects, another order of classes or channels, borders,
    another scale), before anything is explained; what batch-norm statistics of real images without labels
    gain; and, with an oracle that a run started from the same weights, in which layers the difference sits:
    its blocks exchanged, one alone and one after the other, and the way of weights between both. Of
    several seeds each is exchanged with the oracle's of its own, and what is said of blocks is what they
    have in common. It takes few images, so that it takes few minutes: more by --images, and 40 of each
    domain for the blocks.

    Args:
        network: The network: a run folder, the folder of a model's run folders (runs/U-Synthetic) for all
            its seeds, or any other as evaluate takes it.
        real: Data file of the real images, as experiments/data/bdd100k.yaml; their test images are
            labelled, and of the training images the labels are not looked at. By default the data that
            the oracle was trained on.
        synthetic: Data file of the synthetic images; by default the data that the network was trained on.
        oracle: A network that was trained on real images, as a measure of what can be reached; named as
            the network is.
        images: Labelled images of each domain at most.
        pictures: Real images without labels, to recalibrate batch norms with.
        size: Side of the input of networks that are no runs, in pixels.
        names: What the data call classes of networks, as {bicycle: cycle, motorcycle: cycle}.
        out: Folder to write to; by default why/ in the (first) run folder, or ./why.
        save: File to keep the recalibrated network in, a checkpoint, which model.weights takes.
        trust: Whether what runs as a program on loading, and classes from elsewhere that run folders and
            data files name, may run.
    """
    if pictures < 1:
        raise ValueError(f"--pictures is at least 1, not {pictures}")
    from yolo_synth.commands.examining import examine  # brings PyTorch

    examine(network, real, synthetic, oracle, images, pictures, size, names, out, save, trust)
