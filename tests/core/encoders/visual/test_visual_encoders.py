"""Visual backbones: maps, strides, freezing, and the weights that recipes name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from risctl.core.encoders.visual.darknet53 import Darknet53
from risctl.core.encoders.visual.mobilenet import MobileNetV2
from risctl.core.encoders.visual.resnet import ResNet
from risctl.core.encoders.visual.small_cnn import SmallCNN


@pytest.mark.parametrize("make", [Darknet53, SmallCNN, lambda: ResNet("resnet18"), lambda: ResNet("resnet50")])
def test_maps_are_as_announced(make) -> None:  # type: ignore[no-untyped-def]
    backbone = make().eval()
    padding = torch.zeros(1, 64, 96, dtype=torch.bool)
    with torch.no_grad():
        features = backbone(torch.rand(1, 3, 64, 96), padding)
    assert features.strides == backbone.strides == (8, 16, 32)
    for one, channels, stride in zip(features.maps, backbone.channels, backbone.strides, strict=True):
        assert one.shape == (1, channels, 64 // stride, 96 // stride)
    assert features.padding is padding


def test_darknet_has_58_blocks_of_which_56_are_frozen() -> None:
    backbone = Darknet53().train()
    blocks = backbone.blocks()
    assert len(blocks) == 58
    assert [block.conv.weight.requires_grad for block in blocks] == [False] * 56 + [True] * 2
    before = [block.norm.running_mean.clone() for block in blocks]
    with torch.no_grad():
        backbone(torch.rand(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.bool))
    moved = [not torch.equal(block.norm.running_mean, old) for block, old in zip(blocks, before, strict=True)]
    assert moved == [False] * 56 + [True] * 2
    backbone.eval()
    assert not any(module.training for module in backbone.modules())


def test_frozen_norms_of_darknet_take_the_batch_in_training_as_published() -> None:
    torch.manual_seed(0)
    published, stored = Darknet53(), Darknet53(batch_statistics=False)
    stored.load_state_dict(published.state_dict())
    images, padding = torch.rand(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.bool)
    with torch.no_grad():
        # The stem alone: Keras normalises by the mean and the biased variance of the batch, with epsilon 1e-3.
        convolved = published.stem.conv(images)
        centred = convolved - convolved.mean((0, 2, 3), keepdim=True)
        deviation = (convolved.var((0, 2, 3), correction=0, keepdim=True) + 1e-3).sqrt()
        by_the_batch = torch.nn.functional.leaky_relu(centred / deviation, 0.1)
        assert torch.allclose(published.train().stem(images), by_the_batch, atol=1e-5)
        assert not torch.allclose(stored.train().stem(images), by_the_batch, atol=1e-2)
        maps = [backbone.eval()(images, padding).maps for backbone in (published, stored)]
    assert all(torch.equal(first, second) for first, second in zip(*maps, strict=True))
    assert not any(parameter.requires_grad for block in published.blocks()[:56] for parameter in block.parameters())


@pytest.mark.parametrize(
    "make",
    [lambda: SmallCNN(frozen=True), lambda: ResNet("resnet18", frozen=True), lambda: MobileNetV2(frozen=True)],
)
def test_a_frozen_backbone_does_not_move(make) -> None:  # type: ignore[no-untyped-def]
    backbone = nn.Sequential(make()).train()[0]
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with torch.no_grad():
        backbone(torch.rand(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.bool))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_small_cnn_is_small() -> None:
    assert 1_000_000 < sum(parameter.numel() for parameter in SmallCNN().parameters()) < 2_000_000
