"""Visual backbones: maps, strides, freezing, and the weights that recipes name."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import mobilenet_v2
from torchvision.models.mobilenetv2 import InvertedResidual

from risctl.core.encoders.load_weights import load_backbone
from risctl.core.encoders.visual import published_weights
from risctl.core.encoders.visual.darknet53 import Darknet53
from risctl.core.encoders.visual.mobilenet import MobileNetV2
from risctl.core.encoders.visual.resnet import ResNet
from risctl.core.encoders.visual.small_cnn import SmallCNN
from risctl.errors import CheckpointError, MachineError


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


def test_resnet_norms_the_picture_itself() -> None:
    backbone = ResNet("resnet18").eval()
    seen: list[torch.Tensor] = []
    backbone.conv1.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    backbone(mean.expand(1, 3, 32, 32), torch.zeros(1, 32, 32, dtype=torch.bool))
    assert seen[0].abs().max() < 1e-6


def test_resnet_maps_are_torchvisions() -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    published = resnet18().eval()
    backbone = ResNet("resnet18").eval()
    state = {key: value for key, value in published.state_dict().items() if not key.startswith("fc.")}
    backbone.load_state_dict(state, strict=True)
    images = torch.rand(1, 3, 64, 64)
    x = (images - backbone.mean) / backbone.deviation
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        x = getattr(published, name)(x)
    with torch.no_grad():
        assert torch.allclose(backbone(images, torch.zeros(1, 64, 64)).maps[2], x, atol=1e-5)


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


def test_imagenet_weights_out_of_reach_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    for name in ("resnet18", "mobilenet_v2"):
        with pytest.raises(MachineError, match=rf"{name}.*no route.*model\.visual\.weights"):
            published_weights.imagenet_state(name)
    with pytest.raises(MachineError):
        load_backbone(ResNet("resnet18"), "resnet18", "imagenet")


def test_weights_from_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, other = SmallCNN(), SmallCNN()
    save_file(source.state_dict(), tmp_path / "backbone.safetensors")
    load_backbone(other, "small_cnn", str(tmp_path / "backbone.safetensors"))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in source.state_dict().items())

    backbone = ResNet("resnet18")
    torch.save({**backbone.state_dict(), "fc.weight": torch.zeros(3), "fc.bias": torch.zeros(3)}, tmp_path / "r.pth")
    load_backbone(ResNet("resnet18"), "resnet18", str(tmp_path / "r.pth"))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    backbone = SmallCNN()
    with pytest.raises(CheckpointError, match="found no file"):
        load_backbone(backbone, "small_cnn", str(tmp_path / "absent.safetensors"))
    with pytest.raises(CheckpointError, match="risctl import darknet53"):
        (tmp_path / "yolov3.weights").write_bytes(b"x")
        load_backbone(backbone, "darknet53", str(tmp_path / "yolov3.weights"))
    (tmp_path / "damaged.safetensors").write_bytes(b"x" * 100)
    (tmp_path / "damaged.pth").write_bytes(b"x" * 100)
    for name in ("damaged.safetensors", "damaged.pth"):
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_backbone(backbone, "small_cnn", str(tmp_path / name))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="state dict"):
        load_backbone(backbone, "small_cnn", str(tmp_path / "list.pth"))
    state = backbone.state_dict()
    changed = {name.replace("stem.0", "stam.0"): value for name, value in state.items()}
    changed["quarter.first.weight"] = torch.zeros(1, 1, 1, 1)
    save_file(changed, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"1 missing \(stem.0.weight\).*1 unknown.*resembles.*1 of another shape"):
        load_backbone(backbone, "small_cnn", str(tmp_path / "other.safetensors"))
