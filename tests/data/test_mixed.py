from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from yolo_synth.data.bdd100k import BDD100K
from yolo_synth.data.gtav import GTAV
from yolo_synth.data.mixed import Mixed, SharesSampler
from yolo_synth.data.table import COLUMNS, kept


def mixture(root, **settings):
    parts = {
        "synthetic": GTAV(root / "gtav", splits=root / "splits/gtav", min_area=0),
        "real": BDD100K(
            root / "bdd100k", split_by="image", where={"train": {"scene": "city street"}}
        ),
    }
    given = {"image_size": 64, "num_workers": 0, "batch_size": 4, "augment": False} | settings
    return Mixed(parts, **given)


def test_the_table_and_the_splits_are_those_of_the_parts(tiny_root):
    data = mixture(tiny_root)
    table = data.table
    assert table["image"].is_monotonic_increasing
    assert dict(table.dtypes.astype(str)) == dict(COLUMNS)
    assert len(kept(table)) == sum(len(kept(part.table)) for part in data.sets.values())
    for split in ("train", "valid", "test"):
        assert data.names(split) == [
            f"{name}/{image}" for name, part in data.sets.items() for image in part.names(split)
        ]
    assert 0 < sum(name.startswith("real/") for name in data.names("train")) < 24
    images, targets = next(iter(data.val_dataloader()))
    assert images.shape == (4, 3, 64, 64)
    alone = data.sets["synthetic"]
    alone.image_size = 64
    assert targets[0]["boxes"].equal(alone.dataset("valid")[0][1]["boxes"])
    assert {group.partition("/")[0] for group in table["group"]} == {"synthetic", "real"}


def test_validation_and_test_can_be_those_of_one_part(tiny_root):
    data = mixture(tiny_root, target="real")
    assert {name.partition("/")[0] for name in data.names("train")} == {"synthetic", "real"}
    assert data.names("test") == [f"real/{name}" for name in data.sets["real"].names("test")]
    assert {name.partition("/")[0] for name in data.names("valid")} == {"real"}


def test_an_epoch_has_the_shares_and_the_trainers_sampler_keeps_them(tiny_root, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    data = mixture(tiny_root, shares={"real": 1, "synthetic": 3})
    names = data.names("train")
    sampler = data.train_dataloader().sampler
    assert sampler.seed == 7
    parts = Counter(names[index].partition("/")[0] for index, _ in sampler)
    assert parts["synthetic"] == 24
    assert parts["real"] == 8
    without = Counter(index for index, _ in mixture(tiny_root).train_dataloader().sampler)
    assert sorted(without) == list(range(len(names)))
    assert set(without.values()) == {1}


def drawn(lengths, shares, ranks=1, rank=0, seed=0, epoch=0):
    sampler = SharesSampler(lengths, shares, ranks, rank, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_no_image_comes_twice_and_epochs_draw_others_of_the_larger_part():
    epochs = [[index for index, _ in drawn([100, 30], [1, 2], epoch=epoch)] for epoch in range(12)]
    for indices in epochs:
        assert len(indices) == len(set(indices)) == 45
        assert sum(index < 100 for index in indices) == 15
        assert 3 < sum(index < 100 for index in indices[:22]) < 12, "mixed all along the epoch"
    assert len(set(np.concatenate(epochs))) > 100
    assert drawn([100, 30], [1, 2], epoch=1) == drawn([100, 30], [1, 2], epoch=1)
    assert drawn([100, 30], [1, 2], epoch=1) != drawn([100, 30], [1, 2], seed=1, epoch=1)


def test_an_epoch_of_another_length_keeps_the_shares_and_shows_all_of_the_short_part(tiny_root):
    data = mixture(tiny_root, shares={"real": 1, "synthetic": 1}, epoch_images=81)
    data.sets["real"].train_images = 5
    names = data.names("train")
    shown = [names[index] for index, _ in data.train_dataloader().sampler]
    real = Counter(name for name in shown if name.startswith("real/"))
    assert (len(shown), real.total(), len(real)) == (81, 41, 5)
    assert set(real.values()) == {8, 9}


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_share_an_epoch(ranks):
    alone = drawn([100, 30], [1, 2], epoch=3)
    shares = [drawn([100, 30], [1, 2], ranks, rank, epoch=3) for rank in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    together = [share[i] for i in range(len(shares[0])) for share in shares]
    assert together[:45] == alone
    assert together[45:] == alone[: len(together) - 45]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shares": {"real": 1}}, "data.shares is about real, and data.parts are synthetic, real"),
        ({"shares": {"real": 0, "synthetic": 1}}, "the share of real is a positive number, not 0"),
        ({"shares": {"real": float("nan"), "synthetic": 1}}, "positive number, not nan"),
        ({"target": "game"}, "there is no part 'game'; there are synthetic, real"),
    ],
)
def test_what_does_not_go_with_the_parts_is_refused(tiny_root, settings, message):
    with pytest.raises(ValueError, match=message):
        mixture(tiny_root, **settings)


def test_one_part_or_a_name_with_a_slash_is_refused(tiny_root):
    real = BDD100K(tiny_root / "bdd100k")
    with pytest.raises(ValueError, match=r"has two parts or more, not 1 \(real\)"):
        Mixed({"real": real})
    with pytest.raises(ValueError, match="'a/b' is no name of letters"):
        Mixed({"a/b": real, "c": real})
    with pytest.raises(ValueError, match="of parts with 3 and 100 training images, an epoch would"):
        SharesSampler([3, 100], [1, 1000])
