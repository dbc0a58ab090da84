"""MobileNetV2: torchvision's maps, and what trains."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import mobilenet_v2
from torchvision.models.mobilenetv2 import InvertedResidual

from risctl.core.encoders.load_weights import load_backbone
from risctl.core.encoders.visual.mobilenet import MobileNetV2


def test_mobilenet_maps_are_torchvisions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = mobilenet_v2().eval()
    torch.save(published.state_dict(), tmp_path / "mobilenet_v2.pth")
    backbone = MobileNetV2().eval()
    load_backbone(backbone, "mobilenet_v2", str(tmp_path / "mobilenet_v2.pth"))
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        maps = backbone(images, torch.zeros(2, 64, 96, dtype=torch.bool)).maps
        last = published.features((images - backbone.mean) / backbone.deviation)
    assert [tuple(feature_map.shape) for feature_map in maps] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]
    torch.testing.assert_close(maps[-1] * 1e6, last * 1e6)  # random weights make it tiny


def test_mobilenet_trains_from_the_second_map_on_and_keeps_its_statistics() -> None:
    backbone = nn.Sequential(MobileNetV2()).train()[0]
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone(torch.rand(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.bool)).maps[-1].sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())
    trained = {int(name.split(".")[1]) for name, value in backbone.named_parameters() if value.grad is not None}
    assert trained == set(range(4, 19))


def test_a_mobilenet_of_random_weights_sees_something_as_its_norms_learn() -> None:
    torch.manual_seed(0)
    images, padding = torch.rand(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.bool)
    still, learning = MobileNetV2().train(), MobileNetV2(trained=False).train()
    spread = {one: float(one(images, padding).maps[-1].std().detach()) for one in (still, learning)}
    assert spread[still] < 1e-6 and spread[learning] > 0.1
    assert all(parameter.requires_grad for parameter in learning.parameters())


def test_mobilenet_takes_the_flat_names_of_the_first_files_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, other = MobileNetV2(), MobileNetV2()
    flat = {}
    for number, block in enumerate(source.features):
        if not isinstance(block, InvertedResidual):
            flat |= {f"features.{number}.{key}": value.contiguous() for key, value in block.state_dict().items()}
            continue
        layers = [part for part in block.modules() if isinstance(part, (nn.Conv2d, nn.BatchNorm2d))]
        for place, layer in enumerate(layers):  # an activation stood after every pair but the last
            where = f"features.{number}.conv.{3 * (place // 2) + place % 2}"
            flat |= {f"{where}.{key}": value.contiguous() for key, value in layer.state_dict().items()}
    assert "features.17.conv.6.weight" in flat
    assert "features.1.conv.0.weight" in flat
    save_file(flat, tmp_path / "flat.safetensors")
    load_backbone(other, "mobilenet_v2", str(tmp_path / "flat.safetensors"))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in source.state_dict().items())
