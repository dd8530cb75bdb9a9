"""Kept results are used only if they are whole, of the same things and of the same format."""

from __future__ import annotations

import numpy as np
import pytest

from yolo_synth.files import Kept

VALUES = {"layers": [1.5, 2.0, 3.0], "name": "U-Real/0"}


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_what_is_kept_comes_back_whole(tmp_path, ending):
    kept = Kept(tmp_path / "new" / f"result.{ending}", "of these images", 1)
    assert kept.read() is None
    kept.write(VALUES)
    back = kept.read()
    assert sorted(back) == ["layers", "name"]
    assert np.array_equal(back["layers"], VALUES["layers"])
    assert str(back["name"]) == "U-Real/0"
    assert [path.name for path in (tmp_path / "new").iterdir()] == [f"result.{ending}"]


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_a_file_of_other_things_or_rules_or_a_damaged_one_counts_as_none(tmp_path, ending):
    path = tmp_path / f"result.{ending}"
    Kept(path, "a", 1).write(VALUES)
    whole = path.read_bytes()
    assert Kept(path, "b", 1).read() is None
    assert Kept(path, "a", 2).read() is None
    for content in (whole[: len(whole) // 2], b"", b"[1, 2]", b"\xff\xfe\x00", b"null"):
        path.write_bytes(content)
        assert Kept(path, "a", 1).read() is None
    Kept(path, "a", 1).write(VALUES)
    assert Kept(path, "a", 1).read() is not None


def test_a_file_without_a_format_is_of_an_older_program(tmp_path):
    path = tmp_path / "result.npz"
    np.savez(path, key="a", layers=[1.0])
    assert Kept(path, "a", 1).read() is None
