"""What a report keeps is used if it is whole: of the right arrays, types and shapes; else made anew."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from damage import FUZZ, damaged
from hypothesis import given
from hypothesis import strategies as st

from yolo_synth.files import Kept
from yolo_synth.report.pairs import all_couples
from yolo_synth.report.panels.freezing import _series
from yolo_synth.report.panels.gap import _rows
from yolo_synth.report.panels.outputs import _table
from yolo_synth.report.study import Study

pytestmark = pytest.mark.fuzz

OTHERS = (None, np.zeros(3), np.array(["x"]), np.zeros((2, 2)), np.array(1.0))
"""What may stand in an array's place."""


@pytest.fixture(scope="module")
def kept(runs, out):
    """Return a study, two runs of it and a probe, and the place of the pair."""
    study = Study(str(runs), out / "matrices", images=200, sizes=(32,))
    [couple, *_] = [c for c in all_couples(study.subjects, study.starts) if c.first is not c.second]
    probe = study.probes(32)[0]
    place = study._place(couple, probe)
    return partial(study._unpacked, couple, probe), place


@FUZZ
@given(which=st.integers(0, 999), other=st.sampled_from(range(len(OTHERS))))
def test_a_pair_that_lacks_an_array_or_has_another_is_made_anew(kept, tmp_path, which, other):
    unpack, place = kept
    arrays = place.read()
    name, value = sorted(arrays)[which % len(arrays)], OTHERS[other]
    changed = {k: v for k, v in arrays.items() if k != name}
    if value is not None:
        changed[name] = value
    own = Kept(tmp_path / "pair.npz", str(place._origin["key"]), place._origin["format"])
    own.write(changed)
    pair = own.read(unpack)
    whole = place.read(unpack)
    if pair is not None:
        assert np.array_equal(pair.biased, whole.biased)
        assert np.array_equal(pair.debiased, whole.debiased, equal_nan=True)
        for series in pair.series.values():
            for values in series.columns("value").values():
                assert values.shape == (len(whole.structure),)
                assert values.dtype == np.float64


@FUZZ
@given(data=st.data())
def test_a_damaged_pair_is_made_anew(kept, data):
    unpack, place = kept
    own = Kept(place.path.with_name("damaged.npz"), place._origin["key"], place._origin["format"])
    own.path.write_bytes(data.draw(damaged(place.path.read_bytes())))
    pair = own.read(unpack)
    own.path.unlink()
    if pair is not None:
        assert np.array_equal(pair.biased, place.read(unpack).biased)


def test_statistics_gaps_and_contrasts_of_other_layers_are_made_anew(tmp_path):
    row = np.zeros(4)
    columns = {"layer": [0, 1, 2, 3], "kind": ["a"] * 4}
    columns |= dict.fromkeys(("mean", "median", "std", "min", "max"), [0.0] * 4)
    cases = (
        (partial(_table, layers=4), columns, "std", "json"),
        (partial(_series, layers=4), {"value": row, "low": row}, "value", "npz"),
        (
            partial(_rows, layers=4),
            dict.fromkeys(("gap", "null", "p", "first", "second"), row),
            "p",
            "npz",
        ),
    )
    for made_of, values, needed, ending in cases:
        place = Kept(tmp_path / f"kept.{ending}", "key", 1)
        place.write(values)
        assert place.read(made_of) is not None
        place.write({name: value for name, value in values.items() if name != needed})
        assert place.read(made_of) is None
        place.write({name: value[:3] for name, value in values.items()})
        assert place.read(made_of) is None
