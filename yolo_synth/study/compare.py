"""Compare: the similarity of any two run folders."""

from __future__ import annotations

from pathlib import Path

from yolo_synth.comparison import Probe, compare, folder_name
from yolo_synth.data.datamodule import DetectionData
from yolo_synth.runs import Run, data_module, read_data, read_run, source_name


def compare_runs(
    run_a: str,
    run_b: str,
    images: int = 200,
    size: int = 32,
    split: str = "test",
    data: str | None = None,
    out: str | None = None,
) -> None:
    """Write how similar all layers of two runs are.

    Linear CKA of all 107 x 107 pairs of layers, biased as in the paper and debiased: figures, a table
    and the matrices.

    Args:
        run_a: Run folder; rows of the matrices.
        run_b: Run folder; columns of the matrices.
        images: How many images of the split to show to both.
        size: Side of the network input, in pixels, a multiple of 32.
        split: train, valid or test.
        data: File that names the images' data set, as experiments/data/bdd100k.yaml; by default the
            data of RUN_A.
        out: Folder to write to; by default RUN_A/similarity/RUN_B_images.
    """
    if images < 4 or size < 32 or size % 32:
        raise ValueError(
            f"--images is at least 4 and --size a multiple of 32, not {images} and {size}"
        )
    first, second = read_run(run_a), read_run(run_b)
    probe = probe_images(first, images, size, split, data)
    result = compare((first.name, first.network()), (second.name, second.network()), probe)
    folder = Path(out) if out else first.folder / "similarity" / folder_name(second.name, probe)
    result.write(folder)
    means = ", ".join(f"{part} {value:.4f}" for part, value in result.means().items())
    print(f"{first.name} vs {second.name}: mean CKA {means}; see {folder}")  # noqa: T201


def probe_images(run: Run, images: int, size: int, split: str, data: str | None) -> Probe:
    """Return images of a run's own data set, or of the one that a file names."""
    config = run.config["data"] if data is None else read_data(data)
    module = data_module(config)
    if not isinstance(module, DetectionData):
        raise ValueError(
            f"{config['class_path']}: not a DetectionData, which images can be drawn of"
        )
    module.prepare_data()
    batch, names = module.probe(split, images, size)
    return Probe(batch, names, source_name(config, split))
