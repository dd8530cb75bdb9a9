import pytest
import torch
from torch import nn

from yolo_synth.analysis.activations.structure import Structure, structure_of
from yolo_synth.networks.yolov3.network import YOLOv3


@pytest.fixture(scope="module")
def yolov3():
    return structure_of(YOLOv3(width=0.02), backbone_end=75)


def test_scale_regions_start_where_darknet_changes_the_resolution(yolov3):
    # Darknet's yolov3.cfg: stride 2 at 1, 5, 12, 37, 62; upsampling at 85 and 97.
    assert [region.start for region in yolov3.regions] == [0, 1, 5, 12, 37, 62, 85, 97]
    strides = [yolov3.strides[region.start] for region in yolov3.regions]
    assert strides == [1, 2, 4, 8, 16, 32, 16, 8]
    assert [layer for region in yolov3.regions for layer in region] == list(range(107))


def test_backbone_and_head_share_the_layers_out(yolov3):
    assert (yolov3.backbone, yolov3.head) == (range(75), range(75, 107))


def test_skips_are_the_shortcuts_and_the_routes(yolov3):
    routes = [(source, layer) for source, layer in yolov3.skips if yolov3.kinds[layer] == "route"]
    shortcuts = [skip for skip in yolov3.skips if skip not in routes]
    assert routes == [(79, 83), (61, 86), (91, 95), (36, 98)]
    assert len(shortcuts) == 23
    assert {layer - source for source, layer in shortcuts} == {3}


def test_labels_name_number_kind_and_resolution(yolov3):
    labels = yolov3.labels(416)
    assert labels[62] == "62 conv 13x13"
    assert labels[82] == "82 detection 13x13"
    assert labels[97] == "97 upsample 52x52"
    assert yolov3.labels(32)[62] == "62 conv 1x1"


def test_reading_a_structure_leaves_the_network_as_it_is():
    network = YOLOv3(width=0.02).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    structure_of(network, backbone_end=75)
    assert network.training
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.device.type == "cpu" for parameter in network.parameters())


class Residual(nn.Module):
    """A block with two branches of stride 2: its strides are not to be multiplied."""

    def __init__(self):
        super().__init__()
        self.long = nn.Conv2d(4, 4, 3, 2, 1)
        self.short = nn.Conv2d(4, 4, 1, 2)

    def forward(self, x):
        return self.long(x) + self.short(x)


class Other(nn.Module):
    """A network that is not ours, whose last layers keep no map."""

    def __init__(self):
        super().__init__()
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.BatchNorm2d(4))
        line = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
        self.layers = nn.ModuleList([nn.Conv2d(3, 4, 3, 2, 1), Residual(), pool, line])
        self.sources = [(-1,), (0,), (1,), (2,)]
        self.backbone_end = 3


def test_another_network_is_read_by_what_it_says():
    structure = structure_of(Other(), image_size=64)
    assert structure.kinds == ("conv2d", "residual", "sequential", "sequential")
    assert structure.strides == (2, 4, 32, 32)
    assert structure.head == range(3, 4)


def test_a_network_that_does_not_say_what_is_needed_is_refused():
    headless = Other()
    del headless.backbone_end
    with pytest.raises(ValueError, match=r"Other does not say where its head starts"):
        structure_of(headless)
    with pytest.raises(ValueError, match=r"Linear has 0 layers and 0 rows of sources"):
        structure_of(nn.Linear(1, 1), backbone_end=1)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"strides": (1, 2, 2)}, "one kind, one row of sources and one stride per layer"),
        ({"strides": (1, 0)}, "strides are 1 or more, not 0"),
        ({"sources": ((-1,), (1,))}, r"layer 1 reads \(1,\)"),
        ({"backbone_end": 3}, "1 to 2, not 3"),
    ],
)
def test_a_structure_that_contradicts_itself_is_refused(wrong, complaint):
    right = {
        "kinds": ("conv", "conv"),
        "sources": ((-1,), (0,)),
        "strides": (1, 2),
        "backbone_end": 2,
    }
    with pytest.raises(ValueError, match=complaint) as error:
        Structure(**{**right, **wrong})
    assert "\n" not in str(error.value)
