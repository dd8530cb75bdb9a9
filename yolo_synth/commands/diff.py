"""Diff: what sets two detectors apart, from what they found in the same images."""

from __future__ import annotations


def diff(
    a: str,
    b: str,
    truth: str = "",
    out: str = "diff",
    no_pictures: bool = False,
    pictures: str | None = None,
    confidence: float | None = None,
    size: int | None = None,
    names: dict[str, str] | None = None,
    batch_size: int = 8,
    *,
    trust: bool = False,
) -> None:
    """Say whether detector B is better than A, how sure that is, and on which pictures.

    mAP of both, as COCO's, and the difference with a 95 % interval over the same images (whole
    sequences where the truth names some), by class, size and condition; the true boxes that both, one
    or neither finds; the kinds of error. Written into the folder OUT: diff.html, a page that loads
    nothing; scores.csv; boxes.parquet, a row a true box; and what networks found, as A_NETWORK.json and
    B_NETWORK.json, which diff takes again.

    Args:
        a: COCO result file of detector A (.json), or the detector: a run folder,
            torchvision:NAME:FILE, a folder of transformers, or any other that evaluate takes.
        b: The same of detector B.
        truth: What is really there: a COCO file, or a data file whose test images are taken.
        out: Folder to write to.
        no_pictures: Whether to leave pictures out of the page, for data that may not be shared.
        pictures: Folder of a COCO file's pictures; by default they are looked for beside the file.
        confidence: Least score of a detection that counts as shown, where boxes found and kinds of
            error are told; by default that of each detector's best F1. mAP takes all.
        size: Side of the networks' input, in pixels; by default what each was made for, or 416.
        names: What the truth calls classes of the networks, as {bicycle: cycle, motorcycle: cycle}.
        batch_size: Pictures that a network is shown at a time.
        trust: Whether networks that run as a program on loading may.
    """
    if not truth:
        raise ValueError("diff needs --truth: the COCO file or data file that says what is there")
    from yolo_synth.commands.differences import write_difference  # brings pandas

    write_difference(
        a, b, truth, out, no_pictures, pictures, confidence, size, names, batch_size, trust
    )
