"""Evaluate: mAP of runs, and of networks of any other kind."""

from __future__ import annotations

from collections.abc import Sequence


def evaluate(
    networks: Sequence[str],
    batch_size: int = 16,
    data: str | tuple[str, ...] = (),
    size: int | None = None,
    names: dict[str, str] | None = None,
    out: str | None = None,
    *,
    trust: bool = False,
) -> None:
    """Measure every finished run, or networks of any kind, on test images and print a table of mAP.

    Of a folder of run folders it is the paper's Table 2: every run on the test images of the domains that
    the runs were trained on; a mixture has those of its parts. A result is kept in the run folder, under
    test/, and not computed again. The table and the training curves are written beside the runs.

    Of other networks it is mAP@0.5, mAP over IoU 0.5 to 0.95 and mAP@0.5 of each class on DATA, whose
    classes are matched by name; which could not be is said.

    Args:
        networks: A folder of run folders; or networks: run folders, torchvision:NAME:FILE, folders of
            transformers, Ultralytics' FILE.pt, Darknet's FILE.weights or FILE.py:FUNCTION.
        batch_size: Images per batch.
        data: File that names further test images, as experiments/data/bdd100k_night.yaml, or several,
            as [FILE, FILE].
        size: Side of the input of other networks, in pixels; by default what each was made for.
        names: What the data call classes of other networks, as {bicycle: cycle, motorcycle: cycle}.
        out: Folder to write the table of other networks to, as evaluation.csv, and what they found, as
            NETWORK_DOMAIN.json, which diff takes; what they are good and bad at as diagnosis.csv, a
            picture DOMAIN_diagnosis.png and tables beside it.
        trust: Whether what runs as a program on loading, and classes from elsewhere that run folders and
            files name, may run.
    """
    from yolo_synth.commands.measuring import measure  # brings PyTorch

    measure(networks, batch_size, data, size, names, out, trust)
