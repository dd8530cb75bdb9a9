"""Report: the paper's tables and figures, and what it lacks, from a folder of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from yolo_synth.analysis.similarity import MARGIN, OPINIONS


def report(
    runs: str,
    out: str = "report",
    images: int = 200,
    sizes: tuple[int, ...] = (32, 64, 128),
    data: str | tuple[str, ...] = (),
    figures: Literal["paper", "all"] = "paper",
    measures: str = ",".join(OPINIONS),
    margin: float = MARGIN,
    objects: bool = False,
    no_pictures: bool = False,
    *,
    trust: bool = False,
) -> None:
    """Write the paper's tables and figures for a folder of runs, and what the paper lacks.

    Tables 2 to 5 as CSV, Markdown and LaTeX, Figures 4 to 12 as PNG and SVG, the matrices as npz, and
    report.html that shows all of it. Runs that are broken or not finished are named and left out.
    What is missing is computed and kept in the run folders; a second call computes nothing again.

    Args:
        runs: Folder of run folders, wherever they were trained.
        out: Folder to write to.
        images: How many test images of each domain to show to the networks.
        sizes: Sides of the images for the similarities, in pixels, such as the networks take.
            The paper has 32, 64 and 128; 416 is possible and slow.
        data: File that names further test images, as experiments/data/bdd100k_night.yaml, or several,
            as [FILE, FILE].
        figures: The figures to write as files: the paper's, or all, of every pair, probe and size. The
            page shows all and gives each as SVG or PNG.
        measures: The second opinion: measures beside CKA, separated by commas, as `compare` takes them.
        margin: By which fraction two models may be less or more alike than two seeds of one model and
            still be called as alike as those; to be chosen before looking.
        objects: Whether to look at true boxes and boxes of the background too, of the first two networks
            that are compared; the verb objects keeps the boxes' features.
        no_pictures: Whether to leave pictures out of the page, for data that may not be shared.
        trust: Whether classes from elsewhere that run folders and files name are imported and run.
    """
    from yolo_synth.analysis.similarity.opinions import chosen  # brings PyTorch, as the others do
    from yolo_synth.report.report import write_report
    from yolo_synth.report.study import Study

    asked = chosen(measures)
    kept, pictures = Path(out, "matrices"), not no_pictures
    study = Study(runs, kept, images, sizes, data, trust, asked, margin, objects, pictures)
    write_report(study, Path(out), draw_all=figures == "all")
