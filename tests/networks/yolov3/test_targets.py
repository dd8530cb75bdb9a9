from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import no_target

from yolo_synth.networks.yolov3.architecture import ANCHORS, MASKS, STRIDES
from yolo_synth.networks.yolov3.targets import assign, checked_anchors, level_anchors

ORACLE = Path(__file__).parents[2] / "oracle"
LEVELS = list(zip(level_anchors(torch.device("cpu")), STRIDES, strict=True))


def pairs(match):
    """Return image, anchor, row, column, label of each anchor that answers, anchor by anchor."""
    anchor, box = match.answers.nonzero(as_tuple=True)
    columns = (match.image[box], anchor, match.row[box], match.column[box], match.labels[box])
    return torch.stack(columns, dim=1), match.boxes[box]


def test_agrees_with_the_papers_code_base():
    """Targets that ultralytics/yolov3 of 15 April 2020 built for 14 boxes in two images at 416."""
    with np.load(ORACLE / "ultralytics_loss.npz") as file:
        figures = dict(file)
    rows = torch.from_numpy(figures["targets"])  # image, class, x, y, w, h; relative
    corners = torch.cat([rows[:, 2:4] - rows[:, 4:] / 2, rows[:, 2:4] + rows[:, 4:] / 2], dim=1)
    targets = [
        {"boxes": 416 * corners[rows[:, 0] == i], "labels": rows[rows[:, 0] == i, 1].long()}
        for i in range(2)
    ]
    for k, (anchors, stride) in enumerate(LEVELS):
        found, boxes = pairs(assign(targets, anchors, stride, (416 // stride, 416 // stride)))
        np.testing.assert_array_equal(found[:, :4], figures[f"cell{k}"])
        np.testing.assert_array_equal(found[:, 4], figures[f"label{k}"])
        np.testing.assert_allclose(boxes, figures[f"box{k}"], rtol=0, atol=5e-6)


def test_rule_on_random_boxes():
    """The rule again, written with loops."""
    rng = np.random.default_rng(0)
    counts, targets = [4, 0, 30, 1], []
    for count in counts:
        centre, size = rng.uniform(0, (96, 64), (count, 2)), np.exp(rng.uniform(0, 6, (count, 2)))
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
        targets.append(
            {
                "boxes": torch.from_numpy(boxes).float(),
                "labels": torch.from_numpy(rng.integers(0, 5, count)),
            }
        )
    answers = np.zeros(sum(counts), int)
    for (anchors, stride), mask in zip(LEVELS, MASKS, strict=True):
        expected = []
        for anchor, index in enumerate(mask):
            number = -1
            for image, target in enumerate(targets):
                for box, label in zip(
                    target["boxes"].tolist(), target["labels"].tolist(), strict=True
                ):
                    number += 1
                    w, h = box[2] - box[0], box[3] - box[1]
                    overlap = min(w, ANCHORS[index][0]) * min(h, ANCHORS[index][1])
                    union = w * h + ANCHORS[index][0] * ANCHORS[index][1] - overlap
                    if overlap / union > 0.225:
                        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
                        expected.append([image, anchor, int(y // stride), int(x // stride), label])
                        answers[number] += 1
        found, _ = pairs(assign(targets, anchors, stride, (64 // stride, 96 // stride)))
        assert found.tolist() == expected
    assert 0 in answers
    assert max(answers) >= 4


def test_edges_belong_to_the_nearest_cell():
    anchors, stride = LEVELS[2]
    boxes = torch.tensor([[59.0, 57, 69, 71], [-5, -7, 5, 6], [-9, 20, 1, 34]])
    match = assign([{"boxes": boxes, "labels": torch.zeros(3).long()}], anchors, stride, (8, 8))
    assert match.column.tolist() == [7, 0, 0]
    assert match.row.tolist() == [7, 0, 3]
    assert match.boxes[0].tolist() == [1, 1, 10 / 8, 14 / 8]


@pytest.mark.parametrize(("anchors", "stride"), LEVELS)
def test_without_boxes(anchors, stride):
    match = assign([no_target(), no_target()], anchors, stride, (2, 2))
    assert match.answers.shape == (3, 0)
    assert match.boxes.shape == (0, 4)
    assert match.labels.dtype == match.image.dtype == match.row.dtype == torch.int64


def test_a_box_without_area_has_no_anchor():
    target = {"boxes": torch.tensor([[5.0, 5, 5, 9], [7, 7, 7, 7]]), "labels": torch.tensor([0, 1])}
    for anchors, stride in LEVELS:
        assert not assign([target], anchors, stride, (2, 2)).answers.any()


def test_other_anchors_are_nine_and_the_largest_are_of_the_coarsest_map():
    given = [[8 * n, 6 * n] for n in (9, 1, 8, 2, 7, 3, 6, 4, 5)]
    levels = level_anchors(torch.device("cpu"), checked_anchors(given))
    assert [level[:, 0].tolist() for level in levels] == [[56, 64, 72], [32, 40, 48], [8, 16, 24]]
    for wrong in (given[:8], [*given[:8], [8]], [*given[:8], [8, 0]]):
        with pytest.raises(ValueError, match="anchors are 9 widths and heights above 0"):
            checked_anchors(wrong)
