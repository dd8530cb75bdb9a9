from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from PIL import Image
from torch.utils.data import DataLoader

from yolo_synth.data.bdd100k import BDD100K
from yolo_synth.data.bdd100k_labels import BDD100K_LABELS
from yolo_synth.data.dataset import ImageDataset, TrainSampler, collate
from yolo_synth.data.filters import drop_hood
from yolo_synth.data.gtav import GTAV
from yolo_synth.data.table import box_table

NUM_IMAGES = 20


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """Write 20 images in BDD100K's layout; image i has i % 3 boxes and the colour 10 i."""
    root = tmp_path_factory.mktemp("street")
    rng = np.random.default_rng(0)
    frames = []
    for number in range(NUM_IMAGES):
        name = f"{number:02d}-x.jpg"
        folder = root / "bdd100k/images/100k" / ("val" if number % 5 == 0 else "train")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 10, (36, 64, 3)) + 10 * number
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
        box = {"x1": 10, "y1": 8, "x2": 20 + number, "y2": 30}
        labels = [
            {"category": "car", "box2d": box},
            {"category": "lane"},
            {"category": "bus", "box2d": box},
        ]
        frames.append({"name": name, "labels": labels[: (0, 2, 3)[number % 3]]})
    (root / "bdd100k/labels").mkdir()
    for part in ("train", "val"):
        (root / f"bdd100k/labels/bdd100k_labels_images_{part}.json").write_text(
            json.dumps(
                [frame for frame in frames if (int(frame["name"][:2]) % 5 == 0) == (part == "val")]
            )
        )
    lists = {"train": range(12), "valid": range(19, 11, -1)}
    for split, numbers in (lists | {"test": []}).items():
        (root / f"{split}.txt").write_text("\n".join(f"{n:02d}-x.jpg" for n in numbers))
    (root / "test.txt").write_text("16-x.jpg\n17-x.jpg")
    (root / "valid.txt").write_text("\n".join(f"{n:02d}-x.jpg" for n in (19, 12, 18, 13, 15, 14)))
    return root


def module(street, **settings):
    return BDD100K(
        street,
        **({"splits": street, "image_size": 64, "batch_size": 4, "num_workers": 0} | settings),
    )


def epochs(data, *numbers):
    """Return all batches of some training epochs as bytes, as Lightning would run them."""
    data.setup("fit")
    loader = data.train_dataloader()
    batches = []
    for number in numbers:
        loader.sampler.set_epoch(number)
        for images, targets in loader:
            batches.append(
                (images.numpy().tobytes(), [target["boxes"].tolist() for target in targets])
            )
    return batches


@pytest.fixture
def seed_1(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")


def test_samples_depend_on_seed_epoch_and_index_only(street, seed_1, monkeypatch):
    alone = epochs(module(street), 0, 1)
    assert epochs(module(street, num_workers=2), 0, 1) == alone
    assert epochs(module(street), 1) == alone[3:], "a resumed run goes on as if it had not stopped"
    assert alone[:3] != alone[3:]
    assert epochs(module(street), 0) == alone[:3], "runs agree"
    monkeypatch.setenv("PL_GLOBAL_SEED", "2")
    assert epochs(module(street), 0) != alone[:3]


def test_loading_leaves_the_runs_random_state_alone(street):
    state = torch.get_rng_state()
    epochs(module(street), 0)
    assert torch.get_rng_state().equal(state)


def test_no_two_samples_of_two_epochs_are_augmented_alike(street, seed_1):
    seeds = []
    for epoch in (0, 1):
        for rank in (0, 1):
            sampler = TrainSampler(500, 2, rank, seed=1)
            sampler.set_epoch(epoch)
            seeds += [seed for _, seed in sampler]
    assert len(set(seeds)) == 1000
    # Seed 0 in epoch 1 is not seed 1 in epoch 0, as it is with torch's own sampler.
    zero, one = TrainSampler(500, seed=0), TrainSampler(500, seed=1)
    zero.set_epoch(1)
    assert [index for index, _ in zero] != [index for index, _ in one]


@pytest.mark.parametrize(("length", "ranks"), [(10, 1), (10, 2), (10, 3), (2, 5)])
def test_ranks_share_the_training_images_evenly(length, ranks):
    shares = [list(TrainSampler(length, ranks, rank)) for rank in range(ranks)]
    sizes = {len(share) for share in shares}
    assert len(sizes) == 1
    pairs = sum(map(len, shares)) - length
    together = [pair for share in shares for pair in share]
    assert {index for index, _ in together} == set(range(length))
    assert 0 <= pairs < max(ranks, length)
    assert len(set(together)) == length, "the same sample has the same seed on every rank"


class Ranks:
    """What a data module asks of a Trainer."""

    def __init__(self, world_size, global_rank):
        self.world_size, self.global_rank, self.num_devices = world_size, global_rank, world_size


@pytest.mark.parametrize("ranks", [1, 3, 4, 6])
def test_validation_sees_every_image_once_on_any_number_of_ranks(street, ranks):
    seen = []
    for rank in range(ranks):
        data = module(street)
        data.trainer = Ranks(ranks, rank)
        data.setup("validate")
        indices = list(data.val_dataloader().sampler)
        assert indices == list(range(6))[rank::ranks]
        seen += indices
    assert sorted(seen) == list(range(6))


def test_too_many_ranks_are_refused(street):
    data = module(street)
    data.trainer = Ranks(3, 0)
    with pytest.raises(ValueError, match="split 'test' has 2 images for 3 devices"):
        data.test_dataloader()


def mean_colour(images):
    return (images.float().mean((1, 2, 3)) / 10).round().long().tolist()


def test_validation_and_prediction_go_in_the_lists_order(street):
    data = module(street, resize="stretch", image_size=32)
    data.setup()
    assert data.names("valid") == [f"{n:02d}-x.jpg" for n in (19, 12, 18, 13, 15, 14)]
    batches = list(data.val_dataloader())
    assert [len(targets) for _, targets in batches] == [4, 2]
    first, second = (mean_colour(images - 4) for images, _ in batches)
    assert first + second == [19, 12, 18, 13, 15, 14]
    ((images, targets),) = data.predict_dataloader()
    assert mean_colour(images - 4) == [16, 17]
    assert [target["labels"].tolist() for target in targets] == [[2], [2, 3]]
    assert targets[1]["boxes"].tolist() == [pytest.approx([5, 64 / 9, 18.5, 80 / 3])] * 2


def test_training_uses_every_image_and_augment_false_leaves_them_as_they_are(street):
    data = module(street, augment=False)
    first, second = epochs(data, 0), epochs(data, 1)
    assert len(first) == 3
    assert len(data.dataset("train")) == 12
    images = {data.dataset("train")[i][0].numpy().tobytes() for i in range(12)}
    size = 3 * 64 * 64
    for batches in (first, second):
        joined = b"".join(pixels for pixels, _ in batches)
        assert {joined[i : i + size] for i in range(0, len(joined), size)} == images


def test_without_lists_60_20_20_of_the_images_are_drawn(street):
    data = module(street, splits=None)
    sizes = [len(data.names(split)) for split in ("train", "valid", "test")]
    assert sizes == [12, 4, 4]
    assert module(street, splits=None, split_seed=1).names("test") != data.names("test")


def test_groups_on_both_sides_are_warned_of_and_split_by_group_keeps_them_whole(street, caplog):
    data = module(street)
    ride = dict(zip((f"{n:02d}-x.jpg" for n in range(20)), (n % 7 for n in range(20)), strict=True))
    data.table["group"] = data.table["image"].map(ride).astype("str")
    data.prepare_data()
    message = (
        "BDD100K: 6 of 6 valid and 2 of 2 test images are of videos or rides that are trained on too "
        "(5 and 2 of them), so there may be near-duplicates on both sides"
    )
    assert message in caplog.text
    caplog.clear()
    whole = module(street, splits=None, split_by="group")
    whole.table["group"] = data.table["group"]
    whole.prepare_data()
    assert "trained on too" not in caplog.text
    rides = [{ride[name] for name in whole.names(split)} for split in ("train", "valid", "test")]
    assert sum(map(len, rides)) == len(set.union(*rides)) == 7


def test_the_official_val_part_is_a_test_that_leaks_nothing(street):
    data = module(street, splits=None, split_by="part")
    assert sorted(data.names("test")) == [f"{n:02d}-x.jpg" for n in (0, 5, 10, 15)]
    assert len(data.names("train")) == 13
    assert len(data.names("valid")) == 3


def test_conditions_hold_for_training_test_and_probes(street):
    data = module(street)
    night = data.table["image"].isin([f"{n:02d}-x.jpg" for n in (1, 4, 5, 12, 17)])
    data.table["timeofday"] = night.map({True: "night", False: "daytime"}).astype("category")
    data.where = {"timeofday": "night"}
    assert [data.names(s) for s in ("train", "valid", "test")] == [
        ["01-x.jpg", "04-x.jpg", "05-x.jpg"], ["12-x.jpg"], ["17-x.jpg"]
    ]  # fmt: skip
    assert sorted(data.probe("train", 3, 32)[1]) == data.names("train")
    data.setup()
    assert len(data.train_dataloader().sampler) == 3
    assert len(list(data.test_dataloader())) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split_by": "group"}, r"data\.splits \(.*\) and data\.split_by \(group\) are both given"),
        ({"domain": "a/b"}, "data.domain: 'a/b' is no name of letters, digits"),
        (
            {"where": {"day": ["night"]}},
            "'day' is no attribute of an image; there are weather, scene",
        ),
    ],
)
def test_settings_that_contradict_or_mean_nothing_are_refused(street, settings, message):
    with pytest.raises(ValueError, match=message):
        module(street, **settings)


def test_a_probe_is_as_in_training_and_nested(street):
    data = module(street)
    images, names = data.probe("train", 5, 32, seed=3)
    assert images.shape == (5, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert len(set(names)) == 5
    assert [round(float(image[:, 16].float().mean() - 4.5) / 10) for image in images] == [
        int(n[:2]) for n in names
    ]
    fewer, first = data.probe("train", 2, 32, seed=3)
    assert first == names[:2]
    assert fewer.equal(images[:2])
    assert data.probe("train", 5, 64, seed=3)[1] == names
    assert data.probe("train", 5, 32, seed=4)[1] != names
    for n in (0, 13):
        with pytest.raises(
            ValueError, match=f"cannot draw {n} images from split 'train', which has 12"
        ):
            data.probe("train", n, 32)
    with pytest.raises(ValueError, match="no split 'val'; there are train, valid, test"):
        data.probe("val", 1, 32)


def test_targets_are_a_list_that_survives_the_way_from_a_worker(street):
    data = module(street)
    _, packed = collate([data.dataset("train")[i] for i in range(6)])
    assert isinstance(packed, list)
    function, arguments = packed.__reduce__()
    unpacked = function(*arguments)
    assert type(unpacked) is list
    for one, other in zip(packed, unpacked, strict=True):
        assert one["boxes"].equal(other["boxes"])
        assert one["labels"].equal(other["labels"])
        assert other["boxes"].shape == (len(other["labels"]), 4)


class Looker(LightningModule):
    """Keep what the trainer hands it, and train one number on it."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.seen, self.orders = [], []

    def training_step(self, batch, _):
        images, targets = batch
        self.seen.append((images.dtype, float(images.max()), targets[0]["boxes"].dtype))
        self.orders.append(images.float().mean((1, 2, 3)).tolist())
        return (self.scale * images.mean()) ** 2

    def validation_step(self, batch, _):
        self.seen.append((batch[0].dtype, float(batch[0].max()), batch[1][0]["boxes"].dtype))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


def fit(street, tmp_path, precision="32-true", max_epochs=1, **settings):
    looker = Looker()
    trainer = Trainer(
        accelerator="cpu", max_epochs=max_epochs, precision=precision, default_root_dir=tmp_path,
        logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        log_every_n_steps=1, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(looker, datamodule=module(street, **settings))
    return looker


# Lightning warns of too few workers, as it should, and uses what torch is about to retire.
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize(
    ("precision", "dtype"), [("32-true", torch.float32), ("bf16-true", torch.bfloat16)]
)
def test_a_trainer_gets_float_images_and_a_new_order_each_epoch(street, tmp_path, precision, dtype):
    looker = fit(street, tmp_path, precision, max_epochs=2)
    assert {entry[0] for entry in looker.seen} == {dtype}
    assert all(0.05 < entry[1] <= 1 for entry in looker.seen)
    assert len(looker.orders) == 6
    assert looker.orders[:3] != looker.orders[3:]


def test_bad_input_fails_in_prepare_data_and_reading_happens_once(street, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no BDD100K images"):
        BDD100K(tmp_path).prepare_data()
    with pytest.raises(FileNotFoundError, match=r"no train\.txt"):
        module(street, splits=tmp_path).prepare_data()
    data = module(street)
    data.prepare_data()
    monkeypatch.setattr(BDD100K, "read", lambda self: pytest.fail("read twice"))
    data.setup("fit")
    data.probe("test", 1, 32)


def test_a_damaged_image_is_named_in_one_line_from_a_worker_too(street, tmp_path):
    shutil.copytree(street, tmp_path / "street")
    image = tmp_path / "street/bdd100k/images/100k/train/03-x.jpg"
    image.write_bytes(image.read_bytes()[:-20])
    data = module(tmp_path / "street", num_workers=1, batch_size=12)
    with pytest.raises(ValueError, match=r"^/\S*03-x\.jpg is damaged or cut off and .* anew$"):
        next(iter(data.train_dataloader()))


@pytest.mark.parametrize("mosaic", [False, True])
def test_a_cache_changes_no_byte(street, tmp_path, seed_1, mosaic):
    plain = epochs(module(street, mosaic=mosaic), 0, 1)
    cached = {"cache": tmp_path / "cache", "mosaic": mosaic}
    assert epochs(module(street, num_workers=2, **cached), 0, 1) == plain
    assert sum(path.is_file() for path in (tmp_path / "cache").rglob("*")) == 12
    assert epochs(module(street, **cached), 0, 1) == plain
    probe, _ = module(street).probe("test", 2, 32)
    assert module(street, **cached).probe("test", 2, 32)[0].equal(probe)


def test_a_mosaic_depends_on_seed_epoch_and_index_only(street, seed_1):
    alone = epochs(module(street, mosaic=True), 0, 1)
    assert epochs(module(street, mosaic=True, num_workers=2), 0, 1) == alone
    assert epochs(module(street, mosaic=True), 1) == alone[3:]
    assert alone != epochs(module(street), 0, 1)
    data = module(street, mosaic=True, augment=False)
    data.setup()
    dataset = data.dataset("train")
    assert dataset[3, 7][0].equal(dataset[3, 7][0])
    assert not dataset[3, 7][0].equal(dataset[3, 8][0])
    assert data.dataset("valid").augmentation is None


def spoil(street, folder, *numbers):
    """Copy the street and cut some of its images off."""
    shutil.copytree(street, folder)
    for number in numbers:
        (image,) = folder.rglob(f"{number:02d}-x.jpg")
        image.write_bytes(image.read_bytes()[:-20])
    return folder


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_images_are_skipped_if_asked_for_counted_and_named(
    street, tmp_path, caplog, num_workers
):
    root = spoil(street, tmp_path / "street", 3, 17)
    data = module(root, on_error="skip", max_skipped=0.5, num_workers=num_workers)
    assert len(data.table["image"].unique()) == NUM_IMAGES
    (root / "bdd100k/images/100k/train/13-x.jpg").unlink()
    with caplog.at_level("WARNING", "yolo_synth"):
        data.prepare_data()
        data.setup()
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line.split(root.name)[-1][:60] for line in said][0::2] == [
        "/bdd100k/images/100k/train/03-x.jpg is damaged or cut off an",
        "/bdd100k/images/100k/train/13-x.jpg cannot be read: No such ",
        "/bdd100k/images/100k/train/17-x.jpg is damaged or cut off an",
    ]
    for split, left, of in (("train", 1, 12), ("valid", 1, 6), ("test", 1, 2)):
        assert f"BDD100K {split}: {left} of {of} images are left out of all" in caplog.text
    assert data.names("train") == [f"{n:02d}-x.jpg" for n in range(12) if n != 3]
    assert data.names("valid") == [f"{n:02d}-x.jpg" for n in (19, 12, 18, 15, 14)]
    for loader, names in (
        (data.train_dataloader(), data.names("train")),
        (data.val_dataloader(), data.names("valid")),
        (data.predict_dataloader(), data.names("test")),
    ):
        assert sum(len(targets) for _, targets in loader) == len(names)
    assert data.probe("valid", 5, 32)[0].shape == (5, 3, 32, 32)


def test_more_bad_images_than_allowed_end_the_run(street, tmp_path):
    root = spoil(street, tmp_path / "street", 3, 5)
    message = r"more than 1 of the 12 train images .*max_skipped.* one is \S*05-x\.jpg is damaged"
    with pytest.raises(ValueError, match=message):
        module(root, on_error="skip", max_skipped=0.1).prepare_data()
    with pytest.raises(ValueError, match=r"data\.max_skipped is a share of images.*, not 1"):
        module(root, max_skipped=1)


def test_skipping_changes_nothing_where_all_images_are_sound(street, seed_1, caplog):
    data = module(street, on_error="skip")
    with caplog.at_level("WARNING", "yolo_synth"):
        data.prepare_data()
    assert "WARNING" not in {record.levelname for record in caplog.records}
    assert epochs(data, 0) == epochs(module(street), 0)


def test_prepare_data_says_what_there_is(street, caplog):
    with caplog.at_level("INFO", "yolo_synth"):
        module(street).prepare_data()
    assert (
        "BDD100K train: 12 images; boxes: 0 person, 0 cycle, 8 car, 4 bus, 0 truck" in caplog.text
    )
    assert "19 boxes used; left out: 0 of other kinds" in caplog.text
    assert "7 images have no box" in caplog.text


@pytest.fixture(scope="module")
def game(tmp_path_factory):
    """Write a sequence of 12 frames in GTAV's layout, with a hood, a car and a small car."""
    root = tmp_path_factory.mktemp("game")
    for kind in ("img", "bb"):
        (root / "train" / kind / "001").mkdir(parents=True)
    rest = ",0" * 22
    for number in range(1, 13):
        stem = f"001_{number:05d}"
        Image.new("RGB", (192, 108)).save(root / f"train/img/001/{stem}.jpg")
        lines = [
            f"24,100,10,90,180,108{rest}",
            f"24,{100 + number},5,5,45,45{rest}",
            f"24,99,0,0,11,9{rest}",
        ]
        (root / f"train/bb/001/{stem}.csv").write_text("\n".join(lines))
    return root


def test_gtav_leaves_out_small_boxes_and_the_hood(game):
    data = GTAV(game, image_size=64, num_workers=0)
    assert data.table["dropped"].tolist() == ["hood", "", "area"] * 12
    assert data.dataset("train")[0][1]["boxes"].shape == (1, 4)
    everything = GTAV(game, min_area=0, drop_hood=False, columns="class,instance").table
    assert set(everything["dropped"]) == {""}
    assert (drop_hood(everything)["dropped"] == "hood").sum() == 12


def test_gtavs_val_sequences_are_the_test(game, tmp_path):
    shutil.copytree(game, tmp_path / "game")
    with pytest.raises(FileNotFoundError, match=r"val/img: split_by part tests on GTAV's val seq"):
        GTAV(tmp_path / "game", split_by="part").names("test")
    shutil.copytree(game / "train", tmp_path / "game/val")  # its sequences are numbered alike
    for kind, suffix in (("img", "jpg"), ("bb", "csv")):
        folder = tmp_path / "game/train" / kind
        (folder / "002").mkdir()
        for number in range(1, 4):
            frame = folder / f"001/001_{number:05d}.{suffix}"
            frame.rename(folder / f"002/002_{number:05d}.{suffix}")
    data = GTAV(tmp_path / "game", split_by="part", image_size=64)
    assert sorted(data.names("test")) == [f"val_001_{n:05d}.jpg" for n in range(1, 13)]
    assert sorted(data.names("train")) == [f"001_{n:05d}.jpg" for n in range(4, 13)]
    assert sorted(data.names("valid")) == [f"002_{n:05d}.jpg" for n in range(1, 4)]
    val = data.table[data.table["group"] == "val_001"]
    assert val["dropped"].tolist() == ["hood", "", "area"] * 12
    assert data.dataset("test")[0][1]["boxes"].shape == (1, 4)
    assert data.table["image"].is_monotonic_increasing
    assert set(GTAV(tmp_path / "game").table["group"]) == {"001", "002"}, "else they are not read"


def test_the_command_lines_parser_knows_every_setting():
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(GTAV, "data")
    data = parser.parse_args(
        [
            "--data.root=x",
            "--data.splits=null",
            "--data.columns=class,instance",
            "--data.resize=stretch",
        ]
    ).data
    assert (data.columns, data.resize, data.min_area, data.image_size) == (
        "class,instance",
        "stretch",
        100.0,
        416,
    )
    assert data.splits is None


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells the memory")
def test_a_loading_process_does_not_grow_with_epochs(tmp_path):
    """Python objects would: each one that is looked at is copied into the process that looks."""
    Image.new("RGB", (32, 32)).save(tmp_path / "x.png")
    names = [f"{n:06d}-a-rather-long-name-of-an-image.jpg" for n in range(2000)]
    images = pd.DataFrame({"image": names, "path": "x.png", "width": 32, "height": 32, "group": ""})
    boxes = pd.DataFrame({"row": np.repeat(np.arange(len(names)), 5), "category": "car"})
    boxes = boxes.assign(instance=-1, x1=0.0, y1=0.0, x2=9.0, y2=9.0)
    table = box_table(images, boxes, BDD100K_LABELS)
    dataset = ImageDataset(tmp_path, table, names, 32, "stretch")
    loader = DataLoader(
        dataset, 100, num_workers=1, persistent_workers=True, collate_fn=memory_of_its_own
    )
    seen = [kilobytes for _ in range(3) for kilobytes in loader]
    assert len(seen) == 60
    assert max(seen) - seen[0] < 1500, "dictionaries and lists of the same boxes grow by 3,100"


def memory_of_its_own(samples):
    """Return the kilobytes that this process does not share with the one that started it."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if "Private_Dirty" in line)


def test_few_training_images_are_drawn_by_their_seed_and_lie_within_more_of_them(street):
    whole = BDD100K(street / "bdd100k")
    drawn = {
        (n, seed): BDD100K(street / "bdd100k", train_images=n, train_seed=seed)
        for n in (3, 8)
        for seed in (None, 1)
    }
    few = {key: data.names("train") for key, data in drawn.items()}
    for (n, seed), names in few.items():
        assert len(set(names)) == n
        assert set(names) <= set(whole.names("train"))
        assert drawn[n, seed].names("test") == whole.names("test")
    assert set(few[3, None]) < set(few[8, None])
    assert set(few[3, 1]) < set(few[8, 1])
    assert set(few[8, None]) != set(few[8, 1])
    with pytest.raises(ValueError, match="cannot draw 99 images from split 'train', which has 12"):
        BDD100K(street / "bdd100k", train_images=99).names("train")
    with pytest.raises(ValueError, match=r"data\.epoch_images is a number of images, not 0"):
        BDD100K(street / "bdd100k", epoch_images=0)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_longer_epoch_shows_images_again_and_augments_them_anew(ranks):
    shown = [pair for rank in range(ranks) for pair in TrainSampler(5, ranks, rank, 0, 32)]
    counts = Counter(index for index, _ in shown)
    assert sorted(counts) == list(range(5))
    assert set(counts.values()) == {6, 7}
    assert len({seed for _, seed in shown}) == 32
    turns = [index for index, _ in TrainSampler(5, 1, 0, 0, 30)]
    orders = [tuple(turns[start : start + 5]) for start in range(0, 30, 5)]
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert len(set(orders)) > 1, "shuffled anew each time"
    assert len(list(TrainSampler(5, 1, 0, 0, 3))) == 3
