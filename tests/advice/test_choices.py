"""What can be trained alone, how freezing says it here and in Ultralytics, and that no more is trained."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from yolo_synth.advice.choices import NORMS, choices, stages
from yolo_synth.advice.fitting import Schedule, fit
from yolo_synth.advice.pictures import Few
from yolo_synth.callbacks.freezing import Freezing, frozen_blocks
from yolo_synth.commands.advising import freeze_list
from yolo_synth.networks.torchvision import RetinaNet
from yolo_synth.networks.yolov3 import YOLOv3
from yolo_synth.runs import frozen_layers, model_name

IMAGE = torch.rand(1, 3, 64, 64)
CLASSES = ("person", "cycle", "car", "bus", "truck")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return YOLOv3(width=0.0625).eval()


def few_of(images, targets, groups=None):
    """Return pictures that lie in memory, uint8 [k, 3, S, S]."""
    names = [str(number) for number in range(len(images))]
    few = Few(names, groups or names, None, torch.arange(len(CLASSES)), CLASSES)
    few._decoded.update(enumerate(zip(images, targets, strict=True)))
    return dataclasses.replace(few, dataset=Plain())


class Plain:
    augmentation = None


def drawn_pictures(count, seed=0, side=64):
    """Return noise with a box or two in each picture."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    boxes = torch.tensor([[8.0, 8, 40, 40], [20.0, 30, 60, 60]])
    targets = [{"boxes": boxes, "labels": torch.tensor([i % 5, 2])} for i in range(count)]
    return few_of(images, targets)


def test_yolov3_is_cut_where_its_maps_change_their_size_and_its_backbone_ends(network):
    cut = [(stage[0], stage[-1]) for stage in stages(network, IMAGE)]
    assert cut == [(0, 4), (5, 11), (12, 36), (37, 61), (62, 74), (75, 84), (85, 96), (97, 106)]
    names = [choice.name for choice in choices(network, IMAGE)]
    assert names[0] == "everything"
    assert names[-2:] == ["head", NORMS]


def test_any_network_is_cut_into_at_most_eight_stages_that_have_weights():
    torch.manual_seed(0)
    network = RetinaNet(num_classes=2, backbone="resnet18").eval()
    cut = stages(network, IMAGE)
    assert 4 <= len(cut) <= 8
    assert [block for stage in cut for block in stage] == list(range(len(network.blocks)))
    for stage in cut:
        modules = [network.get_submodule(network.blocks[block]) for block in stage]
        assert any(True for module in modules for _ in module.parameters())


def test_what_is_frozen_is_all_but_what_is_thawed(network):
    for choice in choices(network, IMAGE)[:-1]:
        ranges = choice.frozen(network)
        mode = ranges if len(ranges) > 1 else (ranges or ["none"])[0]
        frozen = set(frozen_blocks(network, Freezing(mode).mode))
        assert frozen == set(range(107)) - set(choice.thawed), choice.name


def test_ultralytics_list_has_each_module_with_all_of_its_layers_frozen():
    # Read off its yolov3.yaml: module 5 is Darknet's layer 12 and module 6 the eight bottlenecks to 36.
    assert freeze_list([(0, 11), (37, 106)]) == [i for i in range(28) if i not in (5, 6)]
    assert freeze_list([(0, 74)]) == list(range(11))
    assert freeze_list([(0, 96)]) == list(range(24))  # 24 to 27 run to layer 104, 28 detects
    assert freeze_list([]) == []


def test_several_frozen_ranges_name_the_run_and_are_checked(network):
    config = {"freezing": {"mode": [[0, 11], [37, 106]]}, "data": {"class_path": "yolo_synth.GTAV"}}
    assert frozen_layers(config) == "0:11+37:106"
    assert model_name(config) == "F0:11+37:106-Synthetic"
    for wrong in ([(0, 11), (40, 37)], []):
        with pytest.raises(ValueError, match=r"freezing\.mode takes none"):
            Freezing(wrong)
    with pytest.raises(ValueError, match="0-106 of"):
        Freezing([(0, 11), (37, 107)]).check(network)


@pytest.mark.parametrize("name", ["layers 12-36", NORMS, "everything"])
def test_training_changes_what_was_chosen_and_not_a_bit_else(network, name):
    few = drawn_pictures(4)
    choice = next(one for one in choices(network, IMAGE) if one.name == name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    trained = fit(network, choice, few, range(4), Schedule(3, 1e-2))
    after = trained.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    if name == NORMS:
        chosen = {key for key in before if ".bn." in key}
    else:
        chosen = {key for key in before if int(key.split(".")[1]) in choice.thawed}
    assert changed == chosen
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not trained.training


def test_the_same_seed_trains_the_same_network(network):
    few, choice = drawn_pictures(6), choices(network, IMAGE)[1]
    one, same, other = (
        fit(network, choice, few, range(6), Schedule(2, 1e-2), seed) for seed in (0, 0, 1)
    )
    keys = [key for key in one.state_dict() if key.startswith("layers.0.")]
    assert all(torch.equal(one.state_dict()[key], same.state_dict()[key]) for key in keys)
    assert not all(torch.equal(one.state_dict()[key], other.state_dict()[key]) for key in keys)


def test_a_training_that_diverges_counts_as_nothing_found_and_says_so(network, caplog):
    few = drawn_pictures(4)
    broken = few_of(
        [torch.full((3, 64, 64), float("nan")) for _ in range(4)],
        few.batch(range(4))[1],
    )
    assert fit(network, choices(network, IMAGE)[0], broken, range(4), Schedule(2, 1e-2)) is None
    assert "counts as 0" in caplog.text


def test_folds_keep_groups_whole_and_are_even():
    few = drawn_pictures(12)
    groups = [f"ride {number // 2}" for number in range(12)]
    few = dataclasses.replace(few, groups=groups)
    folds = few.folds(3)
    assert sorted(np.concatenate(folds)) == list(range(12))
    assert [len(fold) for fold in folds] == [4, 4, 4]
    for fold in folds:
        assert all(
            groups.count(groups[i]) == sum(groups[j] == groups[i] for j in fold) for i in fold
        )
    assert few.folds(3) == folds
    assert few.folds(3, seed=1) != folds
