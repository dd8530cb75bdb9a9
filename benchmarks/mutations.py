"""Which test notices which planted mistake in the statistics and in what the report hands on.

    python benchmarks/mutations.py
    python benchmarks/mutations.py --only 04 05

Each mistake is put into a copy of the package in a temporary folder, and the tests that ought to notice
run there until one fails. Prints a Markdown table: the mistake, and the test that caught it or NOTHING.
Exits with 1 where one went unnoticed, where a test fails without any, or where the text to be replaced
is no longer there: a mistake that moved with its code is to be planted in its new place, not left out.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
LIMIT: Final = 900
"""Seconds that the tests of one mistake may take."""


class Mutation(NamedTuple):
    """A mistake: what is replaced by what, in which file of the package, and the tests to be asked."""

    what: str
    file: str
    old: str
    new: str
    tests: str


SIMILARITY: Final = "analysis/similarity/"
PANELS: Final = "report/panels/"
HANDED: Final = "report/test_handed_on.py"

MUTATIONS: Final = {
    "01": Mutation(
        "U-centring divides by n-1",
        f"{SIMILARITY}centring.py",
        "rows = hollow.sum(-1, keepdim=True) / (m - 2)",
        "rows = hollow.sum(-1, keepdim=True) / (m - 1)",
        "analysis/test_similarity.py::test_u_centering_makes_the_independence_criterion_unbiased",
    ),
    "02": Mutation(
        "Gram matrices are not centred",
        f"{SIMILARITY}centring.py",
        "centered = grams - rows - rows.mT + rows.mean(-2, keepdim=True)",
        "centered = grams + 0 * rows",
        "analysis/test_similarity.py::test_every_layer_with_every_layer_equals_the_feature_form",
    ),
    "03": Mutation(
        "the jackknife's factor (n-1)/n is dropped",
        f"{SIMILARITY}replicates.py",
        "first_order = (n - 1) * second",
        "first_order = n * second",
        "analysis/test_uncertainty.py::test_the_error_is_that_of_efron_and_stein",
    ),
    "04": Mutation(
        "the test of a similarity permutes images and not groups",
        f"{SIMILARITY}judging.py",
        "between_groups(a, groups), between_groups(b, groups), DRAWS, paired=True",
        "a, b, DRAWS, paired=True",
        f"{HANDED}::test_frames_of_a_sequence_add_nothing_to_a_pair",
    ),
    "05": Mutation(
        "the test of a gap permutes images and not sequences",
        f"{PANELS}gap.py",
        "test = gap_test(matrices, is_first, DRAWS, clusters=clusters)",
        "test = gap_test(matrices, is_first, DRAWS)",
        f"{HANDED}::test_frames_of_a_sequence_add_nothing_to_a_gap_between_domains",
    ),
    "06": Mutation(
        "a comparison drops the groups",
        "comparison.py",
        "groups = probe.independent_groups\n",
        "groups = None\n",
        f"{HANDED}::test_frames_of_a_sequence_add_nothing_to_a_pair",
    ),
    "07": Mutation(
        "the backbone ends a layer early",
        "analysis/activations/structure.py",
        "return range(self.backbone_end)",
        "return range(self.backbone_end - 1)",
        "analysis/test_structure.py::test_backbone_and_head_share_the_layers_out",
    ),
    "08": Mutation(
        "the matrix of CKA is transposed",
        f"{SIMILARITY}cka.py",
        "return a.flatten(1) @ b.flatten(1).T",
        "return b.flatten(1) @ a.flatten(1).T",
        "analysis/test_similarity.py::test_every_layer_with_every_layer_equals_the_feature_form",
    ),
    "09": Mutation(
        "a pair's two networks are swapped",
        "comparison.py",
        "a, b, probe = grams(first), grams(second), grams.probe",
        "a, b, probe = grams(second), grams(first), grams.probe",
        f"{HANDED}::test_a_pair_has_its_first_network_in_the_rows",
    ),
    "10": Mutation(
        "a box at the first threshold of overlap is no hit",
        "matching.py",
        "near = overlap >= THRESHOLDS[0]",
        "near = overlap > THRESHOLDS[0]",
        "test_average_precision.py",
    ),
    "11": Mutation(
        "a box at any threshold of overlap is no hit",
        "matching.py",
        "overlap[begin:end, None] >= THRESHOLDS",
        "overlap[begin:end, None] > THRESHOLDS",
        "test_average_precision.py",
    ),
    "12": Mutation(
        "MMD\N{SUPERSCRIPT TWO} divides by the squared number of images",
        f"{SIMILARITY}gaps.py",
        "within.append((whole - diagonal) / (size * (size - 1)))",
        "within.append((whole - diagonal) / (size * size))",
        "analysis/test_measures.py::test_mmd_by_its_definition",
    ),
    "13": Mutation(
        "what training added has the smaller of its two p-values",
        f"{SIMILARITY}jackknife.py",
        "return torch.maximum(holm(",
        "return torch.minimum(holm(",
        f"{HANDED}::test_what_training_added_is_beyond_chance_by_both_tests",
    ),
    "14": Mutation(
        "the jackknife's p-values are not corrected",
        f"{SIMILARITY}jackknife.py",
        "torch.maximum(holm(chance.where(~value.isnan(), torch.nan)), permuted",
        "torch.maximum(chance.where(~value.isnan(), torch.nan), permuted",
        f"{HANDED}::test_what_training_added_is_beyond_chance_by_both_tests "
        "analysis/test_uncertainty.py::test_independent_changes_of_one_start_are_not_beyond_chance",
    ),
    "15": Mutation(
        "the ceiling is of all models",
        "report/pairs.py",
        "[two.debiased_series for two in seeds if two.models[0] == model]",
        "[two.debiased_series for two in seeds]",
        f"{HANDED}::test_the_ceiling_is_of_the_two_models_of_a_pair",
    ),
    "16": Mutation(
        "two models are held against two seeds in pairs of one seed alone",
        f"{SIMILARITY}trainings.py",
        "two.setdefault((first, second), []).append((i, j))",
        "two.setdefault((first, second), [(i, j)])",
        "analysis/test_seeds.py::test_the_ratio_and_its_error_are_those_of_leaving_groups_out "
        f"{HANDED}::test_two_models_are_held_against_the_seeds_of_both_by_all_pairs_of_runs",
    ),
    "17": Mutation(
        "a contrast is swapped",
        f"{PANELS}freezing.py",
        "((third, frozen), (third, free))",
        "((third, free), (third, frozen))",
        f"{HANDED}::test_a_contrast_is_frozen_less_free_and_its_p_values_are_corrected",
    ),
    "18": Mutation(
        "a contrast's p-values are not corrected",
        f"{PANELS}freezing.py",
        "p=holm(p).numpy()",
        "p=p.numpy()",
        f"{HANDED}::test_a_contrast_is_frozen_less_free_and_its_p_values_are_corrected",
    ),
    "19": Mutation(
        "a contrast drops the groups",
        f"{PANELS}freezing.py",
        "(third, free)), grams.probe.independent_groups",
        "(third, free)), None",
        f"{HANDED}::test_frames_of_a_sequence_add_nothing_to_a_contrast",
    ),
    "20": Mutation(
        "the standard deviation is that of a sample",
        "analysis/activations/statistics.py",
        "std = math.sqrt(self._squares / self.count)",
        "std = math.sqrt(self._squares / max(1, self.count - 1))",
        "analysis/test_statistics.py::test_any_values_in_any_chunks",
    ),
    "21": Mutation(
        "the median is the lower of two middle values",
        "analysis/activations/statistics.py",
        "for rank in ((self.count - 1) // 2, self.count // 2):",
        "for rank in ((self.count - 1) // 2, (self.count - 1) // 2):",
        "analysis/test_statistics.py::test_any_values_in_any_chunks",
    ),
    "22": Mutation(
        "the start is regressed on the trained state",
        f"{SIMILARITY}cka.py",
        "inner(embedded(trained, groups), weighed), inner(weighed, weighed)",
        "inner(embedded(trained, groups), weighed), inner(*[embedded(trained, groups)] * 2)",
        "analysis/test_similarity.py::test_partial_equals_the_partial_correlation_of_the_three_values",
    ),
    "23": Mutation(
        "an interval is offered whatever chance says",
        f"{SIMILARITY}jackknife.py",
        "p.to(value) <= SIGNIFICANT, level, bend=bend)",
        "p.to(value) <= 1, level, bend=bend)",
        "analysis/test_uncertainty.py::test_no_interval_is_offered_for_independent_features",
    ),
    "24": Mutation(
        "what training added is counted by the plain p-value",
        f"{PANELS}start.py",
        "int(partial.significant.sum()) for partial in partials",
        "int(pair.debiased_series.significant.sum()) for pair in group",
        "report/test_findings.py::test_what_training_added_comes_before_the_plain_figure",
    ),
    "25": Mutation(
        "what training added is judged by permutations alone",
        f"{SIMILARITY}judging.py",
        "p = residual_p(a, b, between_test(a, b, groups).p_corrected, groups)",
        "p = between_test(a, b, groups).p_corrected",
        f"{HANDED}::test_what_training_added_is_beyond_chance_by_both_tests",
    ),
    "26": Mutation(
        "p-values of pairs are not corrected",
        f"{SIMILARITY}judging.py",
        "high.numpy(),\n        null=test.null_quantile().numpy(),\n        floor=test.null_mean.numpy(),\n"
        "        p=test.p_corrected.numpy(),",
        "high.numpy(),\n        null=test.null_quantile().numpy(),\n        floor=test.null_mean.numpy(),\n"
        "        p=test.p.numpy(),",
        f"{HANDED}::test_p_values_of_a_pair_are_corrected_over_the_layers",
    ),
    "27": Mutation(
        "p-values of gaps are not corrected",
        f"{PANELS}gap.py",
        '"p": test.p_corrected.numpy(),',
        '"p": test.p.numpy(),',
        f"{HANDED}::test_p_values_of_a_gap_are_corrected_over_the_layers",
    ),
    "28": Mutation(
        "Tables 3 and 4 are of the layer before",
        f"{PANELS}outputs.py",
        "take(values[layer], chunk)",
        "take(values[(layer + 1) % len(values)], chunk)",
        f"{HANDED}::test_outputs_are_those_of_the_layer_with_the_number",
    ),
}


def main() -> int:
    """Plant the mistakes one after another and print who noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MUTATIONS, default=list(MUTATIONS))
    chosen = {number: MUTATIONS[number] for number in parser.parse_args().only}
    lost = [f"{number}: {m.file} lacks `{m.old}`" for number, m in chosen.items() if not _there(m)]
    if lost:
        print("\n".join(lost), file=sys.stderr)
        return 1
    unnoticed = 0
    with _copy() as copy:
        every = " ".join(dict.fromkeys(name for m in chosen.values() for name in m.tests.split()))
        if failed := _first_failure(copy, every):
            print(f"without a mistake {failed} fails too", file=sys.stderr)
            return 1
        print("| number | mistake | caught by |\n| --- | --- | --- |", flush=True)
        for number, mutation in chosen.items():
            caught = _caught(copy, mutation)
            unnoticed += not caught
            print(f"| {number} | {mutation.what} | {caught or 'NOTHING'} |", flush=True)
    return int(unnoticed > 0)


def _there(mutation: Mutation) -> bool:
    return (ROOT / "yolo_synth" / mutation.file).read_text().count(mutation.old) == 1


@contextmanager
def _copy() -> Iterator[Path]:
    """Give a copy of the package and its tests."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("yolo_synth", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, Path(folder) / name, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", folder)
        yield Path(folder)


def _caught(copy: Path, mutation: Mutation) -> str:
    """Return the first test that fails with the mistake, empty if none does."""
    file = copy / "yolo_synth" / mutation.file
    sound = file.read_text()
    file.write_text(sound.replace(mutation.old, mutation.new))
    try:
        return _first_failure(copy, mutation.tests)
    finally:
        file.write_text(sound)


def _first_failure(copy: Path, tests: str) -> str:
    options = ["-x", "-q", "--tb=no", "-rfE"]
    asked = [f"tests/{name}" for name in tests.split()]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *asked],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    if done.returncode == 0:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", done.stdout, re.MULTILINE)
    if not found or done.returncode != 1:
        raise RuntimeError(f"the tests did not run:\n{done.stdout}\n{done.stderr}")
    return found[1]


if __name__ == "__main__":
    sys.exit(main())
