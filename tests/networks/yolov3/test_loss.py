from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import no_target
from torch.nn.functional import softplus
from torchvision.ops import box_convert, generalized_box_iou

from yolo_synth.networks.yolov3.architecture import STRIDES
from yolo_synth.networks.yolov3.loss import detection_loss, generalized_iou
from yolo_synth.networks.yolov3.network import YOLOv3
from yolo_synth.networks.yolov3.targets import assign, level_anchors

ORACLE = Path(__file__).parents[2] / "oracle"


def random_raw(batch, height=64, width=96, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, 3, height // s, width // s, 10, generator=generator).requires_grad_()
        for s in STRIDES
    ]


def target(*rows):
    """Return a target of rows x1, y1, x2, y2, label."""
    values = torch.tensor(rows, dtype=torch.float32).view(-1, 5)
    return {"boxes": values[:, :4], "labels": values[:, 4].long()}


SCENE = [target((10, 12, 50, 40, 2), (60, 3, 75, 33, 0)), no_target(), target((0, 0, 90, 60, 4))]


def total(raw, targets):
    return sum(detection_loss(raw, targets).values())


def test_agrees_with_the_papers_code_base():
    """Box, objectness and class term of ultralytics/yolov3 of 15 April 2020 on random predictions.

    Only the values that the loss reads are kept: every objectness, and the whole prediction where an
    anchor answers. The figures are before that code's factor of batch / 64.
    """
    with np.load(ORACLE / "ultralytics_loss.npz") as file:
        figures = dict(file)
    raw = []
    for k in range(3):
        level = np.full((*figures[f"objectness{k}"].shape, 10), np.nan, np.float32)
        level[..., 4] = figures[f"objectness{k}"]
        level[tuple(figures[f"cell{k}"].astype(int).T)] = figures[f"found{k}"]
        # what no anchor answers for does not count, so any number will do
        raw.append(torch.from_numpy(np.nan_to_num(level, nan=3.0)))
    rows = torch.from_numpy(figures["targets"])
    boxes = 416 * box_convert(rows[:, 2:], "cxcywh", "xyxy")
    targets = [
        {"boxes": boxes[rows[:, 0] == i], "labels": rows[rows[:, 0] == i, 1].long()}
        for i in range(2)
    ]
    loss = detection_loss(raw, targets)
    assert list(loss) == ["box", "objectness", "class"]
    np.testing.assert_allclose([v.item() for v in loss.values()], figures["terms"], rtol=1e-5)


def test_generalized_iou_is_torchvisions():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 50, 4, generator=generator)
    a_corners, b_corners = (box_convert(boxes, "cxcywh", "xyxy") for boxes in (a, b))
    expected = generalized_box_iou(a_corners, b_corners)
    torch.testing.assert_close(generalized_iou(a[:, None], b), expected)
    assert generalized_iou(torch.zeros(4), torch.zeros(4)).isfinite()


def truthful(targets, height, width):
    """Return raw maps that predict some targets as well as raw maps can."""
    raw = [torch.full((len(targets), 3, height // s, width // s, 10), -20.0) for s in STRIDES]
    for level, anchors, stride in zip(
        raw, level_anchors(torch.device("cpu")), STRIDES, strict=True
    ):
        match = assign(targets, anchors, stride, level.shape[2:4])
        for anchor, box in match.answers.nonzero():
            cell = level[match.image[box], anchor, match.row[box], match.column[box]]
            cell[:2] = match.boxes[box, :2].logit(eps=1e-6)
            cell[2:4] = (match.boxes[box, 2:] * stride / anchors[anchor]).log()
            cell[4] = 20
            cell[5 + match.labels[box]] = 20
    return raw


def test_vanishes_on_the_truth():
    raw = truthful(SCENE, 64, 96)
    loss = detection_loss(raw, SCENE)
    assert all(value.item() == pytest.approx(0, abs=1e-3) for value in loss.values())
    # each kind of mistake is seen by its own term
    moved = [level + torch.tensor([0, 0, 0.5, 0, 0, 0, 0, 0, 0, 0]) for level in raw]
    assert detection_loss(moved, SCENE)["box"] > 0.1
    assert detection_loss(moved, SCENE)["class"] == loss["class"]
    other = [torch.cat([level[..., :5], level[..., 5:].roll(1, -1)], -1) for level in raw]
    assert detection_loss(other, SCENE)["class"] > 10
    assert detection_loss(other, SCENE)["box"] == loss["box"]
    assert detection_loss(raw, [*SCENE[:2], no_target()])["objectness"] > 1


def test_descent_lowers_it():
    raw = random_raw(3)
    before = total(raw, SCENE)
    optimizer = torch.optim.Adam(raw, lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        total(raw, SCENE).backward()
        optimizer.step()
    assert total(raw, SCENE) < before / 4


def test_box_and_class_pull_only_where_an_anchor_answers():
    raw = random_raw(3)
    total(raw, SCENE).backward()
    for level, anchors, stride in zip(
        raw, level_anchors(torch.device("cpu")), STRIDES, strict=True
    ):
        match = assign(SCENE, anchors, stride, level.shape[2:4])
        answered = torch.zeros(level.shape[:-1], dtype=torch.bool)
        for anchor, box in match.answers.nonzero():
            answered[match.image[box], anchor, match.row[box], match.column[box]] = True
        gradient = level.grad
        assert (gradient[..., 4] != 0).all()
        assert (gradient[answered][:, 5:] != 0).all()
        assert (gradient[answered][:, :4] != 0).any(dim=1).all()
        assert (gradient[~answered][:, [0, 1, 2, 3, 5, 6, 7, 8, 9]] == 0).all()
    assert answered.any()


def test_objectness_does_not_pull_at_the_boxes():
    raw = random_raw(3)
    detection_loss(raw, SCENE)["objectness"].backward()
    for level in raw:
        assert (level.grad[..., [0, 1, 2, 3, 5, 6, 7, 8, 9]] == 0).all()


@pytest.mark.parametrize("boxes", [no_target(), target((5, 5, 6, 95, 0))])
def test_nothing_to_answer_for(boxes):
    """No box at all, and one so narrow that no anchor answers for it."""
    raw = random_raw(2)
    loss = detection_loss(raw, [boxes, no_target()])
    assert loss["box"].item() == loss["class"].item() == 0
    background = sum(softplus(level[..., 4]).mean() for level in raw)
    torch.testing.assert_close(loss["objectness"], 64.3 * background)
    (loss["box"] + loss["class"]).backward(retain_graph=True)
    assert all((level.grad == 0).all() for level in raw)
    loss["objectness"].backward()
    assert all((level.grad[..., 4] > 0).all() for level in raw)


def test_a_batch_of_copies_has_the_loss_of_one():
    raw = random_raw(1)
    twice = [level.repeat(2, 1, 1, 1, 1) for level in raw]
    for one, two in zip(
        detection_loss(raw, SCENE[:1]).values(),
        detection_loss(twice, SCENE[:1] * 2).values(),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


def test_boxes_that_share_anchor_and_cell():
    """Both count for box and class; the better predicted one sets the objectness, in any order."""
    rows = [(8, 8, 42, 32, 0), (12, 4, 37, 36, 3)]
    raw = random_raw(1)
    anchors, stride = level_anchors(torch.device("cpu"))[2], STRIDES[2]
    assert assign([target(*rows)], anchors, stride, (8, 12)).answers.all(dim=1).any()
    both = detection_loss(raw, [target(*rows)])
    turned = detection_loss(raw, [target(*rows[::-1])])
    for term in both:
        torch.testing.assert_close(both[term], turned[term])
    for row in rows:
        twice = detection_loss(raw, [target(row, row)])
        for term, value in detection_loss(raw, [target(row)]).items():
            torch.testing.assert_close(twice[term], value)
    for level in raw:
        level.data[..., 4] = 5  # sure of everything, so a higher target is a lower loss
    together, *alone = (
        detection_loss(raw, [t])["objectness"] for t in (target(*rows), *map(target, rows))
    )
    assert together <= min(alone)
    assert together < max(alone)


def test_size_of_a_prediction_is_bounded():
    """A raw size of 1000 overflows the exponential; value and gradient stay finite."""
    raw = [torch.full((1, 3, 64 // s, 64 // s, 10), 1000.0, requires_grad=True) for s in STRIDES]
    loss = total(raw, [target((10, 12, 50, 40, 2))])
    loss.backward()
    assert loss.isfinite()
    assert all(level.grad.isfinite().all() for level in raw)


def test_autocast_and_half_precision_compute_in_float32():
    raw = random_raw(3)
    expected = detection_loss(raw, SCENE)
    with torch.autocast("cpu", torch.bfloat16):
        assert detection_loss(raw, SCENE) == expected
    half = [level.detach().bfloat16().requires_grad_() for level in raw]
    loss = detection_loss(half, SCENE)
    assert loss == detection_loss([level.detach().float() for level in half], SCENE)
    total(half, SCENE).backward()
    assert all(level.grad.isfinite().all() for level in half)


def test_refuses_another_number_of_targets():
    with pytest.raises(ValueError, match="one target an image is wanted: 3, not 2"):
        detection_loss(random_raw(3), SCENE[:2])


def test_a_step_on_the_network_lowers_it():
    torch.manual_seed(0)
    network = YOLOv3(width=0.0625)
    images = torch.rand(3, 3, 64, 96)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)
    before = total(network(images), SCENE)
    before.backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    assert sum((p.grad != 0).any().item() for p in network.parameters()) > 200
    optimizer.step()
    assert total(network(images), SCENE) < before


def test_a_box_of_an_anchors_size_is_met_by_zeros():
    """Raw zeros are a box of the anchor's size in the middle of its cell."""
    raw = [torch.zeros(1, 3, 96 // s, 96 // s, 7) for s in STRIDES]
    anchors = ((24.0, 8.0), *((300.0 + n, 300.0) for n in range(8)))
    middle, edge = (
        [{"boxes": torch.tensor([[x, 16.0, x + 24, 24.0]]), "labels": torch.tensor([1])}]
        for x in (8.0, 4.0)
    )
    assert detection_loss(raw, middle, anchors)["box"] == pytest.approx(0, abs=1e-6)
    assert detection_loss(raw, edge, anchors)["box"] > 0.1
    assert detection_loss(raw, middle)["box"] > 0.1
