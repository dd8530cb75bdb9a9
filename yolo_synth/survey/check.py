"""Check: open everything, list what is broken, and say what the splits share."""

from __future__ import annotations


def check(
    data: str,
    out: str | None = None,
    ignore: str = "",
    workers: int | None = None,
    *,
    trust: bool = False,
) -> int:
    """Open every image and label of a data set and list what is broken; exit code 1 if anything is.

    Broken are: labels or split lists that are refused, two images of one name, a missing, damaged or
    cut off image, one of another size than its labels are made for, a box that reaches out of its
    image or covers nothing of it, that is below a pixel or stands twice, a split without boxes, an
    image in a form that is not read, one without label, a label without image. Sequences and
    near-duplicate images that two splits share are told as well; they do not count as broken.

    Args:
        data: File that names the data set, as experiments/data/bdd100k.yaml.
        out: Folder to write all findings to, as CSV; ten of each kind are printed anyway. Its groups.csv
            has the groups of all images, near-duplicates joined, for `groups` in the data file.
        ignore: Kinds that do not count, as printed, separated by commas; they are listed all the same.
        workers: Threads that open images; by default one for each processor core.
        trust: Whether classes from elsewhere that the file names are imported and run.

    Returns:
        1 if anything is broken, else 0.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"--workers is 1 at least, not {workers}")
    from yolo_synth.survey.findings import tell_findings  # brings PyTorch

    return tell_findings(data, out, ignore, workers, trust)
