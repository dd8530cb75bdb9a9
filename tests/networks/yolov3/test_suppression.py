"""Non-maximum suppression of all pairs at once, as on an accelerator, against torchvision's."""

import pytest
import torch

from yolo_synth.networks.yolov3.detections import suppress, suppress_at_once


@pytest.mark.parametrize("iou", [0.3, 0.6])
def test_at_once_keeps_what_one_after_the_other_keeps(iou):
    generator = torch.Generator().manual_seed(0)
    corner = 60 * torch.rand(5, 300, 2, generator=generator)
    boxes = torch.cat([corner, corner + 40 * torch.rand(5, 300, 2, generator=generator)], dim=2)
    boxes[:, ::9] = boxes[:, 1::9][:, :34]  # some twice
    labels = torch.randint(3, (5, 300), generator=generator)
    there = torch.rand(5, 300, generator=generator) < torch.tensor([[1.0], [0.7], [0.3], [0], [1]])
    one_by_one = suppress(boxes, labels, there, iou)
    assert torch.equal(suppress_at_once(boxes, labels, there, iou), one_by_one)
    kept = one_by_one.sum(1)
    assert kept[3] == 0
    assert (kept[[0, 1, 2, 4]] < there.sum(1)[[0, 1, 2, 4]]).all()
