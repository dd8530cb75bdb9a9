from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from survey.scenes import picture

from yolo_synth.survey import leakage
from yolo_synth.survey.leakage import ALIKE, gradients, groups_by_splits, near_duplicates
from yolo_synth.survey.opening import thumbnail

ORDER = ["train", "valid", "test"]


def variant(pixels: np.ndarray, change: str) -> np.ndarray:
    """Return what an image becomes on its way through the world."""
    if change == "darker":
        return (0.8 * pixels - 10).clip(0, 255).astype(np.uint8)
    if change == "compressed":
        return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1)
    if change == "smaller":
        return cv2.resize(pixels, (96, 58), interpolation=cv2.INTER_AREA)
    height, width = pixels.shape[:2]
    edge = round(0.015 * width)
    return pixels[edge : height - edge, edge : width - edge]


@pytest.mark.parametrize("change", ["darker", "compressed", "smaller", "cut at its edges"])
def test_a_changed_copy_is_found_and_another_picture_is_not(change):
    pictures = [picture(seed) for seed in range(40)]
    thumbnails = np.stack(
        [thumbnail(p) for p in [*pictures, *(variant(p, change) for p in pictures)]]
    )
    splits = np.array(["train"] * 40 + ["test"] * 40)
    found = near_duplicates(thumbnails, splits, ORDER)
    assert found["image"].tolist() == list(range(40, 80))
    assert found["like"].tolist() == list(range(40))
    assert (found["likeness"] >= ALIKE).all()


def test_blocks_find_what_comparing_every_pair_finds(monkeypatch):
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(30, 16, 17))
    thumbnails = (kinds[rng.integers(30, size=200)] + rng.normal(0, 0.25, (200, 16, 17))).astype(
        "f4"
    )
    thumbnails[7] = np.nan  # an image that cannot be read
    thumbnails[8] = 128  # an image of one grey
    splits = rng.choice(ORDER, 200)
    expected = []
    steps = np.diff(thumbnails.astype(np.float64), axis=2).reshape(200, -1)
    with np.errstate(invalid="ignore"):
        likeness = np.corrcoef(steps)
    for split, earlier in (("valid", "train"), ("test", "train"), ("test", "valid")):
        for i in np.flatnonzero(splits == split):
            others = np.flatnonzero(splits == earlier)
            values = np.nan_to_num(likeness[i, others], nan=-1)
            if values.max() >= ALIKE:
                expected.append((i, others[values.argmax()], split, earlier))
    assert 100 < len(expected) < 180
    for block in (7, 2048):
        monkeypatch.setattr(leakage, "_BLOCK", block)
        found = near_duplicates(thumbnails, splits, ORDER)
        rows = found[["image", "like", "split", "like_split"]].itertuples(index=False, name=None)
        assert sorted(rows) == sorted(expected)


def test_thumbnails_do_not_know_the_light():
    pixels = picture(3).astype(np.float32)
    both = np.stack([thumbnail(pixels), thumbnail(0.3 * pixels + 12)])
    a, b = gradients(both)
    assert a @ b == pytest.approx(1, abs=1e-5)


def test_groups_are_counted_by_the_splits_they_are_in():
    images = pd.DataFrame(
        [
            ("a", "train"),
            ("a", "test"),
            ("b", "train"),
            ("b", "train"),
            ("c", "valid"),
            ("d", "test"),
            ("d", "train"),
            ("d", "valid"),
        ],
        columns=["group", "split"],
    )
    counts = groups_by_splits(images["group"], images["split"].to_numpy(dtype=np.str_), ORDER)
    assert counts.to_dict() == {"train, test": 1, "train": 1, "train, valid, test": 1}
