import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_convert, nms

from yolo_synth.networks.yolov3.architecture import ANCHORS, MASKS, STRIDES
from yolo_synth.networks.yolov3.detections import detections

ORACLE = Path(__file__).parents[2] / "oracle"
NEVER = -100.0


def blank(batch=1, height=64, width=64, classes=5):
    return [torch.full((batch, 3, height // s, width // s, 5 + classes), NEVER) for s in STRIDES]


def random_raw(batch, height=96, width=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, 3, height // s, width // s, 10, generator=generator) for s in STRIDES
    ]


def rows(boxes, scores, labels):
    """Return label, score and box as sorted rows, so that two sets of detections can be compared."""
    table = np.column_stack([labels, scores, boxes])
    return table[np.lexsort(table.T[::-1].round(4))]


@pytest.mark.parametrize("confidence", [0.001, 0.1, 0.5])
@pytest.mark.parametrize(("when", "iou"), [("pre", 1.0), ("post", 0.45)])
def test_agrees_with_darknet(when, iou, confidence):
    """Boxes of the C program before and after its suppression, from its own logits at 64x64."""
    with np.load(ORACLE / "darknet_boxes.npz") as file:
        raw = [
            torch.from_numpy(file[f"raw{layer}"]).view(1, 3, 10, *file[f"raw{layer}"].shape[1:])
            for layer in (82, 94, 106)
        ]
        expected = file[f"{when}_{confidence}"]  # x, y, w, h, objectness, probability of each class
    raw = [level.permute(0, 1, 3, 4, 2) for level in raw]
    found = detections(raw, 64, confidence, iou, max_detections=10_000)[0]

    box, label = np.nonzero(expected[:, 5:])
    corners = box_convert(torch.from_numpy(64 * expected[box, :4]), "cxcywh", "xyxy").clamp(0, 64)
    expected = rows(corners, expected[box, 5 + label], label)
    assert len(expected) > 30
    np.testing.assert_allclose(
        rows(found["boxes"], found["scores"], found["labels"]), expected, rtol=0, atol=2e-4
    )


def test_one_box_by_hand():
    """An input of 96x64 (height by width), a cell, an anchor, all of the arithmetic."""
    raw = blank(height=96)
    raw[1][0, 2, 4, 1] = torch.tensor(
        [0.0, math.log(3), math.log(0.5), 0, 0, 0, NEVER, 3, -1, NEVER]
    )
    found = detections(raw, (96, 64), confidence=0.2)[0]
    anchor_width, anchor_height = ANCHORS[MASKS[1][2]]
    x, y = (1 + 0.5) * 16, (4 + 0.75) * 16
    w, h = 0.5 * anchor_width, anchor_height
    box = [x - w / 2, max(0, y - h / 2), x + w / 2, min(96, y + h / 2)]
    torch.testing.assert_close(found["boxes"], torch.tensor([box, box]))
    # several classes of one box stand; objectness 0.5 times class -1 gives 0.13, which does not
    torch.testing.assert_close(found["scores"], 0.5 * torch.tensor([3.0, 0.0]).sigmoid())
    assert found["labels"].tolist() == [2, 0]


def test_nothing_found():
    for detection in detections(blank(batch=2), 64):
        assert {key: (value.shape, value.dtype) for key, value in detection.items()} == {
            "boxes": ((0, 4), torch.float32),
            "scores": ((0,), torch.float32),
            "labels": ((0,), torch.int64),
        }


def test_an_empty_image_among_others():
    raw = random_raw(3)
    for level in raw:
        level[1, ..., 4] = NEVER
    counts = [len(d["scores"]) for d in detections(raw, (96, 64))]
    assert counts[1] == 0
    assert min(counts[0], counts[2]) > 0


def test_batch_is_single():
    raw = random_raw(3)
    for index, together in enumerate(detections(raw, (96, 64))):
        alone = detections([level[index : index + 1] for level in raw], (96, 64))[0]
        torch.testing.assert_close(dict(together), dict(alone))


def test_order_limits_and_bounds():
    raw = random_raw(1)
    whole = detections(raw, (96, 64), max_detections=10_000)[0]
    assert len(whole["scores"]) > 300
    assert (whole["scores"].diff() <= 0).all()
    assert (whole["scores"] > 0.001).all()
    boxes = whole["boxes"]
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([64, 96, 64, 96])).all()
    for most in (0, 1, 300):
        best = detections(raw, (96, 64), max_detections=most)[0]
        assert all(torch.equal(best[key], whole[key][:most]) for key in whole)


def test_suppression_is_by_class_and_takes_the_best_candidates():
    """Compared with one suppression a class, on boxes that no edge of the image cuts."""
    raw = random_raw(1, 192, 192)
    for level, mask, border in zip(raw, MASKS, (1, 2, 3), strict=True):
        anchors = torch.tensor([ANCHORS[index] for index in mask])[:, None, None]
        level[..., 2:4] = ((25 + 8 * level[..., 2:4].tanh()) / anchors).log()
        inner = level[:, :, border:-border, border:-border, 4].clone()
        level[..., 4] = NEVER
        level[:, :, border:-border, border:-border, 4] = inner
    before = detections(raw, 192, iou=1.0, max_detections=10_000)[0]
    after = detections(raw, 192, iou=0.3, max_detections=10_000)[0]
    limited = detections(raw, 192, iou=0.3, max_candidates=200)[0]
    best = {key: value[:200] for key, value in before.items()}
    for candidates, found in ((before, after), (best, limited)):
        for label in range(5):
            of_class = candidates["labels"] == label
            boxes, scores = candidates["boxes"][of_class], candidates["scores"][of_class]
            kept = nms(boxes, scores, 0.3)
            assert 0 < len(kept) < len(boxes)
            ours = found["labels"] == label
            torch.testing.assert_close(found["boxes"][ours], boxes[kept])
            torch.testing.assert_close(found["scores"][ours], scores[kept])


def test_a_lower_confidence_only_adds():
    raw = random_raw(1)
    few, many = (detections(raw, (96, 64), c, max_detections=10_000)[0] for c in (0.3, 0.001))
    assert 0 < len(few["scores"]) < len(many["scores"])
    assert torch.equal(many["boxes"][: len(few["boxes"])], few["boxes"])


def test_raw_maps_of_a_training_step_are_left_alone():
    raw = [level.requires_grad_() for level in random_raw(1)]
    copies = [level.detach().clone() for level in raw]
    assert not detections(raw, (96, 64))[0]["boxes"].requires_grad
    assert all(torch.equal(a, b) for a, b in zip(raw, copies, strict=True))
    half = [level.detach().bfloat16() for level in raw]
    assert detections(half, (96, 64))[0]["scores"].dtype == torch.float32


def test_refuses_another_image_size():
    with pytest.raises(
        ValueError, match="2x2 cells at stride 32 belongs to an input of 64x64, not 96x64"
    ):
        detections(blank(), (96, 64))
    with pytest.raises(ValueError, match="not 416x416"):
        detections(blank(), 416)


def test_anchors_of_twice_the_size_are_twice_the_exponential():
    raw = random_raw(2)
    doubled = tuple((2 * width, 2 * height) for width, height in ANCHORS)
    larger = [level.clone() for level in raw]
    for level in larger:
        level[..., 2:4] += math.log(2)
    for found, expected in zip(
        detections(raw, (96, 64), anchors=doubled), detections(larger, (96, 64)), strict=True
    ):
        torch.testing.assert_close(found["boxes"], expected["boxes"])
        assert torch.equal(found["scores"], expected["scores"])
