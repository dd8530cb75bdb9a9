"""Compare: the similarity of any two run folders."""

from __future__ import annotations

from pathlib import Path

from yolo_synth.analysis.activations.run import Precision
from yolo_synth.analysis.similarity.opinions import chosen
from yolo_synth.comparison import FEWEST_IMAGES, compare
from yolo_synth.comparison_files import folder_name, summary, write_comparison
from yolo_synth.data.source import data_module, read_data
from yolo_synth.escaping import say
from yolo_synth.networks.contract import check_side
from yolo_synth.probe import Grams, Probe, Subject, both_starts, start_of, take_probe
from yolo_synth.runs import Run, domain_name, read_run


def compare_runs(
    run_a: str,
    run_b: str,
    images: int = 200,
    size: int = 32,
    split: str = "test",
    data: str | None = None,
    out: str | None = None,
    precision: Precision = "float32",
    memory: float | None = None,
    measures: str = "",
    *,
    trust: bool = False,
) -> None:
    """Write how similar all layers of two runs are, and how sure that is.

    Linear CKA of all pairs of layers, debiased and, as in the paper, biased; intervals over images and
    what permuted images reach; of runs that started from the same weights, the CKA with those regressed
    out; and, where asked for, other measures with interval and chance. Figures, a table and the matrices.
    Gram matrices are kept in the run folders, and a computation that was cut off goes on.

    Args:
        run_a: Run folder; rows of the matrices.
        run_b: Run folder; columns of the matrices.
        images: How many images of the split to show to both.
        size: Side of the network input, in pixels, such as both take (YOLOv3: a multiple of 32).
        split: train, valid or test.
        data: File that names the images' data set, as experiments/data/bdd100k.yaml; by default the
            data of RUN_A.
        out: Folder to write to; by default RUN_A/similarity/RUN_B_images.
        precision: float32, or bfloat16, which takes half the time where the processor has it; its
            error is measured and printed.
        memory: GiB that the layers' outputs take at most; by default 2, or on a CUDA device most of
            what is free. More images than fit go block by block, which takes longer.
        measures: Further measures, separated by commas: angle (Procrustes), neighbours, procrustes,
            euclidean, rsa, rbf, cca, svcca, pwcca.
        trust: Whether classes from elsewhere that run folders and DATA name are imported and run.
    """
    if images < FEWEST_IMAGES:
        raise ValueError(f"--images is at least {FEWEST_IMAGES}, not {images}")
    if memory is not None and memory <= 0:
        raise ValueError(f"--memory is a number of GiB, not {memory}")
    asked = chosen(measures)
    first, second = (Subject(read_run(folder, trust)) for folder in (run_a, run_b))
    for subject in (first, second):
        check_side(subject.network, size, "--size")
    probe = probe_images(first.run, images, size, split, data)
    starts = {subject.label.name: start_of(subject.run) for subject in (first, second)}
    grams = Grams(probe, precision, None if memory is None else int(memory * 2**30))
    both = both_starts(first, second, starts)
    result = compare(first, second, grams, both, measures=asked, single_images=True)
    folder = (
        Path(out) if out else first.run.folder / "similarity" / folder_name(second.label, probe)
    )
    write_comparison(result, probe, folder)
    say(f"{result.name}: {summary(result)}; see {folder}")


def probe_images(run: Run, images: int, size: int, split: str, data: str | None) -> Probe:
    """Return images of a run's own data set, or of the one that a file names."""
    config = run.config["data"] if data is None else read_data(data)
    module = data_module(config, trust=run.trust)
    module.prepare_data()
    return take_probe(module, domain_name(config, split), images, size, split)
