"""Report: the paper's tables and figures, and what it lacks, from a folder of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from yolo_synth.analysis.activations.structure import structure_of
from yolo_synth.analysis.similarity.permutation import shuffle_groups
from yolo_synth.comparison import INTERVAL_IMAGES, Probe
from yolo_synth.data.source import data_module
from yolo_synth.evaluation import domain_data, evaluation_table
from yolo_synth.networks.yolov3.network import BACKBONE
from yolo_synth.report import paper
from yolo_synth.report.contrasts import contrasts
from yolo_synth.report.drawing import HEADLINE, write_figures
from yolo_synth.report.findings import findings
from yolo_synth.report.gaps import domain_gaps
from yolo_synth.report.outputs import layer_outputs
from yolo_synth.report.page import write_page
from yolo_synth.report.results import Pair, Report, Table
from yolo_synth.report.selection import has_start, sound_runs
from yolo_synth.report.similarities import Subject, all_pairs
from yolo_synth.report.tables import (
    layer_similarities,
    output_tables,
    score_tables,
    scorecard,
    similarity_tables,
)
from yolo_synth.report.tables_beyond import (
    contrast_tables,
    gap_tables,
    opinion_table,
    verdict_table,
)
from yolo_synth.report.writing import write_table
from yolo_synth.runs import INITIAL, Run


def report(
    runs: str,
    out: str = "report",
    images: int = 200,
    sizes: tuple[int, ...] = (32, 64, 128),
    data: str | tuple[str, ...] = (),
) -> None:
    """Write the paper's tables and figures for a folder of runs, and what the paper lacks.

    Tables 2 to 5 as CSV, Markdown and LaTeX, Figures 4 to 12 as PNG and SVG, the matrices as npz, and
    report.html that shows all of it. Runs that are broken or not finished are named and left out.
    What is missing is computed and kept in the run folders; a second call computes nothing again.

    Args:
        runs: Folder of run folders, wherever they were trained.
        out: Folder to write to.
        images: How many test images of each domain to show to the networks.
        sizes: Sides of the images for the similarities, in pixels, multiples of 32. The paper has 32,
            64 and 128; 416 is possible and slow.
        data: File that names further test images, as experiments/data/bdd100k_night.yaml, or several,
            as [FILE, FILE].
    """
    if images < INTERVAL_IMAGES:
        raise ValueError(f"--images is at least {INTERVAL_IMAGES}, not {images}")
    if not sizes or any(size < 32 or size % 32 for size in sizes):
        raise ValueError(f"--sizes are multiples of 32, not {', '.join(map(str, sizes)) or 'none'}")
    result = make_report(runs, Path(out), images, tuple(dict.fromkeys(sizes)), data)
    write_page(result, Path(out) / "report.html")
    for note in result.notes:
        print(note)  # noqa: T201
    print(f"{out}: report.html, findings.md, tables/, figures/ and matrices/")  # noqa: T201


def make_report(
    root: str, out: Path, images: int, sizes: Sequence[int], data: str | Sequence[str] = ()
) -> Report:
    """Compute what is missing, write all but the page into `out` and return what the page shows."""
    runs, notes = sound_runs(root)
    structure = structure_of(runs[0].network(), backbone_end=len(BACKBONE))
    scores = evaluation_table(runs, data=data)
    domains = domain_data(runs, data)
    sources = {domain: _Source(domain, config, images) for domain, config in domains.items()}
    differences = _differences(runs, sources)
    pairs = _pairs(runs, sources, sizes, out / "matrices")
    probes = [source.probe(paper.PROBE_SIZE) for source in sources.values()]
    gaps = domain_gaps(runs, probes, out / "matrices")
    compared = contrasts(runs, probes, out / "matrices")
    tables = [
        *score_tables(scores),
        *_output_tables(runs, sources),
        *similarity_tables(pairs, structure),
        *verdict_table(pairs, structure),
        *opinion_table(pairs, structure),
        *gap_tables(gaps, structure),
        *contrast_tables(compared, structure),
    ]
    tables.append(scorecard(tables, _remark(differences)))
    notes += [*differences, *_sample_notes(runs, sources, images)]
    sentences = findings(scores, pairs, structure, gaps, compared)
    result = Report(HEADLINE, sentences, notes, structure, pairs, tables, gaps)
    _write(result, out)
    return result


class _Source:
    """The test images of one domain."""

    def __init__(self, domain: str, data: Mapping[str, Any], images: int) -> None:
        self.domain = domain
        module = data_module(data)
        module.prepare_data()
        self.module = module
        self.counts = {split: len(module.names(split)) for split in ("train", "valid", "test")}
        self.images = min(images, self.counts["test"])
        if self.images < INTERVAL_IMAGES:
            raise ValueError(
                f"{domain} has {self.images} test images, and intervals need {INTERVAL_IMAGES}: "
                "use a larger test split"
            )

        self._probes: dict[int, Probe] = {}

    def probe(self, size: int) -> Probe:
        """Return the images at a size, decoded once."""
        if size not in self._probes:
            images, names = self.module.probe("test", self.images, size)
            groups = self.module.groups(names)
            self._probes[size] = Probe(images, names, self.domain, groups)
        return self._probes[size]


def _pairs(
    runs: Sequence[Run], sources: Mapping[str, _Source], sizes: Sequence[int], folder: Path
) -> list[Pair]:
    starts = {run.name: Subject(run, INITIAL) for run in runs if has_start(run)}
    return [
        pair
        for source in sources.values()
        for size in sizes
        for pair in all_pairs(runs, starts, source.probe(size), folder)
    ]


def _output_tables(runs: Sequence[Run], sources: Mapping[str, _Source]) -> list[Table]:
    """Return Table 3, at the size of training, and Table 4, at 32 x 32."""
    tables: list[Table] = []
    for number, size in ((3, runs[0].image_size), (4, paper.PROBE_SIZE)):
        probes = {domain: source.probe(size) for domain, source in sources.items()}
        outputs = {
            (domain, run.model, run.seed): layer_outputs(Subject(run), probe)
            for domain, probe in probes.items()
            for run in runs
        }
        tables += output_tables(outputs, size, number)
    return tables


def _differences(runs: Sequence[Run], sources: Mapping[str, _Source]) -> list[str]:
    """Say in what the study is another one than the paper's."""
    notes = []
    for domain, source in sources.items():
        if source.counts != paper.SPLITS.get(domain):
            counts = ", ".join(f"{count:,} {split}" for split, count in source.counts.items())
            notes.append(f"The {domain} data are not the paper's: {counts} images.")
    width = runs[0].config["model"]["width"]
    if width != paper.WIDTH:
        notes.append(f"The network has {width} of the paper's channels per layer.")
    size = runs[0].image_size
    if size != paper.IMAGE_SIZE:
        notes.append(
            f"The networks were trained and tested at {size}x{size}, the paper's at 416x416."
        )
    return notes


def _remark(differences: Sequence[str]) -> str:
    if not differences:
        return "The data splits, the network and the image size are the paper's."
    return "Not the paper's study, so that the numbers are not expected to agree: " + " ".join(
        differences
    )


def _sample_notes(runs: Sequence[Run], sources: Mapping[str, _Source], images: int) -> list[str]:
    notes = [
        f"The {domain} test split has {source.images} images, so {source.images} are shown to the "
        f"networks instead of {images}."
        for domain, source in sources.items()
        if source.images < images
    ]
    for domain, source in sources.items():
        groups = shuffle_groups(source.probe(paper.PROBE_SIZE).groups)
        if groups is not None:
            notes.append(
                f"The {domain} images come in {len(set(groups))} groups (sequences or rides): they are "
                "permuted within them. The intervals count each image as an independent draw, which "
                "frames of one sequence are not quite."
            )
    if images != paper.IMAGES:
        notes.append(
            f"The similarities rest on {images} images a domain at most, the paper's on 200."
        )
    if len({run.seed for run in runs}) == 1:
        notes.append(
            "All runs have one seed: the spread over seeds and the ceiling of two seeds are unknown."
        )
    return notes


def _write(result: Report, out: Path) -> None:
    for table in result.tables:
        write_table(table, out / "tables")
    layers = layer_similarities(result.pairs, result.structure)
    _write_layers(layers, out / "tables" / "similarity_layers.csv")
    lines = [f"# {result.title}", "", *_items(result.findings), "", "## Notes", ""]
    (out / "findings.md").write_text(
        "\n".join([*lines, *_items(result.notes), ""]), encoding="utf-8"
    )
    write_figures(result.pairs, result.structure, out / "figures", result.gaps)


def _write_layers(layers: pd.DataFrame, path: Path) -> None:
    layers.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def _items(sentences: Sequence[str]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]
